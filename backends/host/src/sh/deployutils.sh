# DeployUtils: what the default steps are made of. A step of one's own uses it by
#
#     . "$DEPLOY_LIB"
#
# POSIX sh. Functions are `du_…`; so are the variables they use. A function fails by its status, after saying why on
# stderr; only du_die ends the script. docs/deployutils.md lists them.
#
# Environment of all: DEPLOY_PATH, DEPLOY_SHARED, DEPLOY_SERVICE, DEPLOY_RELEASE. The options of the default steps
# (D_START_UNIT, D_START_COMMAND, …) are only defaults of arguments.
# shellcheck shell=sh

# ---------------------------------------------------------------------------------------------------------------------
# Saying

# du_log TEXT…: a line in the step's log.
du_log() {
	printf '%s\n' "$*"
}

# du_warn TEXT…: a line on stderr.
du_warn() {
	printf 'warning: %s\n' "$*" >&2
}

# du_die TEXT…: says it and ends the script with 1.
du_die() {
	printf 'error: %s\n' "$*" >&2
	exit 1
}

du_fail() {
	printf 'error: %s\n' "$*" >&2
	return 1
}

# ---------------------------------------------------------------------------------------------------------------------
# Waiting and text

# du_pause: a tenth of a second, or a second where `sleep` knows no fractions.
du_pause() {
	sleep 0.1 2>/dev/null || sleep 1
}

# du_uptime: leaves the whole seconds since boot in du_now; they do not jump when the clock is set.
du_uptime() {
	read -r du_now _ </proc/uptime
	du_now=${du_now%.*}
}

# du_wait_until SECONDS COMMAND…: repeats COMMAND until it succeeds. 1 if it has not within SECONDS. At least one try.
# COMMAND must not call du_wait_until itself.
du_wait_until() {
	du_uptime
	du_deadline=$((du_now + $1))
	shift
	until "$@"; do
		du_uptime
		[ "$du_now" -lt "$du_deadline" ] || return 1
		du_pause
	done
}

# du_expand TEXT: prints TEXT with `$NAME` and `${NAME}` replaced where NAME begins with P_ or DEPLOY_. Any other `$`
# stays, and what a value holds is never looked at again.
du_expand() {
	du_rest=$1 du_text=''
	while :; do
		case $du_rest in
		*\$*) ;;
		*) break ;;
		esac
		du_text=$du_text${du_rest%%\$*}
		du_rest=${du_rest#*\$}
		case $du_rest in
		\{*\}*)
			du_name=${du_rest#\{}
			du_name=${du_name%%\}*}
			du_tail=${du_rest#*\}}
			;;
		*)
			du_name=${du_rest%%[!A-Za-z0-9_]*}
			du_tail=${du_rest#"$du_name"}
			;;
		esac
		case $du_name in
		*[!A-Za-z0-9_]*) du_text=$du_text\$ ;;
		P_* | DEPLOY_*)
			eval "du_text=\$du_text\${$du_name-}"
			du_rest=$du_tail
			;;
		*) du_text=$du_text\$ ;;
		esac
	done
	printf '%s\n' "$du_text$du_rest"
}

# ---------------------------------------------------------------------------------------------------------------------
# Packages and releases

# du_fetch [PACKAGE [DIGEST]]: is the package there, and what its SHA-256 says? The release's own is compared at the start
# of every attempt and not again here, as is every file of one that comes as a tree. A release without a package passes.
# Environment: DEPLOY_PACKAGE, DEPLOY_PACKAGE_DIGEST, DEPLOY_TREE.
du_fetch() {
	set -- "${1:-${DEPLOY_PACKAGE:-}}" "${2:-${DEPLOY_PACKAGE_DIGEST:-}}" "${1:+compare}"
	if [ -z "$1" ] && [ -n "${DEPLOY_TREE:-}" ]; then
		du_log "package sha256 $2, as a tree"
		return 0
	fi
	if [ -z "$1" ]; then
		du_log "no package"
		return 0
	fi
	[ -f "$1" ] || du_fail "there is no package $1" || return
	if [ -n "$3" ]; then
		du_sum=$(sha256sum <"$1") || return
		[ "${du_sum%% *}" = "$2" ] || du_fail "the package is not what its digest says: ${du_sum%% *} and not $2" || return
	fi
	du_log "package sha256 $2"
}

