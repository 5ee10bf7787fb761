#!/bin/sh
# The agent that runs begins anew as the program that is current now. Where none runs, whoever supervises it starts that.
exec "$DEPLOY_PATH/current/deploy-agent" reload --state-dir "$P_STATE_DIR"
