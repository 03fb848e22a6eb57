"""Console scripts: every command of NEO is in the extension module.

Nothing but it is imported: a node keeps what is loaded here for as long as it runs.
"""

import sys

from neo import _neo


def _run(name: str) -> int:
    return _neo.run([name, *sys.argv[1:]])


def neomaster() -> int:
    return _run("neomaster")


def neostorage() -> int:
    return _run("neostorage")


def neoadmin() -> int:
    return _run("neoadmin")


def neoctl() -> int:
    return _run("neoctl")


def neolog() -> int:
    return _run("neolog")


def neomigrate() -> int:
    return _run("neomigrate")


def neosimple() -> int:
    return _run("neosimple")


def reflink() -> int:
    return _run("reflink")
