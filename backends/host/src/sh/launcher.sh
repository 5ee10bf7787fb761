#!/bin/sh
# The launcher: starts, watches, finds again and ends the attempts of one service on one host.
# docs/host-contract.md is its contract. Called as
#
#     sh launcher.sh start CTL GENERATION TOKEN PACKAGE OFFSET HAVE INCOMING WAY MEMORY     (by boot.sh)
#     sh -s -- attach CTL GENERATION OFFSET                                      (fed on stdin, as are those below)
#     sh -s -- probe CTL GENERATION FENCE
#     sh -s -- kill CTL GENERATION GRACE_SECONDS
#     sh -s -- collect CTL GENERATION TOKEN OUTPUT OFFSET LIMIT
#     sh -s -- check CTL SECONDS
#     sh -s -- resolve CTL GENERATION STEP SECONDS
#     sh -s -- observe CTL
#     sh launcher.sh __supervise CTL GENERATION      (own session; runs the steps)
#     sh launcher.sh __ask CTL GENERATION STEP SECONDS PATH FOLDER     (own session; runs one read-only script once)
#
# POSIX sh. A process costs more than everything else here, so what a builtin can do is done by a builtin: the kernel's
# files are read with `read`, sizes come from /proc/self/fdinfo, and nothing is forked to find out the time.
# `start` goes on in the shell of boot.sh, which reads this text in. The words of the `attempt` file (token, release, steps …) are variables of this shell; everything else has other names.
# shellcheck disable=SC2015,SC2034,SC2154 # `a && b || fail` is meant so; variables come from and go to other files
#
# Descriptors: 3 the caller's stderr (supervisor, until it has started), 4 the log, 5 progress, 6 the log being read,
# 7 `alive` being read, 8 `alive` held open by the supervisor, 9 `lock`.

BOOT_ID_FILE=/proc/sys/kernel/random/boot_id
STEP_PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
KEEP_ATTEMPTS=20
PRUNE_SLACK=8
KILL_SECONDS=10
# How long after its end a run is taken for one that nobody watches.
OVERDUE_SECONDS=30
NL='
'

umask 077
LC_ALL=C
export LC_ALL

# ---------------------------------------------------------------------------------------------------------------------
# Words to the caller

# say WORD [KEY=VALUE]…: one control line. The values must be encoded.
say() {
	printf 'deploy:%s\n' "$*" >&2
}

# encode VALUE: leaves VALUE in ENCODED, percent-encoded where it holds a space, a `%` or a control character.
encode() {
	ENCODED=$1
	case $1 in
	*[[:cntrl:]\ %]*) ;;
	*) return 0 ;;
	esac
	ENCODED='' en_rest=$1
	while [ -n "$en_rest" ]; do
		en_tail=${en_rest#?}
		en_char=${en_rest%"$en_tail"}
		en_rest=$en_tail
		case $en_char in
		"$NL") ENCODED=$ENCODED%0A ;;
		[[:cntrl:]\ %]) ENCODED=$ENCODED$(printf '%%%02X' "'$en_char") ;;
		*) ENCODED=$ENCODED$en_char ;;
		esac
	done
}

# fail CODE MESSAGE: the call ends with an error; a full disk is called that whatever it broke.
fail() {
	if [ "$1" = not_writable ] && full "$CTL"; then set -- no_space "no space left in $CTL"; fi
	encode "$2"
	say error "code=$1" "message=$ENCODED"
	[ -z "${INCOMING:-}" ] || rm -rf "$INCOMING"
	exit 1
}

# full FOLDER: is its file system out of space or inodes?
full() {
	if fu_free=$(free_of -Pk "$1") && [ "$fu_free" -lt 64 ]; then return 0; fi
	fu_free=$(free_of -Pi "$1") && [ "$fu_free" -eq 0 ]
}

free_of() {
	df "$1" "$2" 2>/dev/null | {
		read -r _
		read -r _ fo_all _ fo_free _
		case ${fo_all:-x}${fo_free:-x} in
		0* | *[!0-9]*) exit 1 ;;
		esac
		echo "$fo_free"
	}
}

# ---------------------------------------------------------------------------------------------------------------------
# Time, processes, files

# uptime: leaves the centiseconds since boot in UP.
uptime() {
	read -r UP _ </proc/uptime
	UP=${UP%.*}${UP#*.}
	while :; do
		case $UP in
		0?*) UP=${UP#0} ;;
		*) break ;;
		esac
	done
}

# pause: a tenth of a second, or a second where `sleep` knows no fractions.
pause() {
	sleep 0.1 2>/dev/null || sleep 1
}

# durable PATH…: on the disk when it returns 0. An old `sync` that takes no names syncs everything, which is as good.
durable() {
	if command -v sync >/dev/null; then
		sync "$@"
	else
		fsync "$@"
	fi
}

# replace FILE LINE: FILE holds LINE, durably, or what it held before.
replace() {
	printf '%s\n' "$2" >"$1.new.$$" && durable "$1.new.$$" && mv -f "$1.new.$$" "$1" && durable "${1%/*}"
}

