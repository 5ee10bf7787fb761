#!/usr/bin/env bash
# deploy: DEPLOY= the binary (default: ../../target/release/deploy), CONC= hosts at a time (default 50).
# Cases: run; deploy (make the release, then roll it out: both are measured); deploy-again (a second release onto
# hosts that have one); rolling (as deploy, in waves of ${BATCH:-50}). Every run has a data folder of its own; importing the inventory and the service is not measured, as
# the peers' inventories and playbooks are not.
. "$(dirname "$0")/common.sh"
DEPLOY=${DEPLOY:-$BENCH_DIR/../../target/release/deploy}; CONC=${CONC:-50}
export DEPLOY DEPLOY_DATA_DIR=$PEERS_STATE/deploy-data
rm -rf "$DEPLOY_DATA_DIR"
setup=$PEERS_STATE/deploy; mkdir -p "$setup/descriptor"
{ echo name,port,user,label.role; sed "s/$/,$PEERS_PORT,$PEERS_USER,peer/" "$HOSTFILE"; } >"$setup/hosts.csv"
deploy() { "$DEPLOY" --ssh-config "$SSH_CONFIG" --known-hosts "$KNOWN_HOSTS" --quiet "$@"; }
tool="deploy c$CONC"
deploy host import "$setup/hosts.csv" >/dev/null
case $CASE in
run)
    # Each host's /tmp is its own; the default, /var/tmp, is one folder for all the hosts of this machine.
    measure --tool "$tool" -- "$DEPLOY" --ssh-config "$SSH_CONFIG" --known-hosts "$KNOWN_HOSTS" --quiet \
        run --yes --path /tmp --max-parallel "$CONC" role=peer -- true;;
deploy|deploy-again|rolling)
    WAVES='"100%"'; [ "$CASE" != rolling ] || { WAVES="\"${BATCH:-50}\""; tool+=" waves${BATCH:-50}"; }
    printf 'format = 1\n[steps.post]\nscript = "post.sh"\neffect = "idempotent"\n' >"$setup/descriptor/descriptor.toml"
    echo 'cat "$DEPLOY_PATH/current/VERSION"' >"$setup/descriptor/post.sh"
    cat >"$setup/service.toml" <<C
name = "app"
owner = "peers"
deploy_path = "/srv/app"
selector = "role=peer"
[strategy]
max_parallel = $CONC
waves = [$WAVES]
C
    deploy service apply "$setup/service.toml" >/dev/null
    export RELEASE="set -e
        deploy() { \"\$DEPLOY\" --ssh-config '$SSH_CONFIG' --known-hosts '$KNOWN_HOSTS' --quiet \"\$@\"; }
        deploy release create app \"\$REL\" --package \"\$PAYLOAD\" --descriptor '$setup/descriptor'
        deploy rollout start --yes app \"app-\$REL\""
    if [ "$CASE" = deploy-again ]; then
        sh -c "$RELEASE" >/dev/null
        REL=$(new_release); PAYLOAD=$PAYLOAD_DIR/$REL.tgz
    fi
    measure --tool "$tool" -- sh -c "$RELEASE";;
*)  unknown;;
esac
