# The library and the default steps, with a real service.
# shellcheck shell=sh disable=SC2154

# release NAME: a package whose service answers with NAME over HTTP, and its digest in DIGEST.
release() {
	rm -rf tree
	mkdir -p tree/www
	echo "this is $1" >tree/www/index.html
	echo "$1" >tree/name
	cat >tree/serve <<-'X'
		#!/bin/sh
		# A service with a child in another session, and that must be asked twice.
		setsid sleep 4000 &
		if command -v python3 >/dev/null; then
			python3 -m http.server --bind 127.0.0.1 --directory www "$P_PORT" &
		else
			httpd -f -p "127.0.0.1:$P_PORT" -h www &
		fi
		wait
	X
	chmod +x tree/serve
	tar -C tree -czf package .
	DIGEST=$(sha256sum <package)
	DIGEST=${DIGEST%% *}
	mkdir -p "$CTL/packages"
	cp package "$CTL/packages/$DIGEST.tar.gz"
}

# roll GENERATION RELEASE [NAME=VALUE…]: an attempt with all default steps.
roll() {
	ro_generation=$1 ro_release=$2
	shift 2
	release "$ro_release"
	new "$ro_generation" "release=$ro_release" "package_digest=$DIGEST" "healthy_deadline=20" "$@"
	{
		echo "P_PORT='$PORT'"
		echo "D_START_COMMAND='exec ./serve'"
		echo "D_STOP_TIMEOUT='5'"
		echo "D_VERIFY_HTTP='http://127.0.0.1:$PORT/index.html'"
		echo "D_VERIFY_CONTAINS='this is $ro_release'"
		echo "D_VERIFY_TCP='127.0.0.1:$PORT'"
		echo "D_KEEP_RELEASES='2'"
	} >"$STAGE/env"
	for name in fetch stop install start verify; do step "$name" 60 <"$SCRIPTS/steps/$name.sh"; done
}

free_port() {
	PORT=$((20000 + $$ % 20000))
	while grep -qi ":$(printf %04X "$PORT") 00000000:0000 0A" /proc/net/tcp; do PORT=$((PORT + 1)); done
}

# library TEXT: runs it with the library, as a step would.
library() {
	${AS:-} env -i PATH="$LOGIN_PATH" TMPDIR="$T" DEPLOY_PATH="$T/app" DEPLOY_SHARED="$T/app/shared" DEPLOY_SERVICE=shop \
		DEPLOY_RELEASE="${RELEASE-r1}" DEPLOY_PACKAGE="$T/package" DEPLOY_LIB="$SCRIPTS/deployutils.sh" P_PORT="${PORT:-}" \
		sh -c '. "$DEPLOY_LIB"; '"$1"
}