# stat_of PID: leaves state, parent, group, session and start time in ST_*; fails when there is no such process.
stat_of() {
	st_all=''
	{ while IFS= read -r st_line || [ -n "$st_line" ]; do st_all=$st_all$st_line; done <"/proc/$1/stat"; } 2>/dev/null
	[ -n "$st_all" ] || return 1
	ST_PID=${st_all%% *}
	st_name=${st_all#*\(}
	ST_NAME=${st_name%)*}
	# shellcheck disable=SC2086 # numbers and one letter, to be split
	set -- ${st_all##*) }
	ST_STATE=$1 ST_PARENT=$2 ST_GROUP=$3 ST_SESSION=$4
	shift 19
	ST_START=$1
}

# running PID START: is that process there and not a zombie? A zombie whose threads live is there.
running() {
	stat_of "$1" && [ "$ST_START" = "$2" ] || return 1
	case $ST_STATE in
	Z | X) set -- "/proc/$1/task"/* && [ $# -gt 1 ] ;;
	esac
}

# ---------------------------------------------------------------------------------------------------------------------
# Killing, with proof

# marked MARK: the files of the processes that have it in their environment.
marked() {
	grep -lszxF "$1" /proc/[0-9]*/environ 2>/dev/null
	[ $? -ge 126 ] || return 0
	# More processes than one call can be given the names of.
	for ma_digit in 0 1 2 3 4 5 6 7 8 9; do
		grep -lszxF "$1" /proc/*"$ma_digit"/environ 2>/dev/null
	done
}

# find_tree INDEX [PID START]: leaves in TREE, as ` PID:START PID:START `, every living process of a step: those that
# carry its mark in their environment, its process group and session, and the descendants of all of these. Those that
# a signal to the group does not reach are in OUTSIDE, too.
find_tree() {
	TREE=' ' OUTSIDE='' ft_in=' ' ft_out='' ft_group=${2:-}
	# A group's number may have gone to somebody else, but not while anything of ours is in it.
	if [ -n "$ft_group" ] && stat_of "$ft_group" && [ "$ST_START" != "$3" ]; then ft_group=''; fi
	ft_marked=" $(marked "DEPLOY_ATTEMPT=$token.$1" | {
		while IFS=/ read -r _ _ ft_pid _; do printf '%s ' "$ft_pid"; done
	})"
	for ft_dir in /proc/[0-9]*; do
		ft_pid=${ft_dir#/proc/}
		stat_of "$ft_pid" || continue
		ft_start=$ST_START
		case $ST_STATE in
		Z | X) running "$ft_pid" "$ft_start" || continue ;;
		esac
		if [ -n "$ft_group" ]; then
			case $ft_group in
			"$ST_PID" | "$ST_GROUP" | "$ST_SESSION") ft_marked="$ft_marked$ft_pid " ;;
			esac
		fi
		case $ft_marked in
		*" $ft_pid "*)
			TREE="$TREE$ft_pid:$ft_start "
			ft_in="$ft_in$ft_pid "
			[ "$ST_GROUP" = "$ft_group" ] || OUTSIDE="$OUTSIDE $ft_pid:$ft_start"
			;;
		*) ft_out="$ft_out $ft_pid:$ft_start:$ST_PARENT" ;;
		esac
	done
	ft_more=1
	while [ -n "$ft_more" ]; do
		ft_more='' ft_rest=''
		for ft_one in $ft_out; do
			case $ft_in in
			*" ${ft_one##*:} "*)
				TREE="$TREE${ft_one%:*} "
				OUTSIDE="$OUTSIDE ${ft_one%:*}"
				ft_in="$ft_in${ft_one%%:*} "
				ft_more=1
				;;
			*) ft_rest="$ft_rest $ft_one" ;;
			esac
		done
		ft_out=$ft_rest
	done
	[ "$TREE" != ' ' ]
}

# signal_tree SIGNAL: once to each process of TREE, to the group at one blow.
signal_tree() {
	[ -z "$ft_group" ] || kill -s "$1" -- "-$ft_group" 2>/dev/null
	for sg_one in $OUTSIDE; do
		running "${sg_one%:*}" "${sg_one#*:}" && kill -s "$1" "${sg_one%:*}" 2>/dev/null
	done
}

# tree_left: is any process of TREE still there?
tree_left() {
	for tl_one in $TREE; do
		running "${tl_one%:*}" "${tl_one#*:}" && return 0
	done
	return 1
}

# kill_tree GRACE_SECONDS INDEX [PID START]: TERM, wait, KILL, look again until nothing is found. Fails with SURVIVORS.
kill_tree() {
	SURVIVORS='' kt_grace=$1
	shift
	find_tree "$@" || return 0
	signal_tree TERM
	uptime
	kt_end=$((UP + kt_grace * 100))
	while uptime && [ "$UP" -lt "$kt_end" ]; do
		pause
		tree_left && continue
		find_tree "$@" || return 0
		signal_tree TERM
	done
	uptime
	kt_end=$((UP + KILL_SECONDS * 100))
	while find_tree "$@"; do
		signal_tree KILL
		uptime
		if [ "$UP" -ge "$kt_end" ]; then
			find_tree "$@" || return 0
			for kt_one in $TREE; do
				stat_of "${kt_one%:*}" || continue
				encode "$ST_NAME"
				SURVIVORS="${SURVIVORS:+$SURVIVORS,}$ST_PID:$ENCODED"
				[ ${#SURVIVORS} -lt 1000 ] || break
			done
			return 1
		fi
		tree_left && pause
	done
	return 0
}

# ---------------------------------------------------------------------------------------------------------------------
# The supervisor. Its working folder is the attempt's.

# note FILE RUN WORD…: one line, over the one that was there, into the space kept for it since the start: a full disk does
# not keep it from being written. The run stands at both ends, so that half of one line and half of another is none.
note() {
	no_file=$1 no_run=$2
	shift 2
	printf '%-200s\n' "$no_run $* $no_run" 1<>"./$no_file"
}

# claim RUN WORD: exactly one of the supervisor, the watchdog and a killer says how a run of a step ended.
# Leaves the word that stands in CLAIM.
claim() {
	set -C
	if { printf '' >"verdict.$1"; } 2>/dev/null || [ ! -e "verdict.$1" ]; then
		CLAIM=$2
		note verdict "$1" "$2"
	else
		CLAIM=''
	fi
	set +C
	cl_tries=0
	while [ -z "$CLAIM" ]; do
		{ read -r cl_run cl_word cl_same <verdict; } 2>/dev/null
		if [ "$cl_run/$cl_same" = "$1/$1" ]; then
			CLAIM=$cl_word
		elif [ "$cl_tries" -lt 20 ]; then
			cl_tries=$((cl_tries + 1))
			pause
		else
			CLAIM=$2
		fi
	done
	[ "$CLAIM" = "$2" ]
}

# root_of RUN: leaves `PID START` of a run's first process in ROOT.
root_of() {
	ROOT=''
	{ read -r ro_run ro_pid ro_start ro_same <root; } 2>/dev/null
	if [ "$ro_run/$ro_same" = "$1/$1" ]; then ROOT="$ro_pid $ro_start"; fi
}

# now_run: leaves the run under way in NOW_RUN, NOW_INDEX, NOW_END and NOW_NAME, or nothing in NOW_RUN.
now_run() {
	NOW_RUN=''
	{ read -r NOW_RUN NOW_INDEX NOW_END NOW_NAME no_same <now; } 2>/dev/null
	[ "$NOW_RUN" = "$no_same" ] || NOW_RUN=''
}

# end_from_outside RUN INDEX WORD GRACE: ends a run that has not ended by itself.
end_from_outside() {
	# Whoever claimed it before us may be gone: the tree is ended all the same.
	claim "$1" "$3" || [ "$CLAIM" != ended ] || return 0
	root_of "$1"
	# shellcheck disable=SC2086 # two words
	kill_tree "$4" "$2" $ROOT
}

# log_size: leaves the log's length, by what was written through descriptor 4, in LOG_SIZE.
log_size() {
	read -r _ LOG_SIZE </proc/self/fdinfo/4
}

# watch: ends runs that last too long and runs of steps that print too much. Forked once an attempt.
watch() {
	wd_tick=1 wd_ticks=0 wd_seen=0
	while sleep "$wd_tick"; do
		running $$ "$SELF_START" || return
		wd_tick=1 wd_ticks=$((wd_ticks + 1))
		# Who has started the attempt and waits at the pipe goes over to following its log.
		if [ "$wd_ticks" -eq 1 ] && [ -p alive ]; then echo long 1<>alive; fi
		now_run
		[ -n "$NOW_RUN" ] || continue
		log_size
		[ $((wd_ticks % 16)) -ne 0 ] || LOG_SIZE=$(wc -c <log)
		uptime
		if [ "$UP" -ge "$NOW_END" ]; then
			wd_word=timed_out
		elif [ "$((LOG_SIZE))" -gt "$log_limit" ]; then
			wd_word=log_limit
		else
			if [ "$wd_ticks" -gt 10 ] && [ $((LOG_SIZE - wd_seen)) -lt 1000000 ] && [ $((NOW_END - UP)) -gt 200 ]; then
				wd_tick=2
			fi
			wd_seen=$LOG_SIZE
			continue
		fi
		end_from_outside "$NOW_RUN" "$NOW_INDEX" "$wd_word" "$kill_grace" && continue
		# The supervisor waits for a process that nothing ends: the record is ours to write.
		root_of "$NOW_RUN"
		# shellcheck disable=SC2086 # two words
		if [ -n "$ROOT" ] && running $ROOT; then
			index=$NOW_INDEX name=$NOW_NAME
			(finish kill_failed 137 "$wd_word")
			kill -s KILL $$
		fi
	done
}

# stand_in: does for a supervisor that is there what its watchdog should have done, if that was killed or stopped.
stand_in() (
	# shellcheck source=/dev/null
	. "$ATTEMPT/attempt" && cd "$ATTEMPT" || return
	now_run
	uptime
	if [ -n "$NOW_RUN" ]; then
		[ "$UP" -ge $((NOW_END + (kill_grace + KILL_SECONDS + OVERDUE_SECONDS) * 100)) ] || return
		end_from_outside "$NOW_RUN" "$NOW_INDEX" timed_out "$kill_grace"
	fi
	let_go_on
)

# let_go_on: a supervisor that somebody has stopped can end nothing, and record nothing.
let_go_on() {
	kill -s CONT -- "-$SUPERVISOR" 2>/dev/null
}

# account: leaves HOME, USER and SHELL of the account in ACCOUNT_*.
account() {
	while read -r ac_key _ ac_uid _; do
		[ "$ac_key" != Uid: ] || break
	done </proc/self/status
	ac_lines=0 ACCOUNT_NAME=''
	if [ -r /etc/passwd ]; then
		while IFS=: read -r ac_name _ ac_id _ _ ac_home ac_shell; do
			if [ "$ac_id" = "$ac_uid" ]; then
				ACCOUNT_NAME=$ac_name ACCOUNT_HOME=$ac_home ACCOUNT_SHELL=$ac_shell
				return
			fi
			ac_lines=$((ac_lines + 1))
			[ "$ac_lines" -lt 200 ] || break
		done </etc/passwd
	fi
	IFS=: read -r ACCOUNT_NAME _ _ _ _ ACCOUNT_HOME ACCOUNT_SHELL <<-EOF
		$(getent passwd "$ac_uid" 2>/dev/null)
	EOF
	if [ -z "$ACCOUNT_NAME" ]; then
		ACCOUNT_NAME=$(id -un 2>/dev/null) || ACCOUNT_NAME=$ac_uid
		ACCOUNT_HOME=/ ACCOUNT_SHELL=/bin/sh
	fi
}

# step_environment: called in the child that becomes the step; sets exactly the contract's variables.
step_environment() {
	set -a
	# shellcheck source=/dev/null
	[ ! -e "$ATTEMPT/env" ] || . "$ATTEMPT/env"
	DEPLOY_SERVICE=$service DEPLOY_RELEASE=$release DEPLOY_VERSION=$version
	DEPLOY_PREVIOUS_RELEASE=$previous_release DEPLOY_PREVIOUS_VERSION=$previous_version
	DEPLOY_DIRECTION=$direction DEPLOY_HOST=$host DEPLOY_STEP=$name DEPLOY_STEP_KEY=$step_key_prefix.$name
	DEPLOY_GENERATION=$generation DEPLOY_PATH=$deploy_path DEPLOY_SHARED=$deploy_path/shared
	DEPLOY_RELEASE_DIR='' DEPLOY_PACKAGE='' DEPLOY_PACKAGE_DIGEST=$package_digest
	[ -z "$release" ] || DEPLOY_RELEASE_DIR=$deploy_path/releases/$release
	if [ -n "$package_digest" ]; then
		DEPLOY_PACKAGE=$CTL/packages/$package_digest.tar.gz
		[ -e "$DEPLOY_PACKAGE" ] || [ ! -e "${DEPLOY_PACKAGE%.tar.gz}.tree.gz" ] || DEPLOY_PACKAGE=${DEPLOY_PACKAGE%.tar.gz}.tree.gz
	fi
	DEPLOY_DESCRIPTOR_DIR=$ATTEMPT/descriptor DEPLOY_LIB=$ATTEMPT/lib/deployutils.sh
	DEPLOY_OUTPUT=$ATTEMPT/output
	DEPLOY_ATTEMPT=$token.$index DEPLOY_KEEPS_RELEASE=${keeps_release:-yes}
	set +a
	unset LC_ALL PWD OLDPWD SHLVL
}

# run_step RUN SECONDS PATH: one run of the step `index` `name`, to its end. Leaves its code in CODE, and in CLAIM
# `ended`, `timed_out`, `log_limit` or `killed`.
run_step() {
	uptime
	RUN_END=$((UP + $2 * 100))
	note now "$1" "$index" "$RUN_END" "$name"
	# In the foreground: a shell makes what it starts with `&` ignore SIGINT for good.
	(
		trap - HUP
		read -r rs_line </proc/self/stat
		stat_of "${rs_line%% *}"
		note root "$1" "$ST_PID" "$ST_START"
		rs_first=''
		{ IFS= read -r rs_first <"$3"; } 2>/dev/null
		set -- "$3"
		step_environment
		umask 022
		# shellcheck disable=SC3045 # every sh there is has it
		ulimit -c 0
		cd "$deploy_path" || exit 127
		case $rs_first in
		'#!'*) [ ! -x "$1" ] || exec setsid "$1" ;;
		esac
		exec setsid sh "$1"
	) >&4 2>&1 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&-
	CODE=$?
	claim "$1" ended
	printf '%200s\n' '' 1<>./now
	root_of "$1"
}

# now_ms: leaves the milliseconds since boot in NOW.
now_ms() {
	uptime
	NOW=$((UP * 10))
}

# finish OUTCOME CODE REASON: writes the exit record into the space kept for it since the start, and ends the supervisor.
# `ended` only saves others the reading: when it is lost, or there is no room for it, the record tells as much.
finish() {
	now_ms
	fi_length=0
	[ ! -s log ] || fi_length=$(($(wc -c <log)))
	encode "$name"
	set -- "exit token=$token generation=$generation outcome=$1 step=$index name=$ENCODED code=$2 reason=$3 log_length=$fi_length duration_ms=$((NOW - BEGAN))${SURVIVORS:+ survivors=$SURVIVORS}"
	[ -z "${WATCHDOG:-}" ] || kill "$WATCHDOG" 2>/dev/null
	printf '%s\n' "$1 ." 1<>./exit
	durable log progress exit && printf '' >ended
	exit 0
}

# end_step OUTCOME REASON: a run that did not succeed: nothing of it may be left.
end_step() {
	# shellcheck disable=SC2086 # two words
	kill_tree "$kill_grace" "$index" $ROOT || set -- kill_failed "$2"
	now_ms
	echo "end $index $name $CODE $NOW" >&5
	finish "$1" "$CODE" "$2"
}

# end_run: what a run that did not pass means for the attempt, whatever the step.
end_run() {
	case $CLAIM in
	killed) end_step killed kill_request ;;
	log_limit) end_step failed log_limit ;;
	esac
}

# run_verify RUN SECONDS PATH: runs `verify` once a second until it has passed for `min_healthy` seconds on end.
run_verify() {
	uptime
	rv_deadline=$((UP + healthy_deadline * 100)) rv_since='' rv_run=0
	while :; do
		uptime
		rv_limit=$2
		rv_left=$(((rv_deadline - UP + 99) / 100))
		[ "$rv_left" -ge 1 ] || rv_left=1
		[ "$rv_limit" -le "$rv_left" ] || rv_limit=$rv_left
		rv_began=$UP rv_run=$((rv_run + 1))
		run_step "$1.$rv_run" "$rv_limit" "$3"
		end_run
		uptime
		if [ "$CLAIM" = ended ] && [ "$CODE" -eq 0 ]; then
			: "${rv_since:=$UP}"
			[ $((UP - rv_since)) -lt $((min_healthy * 100)) ] || return 0
		else
			rv_since=''
			# shellcheck disable=SC2086 # two words
			kill_tree "$kill_grace" "$index" $ROOT || end_step kill_failed unhealthy
			uptime
		fi
		[ "$UP" -lt "$rv_deadline" ] || end_step timed_out healthy_deadline
		[ ! -e kill ] || end_step killed kill_request
		# Runs begin a second apart, whatever they take.
		[ $((UP - rv_began)) -ge 100 ] || sleep 1
		[ $((rv_run % 32)) -ne 0 ] || rm -f "verdict.$1."*
	done
}

# give_up CODE MESSAGE: nothing has been run and nothing will be. Says so to the caller that is starting us.
give_up() {
	if full .; then set -- no_space "no space left in $CTL"; fi
	encode "$2"
	: >progress
	: >started
	trap '' PIPE
	say error "code=$1" "message=$ENCODED" 2>&3
	exit 1
}

supervise() {
	exec >/dev/null 2>supervisor.log
	trap '' HUP
	# shellcheck source=/dev/null
	. ./attempt
	read -r BOOT <"$BOOT_ID_FILE"
	now_ms
	BEGAN=$NOW ROOT='' SURVIVORS='' WATCHDOG='' index=0 name=-
	stat_of $$
	SELF_START=$ST_START
	exec 4>>log 5>>progress || give_up not_writable "cannot write the attempt"
	echo "$$ $ST_START $BOOT" >started || give_up not_writable "cannot write the attempt"
	sv_first=1 sv_again='' sv_again_before=''
	for sv_step in $steps; do
		index=${sv_step%%:*} sv_rest=${sv_step#*:}
		name=${sv_rest%%:*} sv_rest=${sv_rest#*:}
		sv_seconds=${sv_rest%%:*} sv_path=${sv_rest#*:}
		CODE=0 CLAIM=ended
		now_ms
		sv_again_before=$sv_again
		case " ${rerunnable:-} " in
		*" $name "*) sv_again=1 ;;
		*) sv_again='' ;;
		esac
		if [ -n "$sv_first" ]; then
			# Both lines and the folder's own name go to the disk at once, before anything runs.
			echo "begin $index $name $NOW" >&5 && durable started progress exit . .. ||
				give_up not_writable "cannot write the attempt durably"
			exec 9>&-
			trap '' PIPE
			say started "pid=$$" "boot=$BOOT" 2>&3
			trap - PIPE
			exec 3>&-
			account
			HOME=$ACCOUNT_HOME USER=$ACCOUNT_NAME LOGNAME=$ACCOUNT_NAME SHELL=${ACCOUNT_SHELL:-/bin/sh}
			export HOME USER LOGNAME SHELL
			# Closed with `exec`: to a redirection of the call itself, dash would keep a copy.
			(exec 8>&- && watch) &
			WATCHDOG=$! sv_first=''
		elif [ -e kill ]; then
			finish killed 0 kill_request
		else
			echo "begin $index $name $NOW" >&5 || finish failed 0 not_durable
			# Only a step that must not be run twice has to be known to have begun, or to have ended, when the host goes down.
			[ -n "$sv_again" ] && [ -n "$sv_again_before" ] || durable progress || finish failed 0 not_durable
		fi
		if [ "$name" = verify ]; then
			run_verify "$index" "$sv_seconds" "$ATTEMPT/$sv_path"
		else
			run_step "$index" "$sv_seconds" "$ATTEMPT/$sv_path"
			end_run
			[ "$CLAIM" != timed_out ] || end_step timed_out step_timeout
			[ "$CODE" -eq 0 ] || end_step failed exit_code
		fi
		now_ms
		echo "end $index $name $CODE $NOW" >&5
	done
	finish succeeded 0 -
}

# ask STEP SECONDS PATH FOLDER: runs a read-only script of the attempt in the working folder once; its state, output and
# code are in FOLDER.
ask() {
	exec >/dev/null 2>&1
	trap '' HUP
	# shellcheck source=/dev/null
	. ./attempt
	ROOT='' SURVIVORS='' index=ask name=$1
	account
	HOME=$ACCOUNT_HOME USER=$ACCOUNT_NAME LOGNAME=$ACCOUNT_NAME SHELL=${ACCOUNT_SHELL:-/bin/sh}
	export HOME USER LOGNAME SHELL
	cd "$4" || return
	exec 4>>log
	stat_of $$
	SELF_START=$ST_START
	watch &
	WATCHDOG=$!
	run_step ask "$2" "$ATTEMPT/$3"
	kill "$WATCHDOG" 2>/dev/null
	[ "$CLAIM" != timed_out ] || CODE=124
	if [ "$CLAIM" != ended ] || [ "$CODE" -ne 0 ]; then
		# shellcheck disable=SC2086 # two words
		kill_tree "$kill_grace" ask $ROOT
	fi
	echo "$CODE" >code
}

# ---------------------------------------------------------------------------------------------------------------------
# What there is: attempts, the fence, verdicts

# lock: only one launcher at a time goes on from here.
lock() {
	# A shell may end when `exec` cannot open a file, so it is tried before.
	{ printf '' >>"$CTL/lock"; } 2>/dev/null || fail not_writable "cannot open $CTL/lock"
	exec 9>>"$CTL/lock"
	flock 9 || fail not_writable "cannot lock $CTL/lock"
}

unlock() {
	exec 9>&-
}

# control_folder: makes it where there is none, because a fence must be raised even before the first attempt.
control_folder() {
	[ -d "$CTL/attempts" ] && [ -d "$CTL/packages" ] && [ -w "$CTL" ] && return
	(umask 022 && mkdir -p "${CTL%/*}") 2>/dev/null
	mkdir -p "$CTL/attempts" "$CTL/packages" 2>/dev/null || fail not_writable "cannot make $CTL"
}

# number VALUE: is it one?
number() {
	case $1 in
	'' | *[!0-9]*) return 1 ;;
	esac
}

# read_fence: leaves in FENCE the newest generation seen: what `fence` says or the newest attempt's folder, which is how
# a start raises the fence in the same rename that makes the attempt. Leaves the newest attempt in NEWEST.
read_fence() {
	FENCE=0 NEWEST=''
	if [ -e "$CTL/fence" ]; then
		read -r FENCE <"$CTL/fence"
		number "$FENCE" || fail corrupt "the fence is not a number"
	fi
	for rf_dir in "$CTL/attempts"/*; do
		rf_one=${rf_dir##*/}
		number "$rf_one" || continue
		[ -n "$NEWEST" ] && [ "$rf_one" -lt "$NEWEST" ] || NEWEST=$rf_one
		[ "$rf_one" -le "$FENCE" ] || FENCE=$rf_one
	done
}

