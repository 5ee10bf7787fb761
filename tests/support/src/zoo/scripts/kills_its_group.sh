# Ends all that is in its group.
echo before
kill -KILL 0
