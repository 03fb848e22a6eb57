#!/usr/bin/env bash
# Speed of NEO beside that of other storages: bench.sh [OPTION...] of benches/bench.py.
# bench.sh --rust [-p PACKAGE] [OPTION...]: the benchmarks in Rust.
. "$(dirname "$0")/lib.sh"

if [ "${1-}" = --rust ]; then
    shift
    [ $# != 0 ] || set -- --workspace
    # Files of benches/ alone: without a selection, cargo also builds each library as a benchmark.
    exec cargo bench --bench '*' "$@"
fi

scripts/build.sh
say "Peers"
# With the versions that the tests have: what is measured is what is tested.
python -m pip install -q --disable-pip-version-check -c requirements-dev.txt \
    -r requirements-bench.txt
say "Benchmark"
mkdir -p var
exec python benches/bench.py --json var/bench.json "$@"
