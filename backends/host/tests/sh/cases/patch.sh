# A package that comes as a patch upon the one before it, and all that may keep it from that.
# shellcheck shell=sh disable=SC2154

# versions: the packages old.tar.gz and new.tar.gz, their tars, and a patch from the one to the other. A login finds zstd.
versions() {
	zstd=$(PATH=/usr/local/bin:/usr/bin:/bin command -v zstd) || skip "needs zstd"
	mkdir bin tree
	ln -s "$zstd" bin/zstd
	LOGIN_PATH=$T/bin:$LOGIN_PATH
	head -c 700000 /dev/urandom >tree/program
	head -c 100000 /dev/zero >tree/zeros
	echo 1 >tree/version
	tar -C tree -cf old.tar .
	echo 2 >tree/version
	echo more >>tree/program
	tar -C tree -cf new.tar .
	for it in old new; do gzip -c "$it.tar" >"$it.tar.gz"; done
	"$zstd" -q --long=29 --patch-from=old.tar new.tar -o patch
	OLD=$(digest old.tar.gz) NEW=$(digest new.tar.gz) TREE=$(digest new.tar) PATCH=$(digest patch)
}

digest() {
	di_sum=$(sha256sum <"$1")
	echo "${di_sum%% *}"
}

# bring GENERATION VERSION [LIMIT]: what a client does: tells what it has, waits for what the host wants of it, and sends that; cut
# after LIMIT bytes. ROOM, MEMORY and WHY say what it tells the host of the patch.
bring() {
	br_digest=$(digest "$2.tar.gz")
	new "$1" "package_digest=$br_digest" "package_size=$(wc -c <"$2.tar.gz")" "package_tree=$(digest "$2.tar")" \
		"patch_digest=$PATCH" "patch_size=$(wc -c <patch)" "patch_base=$OLD"
	echo '. "$DEPLOY_LIB"; du_install' | step install 20
	: >err
	if [ -n "${WHY:-}" ]; then set -- "$1" "$2" "${3:-}" - "$WHY"; else set -- "$1" "$2" "${3:-}" "$PATCH" "$OLD" "${ROOM:-100}" "${MEMORY:-100}"; fi
	br_generation=$1 br_version=$2 br_limit=$3
	shift 3
	{
		until grep -q '^deploy:have' err 2>/dev/null; do sleep 0.02; done
		have=$(sed -n 's/^deploy:have bytes=\([0-9]*\).*/\1/p' err)
		sed -n 's/^deploy:have bytes=[0-9]* *//p' err >way
		: >"$STAGE/package.chunk"
		case $(cat way) in
		way=tree) ;;
		way=patch) tail -c "+$((have + 1))" patch >"$STAGE/package.chunk" ;;
		*) tail -c "+$((have + 1))" "$br_version.tar.gz" >"$STAGE/package.chunk" ;;
		esac
		wc -c <"$STAGE/package.chunk" >sent
		echo "$have" >have
		if [ -n "$br_limit" ]; then stream package.chunk | head -c "$br_limit"; else stream package.chunk; fi
	} | { boot "$CTL" "$br_generation" "$(token_of "$br_generation")" "$br_digest" 0 "$(digest "$br_version.tar")" "$@" >out 2>err || :; }
}

# came WAY VERSION: so it came, and so it is installed.
came() {
	last_says 'exit .*outcome=succeeded'
	same "$(cat way)" "$1"
	same "$(cat app/current/version)" "$2"
	cmp -s tree/program app/current/program || [ "$2" = 1 ] || die "the program is another one"
}

packages() {
	(cd "$CTL/packages" && for it in *; do case $it in lock) ;; *) echo "$it" ;; esac done)
}

case_a_patch_is_applied_to_the_package_before() {
	versions
	bring 5 old
	came '' 1
	grep -q '^the package came whole: the package before it is not here$' out
	bring 6 new
	came way=patch 2
	[ "$(($(cat sent)))" -lt 100000 ]
	grep -q "^the package came as a patch of $(($(wc -c <patch))) bytes upon sha256 $OLD\$" out
	# What is kept of it takes no more room than the package would have, and is there for the next attempt.
	same "$(packages)" "$(printf '%s\n' "$OLD.tar.gz" "$NEW.tree.gz" | sort)"
	[ "$(($(wc -c <"$CTL/packages/$NEW.tree.gz")))" -lt "$(($(wc -c <new.tar.gz) * 11 / 10))" ]
	rm -rf app/releases/r6
	bring 7 new
	came way=tree 2
	same "$(($(cat sent)))" 0
	same "$(ls -d "$CTL"/incoming.* "$CTL"/attempts/*/base.tar 2>/dev/null)" ""
}

