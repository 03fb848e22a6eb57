#!/usr/bin/env bash
# The simulator: sim.sh [--seed N | --seeds N] [OPTION...]
. "$(dirname "$0")/lib.sh"

exec cargo run --quiet --release -p neo-sim -- "$@"
