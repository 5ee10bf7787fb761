# Makes very many files.
i=0
while [ $i -lt 3000 ]; do : >"$TMPDIR/$i"; i=$((i + 1)); done
ls "$TMPDIR" | wc -l
exit 3
