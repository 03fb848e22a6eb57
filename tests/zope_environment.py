"""Commands of .venv-zope: Zope, and tools that others wrote for ZODB."""

import subprocess

from conftest import ROOT

BIN = ROOT / ".venv-zope" / "bin"

#: Seconds after which a command is taken for stuck. No test waits for it.
PATIENCE = 120


def prepare():
    """Makes the environment, unless it is there."""
    subprocess.run([ROOT / "scripts" / "zope.sh"], check=True)


def run(name, *args, **options):
    """What a command says, on both outputs. It must succeed."""
    result = subprocess.run(
        [BIN / name, *map(str, args)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PATIENCE,
        **options,
    )
    assert result.returncode == 0, f"{name} ended with {result.returncode}:\n{result.stdout}"
    return result.stdout
