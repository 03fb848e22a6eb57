"""What pip installs: metadata, commands, the extension module."""

import re
import signal
import subprocess
import sys
import sysconfig
import threading
from importlib import metadata
from pathlib import Path

import pytest
from neo import _neo

SCRIPTS = Path(sysconfig.get_path("scripts"))

DAEMONS = ("neomaster", "neostorage", "neoadmin")
COMMANDS = (*DAEMONS, "neoctl", "neolog", "neomigrate", "neosimple", "reflink")

EMPTY_EXTRAS = {
    "admin",
    "ctl",
    "master",
    "reflink",
    "storage-importer",
    "storage-mysqldb",
    "storage-pymysql",
    "storage-sqlite",
}


def run(name: str, *args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([SCRIPTS / name, *args], capture_output=True, text=True, check=False)


def test_version_is_the_one_of_the_extension():
    assert metadata.version("neoppod") == _neo.__version__
    assert re.fullmatch(r"\d+\.\d+\.\d+", _neo.__version__)


def test_metadata():
    meta = metadata.metadata("neoppod")
    assert meta["Requires-Python"] == ">=3.10"
    classifiers = meta.get_all("Classifier")
    assert {
        "Framework :: ZODB",
        "Programming Language :: Rust",
        "License :: OSI Approved :: GNU General Public License v2 or later (GPLv2+)",
        *(f"Programming Language :: Python :: 3.{minor}" for minor in range(10, 15)),
    } <= set(classifiers)
    assert meta["License"] == "GPL-2.0-or-later"
    licences = [x for x in metadata.files("neoppod") or () if x.name == "LICENSE"]
    assert [x.read_text().split()[:3] for x in licences] == [["GNU", "GENERAL", "PUBLIC"]]


def test_extras():
    extras = set(metadata.metadata("neoppod").get_all("Provides-Extra"))
    assert extras == EMPTY_EXTRAS | {"client", "tests"}
    requirements = metadata.requires("neoppod") or []
    asked = {re.search(r"extra == ['\"](.*)['\"]", x)[1] for x in requirements}
    assert asked == {"client", "tests"}
    # The servers need nothing but Python.
    assert all("extra ==" in x for x in requirements)


def test_entry_points():
    points = metadata.distribution("neoppod").entry_points
    assert {x.name for x in points.select(group="console_scripts")} == set(COMMANDS)
    resolvers = points.select(group="zodburi.resolvers")
    assert {(x.name, x.value) for x in resolvers} == {
        ("neo", "neo.client.zodburi:resolve_uri"),
        ("neos", "neo.client.zodburi:resolve_uri"),
    }


def test_type_information_is_installed():
    names = {str(x) for x in metadata.files("neoppod") or ()}
    assert {"neo/py.typed", "neo/_neo.pyi"} <= names


@pytest.mark.parametrize("name", COMMANDS)
def test_help(name):
    result = run(name, "--help")
    assert (result.returncode, result.stderr) == (0, "")
    assert name in result.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_usage_error(name):
    result = run(name, "--no-such-option")
    assert (result.returncode, result.stdout) == (2, "")
    assert f"{name}: error: " in result.stderr
    assert "Traceback" not in result.stderr


def test_arguments_that_are_not_unicode():
    """A file name is bytes: what Python escapes is given back as it was."""
    command = [SCRIPTS / "neomaster", "-f", b"/no/such/\xff.conf", "--no-such-option"]
    result = subprocess.run(command, capture_output=True, check=False)
    assert result.returncode == 2
    assert b"Traceback" not in result.stderr


def test_a_closed_stdout_is_not_a_traceback():
    code = "import os, sys; os.close(1); from neo.scripts import neomaster; neomaster()"
    result = subprocess.run([sys.executable, "-c", code, "-h"], capture_output=True, check=False)
    assert b"Traceback" not in result.stderr
    assert b"internal error" not in result.stderr


def test_ctrl_c_gets_its_default_action():
    """While a command runs, no Python code does: it could not see KeyboardInterrupt."""
    code = (
        "import signal; from neo import _neo\n"
        "assert _neo.run(['neomaster', '--no-such-option']) == 2\n"
        "print(signal.getsignal(signal.SIGINT) is signal.SIG_DFL)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout == "True\n"


def test_commands_are_for_the_main_thread():
    errors = []

    def target():
        try:
            _neo.run(["neomaster", "--help"])
        except ValueError as error:
            errors.append(str(error))

    handler = signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=target)
    thread.start()
    thread.join()
    assert len(errors) == 1
    assert "main thread" in errors[0]
    assert signal.getsignal(signal.SIGINT) is handler
