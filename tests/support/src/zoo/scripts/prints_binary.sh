# Every byte there is, forwards and backwards.
i=0
while [ $i -lt 256 ]; do
	printf "\\$(printf %03o $i)\\$(printf %03o $((255 - i)))"
	i=$((i + 1))
done
