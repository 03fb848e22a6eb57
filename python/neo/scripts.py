"""Console scripts: every command of NEO is in the extension module."""

import sys
from typing import NoReturn

from neo import _neo


def _run(name: str) -> NoReturn:
    sys.exit(_neo.run([name, *sys.argv[1:]]))


def neomaster() -> NoReturn:
    _run("neomaster")


def neostorage() -> NoReturn:
    _run("neostorage")


def neoadmin() -> NoReturn:
    _run("neoadmin")


def neoctl() -> NoReturn:
    _run("neoctl")


def neolog() -> NoReturn:
    _run("neolog")


def neomigrate() -> NoReturn:
    _run("neomigrate")


def neosimple() -> NoReturn:
    _run("neosimple")


def reflink() -> NoReturn:
    _run("reflink")
