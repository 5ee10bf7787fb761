# Bytes at which texts end in some languages.
printf 'a\0b\0\0\n\0'
