# Lines as on another system, and a bar that moves.
printf 'one\r\ntwo\r\n10%%\r20%%\r100%%\r\n\r'
