# Starting: once, in order, fenced.
# shellcheck shell=sh disable=SC2154

case_start_runs_the_steps_in_order() {
	new 5
	echo 'echo one; echo two >&2' | step fetch 10
	echo 'echo three; exit 0' | step install 10
	start
	same "$(cat out)" "one
two
three"
	says "started pid=[0-9]* boot=[0-9a-f-]*\$"
	last_says "exit token=$(token_of 5) generation=5 outcome=succeeded step=1 name=install code=0 reason=- log_length=14 duration_ms=[0-9]*\$"
	attempt_folder
	same "$(sed 's/ [0-9]*$//' "$A/progress")" "begin 0 fetch
end 0 fetch 0
begin 1 install
end 1 install 0"
	same "$(stat -c %a "$CTL")" 700
	same "$(ls -d "$CTL"/incoming.* 2>/dev/null)" ""
}

case_a_failed_step_ends_the_attempt() {
	new 5
	echo 'exit 7' | step fetch 10
	echo 'echo no' | step install 10
	start
	same "$(cat out)" ""
	last_says "exit .* outcome=failed step=0 name=fetch code=7 reason=exit_code log_length=0"
}

case_starting_twice_runs_once() {
	new 5
	echo 'echo x >>"$DEPLOY_PATH/count"; echo hi' | step run 10
	start
	start
	says 'attached state=finished'
	last_says 'exit .* outcome=succeeded'
	same "$(cat out)" hi
	same "$(cat app/count)" x
}

case_twenty_concurrent_starts_run_once() {
	new 5
	echo 'echo x >>"$DEPLOY_PATH/count"; echo hi; while [ ! -e "$DEPLOY_PATH/go" ]; do sleep 0.05; done' | step run 60
	mkdir -p app
	i=0
	while [ $i -lt 20 ]; do
		stream | boot "$CTL" 5 "$(token_of 5)" - 0 >"out.$i" 2>"err.$i" &
		i=$((i + 1))
	done
	all_attached() { [ "$(cat err.* | grep -cE '^deploy:(started|attached)')" -eq 20 ]; }
	eventually all_attached
	: >app/go
	wait
	same "$(cat app/count)" x
	same "$(cat err.* | grep -c '^deploy:started')" 1
	same "$(cat err.* | grep -c '^deploy:exit .*outcome=succeeded')" 20
	same "$(cat out.*  | sort | uniq -c | tr -d ' ')" 20hi
}

case_an_older_generation_is_fenced() {
	new 9
	echo : | step run 10
	start
	new 8
	echo 'echo x >"$DEPLOY_PATH/ran"' | step run 10
	start
	last_says 'fenced seen=9$'
	never [ -e app/ran ]
	never [ -e "$CTL/attempts/8" ]
}

case_a_probe_raises_the_fence_against_a_late_start() {
	new 5
	echo 'echo x >"$DEPLOY_PATH/ran"' | step run 10
	call probe 5 5
	last_says 'never_started$'
	start
	last_says 'fenced seen=5$'
	never [ -e app/ran ]
	new 6
	echo 'echo x >"$DEPLOY_PATH/ran"' | step run 10
	start
	last_says 'exit .*outcome=succeeded'
	same "$(cat "$CTL/fence")" 5
	call observe
	last_says 'observed fence=6 release=- generation=6 running=-$'
}

case_another_live_attempt_is_busy() {
	new 5
	echo 'while [ ! -e "$DEPLOY_PATH/go" ]; do sleep 0.05; done' | step run 60
	start 5 &
	eventually begun 5 0
	new 6
	echo : | step run 10
	stream | boot "$CTL" 6 "$(token_of 6)" - 0 >out6 2>err6
	last_says 'busy generation=5$' err6
	call observe
	last_says 'observed fence=5 .*running=5$'
	call probe 5 5
	last_says 'running generation=5 pid=[0-9]* step=0 name=run$'
	: >app/go
	eventually [ -e "$CTL/attempts/5/exit" ]
	wait
	start 6
	last_says 'exit .*generation=6 outcome=succeeded'
}

