#!/usr/bin/env bash
# A small application on a cluster of this machine: demo.sh [OPTION...] of demo.py.
# With BUILT=1, what is installed in .venv is taken as it is.
. "$(dirname "$0")/lib.sh"

[ "${BUILT-}" ] || scripts/build.sh
exec python scripts/demo.py "$@"