raise_fence() {
	read_fence
	[ "$1" -gt "$FENCE" ] || return 0
	replace "$CTL/fence" "$1" 2>/dev/null || fail not_writable "cannot write the fence"
	FENCE=$1
}

# last_begun: leaves the step of the last `begin` line in INDEX and NAME; fails when there is none.
last_begun() {
	INDEX='' NAME=''
	while read -r lb_word lb_index lb_name lb_time; do
		[ "$lb_word" = begin ] && [ -n "$lb_time" ] && INDEX=$lb_index NAME=$lb_name
	done <"$ATTEMPT/progress"
	[ -n "$INDEX" ]
} 2>/dev/null

# read_exit: leaves the exit record in RECORD; fails when there is none, or not a whole one. Without `ended` it may not be
# on the disk yet: then it counts only when the supervisor is gone.
read_exit() {
	{ IFS= read -r RECORD <"$ATTEMPT/exit"; } 2>/dev/null || return 1
	case $RECORD in
	"exit token="*" log_length="*" duration_ms="*" .") RECORD=${RECORD%" ."} ;;
	*) return 1 ;;
	esac
}

# started: does the attempt have a whole `started`? Leaves its process, when that began, and the boot in SUPERVISOR*.
started() {
	SUPERVISOR='' SUPERVISOR_START='' SUPERVISOR_BOOT=''
	{ read -r SUPERVISOR SUPERVISOR_START SUPERVISOR_BOOT <"$ATTEMPT/started"; } 2>/dev/null && [ -n "$SUPERVISOR_BOOT" ]
}

