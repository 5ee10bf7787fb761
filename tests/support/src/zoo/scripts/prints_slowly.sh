# One byte at a time.
for i in 1 2 3 4 5 6 7 8 9 0; do printf %s $i; sleep 0.05; done
