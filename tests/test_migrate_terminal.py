"""What neomigrate shows on a terminal while it works."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios

import pytest
from cluster import PATIENCE, Cluster, argv
from conftest import ROOT

sys.path.insert(0, str(ROOT / "benches"))

from generate import generate


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    path = tmp_path_factory.mktemp("source") / "in.fs"
    generate(path, 2 << 20)
    return path


@pytest.fixture
def cluster(tmp_path):
    with Cluster(tmp_path / "cluster") as cluster:
        cluster.start()
        yield cluster


def on_terminal(*args):
    """What neomigrate says on its output, and what it shows on a terminal."""
    terminal, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    process = subprocess.Popen(
        argv("neomigrate", "-c", "test", *args),
        env={**os.environ, "TERM": "xterm"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=slave,
        text=True,
    )
    os.close(slave)
    shown = b""
    try:
        while data := os.read(terminal, 65536):
            shown += data
    except OSError:
        # Nobody has the other end any more.
        pass
    os.close(terminal)
    out, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, (out, shown)
    return out, shown.decode()


@pytest.mark.parametrize("option", [None, "-v"])
def test_a_bar_with_rate_and_time_left(cluster, source, tmp_path, option):
    options = [option] if option else []
    out, shown = on_terminal(*options, source, cluster.master_nodes)
    assert re.search(r"\d+% \S+ +\S+ \w*B/\S+ \w*B \S+ \w*B/s \w+ left", shown), shown
    assert "Migration done" in out and "left" not in out
    out, shown = on_terminal(*options, cluster.master_nodes, tmp_path / "out.fs")
    assert re.search(r"\d+% \S+ +\d+/\d+ \S+/s \w+ left", shown), shown
    assert "Migration done" in out and "left" not in out


def test_no_bar_if_it_has_to_be_quiet(cluster, source, tmp_path):
    assert on_terminal("-q", source, cluster.master_nodes) == ("", "")
    assert on_terminal("-q", cluster.master_nodes, tmp_path / "out.fs") == ("", "")
