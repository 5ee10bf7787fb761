# Removes all that it was given, itself included.
rm -rf "$TMPDIR" "$DEPLOY_DESCRIPTOR_DIR" 2>/dev/null
echo "gone"
: >"$P_UP"
sleep 1000
