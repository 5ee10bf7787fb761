#!/bin/sh
# Runs a PostgreSQL server in a folder for as long as tests use it.
#
#   postgres.sh BIN FOLDER keep|remove
#
# Every test process holds a shared lock on FOLDER/users, which the kernel takes from it however it ends. Once nobody has
# held it for five seconds the server is stopped and its data removed, with the folder if so asked: no test can leave a server behind.
set -eu
bin=$1
folder=$2
afterwards=$3
data=$folder/data

as=
if [ "$(id -u)" = 0 ]; then
    as='setpriv --reuid=postgres --regid=postgres --clear-groups --'
    install -d -o postgres -g postgres -m 755 "$folder/socket"
else
    mkdir -p "$folder/socket"
fi

rm -rf "$data" "$folder/ready"
mkdir -m 700 "$data"
[ -z "$as" ] || chown postgres:postgres "$data"

# A collation unlike that of bytes: what goes by the order of names must not depend on the server's.
$as "$bin/initdb" --pgdata="$data" --username=postgres --auth=trust --encoding=UTF8 \
    --locale=C.UTF-8 --locale-provider=icu --icu-locale=en-US --no-sync >/dev/null
$as "$bin/postgres" -D "$data" -k "$folder/socket" -c listen_addresses= -c max_connections=300 \
    -c max_wal_size=128MB -c recovery_init_sync_method=syncfs &
server=$!
clear_up() {
    kill -QUIT "$server" 2>/dev/null || true
    wait "$server" || true
    rm -rf "$data" "$folder/ready"
    [ "$afterwards" = keep ] || rm -rf "$folder"
}
trap clear_up EXIT

until "$bin/pg_isready" --quiet --host="$folder/socket" --username=postgres; do
    kill -0 "$server"
    sleep 0.05
done
touch "$folder/ready"

exec 9>>"$folder/users"
idle=0
while kill -0 "$server" 2>/dev/null; do
    if flock --exclusive --nonblock 9; then
        idle=$((idle + 1))
        # Leaves with the lock held, so that a test that comes now waits, and then starts a server of its own.
        [ "$idle" -lt 5 ] || exit 0
        flock --unlock 9
    else
        idle=0
    fi
    sleep 1
done
