#!/bin/sh
# Runs every case under every shell: `run.sh [dash|bash|busybox|applets]…`. `applets` is busybox sh with nothing but
# busybox's applets (and flock) on its PATH. CASE=<name> runs one case. KEEP=1 keeps the folders.
# A case is a function `case_<name>` in cases/*.sh; it runs in a folder of its own and fails by `die` or a status.

HERE=$(cd "$(dirname "$0")" && pwd)
SH=$HERE/../../src/sh
. "$HERE/harness.sh"
for file in "$HERE"/cases/*.sh; do . "$file"; done

# `run.sh --one SHELL NAME`, in the environment that the loop below makes: one case, in a process with a time limit.
if [ "${1:-}" = --one ]; then
	run_case "$3"
	exit
fi

WORK=$(mktemp -d "${TMPDIR:-/tmp}/host sh.XXXXXX")
PASSED=0 FAILED=0 RUN=$$
trap '[ -n "${KEEP:-}" ] || rm -rf "$WORK"' EXIT
[ $# -gt 0 ] || set -- dash bash busybox applets

# A folder whose `sh` is the shell under test, and copies of the scripts that use it.
shell_folder() {
	mkdir -p "$WORK/$1/bin" "$WORK/$1/sh"
	BIN=$WORK/$1/bin
	case $1 in
	applets)
		for applet in $(busybox --list); do ln -sf "$(command -v busybox)" "$BIN/$applet"; done
		ln -sf "$(command -v flock)" "$BIN/flock"
		LOGIN_PATH=$BIN
		;;
	*)
		ln -sf "$(command -v "$1")" "$BIN/sh"
		LOGIN_PATH=$BIN:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
		;;
	esac
	cp -r "$SH/." "$WORK/$1/sh"
	cat /proc/sys/kernel/random/boot_id >"$WORK/$1/boot_id"
	sed -e "s|^STEP_PATH=.*|STEP_PATH='$LOGIN_PATH'|" -e "s|^BOOT_ID_FILE=.*|BOOT_ID_FILE='$WORK/$1/boot_id'|" \
		"$SH/launcher.sh" >"$WORK/$1/sh/launcher.sh"
	SCRIPTS=$WORK/$1/sh
}

# What a case has left running carries the case's folder in its environment.
clean_up() {
	for left in $(grep -lszF "$T" /proc/[0-9]*/environ); do
		left=${left#/proc/}
		[ "${left%/*}" = $$ ] || kill -s KILL "${left%/*}"
	done
} 2>/dev/null

export RUN WORK BIN LOGIN_PATH SCRIPTS T shell
for shell in "$@"; do
	shell_folder "$shell"
	for name in $(sed -n 's/^case_\([a-z0-9_]*\)() {.*/\1/p' "$HERE"/cases/*.sh); do
		[ -z "${CASE:-}" ] || [ "$CASE" = "$name" ] || continue
		T="$WORK/$shell/$name it's"
		mkdir -p "$T"
		timeout "${LIMIT:-120}" sh "$HERE/run.sh" --one "$shell" "$name" >"$WORK/output" 2>&1 </dev/null
		status=$?
		out=$(cat "$WORK/output")
		clean_up
		case $status in
		0) PASSED=$((PASSED + 1)) && echo "ok     $shell $name" ;;
		77) echo "skip   $shell $name: $(printf '%s\n' "$out" | tail -n 1)" ;;
		*)
			FAILED=$((FAILED + 1))
			echo "FAILED $shell $name"
			printf '%s\n' "$out" | tail -n 40 | sed 's/^/       | /'
			;;
		esac
	done
done
echo "$PASSED passed, $FAILED failed"
[ "$FAILED" -eq 0 ]
