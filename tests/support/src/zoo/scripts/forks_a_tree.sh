# Each has three children, three times over.
grow() {
	[ "$1" -eq 0 ] || for i in 1 2 3; do (grow $(($1 - 1))) & done
	sleep 1000
}
grow 3 &
until [ "$(grep -slz "$P_ZOO" /proc/[0-9]*/environ | wc -l)" -ge 40 ]; do sleep 0.05; done
: >"$P_UP"
wait
