# Prints numbers, a little more than a GiB of them.
seq 1 120000000
