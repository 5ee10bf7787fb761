# Ends well, and leaves a service running that prints nowhere. That is its right.
setsid sleep 1000 </dev/null >/dev/null 2>&1 &
echo started
