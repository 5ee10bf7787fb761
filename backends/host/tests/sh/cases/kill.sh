# Ending: the whole tree, and proof of it.
# shellcheck shell=sh disable=SC2154

# A step that forks in every way that loses a plain kill: setsid, ignored TERM, a changed group, a fork chain.
forest() {
	cat <<-'X' | step "$1" "$2"
		cd "$DEPLOY_PATH"
		sh -c 'trap "" TERM; echo $$ >>pids; while :; do sleep 1000; done' &
		setsid sh -c 'echo $$ >>pids; sleep 1001' &
		setsid sh -c 'trap "" TERM HUP; setsid sh -c "echo \$\$ >>pids; exec sleep 1002" & echo $$ >>pids; while :; do sleep 1003; done' &
		(sh -c 'echo $$ >>pids; exec sleep 1004' & )
		env -i PATH="$PATH" setsid sh -c 'echo $$ >>pids; sleep 1005' &
		cat >chain <<'Y'
		echo $$ >>chain.pids
		[ "$1" -gt 0 ] && sh chain $(($1 - 1)) &
		sleep 0.02
		[ "$1" -gt 0 ] || exec sleep 1006
		Y
		sh chain 20 &
		trap '' TERM
		wait
		while :; do sleep 1007; done
	X
}

forest_grown() {
	[ "$(wc -l <app/pids)" -eq 6 ] && [ "$(wc -l <app/chain.pids)" -eq 21 ]
}

forest_felled() {
	while read -r pid; do gone "$pid"; done <app/pids
	while read -r pid; do gone "$pid"; done <app/chain.pids
	if grep -lszF "DEPLOY_ATTEMPT=$(token_of 5)" /proc/[0-9]*/environ; then die "marked processes live"; fi
}

case_kill_ends_the_whole_tree() {
	new 5
	forest install 600
	echo 'echo x >"$DEPLOY_PATH/ran"' | step start 10
	start &
	eventually forest_grown
	env -i PATH="$LOGIN_PATH" sh -s -- kill "$CTL" 5 1 <"$SCRIPTS/launcher.sh" >out.k 2>err.k
	last_says 'killed$' err.k
	forest_felled
	wait
	last_says 'exit .*outcome=killed step=0 name=install code=137 reason=kill_request'
	never [ -e app/ran ]
	call probe 5 0
	last_says 'exit .*outcome=killed'
	call kill 5 1
	last_says 'exit .*outcome=killed'
}

case_kill_before_a_start_fences_it() {
	call kill 5 1
	last_says 'never_started$'
	new 5
	echo : | step run 10
	start
	last_says 'fenced seen=5$'
}

case_a_timeout_ends_the_whole_tree() {
	new 5
	forest install 3
	start
	last_says 'exit .*outcome=timed_out step=0 name=install code=137 reason=step_timeout'
	forest_felled
}

case_a_failed_step_leaves_nothing_running() {
	new 5
	echo 'cd "$DEPLOY_PATH"; setsid sleep 1000 & echo $! >pid; setsid sh -c "echo \$\$ >>pid; exec sleep 1000" & while [ "$(wc -l <pid)" -lt 2 ]; do sleep 0.05; done; exit 3' | step start 10
	start
	last_says 'exit .*outcome=failed step=0 name=start code=3 reason=exit_code'
	while read -r pid; do gone "$pid"; done <app/pid
}

case_a_polite_step_is_asked_first() {
	new 5 kill_grace=20
	echo 'trap "echo bye; exit 9" TERM; echo up; while :; do sleep 0.05; done' | step run 600
	start &
	eventually grep -q up out
	env -i PATH="$LOGIN_PATH" sh -s -- kill "$CTL" 5 20 <"$SCRIPTS/launcher.sh" 2>err.k
	last_says 'killed$' err.k
	wait
	same "$(grep -v Terminated out)" "up
bye"
	last_says 'exit .*outcome=killed .*code=9'
}