# du_sync PATH: what was written under PATH is on the disk when it returns.
du_sync() {
	sync -f "$1" 2>/dev/null || sync
}

# du_sync_names FOLDER…: the names in FOLDER are on the disk when it returns.
du_sync_names() {
	sync "$@" 2>/dev/null || sync
}

# du_tar PACKAGE: prints the tar in a package, whatever it is compressed by.
du_tar() {
	case $(du_encoding "$1") in
	gzip) gzip -dc <"$1" ;;
	zstd) zstd -dcq <"$1" ;;
	*) cat <"$1" ;;
	esac
}

# du_encoding PACKAGE: prints what a package is compressed by, going by its first bytes: `gzip`, `zstd`, or nothing.
du_encoding() {
	if [ "$(head -c 2 "$1" | tr -d '\000')" = "$(printf '\037\213')" ]; then
		echo gzip
	elif [ "$(head -c 4 "$1" | tr -d '\000')" = "$(printf '\050\265\057\375')" ]; then
		echo zstd
	fi
}

# du_can_unpack PACKAGE: fails where this host lacks what its package is compressed by.
du_can_unpack() {
	du_program=$(du_encoding "$1")
	[ -z "$du_program" ] || command -v "$du_program" >/dev/null ||
		du_fail "this host has no \`$du_program\`, by which the package is compressed: install it, or pack the release as tar.gz"
}

# du_install [RELEASE [PACKAGE]]: unpacks PACKAGE as releases/RELEASE unless that is there and whole, or takes the tree that
# an agent has put together of it, makes it current, prunes. A crash at any point leaves the old release current or the new
# one, whole. Can be repeated.
# Environment: DEPLOY_RELEASE, DEPLOY_PACKAGE, DEPLOY_TREE, D_KEEP_RELEASES.
du_install() {
	set -- "${1:-$DEPLOY_RELEASE}" "${2:-${DEPLOY_PACKAGE:-}}"
	[ -n "$1" ] || du_fail "no release to install" || return
	du_final=$DEPLOY_PATH/releases/$1 du_new=$DEPLOY_PATH/releases/.new.$1 du_broken=$DEPLOY_PATH/releases/.broken.$1
	if [ -e "$du_final/.complete" ]; then
		du_log "release $1 is installed"
	else
		[ -z "$2" ] || du_can_unpack "$2" || return
		mkdir -p "$DEPLOY_PATH/shared" "$DEPLOY_PATH/releases" || return
		if [ -z "$2" ] && [ -n "${DEPLOY_TREE:-}" ] && [ "$1" = "$DEPLOY_RELEASE" ]; then
			# Called again in the same step, it finds the tree where it has put it.
			if [ -d "$DEPLOY_TREE" ]; then
				rm -rf "$du_new" "$du_broken" && mv "$DEPLOY_TREE" "$du_new" || return
			fi
			[ -d "$du_new" ] || du_fail "there is no tree of $1" || return
		else
			if [ -e "$du_new" ] || [ -e "$du_broken" ]; then rm -rf "$du_new" "$du_broken" || return; fi
			mkdir "$du_new" || return
		fi
		if [ -n "$2" ]; then
			{ du_tar "$2" || : >"$du_broken"; } | tar -xof - -C "$du_new" || : >"$du_broken"
			if [ -e "$du_broken" ]; then
				rm -rf "$du_new" "$du_broken"
				du_fail "cannot unpack $2"
				return
			fi
		fi
		# The mark counts under the final name only, and that comes when everything is on the disk.
		: >"$du_new/.complete" && du_sync "$du_new" && { [ ! -e "$du_final" ] || rm -rf "$du_final"; } &&
			mv "$du_new" "$du_final" || du_fail "cannot install $1" || return
		du_log "installed $1"
	fi
	du_switch "$1" && du_prune
}