case_the_default_steps_roll_a_service() {
	free_port
	roll 5 one
	start
	last_says 'exit .*outcome=succeeded step=4 name=verify'
	same "$(readlink app/current)" releases/one
	read -r first _ <app/shared/run/shop.pid
	kill -0 "$first"
	# The old one is stopped, wholly, and the new one answers.
	old=$(pgrep -s "$first" 2>/dev/null || echo "$first")
	roll 6 two "previous_release=one"
	start
	last_says 'exit .*outcome=succeeded step=4 name=verify'
	same "$(readlink app/current)" releases/two
	for pid in $old; do gone "$pid"; done
	same "$(cat app/current/name)" two
	read -r second _ <app/shared/run/shop.pid
	[ "$first" != "$second" ]
	# Not with a setsid that cannot fork: what a shell starts with `&` ignores SIGINT.
	# What this suite was started with ignored stays so.
	[ "$shell" = applets ] || same "$(grep '^SigIgn:' "/proc/$second/status")" "$(grep '^SigIgn:' "/proc/$$/status")"
	# One that does not start is told, and going back brings the old one.
	roll 7 three "previous_release=two"
	echo "D_START_COMMAND='echo no such luck; exit 3'" >>"$STAGE/env"
	start
	last_says 'exit .*outcome=failed step=3 name=start code=1'
	grep -q 'no such luck' out
	new 8 release=two "package_digest=$DIGEST" direction=back healthy_deadline=20
	cp "$T/stage/6/env" "$STAGE/env"
	for name in stop rollback start verify; do step "$name" 60 <"$SCRIPTS/steps/$name.sh"; done
	start
	last_says 'exit .*outcome=succeeded step=3 name=verify'
	same "$(readlink app/current)" releases/two
	call check 20
	last_says 'healthy$'
	new 9 release=two direction=back keeps_release=no
	for name in stop rollback; do step "$name" 60 <"$SCRIPTS/steps/$name.sh"; done
	start
	last_says 'exit .*outcome=succeeded'
	never [ -e app/current ]
	never [ -e app/shared/run/shop.pid ]
	for file in $(grep -lszF "DEPLOY_PATH=$T/app" /proc/[0-9]*/environ); do
		pid=${file#/proc/}
		# busybox's `timeout` leaves a process that notices only within a second that it is not needed any more.
		eventually is_gone "${pid%/environ}"
	done
}

case_install_is_idempotent_and_atomic() {
	release r1
	library du_install
	library du_install | grep -q 'r1 is installed'
	same "$(cat app/current/name)" r1
	# Killed at some moment, over and over: current is always a whole release.
	i=2
	while [ $i -le 25 ]; do
		RELEASE=r$i
		# One session, so that all of it can be killed at one blow; `exec`, so that its number is known.
		(exec >/dev/null 2>&1 && AS='exec setsid' library du_install) &
		job=$!
		sleep "0.00$i"
		kill -s KILL -- "-$job" 2>/dev/null || :
		wait "$job" 2>/dev/null || :
		[ -e app/current/.complete ] && [ -e app/current/serve ] || die "current is broken at $i"
		i=$((i + 1))
	done
	RELEASE=r100
	library du_install
	same "$(cd -P app/current && echo "${PWD##*/}")" r100
	[ "$(ls -d app/releases/*/ | wc -l)" -le 30 ]
	library 'du_prune 2'
	[ -e app/releases/r100/.complete ]
	# The two newest, and the one before the current, where an install that was killed in time is newer.
	[ "$(ls -d app/releases/*/.complete | wc -l)" -le 3 ]
}

case_no_name_of_a_release_is_taken_for_something_else() {
	for RELEASE in r1.tmp r1.tmp.failed r1 r1.new; do
		release "$RELEASE"
		library du_install
		same "$(cat app/current/name)" "$RELEASE"
	done
	same "$(ls app/releases | wc -l)" 4
}

case_a_broken_package_is_not_installed() {
	release r1
	library du_install
	head -c 100 package >p && mv p package
	RELEASE=r2
	never library du_install
	same "$(readlink app/current)" releases/r1
	never [ -e app/releases/r2 ]
	never library 'du_fetch "$DEPLOY_PACKAGE" 0000'
}

case_a_package_is_unpacked_whatever_it_is_compressed_by() {
	zstd=$(PATH=/usr/local/bin:/usr/bin:/bin command -v zstd) || skip "no zstd here"
	release r1
	tar -C tree -cf package .
	library du_install
	same "$(cat app/current/name)" r1
	# A host without zstd.
	RELEASE=r2
	release r2
	tar -C tree -cf - . | "$zstd" -q >package
	mkdir bin
	for program in sh tar gzip head tr cat mkdir mv rm ln sync readlink ls; do
		ln -s "$(PATH=$LOGIN_PATH command -v "$program")" "bin/$program"
	done
	never install_by_bin 2>err
	same "$(wc -l <err)" 1
	grep -q 'this host has no `zstd`, by which the package is compressed: install it' err
	never [ -e app/releases/r2 ]
	ln -s "$zstd" bin/zstd
	install_by_bin
	same "$(cat app/current/name)" r2
	# One that is cut short.
	RELEASE=r3
	head -c 60 package >cut && mv cut package
	never install_by_bin
	same "$(readlink app/current)" releases/r2
}

# Installs with what is in bin alone.
install_by_bin() {
	(LOGIN_PATH=$T/bin && library du_install)
}

case_a_tree_is_installed_where_there_is_one() {
	tree() { mkdir -p app/releases/.tree.r1 && echo tree >app/releases/.tree.r1/name; }
	with='DEPLOY_PACKAGE= DEPLOY_TREE=$DEPLOY_PATH/releases/.tree.r1'
	never library "$with; du_install"
	tree
	library "$with; du_fetch" | grep -q 'as a tree'
	# The disk fails once, and the step calls it again.
	library "$with; sync() { return 1; }; du_install; unset -f sync; du_install"
	same "$(cat app/current/name)" tree
	never [ -e app/releases/.tree.r1 ]
	library "$with; du_install" | grep -q 'r1 is installed'
	# What was left of another one is taken away, and another release does not get this tree.
	mkdir app/releases/.tree.r0
	release r2
	RELEASE=r2
	library du_install
	same "$(cat app/current/name)" r2
	never [ -e app/releases/.tree.r0 ]
}

case_expansion_takes_only_its_own_names() {
	same "$(library 'P_A="x\$P_B\$(touch pwned)" P_B=b HOME=h; du_expand "\$P_A/\${P_B}/\$HOME/\${HOME}/\$(touch pwned)/\$/\${P_B/\${DEPLOY_SERVICE}\$"')" \
		'x$P_B$(touch pwned)/b/$HOME/${HOME}/$(touch pwned)/$/${P_B/shop$'
	never [ -e pwned ]
}

# One web server, asked by each tool alone.
case_verify_works_with_any_one_tool() {
	command -v python3 >/dev/null || skip "needs python3, to serve"
	free_port
	mkdir www
	echo hello >www/index.html
	python3 -m http.server --bind 127.0.0.1 --directory www "$PORT" >/dev/null 2>&1 &
	server=$!
	mkdir tools
	for tool in sh mktemp grep rm timeout cat; do ln -s "$(command -v "$tool")" "tools/$tool"; done
	ln -s "$(command -v busybox)" busybox
	tried=0
	for tool in curl wget bash busybox-wget busybox-nc; do
		mkdir "with.$tool"
		cp -P tools/* "with.$tool"
		case $tool in
		busybox-*) ln -s "$(command -v busybox)" "with.$tool/${tool#busybox-}" ;;
		*)
			[ -x "/usr/bin/$tool" ] || continue
			ln -s "/usr/bin/$tool" "with.$tool/$tool"
			;;
		esac
		[ "$shell" != bash ] || case $tool in busybox-nc) continue ;; esac
		tried=$((tried + 1))
		LOGIN_PATH=$T/with.$tool
		eventually library 'du_verify_http "http://127.0.0.1:$P_PORT/"'
		library 'du_verify_http "http://127.0.0.1:$P_PORT/index.html" 200 hello' || die "$tool: no hello"
		library 'du_verify_http "http://127.0.0.1:$P_PORT/nothing" 404' || die "$tool: no 404"
		never library 'du_verify_http "http://127.0.0.1:$P_PORT/" 200 goodbye'
		never library 'du_verify_http "http://127.0.0.1:$P_PORT/nothing"'
		never library 'du_verify_http "http://127.0.0.1:1/"'
		case $tool in
		*wget) ;;
		*)
			library 'du_verify_tcp 127.0.0.1 "$P_PORT"' || die "$tool: no connection"
			never library 'du_verify_tcp 127.0.0.1 1'
			;;
		esac
	done
	kill "$server"
	[ "$tried" -ge 3 ]
}

case_waiting_draining_and_saying() {
	library 'du_wait_until 5 true; du_drain; [ -e "$DEPLOY_SHARED/draining" ] && du_undrain && ! [ -e "$DEPLOY_SHARED/draining" ]'
	never library 'du_wait_until 0 false'
	same "$(library 'du_log a b; du_warn c 2>/dev/null; (du_die d) 2>&1; echo $?')" "a b
error: d
1"
}

# A parameter that holds the name of another is what it is.
case_verify_expands_nothing() {
	library 'P_A=no D_VERIFY_HTTP="http://127.0.0.1:1/\$P_A"; du_verify' 2>said || :
	grep -qF 'http://127.0.0.1:1/$P_A answered' said
}