case_the_environment_is_the_contracts() {
	new 5 "previous_release='r 4'" previous_version=1.4 package_digest=abc
	printf "P_A='a b'\nDU_START='x'\n" >"$STAGE/env"
	printf '#!/bin/sh\n"%s" >"$DEPLOY_PATH/env"; grep -E "^Sig(Ign|Blk)" /proc/self/status >"$DEPLOY_PATH/sig"; umask >"$DEPLOY_PATH/umask"; pwd; ls -l /proc/self/fd | wc -l; read x || echo eof' "$(command -v env)" | step run 10
	chmod +x "$STAGE/steps/0-run"
	SECRET=1 start
	last_says 'exit .*succeeded'
	same "$(sed 's/=.*//' app/env | grep -vE '^(PWD|OLDPWD|SHLVL|_)$' | sort | tr '\n' ' ')" "DEPLOY_ATTEMPT DEPLOY_DESCRIPTOR_DIR DEPLOY_DIRECTION DEPLOY_GENERATION DEPLOY_HOST DEPLOY_KEEPS_RELEASE DEPLOY_LIB DEPLOY_OUTPUT DEPLOY_PACKAGE DEPLOY_PACKAGE_DIGEST DEPLOY_PATH DEPLOY_PREVIOUS_RELEASE DEPLOY_PREVIOUS_VERSION DEPLOY_RELEASE DEPLOY_RELEASE_DIR DEPLOY_SERVICE DEPLOY_SHARED DEPLOY_STEP DEPLOY_STEP_KEY DEPLOY_VERSION DU_START HOME LANG LOGNAME PATH P_A SHELL TMPDIR USER "
	grep -qx 'P_A=a b' app/env
	grep -qx "DEPLOY_PREVIOUS_RELEASE=r 4" app/env
	grep -qx "DEPLOY_RELEASE_DIR=$T/app/releases/r5" app/env
	grep -qx "DEPLOY_PACKAGE=$CTL/packages/abc.tar.gz" app/env
	grep -qx "DEPLOY_STEP_KEY=rollout.h1.run" app/env
	grep -qx "DEPLOY_ATTEMPT=$(token_of 5).0" app/env
	grep -qx "HOME=$(getent passwd "$(id -u)" | cut -d: -f6)" app/env
	grep -qx "USER=$(id -un)" app/env
	same "$(cat app/umask)" 0022
	# What this suite was started with ignored stays so: no shell can take that back.
	[ "$shell" = applets ] || same "$(cat app/sig)" "$(grep -E '^Sig(Blk|Ign):' "/proc/$$/status")"
	same "$(head -n 1 out)" "$T/app"
	same "$(tail -n 1 out)" eof
}

case_finished_attempts_are_pruned() {
	i=1
	while [ $i -le 30 ]; do
		new $i
		echo : | step run 10
		start
		last_says 'exit .*succeeded'
		i=$((i + 1))
	done
	same "$(ls "$CTL/attempts" | sort -n | head -n 1)" 10
	same "$(ls "$CTL/attempts" | sort -n | tail -n 1)" 30
}

case_what_a_start_left_halfway_is_started_again() {
	new 5
	echo 'echo hi' | step run 10
	mkdir -p "$CTL/attempts/5" "$CTL/packages" "$CTL/incoming.x.999999999"
	cp "$STAGE/attempt" "$CTL/attempts/5"
	call attach 5 0
	last_says 'never_started$'
	start
	last_says 'exit .*succeeded'
	never [ -e "$CTL/incoming.x.999999999" ]
}

case_a_cut_stream_starts_nothing() {
	new 5
	echo 'echo x >"$DEPLOY_PATH/ran"' | step run 10
	stream | head -c 3000 | boot "$CTL" 5 "$(token_of 5)" - 0 >out 2>err || :
	last_says 'error code=bad_stream message=.'
	same "$(ls -d "$CTL"/incoming.* 2>/dev/null)" ""
	call probe 5 5
	last_says 'never_started$'
}
