#!/usr/bin/env bash
# Formats the sources.
"$(dirname "$0")/setup.sh"
. "$(dirname "$0")/lib.sh"

cargo fmt --all
[ ! -f rust/fuzz/Cargo.toml ] || cargo fmt --manifest-path rust/fuzz/Cargo.toml --all
ruff check --fix-only -q .
ruff format .
