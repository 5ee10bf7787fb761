# A hundred at a time.
i=0
while [ $i -lt 100 ]; do
	sleep 1000 &
	i=$((i + 1))
done
: >"$P_UP"
wait
