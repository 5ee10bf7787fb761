# No shell can read this.
echo "before"
if true; then (
