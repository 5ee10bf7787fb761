# Fails, and leaves behind what holds its output and does not listen.
for i in 1 2 3; do (trap '' TERM HUP INT; setsid sleep 1000 & while :; do sleep 1; done) & done
echo "off"
exit 7
