# Waits for somebody to type something: there is nobody.
read -r answer || echo "nobody answers"
wc -c
exit 4