# attempt GENERATION: the one that what follows is about.
attempt() {
	GENERATION=$1 ATTEMPT=$CTL/attempts/$1
}

# alive: is the supervisor that `started` has found there? By its number, its start and the boot: no other process has all three.
alive() {
	read -r al_boot <"$BOOT_ID_FILE"
	[ "$al_boot" = "$SUPERVISOR_BOOT" ] && running "$SUPERVISOR" "$SUPERVISOR_START"
}

# verdict: the recovery table. Leaves in VERDICT `running`, `exit`, `never_started` or `died`; in the last case nothing
# of the attempt is left (SURVIVORS, if that could not be had). Needs `lock`, but where the attempt has an exit record.
verdict() {
	SURVIVORS=''
	if [ -e "$ATTEMPT/ended" ] && read_exit; then VERDICT="exit" && return; fi
	if ! started; then VERDICT=never_started && return; fi
	if alive; then VERDICT=running && return; fi
	if read_exit; then VERDICT="exit" && return; fi
	if [ "$al_boot" != "$SUPERVISOR_BOOT" ]; then
		last_begun || INDEX=0 NAME=-
		VERDICT=died REASON=rebooted
	elif last_begun; then
		VERDICT=died REASON=supervisor_lost
		# shellcheck source=/dev/null
		. "$ATTEMPT/attempt"
		ROOT=$(cd "$ATTEMPT" && now_run && root_of "${NOW_RUN:-$INDEX}" && echo "$ROOT")
		# shellcheck disable=SC2086 # two words
		kill_tree "$kill_grace" "$INDEX" $ROOT
	else
		VERDICT=never_started
	fi
}

