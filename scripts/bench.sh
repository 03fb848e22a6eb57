#!/usr/bin/env bash
# The benchmarks in Rust: bench.sh [-p PACKAGE] [OPTION...]
. "$(dirname "$0")/lib.sh"

[ $# != 0 ] || set -- --workspace
# Files of benches/ alone: without a selection, cargo also builds each library as a benchmark.
exec cargo bench --bench '*' "$@"
