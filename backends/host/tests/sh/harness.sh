# What the cases of run.sh use. T is the case's own folder; its name holds a space and a quote on purpose.
# shellcheck shell=sh disable=SC2034

die() {
	echo "$*"
	exit 1
}

skip() {
	echo "$*"
	exit 77
}

# run_case NAME: in a subshell with a time limit of its own; whatever a case leaves behind is ended by its mark.
run_case() {
	(
		set -eu
		cd "$T"
		CTL=$T/app/.deploy
		"case_$1"
	)
}

# eventually CONDITION…: waits until a command succeeds, for at most 30 seconds.
eventually() {
	ev_tries=0
	until "$@" >/dev/null 2>&1; do
		ev_tries=$((ev_tries + 1))
		[ "$ev_tries" -lt 600 ] || die "never came true: $*"
		sleep 0.05
	done
}

never() {
	if "$@"; then return 1; fi
}

same() {
	[ "$1" = "$2" ] || die "expected [$2], got [$1]"
}

# token_of GENERATION: another one in every run of the suite, since processes are found by it.
token_of() {
	printf 'feedfacefeedface%08x%08d' "$RUN" "$1"
}

quote() {
	printf "'"
	printf '%s' "$1" | sed "s/'/'\\\\''/g"
	printf "'"
}

# new GENERATION [NAME=VALUE…]: a fresh attempt in stage/GENERATION; `step` adds its steps.
new() {
	GEN=$1
	shift
	STAGE=$T/stage/$GEN
	rm -rf "$STAGE"
	mkdir -p "$STAGE/steps" "$STAGE/lib" "$STAGE/descriptor" "$STAGE/tmp"
	mkfifo "$STAGE/alive"
	cp "$SCRIPTS/deployutils.sh" "$STAGE/lib/" 2>/dev/null || :
	cp "$SCRIPTS/launcher.sh" "$STAGE/"
	: >"$STAGE/env"
	{
		echo "generation=$GEN"
		echo "token=$(token_of "$GEN")"
		echo "service=shop release=r$GEN version=1.$GEN previous_release= previous_version= direction=forward host=h1"
		echo "deploy_path=$(quote "$T/app")"
		echo "package_digest= package_size=0 step_key_prefix=rollout.h1 kill_grace=1 log_limit=100000000"
		echo "min_healthy=0 healthy_deadline=5 steps="
		for arg; do echo "$arg"; done
	} >"$STAGE/attempt"
}

# step NAME SECONDS: the script is on stdin.
step() {
	set -- "$(find "$STAGE/steps" -type f | wc -l)" "$1" "$2"
	set -- $(($1)) "$2" "$3"
	cat >"$STAGE/steps/$1-$2"
	echo "steps=\"\${steps:+\$steps }$1:$2:$3:steps/$1-$2\"" >>"$STAGE/attempt"
}

stream() {
	(cd "$STAGE" && tar -cf - attempt env alive tmp steps lib descriptor "$@" launcher.sh)
}

boot() {
	env -i PATH="$LOGIN_PATH" HOME=/ sh -c "$(cat "$SCRIPTS/boot.sh")" deploy "$@"
}

# start [GENERATION [OFFSET]]: of the attempt that was made last. Output in out, control lines in err.
start() {
	STAGE=$T/stage/${1:-$GEN}
	stream | boot "$CTL" "${1:-$GEN}" "$(token_of "${1:-$GEN}")" - "${2:-0}" >out 2>err
}

# call VERB ARGUMENT…: the other verbs. Output in out, control lines in err.
call() {
	ca_verb=$1
	shift
	env -i PATH="$LOGIN_PATH" sh -s -- "$ca_verb" "$CTL" "$@" <"$SCRIPTS/launcher.sh" >out 2>err
}

# says PATTERN [FILE]: a control line matches the pattern (a basic regular expression after `deploy:`).
says() {
	grep -q "^deploy:$1" "${2:-err}" || die "no line deploy:$1 in: $(cat "${2:-err}")"
}

last_says() {
	tail -n 1 "${2:-err}" | grep -q "^deploy:$1" || die "the last line is not deploy:$1 but: $(cat "${2:-err}")"
}

attempt_folder() {
	A=$CTL/attempts/${1:-$GEN}
}

# begun GENERATION STEP: has that step begun (and its first process been recorded)?
begun() {
	grep -q "^$2 " "$CTL/attempts/$1/root"
}

supervisor_of() {
	read -r SUP _ <"$CTL/attempts/$1/started"
}

# is_gone PID: is it no more, or only waiting for its parent to notice?
is_gone() {
	[ ! -e "/proc/$1" ] || grep -q '^State:.[ZX]' "/proc/$1/status" || [ ! -e "/proc/$1" ]
}

gone() {
	is_gone "$1" || die "process $1 lives: $(tr '\000' ' ' <"/proc/$1/cmdline")"
}
