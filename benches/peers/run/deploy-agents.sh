#!/usr/bin/env bash
# deploy with a resident server and agents (`agents.sh start N` first: all agents that are there are worked on). DEPLOY=, CONC=
# and cases as for deploy.sh.
. "$(dirname "$0")/common.sh"
. "$BENCH_DIR/lib/deploy.sh"
deploy_case "deploy agents c$CONC" agents \
    "$DEPLOY" --server "http://$AGENTS_API" --token-file "$AGENTS_DIR/token" --quiet
