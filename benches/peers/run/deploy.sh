#!/usr/bin/env bash
# deploy over SSH: DEPLOY= the binary (default: ../../target/release/deploy), CONC= hosts at a time (default 50). Cases: see
# lib/deploy.sh. Every run has a data folder of its own; importing the inventory and the service is not measured, as the peers'
# inventories and playbooks are not.
. "$(dirname "$0")/common.sh"
. "$BENCH_DIR/lib/deploy.sh"
export DEPLOY_DATA_DIR=$PEERS_STATE/deploy-data
rm -rf "$DEPLOY_DATA_DIR"; mkdir -p "$SETUP"
{ echo name,port,user,label.role; sed "s/$/,$PEERS_PORT,$PEERS_USER,peer/" "$HOSTFILE"; } >"$SETUP/hosts.csv"
"$DEPLOY" host import "$SETUP/hosts.csv" >/dev/null
deploy_case "deploy c$CONC" server "$DEPLOY" --ssh-config "$SSH_CONFIG" --known-hosts "$KNOWN_HOSTS" --quiet
