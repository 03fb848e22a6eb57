"""What all tests share: how to run the commands as a user does."""

import os
import signal
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest
from cluster import Cluster, argv, running, to_check

ROOT = Path(__file__).resolve().parent.parent

#: Seconds after which a command is taken for stuck. No test waits for it.
PATIENCE = 60


class Result(NamedTuple):
    """Outcome of a command that ended."""

    code: int
    out: str
    err: str


def pytest_configure(config):
    """Ctrl-C works, here and in what is started, even where the shell that runs us ignores it."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Shows what nodes said, with the failure of a test."""
    report = yield
    if report.failed:
        for cluster in running:
            report.sections.append((f"nodes in {cluster.folder}", cluster.logs()))
    return report


@pytest.fixture(autouse=True)
def no_unexpected_warning(request):
    """Nodes of a healthy cluster have nothing to say at WARNING or above.

    What a test provokes is announced by `Cluster.expects`, or in modules that provoke much by
    `WARNINGS = "why"`.
    """
    yield
    said = [line for cluster in to_check for line in cluster.unexpected()]
    to_check.intersection_update(running)
    provoked = getattr(request.module, "WARNINGS", None)
    assert provoked or not said, "nodes logged what no test announced:\n" + "\n".join(said)


@pytest.fixture
def cmd(tmp_path):
    """Function that runs `name *args` in an empty folder until it ends."""

    def run(name, *args, env=None, cwd=tmp_path):
        environ = {
            key: value
            for key, value in os.environ.items()
            if key not in ("EMAIL", "NEO_ADMIN", "NEO_TESTS_ADAPTER")
        }
        environ.update(env or {})
        process = subprocess.run(
            argv(name, *args),
            cwd=cwd,
            env=environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        return Result(process.returncode, process.stdout, process.stderr)

    return run


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """A cluster that the tests of a module share, and must leave as they found it."""
    with Cluster(tmp_path_factory.mktemp("cluster"), storages=2, partitions=12) as cluster:
        cluster.start()
        yield cluster


@pytest.fixture
def client(cluster):
    """Function that opens a storage; it is closed after the test."""
    storages = []

    def open(**options):
        storages.append(cluster.open(**options))
        return storages[-1]

    yield open
    for storage in storages:
        storage.close()
