# Is busy with nothing.
: >"$P_UP"
while :; do :; done
