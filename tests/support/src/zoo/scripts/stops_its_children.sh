# Has children in other sessions that hear nothing.
for i in 1 2 3; do setsid sh -c 'kill -STOP $$; sleep 1000' & done
stopped() { cat /proc/[0-9]*/stat 2>/dev/null | awk -v parent=$$ '$3 == "T" && $4 == parent' | wc -l; }
until [ "$(stopped)" -eq 3 ]; do sleep 0.05; done
: >"$P_UP"
wait
