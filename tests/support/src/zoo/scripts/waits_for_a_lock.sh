# Holds a lock in one process, and waits for it in another.
exec 9>"$TMPDIR/lock"
flock 9
(exec 8>"$TMPDIR/lock"; : >"$P_UP"; flock 8) &
wait
