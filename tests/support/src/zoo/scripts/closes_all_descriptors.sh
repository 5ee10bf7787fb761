# Has nothing open any more.
exec 0<&- 1>&- 2>&- 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&-
: >"$P_UP"
sleep 1000
