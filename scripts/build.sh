#!/usr/bin/env bash
# Compiles the extension and installs the package into .venv.
"$(dirname "$0")/setup.sh"
. "$(dirname "$0")/lib.sh"

say "pip install ."
# maturin comes from .venv and cargo works in target/, so only what changed is compiled.
python -m pip install -q --disable-pip-version-check --no-build-isolation --no-deps \
    --force-reinstall .
