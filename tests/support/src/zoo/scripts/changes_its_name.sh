# Calls itself something that nobody would end.
printf 'kworker/0:0' >"/proc/$$/comm"
cat "/proc/$$/comm"
: >"$P_UP"
sleep 1000
