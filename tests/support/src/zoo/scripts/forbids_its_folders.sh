# Lets nobody into what it was given.
mkdir "$TMPDIR/deep"
chmod 000 "$TMPDIR/deep" "$TMPDIR"
echo "closed"
exit 6
