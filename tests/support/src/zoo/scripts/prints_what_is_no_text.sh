# Halves of letters.
printf 'caf\303'; sleep 0.1; printf '\251 \377\376 \355\240\200\n'
