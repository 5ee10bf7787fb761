# Stands where there is nothing any more.
mkdir "$TMPDIR/gone" && cd "$TMPDIR/gone" && rmdir "$TMPDIR/gone"
: >"$P_UP"
sleep 1000 &
wait
