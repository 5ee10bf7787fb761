# Ends in the middle of a line.
printf 'one\ntwo'