say_verdict() {
	case $VERDICT in
	exit) say "$RECORD" ;;
	died)
		encode "$NAME"
		say died "reason=$REASON" "step=$INDEX" "name=$ENCODED${SURVIVORS:+ survivors=$SURVIVORS}"
		;;
	running)
		last_begun || INDEX=0 NAME=-
		encode "$NAME"
		say running "generation=$GENERATION" "pid=$SUPERVISOR" "step=$INDEX" "name=$ENCODED"
		;;
	never_started) say never_started ;;
	esac
}

# ---------------------------------------------------------------------------------------------------------------------
# attach

# print_log FROM LENGTH: the bytes of the log from FROM up to LENGTH.
print_log() {
	[ "$1" -lt "$2" ] || return 0
	if [ "$1" -eq 0 ]; then
		head -c "$2" "$ATTEMPT/log"
	else
		tail -c "+$(($1 + 1))" "$ATTEMPT/log" | head -c "$(($2 - $1))"
	fi
}

# say_steps: the `begin` lines on stdin, but the first STEPS_SAID ones, as control lines; the rest are counted.
say_steps() {
	ss_seen=0
	while read -r ss_word ss_index ss_name ss_time; do
		[ "$ss_word" = begin ] && [ -n "$ss_time" ] || continue
		ss_seen=$((ss_seen + 1))
		[ "$ss_seen" -gt "$STEPS_SAID" ] || continue
		STEPS_SAID=$ss_seen
		say step "index=$ss_index" "name=$ss_name"
	done
}

