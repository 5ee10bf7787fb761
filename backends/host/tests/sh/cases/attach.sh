# Finding an attempt again: every byte of the log once, whatever went away.
# shellcheck shell=sh disable=SC2154

case_attach_gives_the_bytes_from_an_offset() {
	new 5
	printf 'printf "0123456789\\n\\000\\377binary"' | step run 10
	start
	printf '0123456789\n\000\377binary' >want
	cmp out want
	for offset in 0 1 10 12 18 19 20 1000; do
		call attach 5 "$offset"
		tail -c "+$((offset + 1))" want | cmp - out
		same "$(head -n 1 err)" 'deploy:attached state=finished'
		last_says 'exit .*log_length=19 '
	done
	same "$(grep -c '^deploy:step index=0 name=run$' err)" 1
	call attach 4 0
	last_says 'never_started$'
}

# Five readers of a binary log that grows meanwhile, each from another offset.
case_attach_follows_a_growing_binary_log() {
	head -c 5000000 /dev/urandom >want
	new 5
	cat <<-'X' | step fetch 60
		i=0
		while [ $i -lt 50 ]; do
			tail -c +$((i * 100000 + 1)) "$DEPLOY_PATH/../want" | head -c 100000
			[ $((i % 5)) -ne 0 ] || sleep 0.15
			i=$((i + 1))
		done
	X
	echo 'exit 0' | step install 10
	start &
	eventually begun 5 0
	for offset in 0 1 99999 2500000 4999999; do
		env -i PATH="$LOGIN_PATH" sh -s -- attach "$CTL" 5 "$offset" <"$SCRIPTS/launcher.sh" >"out.$offset" 2>"err.$offset" &
	done
	wait
	cmp out want
	for offset in 0 1 99999 2500000 4999999; do
		tail -c "+$((offset + 1))" want | cmp - "out.$offset"
		last_says 'exit .*outcome=succeeded.*log_length=5000000 ' "err.$offset"
		same "$(grep '^deploy:step' "err.$offset")" 'deploy:step index=0 name=fetch
deploy:step index=1 name=install'
	done
}

case_the_log_is_live() {
	new 5
	cat <<-'X' | step run 60
		echo before
		while [ ! -e "$DEPLOY_PATH/go" ]; do sleep 0.05; done
		echo after
	X
	start 5 &
	starter=$!
	eventually grep -q before out
	never [ -e "$CTL/attempts/5/ended" ]
	eventually grep -q '^deploy:step index=0 name=run' err
	: >app/go
	wait "$starter"
	same "$(cat out)" "before
after"
}

case_a_killed_client_does_not_disturb_the_attempt() {
	new 5
	cat <<-'X' | step run 60
		i=0
		while [ $i -lt 20 ]; do echo "line $i"; sleep 0.05; i=$((i + 1)); done
		while [ ! -e "$DEPLOY_PATH/go" ]; do sleep 0.05; done
		echo x >>"$DEPLOY_PATH/count"
	X
	stream >stream.tar
	setsid env -i PATH="$LOGIN_PATH" sh -c "$(cat "$SCRIPTS/boot.sh")" deploy "$CTL" 5 "$(token_of 5)" - 0 <stream.tar >out 2>err &
	client=$!
	eventually begun 5 0
	kill -s HUP -- "-$client" || :
	kill -s KILL -- "-$client" || :
	wait "$client" || :
	had=$(wc -c <out)
	call probe 5 5
	last_says 'running'
	: >app/go
	call attach 5 "$((had))"
	last_says 'exit .*outcome=succeeded'
	same "$(cat app/count)" x
	i=0
	while [ $i -lt 20 ]; do echo "line $i"; i=$((i + 1)); done | tail -c "+$((had + 1))" | cmp - out
}

case_a_closed_output_does_not_disturb_the_attempt() {
	new 5
	cat <<-'X' | step run 60
		i=0
		while [ $i -lt 100 ]; do echo "line $i"; sleep 0.02; i=$((i + 1)); done
		echo x >>"$DEPLOY_PATH/count"
	X
	stream | boot "$CTL" 5 "$(token_of 5)" - 0 2>&1 | head -n 3 >/dev/null
	eventually [ -e "$CTL/attempts/5/exit" ]
	call attach 5 0
	last_says 'exit .*outcome=succeeded'
	same "$(wc -l <out | tr -d ' ')" 100
	same "$(cat app/count)" x
}

case_what_a_step_leaves_running_holds_nothing_up() {
	new 5
	echo 'sleep 1000 & echo $! >"$DEPLOY_PATH/left"; echo hi' | step start 10
	echo 'ls -l /proc/self/fd' | step run 10
	start
	last_says 'exit .*outcome=succeeded'
	kill -0 "$(cat app/left)"
	same "$(ls -l "/proc/$(cat app/left)/fd" | grep -cE 'alive|/lock')" 0
	new 6
	echo : | step run 10
	start
	last_says 'exit .*generation=6 outcome=succeeded'
	kill "$(cat app/left)"
}

case_a_killed_supervisor_is_found_dead() {
	new 5
	echo 'trap "" TERM; sleep 1000 & echo $! >"$DEPLOY_PATH/child"; wait; wait; sleep 1000' | step run 600
	start &
	eventually begun 5 0
	eventually [ -s app/child ]
	supervisor_of 5
	read -r _ root _ <"$CTL/attempts/5/root"
	kill -s KILL "$SUP"
	wait
	last_says 'died reason=supervisor_lost step=0 name=run$'
	gone "$(cat app/child)"
	gone "$root"
	call probe 5 5
	last_says 'died reason=supervisor_lost step=0 name=run$'
	new 6
	echo : | step run 10
	start
	last_says 'exit .*outcome=succeeded'
}

case_a_reboot_is_told_from_a_lost_supervisor() {
	new 5
	echo 'sleep 1000' | step install 600
	start &
	eventually begun 5 0
	supervisor_of 5
	read -r _ root _ <"$CTL/attempts/5/root"
	echo 00000000-0000-4000-8000-000000000000 >"$WORK/$shell/boot_id"
	kill -s KILL "$SUP"
	wait
	last_says 'died reason=rebooted step=0 name=install$'
	call probe 5 5
	last_says 'died reason=rebooted step=0 name=install$'
	cat /proc/sys/kernel/random/boot_id >"$WORK/$shell/boot_id"
	kill -0 "$root"
	call probe 5 5
	last_says 'died reason=supervisor_lost'
	gone "$root"
}
