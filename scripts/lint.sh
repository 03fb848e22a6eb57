#!/usr/bin/env bash
# Everything that a machine can check without running the tests. Goes on after a failure.
"$(dirname "$0")/setup.sh"
. "$(dirname "$0")/lib.sh"

failed=()
check() {
    say "$*"
    "$@" || failed+=("$*")
}

check cargo fmt --all --check
[ ! -f rust/fuzz/Cargo.toml ] ||
    check cargo fmt --manifest-path rust/fuzz/Cargo.toml --all --check
check ruff check .
check ruff format --check .
check python scripts/lint_length.py
check python scripts/lint_features.py
check cargo clippy --release --workspace --all-targets -- -D warnings
check mypy python
check scripts/build.sh
check python -m mypy.stubtest neo._neo

[ ${#failed[@]} = 0 ] || { say "FAILED"; printf '%s\n' "${failed[@]}"; exit 1; }
say "Nothing to complain about"
