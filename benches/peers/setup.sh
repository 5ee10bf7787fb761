#!/usr/bin/env bash
# Installs every tool (Debian packages + one venv a tool), makes keys and configs. Idempotent; needs root on Debian/Ubuntu.
set -euo pipefail
. "$(dirname "$0")/env.sh"
mkdir -p "$PEERS_STATE"/{keys,venv,logs,payload,etc}
chmod 755 "$PEERS_STATE"

need=()
for p in openssh-server openssh-client time; do dpkg -s "$p" >/dev/null 2>&1 || need+=("$p"); done
if [ ${#need[@]} -gt 0 ]; then
    export DEBIAN_FRONTEND=noninteractive
    rcd=/usr/sbin/policy-rc.d; made=
    [ -e $rcd ] || { printf '#!/bin/sh\nexit 101\n' >$rcd; chmod +x $rcd; made=1; }   # do not start the packaged sshd
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends "${need[@]}" || { [ -z "$made" ] || rm -f $rcd; exit 1; }
    [ -z "$made" ] || rm -f $rcd
fi

py=$PEERS_PYTHON
if [ -z "$py" ]; then
    for c in python3.14 python3.13 python3.12 "${HOME}"/.pyenv/versions/3.1[2-9]*/bin/python3 python3; do
        p=$(command -v "$c" 2>/dev/null) || continue
        "$p" -c 'import sys, venv; sys.exit(sys.version_info < (3, 12))' 2>/dev/null && py=$p     # last one wins in the pyenv list
        [ "$c" = "${c#/}" ] && [ -n "$py" ] && break
    done
fi
[ -n "$py" ] || { echo "setup: need Python >= 3.12 with venv (set PEERS_PYTHON)" >&2; exit 1; }
echo "setup: Python for the venvs: $py ($($py --version))"
for t in ansible asyncssh pssh salt; do
    stamp=$PEERS_STATE/venv/$t/.done
    cmp -s "$BENCH_DIR/requirements/$t.txt" "$stamp" && continue
    echo "setup: venv $t"
    "$py" -m venv --clear "$PEERS_STATE/venv/$t"
    "$PEERS_STATE/venv/$t/bin/pip" install -q --disable-pip-version-check -r "$BENCH_DIR/requirements/$t.txt"
    cp "$BENCH_DIR/requirements/$t.txt" "$stamp"
done

[ -e "$KEY" ] || ssh-keygen -q -t ed25519 -N '' -C peers-bench -f "$KEY"
[ -e "$PEERS_STATE/etc/ssh_host_ed25519_key" ] || ssh-keygen -q -t ed25519 -N '' -C peers-bench-host -f "$PEERS_STATE/etc/ssh_host_ed25519_key"

cat >"$PEERS_STATE/etc/sshd_config" <<C
Port $PEERS_PORT
HostKey /etc/ssh/ssh_host_ed25519_key
AuthorizedKeysFile .ssh/authorized_keys
StrictModes no
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
UseDNS no
PrintMotd no
PrintLastLog no
MaxStartups 10000:30:20000
MaxSessions 1000
LogLevel ERROR
PidFile none
Subsystem sftp /usr/lib/openssh/sftp-server
C
hostpub=$(cut -d' ' -f1,2 "$PEERS_STATE/etc/ssh_host_ed25519_key.pub")
"$BENCH_DIR/targets" 1000 | sed "s|.*|[&]:$PEERS_PORT $hostpub|" >"$KNOWN_HOSTS"
echo "setup: done; state in $PEERS_STATE"
