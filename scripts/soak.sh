#!/usr/bin/env bash
# Kills nodes and clients under load: soak.sh KILLS [--seed TEXT]
. "$(dirname "$0")/lib.sh"

[ "${BUILT-}" ] || scripts/build.sh
exec python tests/kill/soak.py "$@"
