# Is never the same process for long: the parent ends as soon as there is a child.
trap '' TERM
flee() { (sleep 0.05; flee) & }
for i in 1 2 3 4; do flee; done
: >"$P_UP"
sleep 1000
