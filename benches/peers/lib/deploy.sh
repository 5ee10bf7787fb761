# shellcheck shell=bash disable=SC2016
# Sourced by run/deploy*.sh: the cases of `deploy`, however it reaches its hosts.
# Cases: run; deploy (make the release, then roll it out: both are measured); deploy-again (a second release onto
# hosts that have one); rolling (as deploy, in waves of ${BATCH:-50}).
export DEPLOY=${DEPLOY:-$BENCH_DIR/../../target/release/deploy} CONC=${CONC:-50} SETUP=$PEERS_STATE/deploy
RELEASE='set -e
"$@" release create app "$REL" --package "$PAYLOAD" --descriptor "$SETUP/descriptor"
"$@" rollout start --yes app "app-$REL"'
# describe WAVES COMMAND ...: the service and its descriptor, by `deploy` as it is called here.
describe() {
    mkdir -p "$SETUP/descriptor"
    printf 'format = 1\n[steps.post]\nscript = "post.sh"\neffect = "idempotent"\n' >"$SETUP/descriptor/descriptor.toml"
    echo 'cat "$DEPLOY_PATH/current/VERSION"' >"$SETUP/descriptor/post.sh"
    cat >"$SETUP/service.toml" <<C
name = "app"
owner = "peers"
deploy_path = "/srv/app"
selector = "role=peer"
[strategy]
max_parallel = $CONC
waves = ["$1"]
C
    shift; "$@" service apply "$SETUP/service.toml" >/dev/null
}
# deploy_case TOOL GROUP COMMAND ...: measures $CASE with `deploy` as it is called here, on hosts in that control group.
deploy_case() {
    local tool=$1 group=$2; shift 2
    m() { measure --server "$group" --control serve --tool "$tool" -- "$@"; }
    case $CASE in
    # Each host's /tmp is its own; the default, /var/tmp, is one folder for all the hosts of this machine.
    run)          m "$@" run --yes --path /tmp --max-parallel "$CONC" role=peer -- true;;
    deploy)       describe 100% "$@"; m sh -c "$RELEASE" sh "$@";;
    deploy-again) describe 100% "$@"; sh -c "$RELEASE" sh "$@" >/dev/null
                  REL=$(new_release); export PAYLOAD=$PAYLOAD_DIR/$REL.tgz
                  m sh -c "$RELEASE" sh "$@";;
    rolling)      describe "${BATCH:-50}" "$@"; tool+=" waves${BATCH:-50}"; m sh -c "$RELEASE" sh "$@";;
    *)            unknown;;
    esac
}