# follow OFFSET [FRESH]: prints the log while the supervisor runs and says how the attempt ended. FRESH: we have started it
# and have its pipe open. So a short attempt costs no process here, and one when it has printed something.
follow() {
	fl_offset=$1 STEPS_SAID=0
	if [ -n "${2:-}" ]; then
		# Nothing to read any more: it has ended. A line: it has become a long one.
		if read -r _ <&7; then started && stream_log; fi
		exec 7<&-
	elif alive; then
		stream_log
	fi
	if read_exit; then
		VERDICT="exit"
	elif [ ! -d "$ATTEMPT" ]; then
		# Somebody has removed it. The caller knows that it was there.
		VERDICT=never_started
	else
		lock
		verdict
		unlock
	fi
	if [ -n "$fl_offset" ] && [ "$VERDICT" != never_started ]; then
		if [ "$VERDICT" = exit ]; then
			fl_length=${RECORD#* log_length=}
			fl_length=${fl_length%% *}
		else
			fl_length=$(($(wc -c <"$ATTEMPT/log")))
		fi
		say_steps <"$ATTEMPT/progress"
		print_log "$fl_offset" "$fl_length" || exit 1
	fi
	say_verdict
}

# stream_log: prints the log from fl_offset on while the supervisor runs. Leaves in fl_offset where the rest begins, or
# nothing when there is none.
stream_log() {
	if [ "$fl_offset" -gt "$(wc -c <"$ATTEMPT/log")" ] || ! tail -c 0 --pid=1 /dev/null 2>/dev/null; then
		stream_by_steps
		return
	fi
	# Both end when the supervisor has ended and they have printed everything.
	tail -n +1 -s 0.3 "--pid=$SUPERVISOR" -f "$ATTEMPT/progress" | say_steps &
	sl_steps=$!
	tail -c "+$((fl_offset + 1))" -s 0.3 "--pid=$SUPERVISOR" -f "$ATTEMPT/log" || exit 1
	fl_offset='' STEPS_SAID=1000
	wait "$sl_steps"
}

# stream_by_steps: the same without a `tail` that can wait for a process. The place is kept by the kernel: descriptor 6
# is shared with each `cat`, so no byte is lost or printed twice.
stream_by_steps() {
	exec 6<"$ATTEMPT/log"
	dd bs=1 count=0 "skip=$fl_offset" <&6 2>/dev/null
	while alive; do
		say_steps <"$ATTEMPT/progress"
		cat <&6 || exit 1
		! alive || sleep 1
	done
	read -r _ fl_offset </proc/$$/fdinfo/6
	exec 6<&-
}

verb_attach() {
	attempt "$1"
	if ! started; then
		# A start may be under way: it holds the lock until `started` is on the disk.
		[ ! -d "$ATTEMPT" ] || lock
		if ! started; then
			say never_started
			return
		fi
		unlock
	fi
	if alive; then
		stand_in
		say attached state=running
	else
		say attached state=finished
	fi
	follow "$2"
}

# ---------------------------------------------------------------------------------------------------------------------
# start

# package DIGEST HAVE WAY MEMORY: makes the package whole from what was on the host and what came. What goes on from here has just
# been compared with its digest, also where it has lain on the host for a while: nothing has to be durable for that.
# WAY: `tree`, the tar in the package is here; `patch`, a patch makes that of the package before it; else the package itself
# comes, and WAY says why no patch does. MEMORY is what a patch takes, in KiB. NOTE is what the attempt's log begins with.
package() {
	pk_tree=$CTL/packages/$1.tree.gz NOTE=''
	pk_file=$CTL/packages/$1.tar.gz pk_digest=$1 pk_whole=$package_size pk_code=bad_digest
	case $3 in
	tree)
		is_tree "$pk_tree" && return
		rm -f "$pk_tree"
		fail bad_digest "the package is not what its digest says"
		;;
	patch)
		pk_file=$CTL/packages/$patch_digest.patch pk_digest=$patch_digest pk_whole=$patch_size pk_code=bad_patch
		arrive "$2"
		apply "$4"
		NOTE="the package came as a patch of $patch_size bytes upon sha256 $patch_base$NL"
		;;
	*)
		arrive "$2"
		[ -z "$3" ] || NOTE="the package came whole: $3$NL"
		;;
	esac
}

# arrive HAVE: makes pk_file whole.
arrive() {
	pk_part=$pk_file.part pk_chunk=$INCOMING/package.chunk
	if [ -e "$pk_file" ]; then
		[ ! -s "$pk_chunk" ] || rm -f "$pk_chunk"
		compare "$pk_file"
	elif [ "$1" -eq 0 ] && [ ! -e "$pk_part" ]; then
		# It came at one go, and nobody else sees it before it is right.
		[ -e "$pk_chunk" ] || fail bad_stream "no package came"
		compare "$pk_chunk"
		mv -f "$pk_chunk" "$pk_file" || fail not_writable "cannot write the package"
	else
		put_together "$1"
	fi
}

# put_together HAVE: what comes in pieces.
put_together() {
	# Not under `lock`: a digest over gigabytes must not hold up a probe.
	exec 9>>"$CTL/packages/lock"
	flock 9
	if [ ! -e "$pk_file" ]; then
		pk_size=0
		[ ! -e "$pk_part" ] || pk_size=$(($(wc -c <"$pk_part")))
		if [ -e "$pk_chunk" ] && [ "$pk_size" -eq 0 ] && [ "$1" -eq 0 ]; then
			mv -f "$pk_chunk" "$pk_part"
		elif [ -s "$pk_chunk" ] && [ "$pk_size" -ge "$1" ]; then
			# Somebody else may have brought a piece of it meanwhile: the same bytes, so ours go on behind them.
			tail -c "+$((pk_size - $1 + 1))" "$pk_chunk" >>"$pk_part" || fail not_writable "cannot write the package"
		fi
		[ -e "$pk_part" ] || fail bad_stream "no package came"
		compare "$pk_part"
		mv -f "$pk_part" "$pk_file" || fail not_writable "cannot write the package"
	fi
	rm -f "$pk_chunk"
	exec 9>&-
}

# compare FILE: is FILE what was to come? It goes if it never can be.
compare() {
	cp_sum=$(sha256sum <"$1")
	[ "${cp_sum%% *}" != "$pk_digest" ] || return 0
	cp_size=$(($(wc -c <"$1")))
	[ "$cp_size" -ge "$pk_whole" ] || [ "$1" = "$pk_file" ] ||
		fail bad_stream "the package has $cp_size of $pk_whole bytes"
	rm -f "$1"
	fail "$pk_code" "the package is not what its digest says"
}

# is_tree FILE: is the package's tar in FILE, and all of FILE as gzip wrote it?
is_tree() {
	it_sum=$({ gzip -dc <"$1" || echo bad; } 2>/dev/null | sha256sum)
	[ "${it_sum%% *}" = "$package_tree" ]
}

# apply MEMORY: makes the package's tar of the package before it and the patch in pk_file. It stays compressed, as the package would have
# been. Whatever keeps it from coming out right, the tar's digest says so; then the whole package is to come.
apply() {
	ap_base=$CTL/packages/$patch_base.tar.gz ap_tar=$INCOMING/base.tar ap_new=$INCOMING/tree.gz ap_said=$INCOMING/said
	[ -e "$ap_base" ] || ap_base=$CTL/packages/$patch_base.tree.gz
	# Where memory runs out after all, the kernel is to end this, and not what the host is there for.
	(
		{ echo 1000 >/proc/self/oom_score_adj; } 2>/dev/null
		tar_of "$ap_base" >"$ap_tar" && has_memory "$1" &&
			zstd -dcq --long=29 "--patch-from=$ap_tar" "$pk_file" | gzip -1 >"$ap_new"
	) 2>"$ap_said"
	rm -f "$ap_tar"
	if is_tree "$ap_new"; then
		mv -f "$ap_new" "$pk_tree" || fail not_writable "cannot write the package"
		rm -f "$pk_file" "$ap_said"
		return
	fi
	ap_why=''
	{ IFS= read -r ap_why <"$ap_said"; } 2>/dev/null
	rm -f "$pk_file"
	fail bad_patch "a patch did not fit the package before it${ap_why:+ ($ap_why)}"
}

