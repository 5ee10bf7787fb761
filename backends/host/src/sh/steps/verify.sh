# The default step `verify`.
# shellcheck shell=sh source=backends/host/src/sh/deployutils.sh
. "$DEPLOY_LIB"
du_verify
