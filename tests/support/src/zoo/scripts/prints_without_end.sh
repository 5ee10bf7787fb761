# Prints, and does not listen.
trap '' TERM PIPE
: >"$P_UP"
yes
