# Values stay values.
# shellcheck shell=sh disable=SC2154

case_a_thousand_hostile_parameters_arrive_unchanged() {
	command -v python3 >/dev/null || skip "needs python3, to make them"
	new 5
	cat >make.py <<-'X'
		import random, sys
		random.seed(7)
		seeds = ["", " ", "'", "''", '"', "\\", "\n", "\n\n", "$(touch pwned)", "`touch pwned`", "$HOME", "${IFS}", "; touch pwned", "*",
		    "~", "-n", "-e x", "a'b\"c", "'; touch pwned; '", "\r\n", "\t", "\x01\x7f", "ü€😀", "%s%n", "!!", "#x", "=", "\\'", "'\\''", "$'x'", "\x1b[2J"]
		alphabet = "'\"\\$`(){}[]<>|&;*?~!#%^=- \t\n\r\x01\x07\x1b\x7fabcXYZ019äß€😀"
		values = seeds + ["".join(random.choice(alphabet) for _ in range(random.randrange(1, 60))) for _ in range(1000 - len(seeds))]
		with open(sys.argv[1], "w", newline="") as env, open("want", "wb") as want:
		    for i, value in enumerate(values):
		        env.write("P_V%04d='%s'\n" % (i, value.replace("'", "'\\''")))
		        want.write(b"P_V%04d=%s\0" % (i, value.encode()))
	X
	python3 make.py "$STAGE/env"
	echo 'grep -z "" /proc/$$/environ | grep -z "^P_" | sort -z >"$DEPLOY_PATH/got"' | step run 10
	start
	last_says 'exit .*outcome=succeeded'
	cmp want app/got
	same "$(find "$T" -name pwned)" ""
}

case_names_with_spaces_and_quotes_work() {
	new 5 'release="r 1%"' 'service="it'"'"'s"'
	printf '#!/bin/sh\necho "[$DEPLOY_SERVICE] [$DEPLOY_RELEASE] $0"' | step run 10
	chmod +x "$STAGE/steps/0-run"
	start
	same "$(cat out)" "[it's] [r 1%] $CTL/attempts/5/steps/0-run"
	mkdir -p "app/releases/r 1%"
	ln -s "releases/r 1%" app/current
	call observe
	last_says 'observed fence=5 release=r%201%25 '
}
