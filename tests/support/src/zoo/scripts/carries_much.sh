# Fills its environment, and so that of all that it starts, nearly to the kernel's limit.
chunk=$(head -c 100000 /dev/zero | tr '\0' x)
for i in 1 2 3 4 5 6 7 8 9; do export "AAA_$i=$chunk"; done
env | grep -c "^AAA_"
(setsid sleep 1000 &)
: >"$P_UP"
sleep 1000
