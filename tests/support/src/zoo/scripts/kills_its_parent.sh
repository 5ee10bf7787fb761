# Turns against whoever has started it, as far as it is allowed to.
echo before
kill -KILL "$PPID" 2>/dev/null || exit 8
sleep 1000
