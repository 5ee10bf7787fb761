# Does not listen.
trap '' TERM INT HUP QUIT
: >"$P_UP"
while :; do sleep 1; done
