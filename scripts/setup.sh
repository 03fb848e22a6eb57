#!/usr/bin/env bash
# Installs whatever is missing: Debian packages, .venv and what requirements-dev.txt asks for.
. "$(dirname "$0")/lib.sh"

python_is_good() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null
}

find_python() {
    local x
    for x in ${PYTHON:-} python3 python3.14 python3.13 python3.12 python3.11 python3.10; do
        # Not the one of .venv, which may be about to be made again.
        x=$(PATH=${PATH#"$VENV/bin:"} command -v "$x") && python_is_good "$x" && break || x=
    done
    [ "$x" ] || die "Python 3.10 or later is required: apt-get install python3, or PYTHON=path"
    printf '%s' "$x"
}

missing_packages() {
    local packages=()
    command -v cc >/dev/null || packages+=(build-essential)
    "$python" -c 'import ensurepip, venv' 2>/dev/null || packages+=(python3-venv)
    # Makes system calls fail, in tests of bad disks.
    command -v strace >/dev/null || packages+=(strace)
    # MariaDB goes here, with the tests of its backend.
    printf '%s\n' ${packages[@]+"${packages[@]}"}
}

install_packages() {
    local root=()
    [ "$(id -u)" = 0 ] || root=(sudo)
    command -v apt-get >/dev/null || die "Install these first: $*"
    [ ! "${root[*]}" ] || command -v sudo >/dev/null || die "As root: apt-get install $*"
    say "apt-get install $*"
    "${root[@]}" apt-get update -q
    "${root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -q -y --no-install-recommends "$@"
}

command -v cargo >/dev/null || die "Rust 1.95 or later is required: see https://rustup.rs"

python=$(find_python)
mapfile -t packages < <(missing_packages | grep .)
[ ${#packages[@]} = 0 ] || install_packages "${packages[@]}"

stamp=$VENV/installed
wanted=$("$python" -VV; cat requirements-dev.txt)
if ! [ -x "$VENV/bin/python" ] || [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ]; then
    say "Virtual environment .venv"
    "$python" -m venv --clear "$VENV"
    "$VENV/bin/python" -m pip install -q --disable-pip-version-check -r requirements-dev.txt
    printf '%s\n' "$wanted" >"$stamp"
fi