# du_current: prints the release that is current. 1 if there is none.
du_current() {
	[ -d "$DEPLOY_PATH/current" ] || return 1
	(cd -P "$DEPLOY_PATH/current" && printf '%s\n' "${PWD##*/}")
}

# du_switch RELEASE: makes an installed release current, by one rename.
du_switch() {
	[ -e "$DEPLOY_PATH/releases/$1/.complete" ] || du_fail "release $1 is not installed" || return
	[ "$(du_current)" != "$1" ] || return 0
	du_link=$DEPLOY_PATH/current
	[ -L "$du_link" ] || [ ! -e "$du_link" ] || du_fail "$du_link is no symbolic link" || return
	if [ ! -L "$du_link" ]; then
		ln -s "releases/$1" "$du_link" || return
		du_sync_names "$DEPLOY_PATH/releases" "$DEPLOY_PATH"
		du_log "release $1 is current"
		return
	fi
	[ ! -L "$du_link.tmp" ] || rm -f "$du_link.tmp"
	ln -s "releases/$1" "$du_link.tmp" || return
	# Without -T, mv would move the link into the folder that the old one points to.
	if ! mv -fT "$du_link.tmp" "$du_link" 2>/dev/null; then
		rm -f "$du_link.tmp"
		ln -sfn "releases/$1" "$du_link" || return
	fi
	du_sync_names "$DEPLOY_PATH/releases" "$DEPLOY_PATH"
	du_log "release $1 is current"
}

# du_prune [N]: removes all but the N newest releases, never the current one or the previous, and what an install or a
# removal that was cut short has left.
# Environment: D_KEEP_RELEASES (5), DEPLOY_RELEASE, DEPLOY_PREVIOUS_RELEASE.
du_prune() {
	set -- "${1:-${D_KEEP_RELEASES:-5}}" "$(du_current)"
	(
		cd "$DEPLOY_PATH/releases" 2>/dev/null || exit 0
		du_keep=$1 du_stays=$2 du_kept=0
		for du_one in .new.* .tree.* .broken.* .old.*; do [ ! -e "$du_one" ] || rm -rf "./$du_one"; done
		set -- */.complete
		[ $# -gt "$du_keep" ] || exit 0
		# Newest first. A release's name holds no white space.
		# shellcheck disable=SC2012 # -t is what it is for
		ls -t -- "$@" 2>/dev/null | while IFS= read -r du_one; do
			du_one=${du_one%/.complete}
			du_kept=$((du_kept + 1))
			[ "$du_kept" -gt "$du_keep" ] || continue
			case $du_one in
			"$du_stays" | "${DEPLOY_RELEASE:-}" | "${DEPLOY_PREVIOUS_RELEASE:-}") continue ;;
			esac
			# Never half a release under its own name.
			mv "./$du_one" "./.old.$du_one" && rm -rf "./.old.$du_one" && du_log "removed release $du_one"
		done
	)
}

# du_rollback: back to DEPLOY_RELEASE, or to nothing when that is empty or the service is to leave the host: then
# `current` is removed.
# Environment: DEPLOY_RELEASE, DEPLOY_KEEPS_RELEASE.
du_rollback() {
	if [ -n "${DEPLOY_RELEASE:-}" ] && [ "${DEPLOY_KEEPS_RELEASE:-yes}" != no ]; then
		du_install
	elif [ -L "$DEPLOY_PATH/current" ]; then
		rm -f "$DEPLOY_PATH/current" && du_sync "$DEPLOY_PATH" && du_log "no release is current"
	fi
}

# ---------------------------------------------------------------------------------------------------------------------
# Processes

