# Ends well, and leaves somebody behind who holds the output.
(setsid sleep 1000 &)
echo done