case_kill_races_with_the_end() {
	i=1
	while [ $i -le 12 ]; do
		new $i
		echo 'echo x >>"$DEPLOY_PATH/count"' | step run 10
		echo : | step post 10
		start $i &
		sleep "0.0$i"
		env -i PATH="$LOGIN_PATH" sh -s -- kill "$CTL" $i 1 <"$SCRIPTS/launcher.sh" 2>err.k
		wait
		case $(tail -n 1 err.k) in
		deploy:never_started) last_says "fenced seen=$i" ;;
		deploy:killed) last_says "exit .*generation=$i outcome=killed" ;;
		"deploy:exit "*succeeded*) same "$(tail -n 1 err)" "$(tail -n 1 err.k)" ;;
		*) die "kill said $(cat err.k), start said $(cat err)" ;;
		esac
		i=$((i + 1))
	done
}

# The recorded process number belongs to somebody else by now.
case_a_reused_process_number_is_not_signalled() {
	new 5
	echo 'sleep 1000' | step run 600
	start &
	eventually begun 5 0
	supervisor_of 5
	read -r _ root _ <"$CTL/attempts/5/root"
	kill -s KILL "$SUP" "$root"
	setsid sleep 1000 &
	innocent=$!
	echo "0 $innocent 12345 0" >"$CTL/attempts/5/root"
	eventually is_gone "$SUP"
	call probe 5 5
	last_says 'died reason=supervisor_lost'
	kill -0 "$innocent"
	kill "$innocent"
	wait "$innocent" || :
}

case_a_step_that_prints_too_much_is_ended() {
	new 5 log_limit=100000
	echo 'while :; do echo 0123456789012345678901234567890123456789; done' | step run 600
	stream | boot "$CTL" 5 "$(token_of 5)" - 0 2>err >/dev/null
	last_says 'exit .*outcome=failed step=0 name=run .*reason=log_limit log_length=[0-9][0-9]*'
}

case_verify_is_repeated_until_healthy_long_enough() {
	new 5 min_healthy=2 healthy_deadline=30
	cat <<-'X' | step verify 10
		echo x >>"$DEPLOY_PATH/count"
		[ "$(wc -l <"$DEPLOY_PATH/count")" -ge 3 ]
	X
	echo 'echo after' | step post 10
	start
	last_says 'exit .*outcome=succeeded step=1 name=post'
	[ "$(wc -l <app/count)" -ge 5 ]
	same "$(grep -c verify "$CTL/attempts/5/progress")" 2
}

case_verify_passes_at_once_without_a_minimum() {
	new 5
	echo 'echo x >>"$DEPLOY_PATH/count"' | step verify 10
	start
	last_says 'exit .*outcome=succeeded'
	same "$(cat app/count)" x
}

case_verify_gives_up_at_its_deadline() {
	new 5 healthy_deadline=2
	echo 'exit 4' | step verify 10
	start
	last_says 'exit .*outcome=timed_out step=0 name=verify code=4 reason=healthy_deadline'
	new 6 healthy_deadline=2
	echo 'sleep 1000' | step verify 1
	start
	last_says 'exit .*outcome=timed_out step=0 name=verify .*reason=healthy_deadline'
}

case_kill_ends_a_verify_loop() {
	new 5 min_healthy=1000 healthy_deadline=2000
	echo 'echo x >>"$DEPLOY_PATH/count"' | step verify 10
	start &
	eventually [ -s app/count ]
	env -i PATH="$LOGIN_PATH" sh -s -- kill "$CTL" 5 1 <"$SCRIPTS/launcher.sh" 2>err.k
	last_says 'killed$' err.k
	wait
	last_says 'exit .*outcome=killed .*name=verify'
}

case_check_runs_verify_once() {
	call check 5
	last_says 'unsupported$'
	new 5
	echo 'mkdir -p "$DEPLOY_RELEASE_DIR"; ln -sfn "releases/$DEPLOY_RELEASE" "$DEPLOY_PATH/current"' | step install 10
	echo 'echo "deploy:healthy"; [ ! -e "$DEPLOY_PATH/sick" ] || exit 6; [ ! -e "$DEPLOY_PATH/slow" ] || sleep 1000' | step verify 10
	start
	call check 5
	last_says 'healthy$'
	: >app/sick
	call check 5
	last_says 'unhealthy code=6$'
	grep -qx '| deploy:healthy' err
	rm app/sick
	: >app/slow
	call check 1
	last_says 'unhealthy code=124$'
	same "$(cat out)" ""
	same "$(ls -d "$CTL"/incoming.* 2>/dev/null)" ""
	call observe
	last_says 'observed fence=5 release=r5 generation=5 running=-$'
}