case_a_patch_builds_upon_what_came_as_a_patch() {
	versions
	bring 5 old
	bring 6 new
	came way=patch 2
	cp old.tar first.tar
	mv new.tar old.tar && mv new.tar.gz old.tar.gz
	echo 3 >tree/version
	tar -C tree -cf new.tar .
	gzip -c new.tar >new.tar.gz
	rm patch
	"$zstd" -q --long=29 --patch-from=old.tar new.tar -o patch
	OLD=$(digest old.tar.gz) NEW=$(digest new.tar.gz) PATCH=$(digest patch)
	bring 7 new
	came way=patch 3
}

case_a_cut_patch_is_resumed() {
	versions
	head -c 300000 /dev/urandom >>tree/program
	tar -C tree -cf new.tar . && gzip -c new.tar >new.tar.gz && rm patch
	"$zstd" -q --long=29 --patch-from=old.tar new.tar -o patch
	PATCH=$(digest patch)
	bring 5 old
	# What a start left behind that was killed takes room, and goes before that is judged.
	mkdir "$CTL/incoming.x.999999999"
	bring 6 new 200000
	last_says 'error code=bad_stream'
	never [ -e "$CTL/incoming.x.999999999" ]
	part=$(wc -c <"$CTL/packages/$PATCH.patch.part")
	[ "$part" -gt 50000 ]
	bring 6 new
	same "$(cat have)" "$((part))"
	came way=patch 2
	same "$(packages)" "$(printf '%s\n' "$OLD.tar.gz" "$(digest new.tar.gz).tree.gz" | sort)"
}

# Each time the host says why, nothing was started, and the same attempt goes on with the whole package.
refused_then_whole() {
	last_says 'error code=bad_patch message=a%20patch%20did%20not%20fit'
	call probe 6 0
	last_says never_started
	same "$(ls -d "$CTL"/incoming.* "$CTL/packages"/*.patch* 2>/dev/null)" ""
	WHY="it did not fit" bring 6 new
	came '' 2
	grep -q '^the package came whole: it did not fit$' out
	[ -e "$CTL/packages/$NEW.tar.gz" ]
}

case_a_damaged_package_before_has_the_whole_come() {
	versions
	bring 5 old
	printf x | dd of="$CTL/packages/$OLD.tar.gz" bs=1 seek=300000 conv=notrunc 2>/dev/null
	bring 6 new
	refused_then_whole
}

case_another_package_before_has_the_whole_come() {
	versions
	bring 5 old
	head -c 800000 /dev/urandom | gzip -c >"$CTL/packages/$OLD.tar.gz"
	bring 6 new
	refused_then_whole
}

case_a_zstd_that_fails_has_the_whole_come() {
	versions
	bring 5 old
	rm bin/zstd
	printf '#!/bin/sh\ncase $1 in -H) echo "--patch-from=FILE" ;; *) echo "zstd: out of memory" >&2; exit 1 ;; esac\n' >bin/zstd
	chmod +x bin/zstd
	bring 6 new
	last_says 'error .*(zstd:%20out%20of%20memory)'
	refused_then_whole
}

# The host had it when it said what it wants, and has it no longer.
case_memory_that_is_gone_by_then_has_the_whole_come() {
	versions
	bring 5 old
	cp -r "$SCRIPTS" scripts
	sed 's|</proc/meminfo|<meminfo|' "$SCRIPTS/launcher.sh" >scripts/launcher.sh
	SCRIPTS=$T/scripts
	printf '%s\n' 'MemFree: 5 kB' 'MemAvailable: 99 kB' 'Buffers: 999 kB' >meminfo
	bring 6 new
	last_says 'error .*(there%20is%20too%20little%20memory%20here%20by%20now)'
	refused_then_whole
}

case_a_patch_is_what_the_kernel_ends_first() {
	versions
	bring 5 old
	rm bin/zstd
	{
		printf '#!/bin/sh\ncase $1 in -H) ;; *) cat /proc/self/oom_score_adj >>"%s/score" ;; esac\n' "$T"
		printf 'exec "%s" "$@"\n' "$zstd"
	} >bin/zstd
	chmod +x bin/zstd
	bring 6 new
	came way=patch 2
	same "$(cat score)" 1000
	supervisor_score=$(cat /proc/self/oom_score_adj)
	new 7
	echo 'cat /proc/self/oom_score_adj' | step run 10
	start
	same "$(cat out)" "$supervisor_score"
}

