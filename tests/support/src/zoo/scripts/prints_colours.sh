# What a terminal would obey.
printf '\033[31mred\033[0m \033[2J\033]0;title\007 \033[6n\033P1;2|x\033\\\n'