case_resolve_asks_the_check_of_a_step() {
	new 5 'checks="install:steps/is-done start:steps/odd"'
	echo 'exit 1' | step install 10
	echo '[ "$DEPLOY_STEP" = install ] && [ "$P_ANSWER" = yes ]' >"$STAGE/steps/is-done"
	echo 'exit 2' >"$STAGE/steps/odd"
	echo "P_ANSWER='yes'" >"$STAGE/env"
	start
	call resolve 5 install 5
	last_says 'resolved result=done$'
	echo "P_ANSWER='no'" >"$CTL/attempts/5/env"
	call resolve 5 install 5
	last_says 'resolved result=not_done$'
	for step in start fetch; do
		call resolve 5 $step 5
		last_says 'resolved result=cannot_tell$'
	done
	call resolve 4 install 5
	last_says 'resolved result=cannot_tell$'
}

# hangs GENERATION: a step that goes on for ever, and is overdue at once when its time is up.
hangs() {
	new "$1" kill_grace=0 OVERDUE_SECONDS=0 KILL_SECONDS=1
	echo 'echo up; sleep 1000' | step run 2
	start "$1" &
	eventually begun "$1" 0
	supervisor_of "$1"
	read -r _ root _ <"$CTL/attempts/$1/root"
}

# overdue GENERATION: has its step gone on for a second beyond its time?
overdue() {
	read -r _ _ end _ <"$CTL/attempts/$1/now"
	read -r up _ </proc/uptime
	[ "${up%.*}" -gt $((end / 100 + 1)) ]
}

# other_call VERB ARGUMENT…: as `call`, beside a `start` that follows. Output in out.k, control lines in err.k.
other_call() {
	oc_verb=$1
	shift
	env -i PATH="$LOGIN_PATH" sh -s -- "$oc_verb" "$CTL" "$@" <"$SCRIPTS/launcher.sh" >out.k 2>err.k
}

case_a_time_limit_holds_without_a_watchdog() {
	hangs 5
	# The watchdog is what the supervisor has forked beside the step.
	for stat in /proc/[0-9]*/stat; do
		read -r pid _ _ parent _ 2>/dev/null <"$stat" || continue
		[ "$parent" != "$SUP" ] || [ "$pid" = "$root" ] || kill -s KILL "$pid"
	done
	eventually overdue 5
	never is_gone "$root"
	other_call attach 5 0
	last_says 'exit .*outcome=timed_out step=0 name=run code=1[0-9]* reason=step_timeout' err.k
	same "$(cat out.k)" up
	gone "$root"
	wait
	last_says 'exit .*outcome=timed_out'
}

case_a_time_limit_holds_for_a_stopped_supervisor() {
	hangs 5
	kill -s STOP -- "-$SUP"
	eventually overdue 5
	other_call probe 5 0
	last_says 'running' err.k
	wait
	last_says 'exit .*outcome=timed_out step=0 name=run code=1[0-9]* reason=step_timeout'
	gone "$root"
}

case_a_stopped_supervisor_is_killed() {
	hangs 5
	kill -s STOP -- "-$SUP"
	other_call kill 5 0
	last_says 'killed$' err.k
	wait
	last_says 'exit .*outcome=killed'
}

# A host with more processes than a command line can name: the kernel refuses to start `grep`.
case_marks_are_found_among_many_processes() {
	mkdir bin
	cat >bin/grep <<-'X'
		#!/bin/sh
		[ "$*" = "${*#*/proc/1/}" ] || [ "$*" = "${*#*/proc/2/}" ] || exit 126
		PATH=/usr/local/bin:/usr/bin:/bin exec grep "$@"
	X
	chmod +x bin/grep
	new 5
	echo 'setsid sh -c "echo \$\$ >pid; exec sleep 1000" & sleep 1000' | step run 600
	start &
	eventually [ -s app/pid ]
	env -i PATH="$T/bin:$LOGIN_PATH" sh -s -- kill "$CTL" 5 1 <"$SCRIPTS/launcher.sh" >out.k 2>err.k
	last_says 'killed$' err.k
	gone "$(cat app/pid)"
	wait
}
