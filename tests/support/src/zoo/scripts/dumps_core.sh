# Wants to leave an image of itself.
ulimit -c unlimited 2>/dev/null
cd "$TMPDIR" || exit 1
kill -SEGV $$