# has_memory KIB: has the host so much? It had when the patch was offered, which may be long ago.
has_memory() {
	while read -r hm_key hm_free _ && [ "$hm_key" != MemAvailable: ]; do :; done </proc/meminfo
	[ "${hm_free:-0}" -ge "$1" ] || {
		echo "there is too little memory here by now" >&2
		return 1
	}
}

# tar_of FILE: prints the tar in a package, by whatever it is compressed.
tar_of() {
	case $(od -An -tx1 -N2 "$1" | tr -d ' ') in
	1f8b) gzip -dc <"$1" ;;
	28b5) zstd -dcq <"$1" ;;
	*) cat <"$1" ;;
	esac
}

# others GENERATION: no other attempt of the service may be alive, and of one that died nothing may be left.
others() {
	for ot_dir in "$CTL/attempts"/*; do
		[ ! -e "$ot_dir/ended" ] && [ -e "$ot_dir/started" ] && [ "${ot_dir##*/}" != "$1" ] || continue
		attempt "${ot_dir##*/}"
		verdict
		if [ "$VERDICT" = running ] || [ -n "$SURVIVORS" ]; then
			say busy "generation=$GENERATION${SURVIVORS:+ survivors=$SURVIVORS}"
			return 1
		fi
	done
}

# prune: the newest attempts stay, and the packages they name. It runs rarely: there is some slack.
prune() {
	set -- "$CTL/attempts"/*
	[ $# -gt $((KEEP_ATTEMPTS + PRUNE_SLACK)) ] || return 0
	for pr_one in $(for pr_dir in "$@"; do echo "${pr_dir##*/}"; done | sort -rn | tail -n "+$((KEEP_ATTEMPTS + 1))"); do
		number "$pr_one" || continue
		attempt "$pr_one"
		if [ ! -e "$ATTEMPT/ended" ] && started && alive; then continue; fi
		rm -rf "$ATTEMPT"
	done
	for pr_one in "$CTL/packages"/*.tar.gz "$CTL/packages"/*.tree.gz; do
		pr_digest=${pr_one##*/}
		grep -qsF "${pr_digest%%.*}" "$CTL/attempts"/*/attempt "$CTL"/incoming.*/attempt || rm -f "$pr_one"
	done
	find "$CTL/packages" \( -name '*.part' -o -name '*.patch' \) -mtime +7 -exec rm -f {} + 2>/dev/null
}

verb_start() {
	st_generation=$1 st_token=$2 st_package=$3 st_offset=$4 st_have=$5 INCOMING=$6 NOTE=''
	# shellcheck source=/dev/null
	[ -r "$INCOMING/attempt" ] && . "$INCOMING/attempt" || fail bad_stream "no attempt came"
	[ "$token" = "$st_token" ] && [ "$generation" = "$st_generation" ] || fail bad_stream "the attempt is another one"
	control_folder
	[ "$st_package" = - ] || package "$st_package" "$st_have" "$7" "$8"
	lock
	attempt "$st_generation"
	if [ -e "$ATTEMPT" ]; then
		if started || read_exit; then
			unlock
			rm -rf "$INCOMING"
			INCOMING=''
			verb_attach "$st_generation" "$st_offset"
			return
		fi
		# Its launcher died before anything ran.
		rm -rf "$ATTEMPT"
		[ ! -e "$ATTEMPT" ] || fail not_writable "cannot remove what is left in $ATTEMPT"
	fi
	others "$st_generation" || {
		rm -rf "$INCOMING"
		return
	}
	read_fence
	if [ "$st_generation" -le "$FENCE" ]; then
		unlock
		rm -rf "$INCOMING"
		say fenced "seen=$FENCE"
		return
	fi
	# No attempt is alive that could be using the tree, and this one uses the package itself.
	if [ -e "$CTL/packages/$st_package.tar.gz" ] && [ -e "$CTL/packages/$st_package.tree.gz" ]; then
		rm -f "$CTL/packages/$st_package.tree.gz"
	fi
	attempt "$st_generation"
	# The space for these is taken now, so that a full disk cannot hide how the attempt ended, or keep it from being ended.
	{
		printf '%s' "$NOTE" >"$INCOMING/log" && printf '' >"$INCOMING/progress" && printf '' >"$INCOMING/started" &&
			printf '%2000s\n' '' >"$INCOMING/exit" && printf '%200s\n' '' >"$INCOMING/now" &&
			printf '%200s\n' '' >"$INCOMING/root" && printf '%200s\n' '' >"$INCOMING/verdict"
	} 2>/dev/null || fail not_writable "cannot write $INCOMING"
	[ -p "$INCOMING/alive" ] || fail bad_stream "no pipe came"
	# For reading and writing, so that neither this nor the next waits for the other end.
	exec 8<>"$INCOMING/alive"
	exec 7<"$INCOMING/alive"
	mv "$INCOMING" "$ATTEMPT" || fail not_writable "cannot make $ATTEMPT"
	INCOMING=''
	set -- env -i "PATH=$STEP_PATH" LANG=C.UTF-8 "TMPDIR=$ATTEMPT/tmp" sh "$ATTEMPT/launcher.sh" __supervise "$CTL" "$st_generation"
	# `setsid` forks by itself where it can, because what a shell starts with `&` ignores SIGINT for good.
	setsid -f "$@" 3>&2 >/dev/null 2>&1 6>&- 7>&- || { setsid "$@" 3>&2 >/dev/null 2>&1 6>&- 7>&- & }
	exec 8>&- 9>&-
	prune
	attempt "$st_generation"
	follow "$st_offset" fresh
}

# ---------------------------------------------------------------------------------------------------------------------
# probe, kill, check, observe

verb_probe() {
	control_folder
	lock
	raise_fence "$2"
	attempt "$1"
	verdict
	unlock
	[ "$VERDICT" != running ] || stand_in
	say_verdict
}

