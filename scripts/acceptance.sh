#!/usr/bin/env bash
# As a user would: pip makes a wheel from the sdist alone, in an environment that holds nothing,
# and the tests of the package pass on what it installs. Compiles everything again.
"$(dirname "$0")/setup.sh"
. "$(dirname "$0")/lib.sh"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

say "sdist"
maturin sdist --out "$work"

say "pip install in an empty environment"
"$VENV/bin/python" -m venv "$work/venv"
# Without the environment of our own builds, as nobody else has it.
env -u PYO3_PYTHON -u PYO3_ENVIRONMENT_SIGNATURE -u PYO3_BUILD_EXTENSION_MODULE \
    PATH="${PATH#"$VENV/bin:"}" TMPDIR="$work" \
    "$work/venv/bin/python" -m pip install --disable-pip-version-check --no-cache-dir \
    "neoppod[tests] @ file://$(echo "$work"/neoppod-*.tar.gz)"

say "Tests of the package"
cd "$work"
"$work/venv/bin/python" -m pytest -c "$OLDPWD/pyproject.toml" "$OLDPWD/tests/test_package.py"
