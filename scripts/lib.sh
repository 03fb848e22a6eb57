# What every script starts with: the root of the tree as current directory, one environment.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

VENV=$PWD/.venv
export PATH="$VENV/bin:$PATH"
command -v cargo >/dev/null || export PATH="$PATH:$HOME/.cargo/bin"
# A virtual environment or a PYTHONPATH of the caller must not be mixed with ours.
unset PYTHONHOME PYTHONPATH VIRTUAL_ENV

# What maturin gives to cargo. The same for every build, or each would undo the other's.
export PYO3_BUILD_EXTENSION_MODULE=1
if [ -x "$VENV/bin/python" ]; then
    export PYO3_PYTHON="$VENV/bin/python"
    PYO3_ENVIRONMENT_SIGNATURE=$("$PYO3_PYTHON" -c \
        'import sys; print("cpython-%d.%d-%dbit" % (*sys.version_info[:2], 64))')
    export PYO3_ENVIRONMENT_SIGNATURE
fi

say() { printf '\n== %s\n' "$*"; }
die() { printf '%s\n' "$*" >&2; exit 1; }