verb_kill() {
	control_folder
	lock
	raise_fence "$1"
	attempt "$1"
	verdict
	if [ "$VERDICT" != running ]; then
		say_verdict
		return
	fi
	# From here on no further step begins; where this cannot be written, none goes on.
	{ printf '' >"$ATTEMPT/kill"; } 2>/dev/null
	unlock
	# shellcheck source=/dev/null
	. "$ATTEMPT/attempt"
	cd "$ATTEMPT" || fail corrupt "no folder $ATTEMPT"
	let_go_on
	uptime
	ki_end=$((UP + ($2 + KILL_SECONDS + 5) * 100))
	while uptime && [ "$UP" -lt "$ki_end" ]; do
		now_run
		[ -z "$NOW_RUN" ] || end_from_outside "$NOW_RUN" "$NOW_INDEX" killed "$2" || break
		alive || break
		pause
	done
	if read_exit; then
		case $RECORD in
		*" outcome=killed "*) say killed ;;
		*" outcome=kill_failed "*) say kill_failed "survivors=${RECORD#* survivors=}" ;;
		*) say "$RECORD" ;;
		esac
	elif [ -n "$SURVIVORS" ]; then
		say kill_failed "survivors=$SURVIVORS"
	else
		lock
		verdict
		unlock
		[ "$VERDICT" != running ] || SURVIVORS=$SUPERVISOR:supervisor
		if [ -n "$SURVIVORS" ]; then say kill_failed "survivors=$SURVIVORS"; else say_verdict; fi
	fi
}

# verb_collect GENERATION TOKEN OUTPUT OFFSET LIMIT: prints a piece of a file that the steps have left, and says how large
# the file is. What is no plain file is not there.
verb_collect() {
	attempt "$1"
	token=''
	# shellcheck source=/dev/null
	[ ! -r "$ATTEMPT/attempt" ] || . "$ATTEMPT/attempt"
	co_file=$ATTEMPT/output/$3
	if [ "$token" != "$2" ] || [ -L "$ATTEMPT/output" ] || [ -L "$co_file" ] || [ ! -f "$co_file" ]; then
		say missing
		return
	fi
	exec 6<"$co_file" || fail corrupt "cannot read $co_file"
	say output "size=$(($(wc -c <"$co_file")))"
	tail -c "+$(($4 + 1))" <&6 | head -c "$5"
}

# current: leaves in CURRENT the release that is current, or nothing.
current() {
	CURRENT=''
	[ -d "${CTL%/*}/current" ] || return 1
	CURRENT=$(cd -P "${CTL%/*}/current" && echo "${PWD##*/}")
}

# find_step LIST NAME: leaves in SCRIPT the path that a list of `INDEX:NAME:SECONDS:PATH` or `NAME:PATH` has for NAME.
find_step() {
	SCRIPT=''
	for fs_one in $1; do
		case $fs_one in
		"$2:"* | [0-9]*":$2:"*) SCRIPT=${fs_one##*:} && return 0 ;;
		esac
	done
	return 1
}

# run_script STEP SECONDS: runs SCRIPT of the attempt. Leaves its code in CODE, and what it printed on stderr as noise
# that cannot be taken for control lines.
run_script() {
	INCOMING=$CTL/incoming.ask.$$
	rm -rf "$INCOMING"
	mkdir "$INCOMING" || fail not_writable "cannot write $CTL"
	for rs_file in now root verdict; do printf '%200s\n' '' >"$INCOMING/$rs_file"; done
	setsid env -i "PATH=$STEP_PATH" LANG=C.UTF-8 "TMPDIR=$INCOMING" \
		sh "$ATTEMPT/launcher.sh" __ask "$CTL" "$GENERATION" "$1" "$2" "$SCRIPT" "$INCOMING" >/dev/null 2>&1
	CODE=''
	{ read -r CODE <"$INCOMING/code"; } 2>/dev/null
	number "$CODE" || CODE=127
	[ ! -s "$INCOMING/log" ] || tail -c 2000 "$INCOMING/log" | sed 's/^/| /' >&2
	rm -rf "$INCOMING"
	INCOMING=''
}

verb_check() {
	ch_found=''
	current && for ch_dir in "$CTL/attempts"/*; do
		[ -z "$ch_found" ] || [ "${ch_dir##*/}" -gt "$ch_found" ] || continue
		attempt "${ch_dir##*/}"
		read_exit || continue
		release=''
		# shellcheck source=/dev/null
		. "$ch_dir/attempt"
		[ "$release" != "$CURRENT" ] || ch_found=${ch_dir##*/}
	done
	[ -z "$ch_found" ] || {
		attempt "$ch_found"
		# shellcheck source=/dev/null
		. "$ATTEMPT/attempt"
	}
	if [ -z "$ch_found" ] || ! find_step "$steps" verify; then
		say unsupported
		return
	fi
	run_script verify "$1"
	if [ "$CODE" -eq 0 ]; then say healthy; else say unhealthy "code=$CODE"; fi
}

verb_resolve() {
	attempt "$1"
	re_result=cannot_tell checks=''
	# shellcheck source=/dev/null
	if [ -r "$ATTEMPT/attempt" ] && . "$ATTEMPT/attempt" && find_step "$checks" "$2"; then
		run_script "$2" "$3"
		case $CODE in
		0) re_result="done" ;;
		1) re_result=not_done ;;
		esac
	fi
	say resolved "result=$re_result"
}

verb_observe() {
	read_fence
	current
	encode "$CURRENT"
	ob_running=-
	for ob_dir in "$CTL/attempts"/*; do
		[ ! -e "$ob_dir/ended" ] || continue
		attempt "${ob_dir##*/}"
		if started && alive; then ob_running=$GENERATION; fi
	done
	say observed "fence=$FENCE" "release=${ENCODED:--}" "generation=${NEWEST:--}" "running=$ob_running"
}

# ---------------------------------------------------------------------------------------------------------------------

usage() {
	CTL=/
	fail bad_stream "not a call of the launcher: $*"
}

main() {
	VERB=${1:-} CTL=${2:-} INCOMING=''
	case $VERB:$# in
	__supervise:3 | __ask:7 | start:10 | attach:4 | probe:4 | kill:4 | collect:7 | check:3 | resolve:5) number "$3" || usage "$@" ;;
	observe:2) ;;
	*) usage "$@" ;;
	esac
	case $VERB in
	attach | probe | kill) number "$4" || usage "$@" ;;
	start) number "$6" || usage "$@" ;;
	collect)
		number "$6" && number "$7" || usage "$@"
		case $5 in '' | .* | */*) usage "$@" ;; esac
		;;
	resolve) number "$5" || usage "$@" ;;
	esac
	case $VERB in
	__supervise)
		ATTEMPT=$CTL/attempts/$3
		cd "$ATTEMPT" && supervise
		;;
	__ask)
		ATTEMPT=$CTL/attempts/$3
		cd "$ATTEMPT" && ask "$4" "$5" "$6" "$7"
		;;
	start) shift 2 && verb_start "$@" ;;
	attach) verb_attach "$3" "$4" ;;
	probe) verb_probe "$3" "$4" ;;
	kill) verb_kill "$3" "$4" ;;
	collect) verb_collect "$3" "$4" "$5" "$6" "$7" ;;
	check) verb_check "$3" ;;
	resolve) verb_resolve "$3" "$4" "$5" ;;
	observe) verb_observe ;;
	esac
}

# Read to its end before it runs, because this text may be coming in on stdin; what it starts has nothing to read there.
{
	exec </dev/null
	main "$@"
	exit 0
}
