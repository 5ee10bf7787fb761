# Lets itself write nothing to files any more.
echo "small"
ulimit -f 0
echo x >"$TMPDIR/file"
exit 2
