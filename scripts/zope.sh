#!/usr/bin/env bash
# Zope, and tools that others wrote for ZODB, in .venv-zope: an environment of their own, where the
# package is the one that scripts/build.sh installed.
. "$(dirname "$0")/lib.sh"

zope=$PWD/.venv-zope
stamp=$zope/installed
wanted=$(python -VV; cat requirements-zope.txt)
if [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ]; then
    say "Virtual environment .venv-zope"
    python -m venv --clear "$zope"
    "$zope/bin/python" -m pip install -q --disable-pip-version-check -r requirements-zope.txt
    printf '%s\n' "$wanted" >"$stamp"
fi

# Links, for pip would compile it once more.
site() { "$1/bin/python" -c 'import sysconfig; print(sysconfig.get_path("platlib"))'; }
there=$(site "$zope")
rm -rf "$there"/neo "$there"/neoppod-*.dist-info
ln -s "$(site "$VENV")"/neo "$(site "$VENV")"/neoppod-*.dist-info "$there"
