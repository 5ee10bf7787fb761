#!/usr/bin/env bash
# agents.sh start M | stop | status | mem
# One `deploy serve` on 127.0.0.1 and M `deploy-agent`s named 127-0-1-1 ..., each in a mount namespace with the same private
# /srv and /tmp as the sshd host of that address; PEERS_STATE and the programs have to lie elsewhere. DEPLOY= and DEPLOY_AGENT= name
# the programs (default: ../../target/release).
set -euo pipefail
. "$(dirname "$0")/env.sh"
built=$BENCH_DIR/../../target/release
export DEPLOY=${DEPLOY:-$built/deploy} DEPLOY_AGENT=${DEPLOY_AGENT:-$built/deploy-agent}
S=$AGENTS_DIR; pids=$S/pids; DOOR=127.0.0.1:${PEERS_AGENT_PORT:-17444}
ask() { "$DEPLOY" --server "http://$AGENTS_API" --token-file "$S/token" "$@"; }
case ${1:-} in
start)
    M=${2:?agents.sh start M}
    [ ! -s "$pids" ] || { echo "agents: already started"; exit 0; }
    rm -rf "$S"; mkdir -p "$S"; host_trees "$M"
    export DEPLOY_LOG=error DEPLOY_DATA_DIR=$S/data DEPLOY_SERVE_AGENTS_LISTEN=$DOOR
    setsid sh -c 'python3 "$1/lib/cg.py" join serve $$; exec "$DEPLOY" serve --plain-http --listen "$2"' \
        sh "$BENCH_DIR" "$AGENTS_API" </dev/null >"$S/serve.log" 2>&1 &
    echo $! >"$pids"
    until grep -q '^listening' "$S/serve.log"; do sleep 0.1; done
    sed -n 's/^first token, shown only now: //p' "$S/serve.log" >"$S/token"; chmod 600 "$S/token"
    unset DEPLOY_DATA_DIR
    ask host join-token create --label role=peer --uses "$M" --output json |
        python3 -c 'import json, sys; print(json.load(sys.stdin)["secret"])' >"$S/join-token"
    printf 'folders = ["/srv", "/tmp"]\naccounts = ["root"]\nrun = true\n' >"$S/host.toml"
    for h in $("$BENCH_DIR/targets" "$M"); do
        d=$HOSTS_DIR/$h; state=$S/state/$h; mkdir -p "$state"
        "$DEPLOY_AGENT" enrol --server "$DOOR" --state-dir "$state" --name "${h//./-}" --instance "peers/here/${h//./-}" <"$S/join-token" >/dev/null
        setsid unshare -m --propagation private sh -c '
            python3 "$1/lib/cg.py" join agents $$; mount --bind "$2/srv" /srv && mount --bind "$2/tmp" /tmp &&
            exec "$DEPLOY_AGENT" run --config "$3/host.toml" --state-dir "$4"' \
            sh "$BENCH_DIR" "$d" "$S" "$state" </dev/null >>"$LOG_DIR/agents.log" 2>&1 &
        echo $! >>"$pids"
    done
    until ask host agent list --output json | python3 -c 'import json, sys; sys.exit(sum(it["connected"] for it in json.load(sys.stdin)) < int(sys.argv[1]))' "$M"
    do sleep 0.5; done
    echo "agents: $M are connected"
    ;;
stop) stop_residents "$pids" agents serve;;
status) residents "$pids";;
mem) resident_memory serve agents;;
*)  sed -n 2,5p "$0"; exit 2;;
esac
