# The package: cut, resumed, wrong, and no space for it.
# shellcheck shell=sh disable=SC2154

# package_of BYTES: makes `package` and leaves its digest in DIGEST.
package_of() {
	head -c "$1" /dev/urandom >package
	DIGEST=$(sha256sum <package)
	DIGEST=${DIGEST%% *}
}

# send [LIMIT]: what a client does: waits for `have`, then sends the package from there on; cut after LIMIT bytes.
send() {
	STAGE=$T/stage/$GEN
	: >err
	{
		until grep -q '^deploy:have' err 2>/dev/null; do sleep 0.02; done
		have=$(sed -n 's/^deploy:have bytes=//p' err)
		echo "$have" >have
		tail -c "+$((have + 1))" package >"$STAGE/package.chunk"
		if [ -n "${1:-}" ]; then stream package.chunk | head -c "$1"; else stream package.chunk; fi
	} | { boot "$CTL" "$GEN" "$(token_of "$GEN")" "$DIGEST" 0 >out 2>err || :; }
}

packaged() {
	new "$1" "package_digest=$DIGEST" "package_size=$(wc -c <package)"
	echo 'cmp "$DEPLOY_PACKAGE" "$DEPLOY_PATH/../package" && echo same' | step fetch 10
}

case_a_package_comes_once() {
	package_of 300000
	packaged 5
	send
	same "$(cat have)" 0
	last_says 'exit .*outcome=succeeded'
	same "$(cat out)" same
	packaged 6
	send
	same "$(cat have)" 300000
	last_says 'exit .*outcome=succeeded'
	same "$(ls "$CTL/packages")" "$DIGEST.tar.gz"
	never [ -e "$CTL/attempts/5/package.chunk" ]
	never [ -s "$CTL/attempts/6/package.chunk" ]
}

case_a_cut_package_is_resumed() {
	package_of 3000000
	packaged 5
	send 1000000
	last_says 'error code=bad_stream'
	part=$(wc -c <"$CTL/packages/$DIGEST.tar.gz.part")
	[ "$part" -gt 800000 ]
	head -c "$part" package | cmp - "$CTL/packages/$DIGEST.tar.gz.part"
	send 1500000
	same "$(cat have)" "$((part))"
	more=$(wc -c <"$CTL/packages/$DIGEST.tar.gz.part")
	[ "$more" -gt "$part" ]
	call probe 5 0
	last_says 'never_started'
	send
	same "$(cat have)" "$((more))"
	last_says 'exit .*outcome=succeeded'
	same "$(cat out)" same
}

# The client is killed and so is what runs for it, as far as a lost connection does that.
case_a_hung_up_upload_is_resumed() {
	package_of 3000000
	packaged 5
	cp package "$STAGE/package.chunk"
	mkfifo pipe
	setsid env -i PATH="$LOGIN_PATH" sh -c "$(cat "$SCRIPTS/boot.sh")" deploy "$CTL" 5 "$(token_of 5)" "$DIGEST" 0 <pipe >out 2>err &
	server=$!
	exec 5>pipe
	stream package.chunk | head -c 2000000 >&5
	kill -s HUP -- "-$server"
	exec 5>&-
	wait "$server" || :
	[ "$(wc -c <"$CTL/packages/$DIGEST.tar.gz.part")" -gt 1500000 ]
	send
	[ "$(cat have)" -gt 1500000 ]
	last_says 'exit .*outcome=succeeded'
}

case_a_wrong_digest_is_refused() {
	package_of 300000
	packaged 5
	echo x >>package
	sed "s/package_size=[0-9]*/package_size=300002/" "$STAGE/attempt" >a && mv a "$STAGE/attempt"
	send
	last_says 'error code=bad_digest'
	same "$(ls "$CTL/packages")" ""
	call probe 5 0
	last_says 'never_started'
	same "$(ls "$CTL" | grep incoming)" ""
}

case_concurrent_uploads_make_one_package() {
	package_of 2000000
	packaged 5
	cp package "$STAGE/package.chunk"
	for i in 1 2 3 4 5; do
		stream package.chunk | boot "$CTL" 5 "$(token_of 5)" "$DIGEST" 0 >"out.$i" 2>"err.$i" &
	done
	wait
	for i in 1 2 3 4 5; do
		last_says 'exit .*outcome=succeeded' "err.$i"
		same "$(cat "out.$i")" same
	done
}

case_a_full_disk_starts_nothing() {
	mkdir app
	mount -t tmpfs -o size=1m tmpfs app 2>/dev/null || skip "needs root, to mount a small file system"
	trap 'umount -l "$T/app"' EXIT
	package_of 3000000
	packaged 5
	send
	last_says 'error code=no_space'
	same "$(ls -d "$CTL"/incoming.* 2>/dev/null)" ""
	rm -rf "$CTL/packages"/*
	new 6
	echo 'echo x' | step run 10
	head -c 2000000 /dev/zero >app/filler 2>/dev/null || :
	start || :
	last_says 'error code=no_space'
	call probe 6 6 || :
	last_says '\(error code=no_space\|never_started\)'
}

case_a_disk_filled_by_a_step_hides_no_result() {
	mkdir app
	mount -t tmpfs -o size=1m tmpfs app 2>/dev/null || skip "needs root, to mount a small file system"
	trap 'umount -l "$T/app"' EXIT
	new 5
	echo 'echo begin; head -c 3000000 /dev/zero >"$DEPLOY_PATH/filler"; echo lost; exit 3' | step run 10
	start
	last_says 'exit .*outcome=failed step=0 name=run code=3'
	call probe 5 5
	last_says 'exit .*outcome=failed step=0 name=run code=3'
}

case_a_full_disk_keeps_no_limit_and_no_kill_away() {
	mkdir app
	mount -t tmpfs -o size=1m tmpfs app 2>/dev/null || skip "needs root, to mount a small file system"
	trap 'umount -l "$T/app"' EXIT
	for GEN in 5 6; do
		new "$GEN"
		echo 'head -c 3000000 /dev/zero >"$DEPLOY_PATH/filler"; exit 0' | step install 10
		if [ "$GEN" = 5 ]; then
			echo 'sleep 100' | step post 1
			start
			last_says 'exit .*outcome=timed_out step=1 name=post'
		else
			echo 'sleep 100' | step post 90
			start &
			eventually begun 6 1
			supervisor_of 6
			call kill 6 1
			wait
			call probe 6 6
			last_says 'exit .*outcome=killed step=1 name=post'
			gone "$SUP"
		fi
		rm app/filler
	done
}

case_a_folder_that_cannot_be_written_is_said_so() {
	: >app
	new 5
	echo : | step run 10
	start || :
	last_says 'error code=not_writable'
}
