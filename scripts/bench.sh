#!/usr/bin/env bash
# The benchmarks in Rust: bench.sh [-p PACKAGE] [OPTION...]
. "$(dirname "$0")/lib.sh"

# Only the benches: the unit tests of a library are no benchmarks.
[ $# != 0 ] || set -- --workspace
exec cargo bench --benches "$@"