case_a_damaged_patch_has_the_whole_come() {
	versions
	bring 5 old
	cp patch good
	printf x | dd of=patch bs=1 seek=20 conv=notrunc 2>/dev/null
	(PATCH=$(digest good) && bring 6 new)
	last_says 'error code=bad_patch message=the%20package%20is%20not%20what%20its%20digest%20says'
	same "$(ls "$CTL/packages"/*.patch* 2>/dev/null)" ""
}

case_a_host_that_lacks_something_has_the_whole_come() {
	versions
	bring 5 old
	printf '#!/bin/sh\necho "-d : decompression"\n' >zstd.old
	chmod +x zstd.old
	mv bin/zstd bin/zstd.new
	cp zstd.old bin/zstd
	bring 6 new
	came '' 2
	grep -q '^the package came whole: there is no zstd here that can apply a patch$' out
	rm "$CTL/packages/$NEW.tar.gz"
	mv bin/zstd.new bin/zstd
	ROOM=999999999999 bring 7 new
	came '' 2
	grep -q '^the package came whole: there is too little room here for a patch$' out
	rm "$CTL/packages/$NEW.tar.gz"
	MEMORY=999999999999 bring 8 new
	came '' 2
	grep -q '^the package came whole: there is too little memory here for a patch$' out
}

case_a_damaged_tree_is_made_again() {
	versions
	bring 5 old
	bring 6 new
	came way=patch 2
	printf x | dd of="$CTL/packages/$NEW.tree.gz" bs=1 seek=300000 conv=notrunc 2>/dev/null
	bring 7 new
	last_says 'error code=bad_digest'
	same "$(packages)" "$OLD.tar.gz"
	bring 7 new
	came way=patch 2
}

# What ends a gzip file is compared by gzip alone, and whoever unpacks it would fail on that.
case_a_tree_whose_end_is_damaged_is_made_again() {
	versions
	bring 5 old
	bring 6 new
	came way=patch 2
	size=$(wc -c <"$CTL/packages/$NEW.tree.gz")
	printf '\0\0\0\0' | dd of="$CTL/packages/$NEW.tree.gz" bs=1 seek=$((size - 8)) conv=notrunc 2>/dev/null
	bring 7 new
	last_says 'error code=bad_digest'
	bring 7 new
	came way=patch 2
}

case_a_tree_stays_while_an_attempt_runs_that_uses_it() {
	versions
	bring 5 old
	bring 6 new
	came way=patch 2
	new 7 "package_digest=$NEW" "package_size=$(wc -c <new.tar.gz)" "package_tree=$TREE"
	echo 'until [ -e "$DEPLOY_PATH/go" ]; do sleep 0.05 2>/dev/null || sleep 1; done; gzip -dc <"$DEPLOY_PACKAGE" >unpacked && echo whole' | step run 60
	stream | boot "$CTL" 7 "$(token_of 7)" "$NEW" 0 "$TREE" >out.7 2>err.7 &
	eventually begun 7 0
	new 8 "package_digest=$NEW" "package_size=$(wc -c <new.tar.gz)"
	echo : | step run 10
	cp new.tar.gz "$STAGE/package.chunk"
	stream package.chunk | boot "$CTL" 8 "$(token_of 8)" "$NEW" 0 - >out 2>err
	last_says 'busy generation=7'
	same "$(packages)" "$(printf '%s\n' "$OLD.tar.gz" "$NEW.tar.gz" "$NEW.tree.gz" | sort)"
	: >app/go
	wait
	last_says 'exit .*outcome=succeeded' err.7
	same "$(cat out.7)" whole
}

# One who wants the archive itself does not take its tar for it.
case_the_archive_is_sent_where_it_is_wanted() {
	versions
	bring 5 old
	bring 6 new
	came way=patch 2
	new 7 "package_digest=$NEW" "package_size=$(wc -c <new.tar.gz)"
	echo 'cmp "$DEPLOY_PACKAGE" "$DEPLOY_PATH/../new.tar.gz" && echo same' | step fetch 10
	cp new.tar.gz "$STAGE/package.chunk"
	stream package.chunk | boot "$CTL" 7 "$(token_of 7)" "$NEW" 0 - >out 2>err
	says 'have bytes=0$'
	last_says 'exit .*outcome=succeeded'
	same "$(cat out)" same
	same "$(packages)" "$(printf '%s\n' "$OLD.tar.gz" "$NEW.tar.gz" | sort)"
}

case_trees_go_with_the_attempts_that_name_them() {
	versions
	bring 1 old
	bring 2 new
	came way=patch 2
	i=3
	while [ $i -le 40 ]; do
		new $i
		echo : | step run 10
		start
		i=$((i + 1))
	done
	never ls "$CTL/packages/$NEW.tree.gz" "$CTL/packages/$OLD.tar.gz"
}
