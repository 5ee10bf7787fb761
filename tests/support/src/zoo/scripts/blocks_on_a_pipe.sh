# Waits for the other end of a pipe, which nobody will open.
mkfifo "$TMPDIR/pipe"
: >"$P_UP"
cat "$TMPDIR/pipe"