# du_stat PID: leaves state, parent, group, session and start time in du_state, du_parent, du_group, du_session, du_start.
du_stat() {
	du_all=''
	{ while IFS= read -r du_line || [ -n "$du_line" ]; do du_all=$du_all$du_line; done <"/proc/$1/stat"; } 2>/dev/null
	[ -n "$du_all" ] || return 1
	# shellcheck disable=SC2086 # numbers and one letter, to be split
	set -- ${du_all##*) }
	du_state=$1 du_parent=$2 du_group=$3 du_session=$4
	shift 19
	du_start=$1
}

# du_tree: leaves in du_tree the living processes of the service's instance: its process group and session, those that
# carry its mark, and the descendants of all of these. 1 if there are none. Reads the pid file.
# In du_outside are those that a signal to the group does not reach.
du_tree() {
	du_tree='' du_pid='' du_begun='' du_boot='' du_mark=''
	{ read -r du_pid du_begun du_boot du_mark <"$(du_pid_file)"; } 2>/dev/null
	read -r du_this </proc/sys/kernel/random/boot_id
	[ -n "$du_mark" ] && [ "$du_boot" = "$du_this" ] || return 1
	# What else it may hold must never become the group of everybody.
	case $du_pid in
	'' | 0 | 1 | *[!0-9]*) return 1 ;;
	esac
	du_leader=$du_pid
	if du_stat "$du_pid" && [ "$du_start" != "$du_begun" ]; then du_leader=none; fi
	du_in=" $(grep -lszxF "DEPLOY_INSTANCE=$du_mark" /proc/[0-9]*/environ 2>/dev/null | while IFS=/ read -r _ _ du_one _; do printf '%s ' "$du_one"; done)"
	du_out='' du_live='' du_outside=''
	for du_one in /proc/[0-9]*; do
		du_one=${du_one#/proc/}
		du_stat "$du_one" || continue
		case $du_state in
		Z | X)
			set -- "/proc/$du_one/task"/*
			[ $# -gt 1 ] || continue
			;;
		esac
		case $du_leader in
		"$du_one" | "$du_group" | "$du_session") du_in="$du_in$du_one " ;;
		esac
		case $du_in in
		*" $du_one "*)
			du_live="$du_live$du_one "
			[ "$du_group" = "$du_leader" ] || du_outside="$du_outside $du_one"
			;;
		*) du_out="$du_out $du_one:$du_parent" ;;
		esac
	done
	du_more=1
	while [ -n "$du_more" ]; do
		du_more='' du_left=''
		for du_one in $du_out; do
			case " $du_live" in
			*" ${du_one#*:} "*) du_live="$du_live${du_one%:*} " du_outside="$du_outside ${du_one%:*}" du_more=1 ;;
			*) du_left="$du_left $du_one" ;;
			esac
		done
		du_out=$du_left
	done
	du_tree=$du_live
	[ -n "$du_tree" ]
}

du_pid_file() {
	printf '%s\n' "$DEPLOY_SHARED/run/$DEPLOY_SERVICE.pid"
}

# du_systemctl VERB UNIT: of the account's own systemd where the unit is one of its units, else of the system's.
du_systemctl() {
	if [ "$(id -u)" != 0 ]; then
		: "${XDG_RUNTIME_DIR:=/run/user/$(id -u)}"
		export XDG_RUNTIME_DIR
		if systemctl --user cat "$2" >/dev/null 2>&1; then
			systemctl --user "$1" "$2"
			return
		fi
	fi
	systemctl "$1" "$2"
}

du_has_systemd() {
	[ -d /run/systemd/system ] && command -v systemctl >/dev/null
}

# du_start [COMMAND]: starts the service: the unit D_START_UNIT, else COMMAND (text for `sh -c`) in the current release's
# folder as a session of its own, its output appended to shared/log/SERVICE.log. Nothing to do if it runs already.
# Environment: D_START_UNIT, D_START_COMMAND.
du_start() {
	if [ -n "${D_START_UNIT:-}" ]; then
		du_has_systemd || du_fail "no systemd runs here to start $D_START_UNIT" || return
		du_systemctl start "$D_START_UNIT" && du_log "started $D_START_UNIT"
		return
	fi
	set -- "${1:-${D_START_COMMAND:-}}"
	if [ -z "$1" ]; then
		du_log "nothing to start"
		return 0
	fi
	if du_tree; then
		du_log "runs already as process $du_pid"
		return 0
	fi
	mkdir -p "$DEPLOY_SHARED/run" "$DEPLOY_SHARED/log" || return
	du_file=$(du_pid_file)
	rm -f "$du_file"
	[ -d "$DEPLOY_PATH/current" ] || du_fail "no release is current" || return
	# In a session of its own, and without what was opened for the step. It writes the pid file itself before it becomes
	# the command, so that there is never a process without one. `setsid -f` because `&` would make it ignore SIGINT.
	(
		cd -P "$DEPLOY_PATH/current" || exit 1
		unset TMPDIR
		DEPLOY_INSTANCE=$DEPLOY_SERVICE.${DEPLOY_GENERATION:-0}.$$
		export DEPLOY_INSTANCE
		# shellcheck disable=SC2016 # it is the inner shell that expands
		set -- sh -c 'read -r all </proc/$$/stat; read -r boot </proc/sys/kernel/random/boot_id; command=$1 file=$2
			set -- ${all##*) }
			shift 19
			echo "$$ $1 $boot $DEPLOY_INSTANCE" >"$file.tmp" && mv -f "$file.tmp" "$file" && exec sh -c "$command"' sh "$1" "$du_file"
		exec </dev/null >>"$DEPLOY_SHARED/log/$DEPLOY_SERVICE.log" 2>&1 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&-
		setsid -f "$@" 2>/dev/null || { setsid "$@" & }
	)
	du_wait_until 10 test -s "$du_file" || du_fail "it did not start" || return
	du_pause
	du_tree || {
		tail -n 20 "$DEPLOY_SHARED/log/$DEPLOY_SERVICE.log" >&2
		du_fail "it ended as soon as it was started"
		return
	}
	du_log "started as process $du_pid"
}

# du_status: does the service run? 0 if it does, 3 if not.
# Environment: D_START_UNIT.
du_status() {
	if [ -n "${D_START_UNIT:-}" ] && du_has_systemd; then
		du_systemctl is-active "$D_START_UNIT" >/dev/null || return 3
	else
		du_tree || return 3
	fi
}

# du_stop [SECONDS]: stops the service and proves it: the unit; else D_STOP_COMMAND, if there is one, then TERM to the
# whole tree, and KILL to what is left after SECONDS. 1, and the survivors are named, if something stays.
# Environment: D_START_UNIT, D_STOP_COMMAND, D_STOP_TIMEOUT (30).
du_stop() {
	set -- "${1:-${D_STOP_TIMEOUT:-30}}"
	if [ -n "${D_START_UNIT:-}" ] && du_has_systemd; then
		du_systemctl stop "$D_START_UNIT" || return
		du_log "stopped $D_START_UNIT"
	fi
	if [ -n "${D_STOP_COMMAND:-}" ] && [ -d "$DEPLOY_PATH/current" ]; then
		(cd -P "$DEPLOY_PATH/current" && sh -c "$D_STOP_COMMAND") || du_warn "the stop command failed with $?"
		du_wait_until "$1" du_stopped || du_warn "it still runs $1 seconds after the stop command"
	fi
	if ! du_tree; then
		rm -f "$(du_pid_file)"
		du_log "nothing runs"
		return 0
	fi
	du_signal TERM
	if ! du_wait_until "$1" du_stopped; then
		du_warn "still runs after $1 seconds, killing:$(du_names)"
		du_uptime
		du_until=$((du_now + 10))
		while du_tree; do
			du_signal KILL
			du_uptime
			[ "$du_now" -lt "$du_until" ] || du_fail "cannot be killed:$(du_names)" || return
			du_pause
		done
	fi
	rm -f "$(du_pid_file)"
	du_log "stopped"
}

du_stopped() {
	! du_tree
}

# du_signal SIGNAL: once to each process of du_tree, to the group at one blow.
du_signal() {
	[ "$du_leader" = none ] || kill -s "$1" -- "-$du_leader" 2>/dev/null
	for du_one in $du_outside; do kill -s "$1" "$du_one" 2>/dev/null; done
	return 0
}

du_names() {
	for du_one in $du_tree; do
		{ read -r du_comm <"/proc/$du_one/comm" && printf ' %s:%s' "$du_one" "$du_comm"; } 2>/dev/null
	done
}

# du_restart [COMMAND]: du_stop and du_start.
du_restart() {
	du_stop && du_start "$@"
}

# ---------------------------------------------------------------------------------------------------------------------
# Verifying

# du_verify_http URL [STATUS [TEXT [SECONDS]]]: does URL answer with STATUS (200), with TEXT in its body, within SECONDS
# (5)? Redirections are answers. With curl, else wget, else bash, else nc (the last two: http:// only).
du_verify_http() {
	du_url=$1 du_want=${2:-200} du_contains=${3:-} du_limit=${4:-5}
	du_answer=$(mktemp "${TMPDIR:-/tmp}/answer.XXXXXX") || return
	du_status=''
	if command -v curl >/dev/null; then
		du_status=$(curl -s -o "$du_answer" -w '%{http_code}' --max-time "$du_limit" -- "$du_url")
	elif command -v wget >/dev/null; then
		# GNU wget gives no body with an error unless asked; busybox's knows neither the option nor how, and Debian's
		# crashes on -T.
		du_lines=$(du_within "$du_limit" wget -S -t 1 --max-redirect=0 --content-on-error -O "$du_answer" "$du_url" 2>&1) ||
			case $du_lines in
			*nrecognized\ option* | *nvalid\ option*) du_lines=$(du_within "$du_limit" wget -S -O "$du_answer" "$du_url" 2>&1) ;;
			esac
		case $du_lines in
		*HTTP/[0-9]*) du_status=${du_lines#*HTTP/[0-9]*\ } && du_status=${du_status%%[!0-9]*} ;;
		esac
	else
		du_verify_http_raw
	fi
	du_result=0
	if [ "$du_status" != "$du_want" ]; then
		du_fail "$du_url answered ${du_status:-nothing}, not $du_want" || du_result=1
	elif [ -n "$du_contains" ] && ! grep -qF -e "$du_contains" "$du_answer"; then
		du_fail "$du_url does not answer with: $du_contains" || du_result=1
	fi
	rm -f "$du_answer"
	return "$du_result"
}

du_verify_http_raw() {
	case $du_url in
	http://*) ;;
	*) du_fail "no curl and no wget for $du_url" || return ;;
	esac
	du_where=${du_url#http://}
	du_page=/${du_where#*/}
	[ "$du_page" != "/$du_where" ] || du_page=/
	du_where=${du_where%%/*}
	du_host=${du_where%:*} du_port=${du_where##*:}
	[ "$du_host" != "$du_where" ] || du_port=80
	if command -v bash >/dev/null; then
		# shellcheck disable=SC2016 # it is the inner shell that expands
		du_within "$du_limit" bash -c 'exec 3<>"/dev/tcp/$1/$2" && printf "GET %s HTTP/1.0\r\nHost: %s\r\n\r\n" "$3" "$4" >&3 && exec cat <&3' \
			bash "$du_host" "$du_port" "$du_page" "$du_where" >"$du_answer" 2>/dev/null
	elif command -v nc >/dev/null; then
		printf 'GET %s HTTP/1.0\r\nHost: %s\r\n\r\n' "$du_page" "$du_where" | du_within "$du_limit" nc "$du_host" "$du_port" >"$du_answer" 2>/dev/null
	else
		du_fail "no curl, wget, bash or nc to ask $du_url" || return
	fi
	read -r _ du_status _ <"$du_answer"
}

# du_within SECONDS COMMAND…: with a time limit where there is `timeout`.
du_within() {
	if command -v timeout >/dev/null; then
		timeout "$@"
	else
		shift
		"$@"
	fi
}

# du_verify_tcp HOST PORT [SECONDS]: does HOST take connections at PORT? With bash, else nc, else curl.
du_verify_tcp() {
	du_limit=${3:-5}
	if command -v bash >/dev/null; then
		# shellcheck disable=SC2016 # it is the inner shell that expands
		du_within "$du_limit" bash -c 'exec 3<>"/dev/tcp/$1/$2"' bash "$1" "$2" 2>/dev/null
	elif command -v nc >/dev/null; then
		# A nc that lasts longer than it may take to connect is connected.
		du_within "$((du_limit + 1))" nc -w "$du_limit" "$1" "$2" </dev/null >/dev/null 2>&1
		case $? in
		0 | 124 | 143) ;;
		*) false ;;
		esac
	elif command -v curl >/dev/null; then
		case $(curl -s -o /dev/null -w '%{time_connect}' --connect-timeout "$du_limit" --max-time "$((du_limit + 1))" "telnet://$1:$2" </dev/null) in
		*[1-9]*) ;;
		*) false ;;
		esac
	else
		du_fail "no bash, nc or curl to reach $1 $2" || return
	fi || du_fail "$1 takes no connection at $2"
}

# du_verify_command TEXT: does it end with 0? TEXT is for `sh -c`, in the current release's folder where there is one.
du_verify_command() {
	(
		[ ! -d "$DEPLOY_PATH/current" ] || cd -P "$DEPLOY_PATH/current" || exit 1
		exec sh -c "$1"
	) || du_fail "the verify command ended with $?"
}

# du_verify_unit UNIT: is the systemd unit active?
du_verify_unit() {
	du_has_systemd || du_fail "no systemd runs here to ask about $1" || return
	du_systemctl is-active "$1" >/dev/null || du_fail "$1 is not active"
}

# du_verify: everything that was asked for; if nothing was, that what du_start starts runs.
# Environment: D_VERIFY_HTTP, D_VERIFY_STATUS, D_VERIFY_CONTAINS, D_VERIFY_TCP (HOST:PORT or PORT), D_VERIFY_COMMAND,
# D_VERIFY_UNIT, D_START_UNIT, D_START_COMMAND. What they refer to has been filled in where they come from; nothing is expanded here.
du_verify() {
	if [ -n "${D_VERIFY_HTTP:-}" ]; then
		du_verify_http "$D_VERIFY_HTTP" "${D_VERIFY_STATUS:-200}" "${D_VERIFY_CONTAINS:-}" || return
	fi
	if [ -n "${D_VERIFY_TCP:-}" ]; then
		du_host=${D_VERIFY_TCP%:*}
		[ "$du_host" != "$D_VERIFY_TCP" ] || du_host=127.0.0.1
		du_verify_tcp "$du_host" "${D_VERIFY_TCP##*:}" || return
	fi
	[ -z "${D_VERIFY_COMMAND:-}" ] || du_verify_command "$D_VERIFY_COMMAND" || return
	[ -z "${D_VERIFY_UNIT:-}" ] || du_verify_unit "$D_VERIFY_UNIT" || return
	if [ -z "${D_VERIFY_HTTP:-}${D_VERIFY_TCP:-}${D_VERIFY_COMMAND:-}${D_VERIFY_UNIT:-}" ] &&
		[ -n "${D_START_UNIT:-}${D_START_COMMAND:-}" ]; then
		du_status || du_fail "the service does not run"
	fi
}

# ---------------------------------------------------------------------------------------------------------------------
# Traffic

# du_drain [SECONDS]: asks the service to take no new work, by the file shared/draining, and gives it SECONDS (0).
du_drain() {
	mkdir -p "$DEPLOY_SHARED" && : >"$DEPLOY_SHARED/draining" && sleep "${1:-0}"
}

# du_undrain: takes that back.
du_undrain() {
	rm -f "$DEPLOY_SHARED/draining"
}
