#!/usr/bin/env bash
# Makes dist/: package.sh wheel | sdist
"$(dirname "$0")/setup.sh"
. "$(dirname "$0")/lib.sh"

case ${1-} in
    wheel) maturin build --release --strip --out dist ;;
    sdist) maturin sdist --out dist ;;
    *) die "usage: package.sh wheel|sdist" ;;
esac
ls -l dist
