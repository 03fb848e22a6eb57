#!/usr/bin/env bash
# Removes what was built. The corpus of the fuzzer, which takes hours to grow, stays.
. "$(dirname "$0")/lib.sh"

rm -rf target rust/fuzz/target dist .venv .venv-zope .pytest_cache .mypy_cache .ruff_cache
find python tests scripts -name __pycache__ -prune -exec rm -rf {} +
