# A daemon as in the book: two forks, a session of its own, nothing open, another folder.
(setsid sh -c '(cd /; exec >/dev/null 2>&1; sh -c ": >\"\$P_UP\"; exec sleep 1000" &)' &)
sleep 1000
