"""The examples of docs/operating.md for systemd and supervisor, as they are."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from cluster import free_port

DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "operating.md"

#: Where pip puts commands.
BIN = Path(sys.executable).parent

#: Seconds after which a supervisor is taken for stuck. No test waits for it.
PATIENCE = 60


def example(title):
    """The indented block of the section with this title."""
    section = DOCUMENT.read_text().split(f"\n### {title}\n")[1].split("\n###")[0]
    block = re.search(r"^    .*?(?=^\S|\Z)", section, re.MULTILINE | re.DOTALL).group()
    return re.sub("^    ", "", block, flags=re.MULTILINE)


@pytest.fixture
def conf(tmp_path):
    """A configuration file with the sections that the examples name, and the admin's address."""
    admin = f"127.0.0.1:{free_port()}"
    master = f"127.0.0.1:{free_port()}"
    path = tmp_path / "neo.conf"
    path.write_text(
        "[DEFAULT]\ncluster: test\nadapter: SQLite\npartitions: 1\n"
        f"masters: {master}\n"
        f"[master]\nbind: {master}\nautostart: 1\n"
        f"[admin]\nbind: {admin}\n"
        f"[storage1]\ndatabase: {tmp_path}/storage1.sqlite\nlogfile: {tmp_path}/storage1.log\n"
    )
    return path, admin


class Supervisor:
    """supervisord, with the example and what every installation has besides."""

    def __init__(self, folder, conf):
        self.file = folder / "supervisord.conf"
        self.socket = folder / "socket"
        self.file.write_text(
            f"[supervisord]\nlogfile={folder}/supervisord.log\npidfile={folder}/pid\n"
            f"childlogdir={folder}\n"
            f"[unix_http_server]\nfile={self.socket}\n"
            f"[supervisorctl]\nserverurl=unix://{self.socket}\n"
            "[rpcinterface:supervisor]\nsupervisor.rpcinterface_factory = "
            "supervisor.rpcinterface:make_main_rpcinterface\n"
            + example("supervisor").replace("/neo/neo.conf", str(conf))
        )

    def ctl(self, *args):
        command = [BIN / "supervisorctl", "-c", self.file, *args]
        process = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
        return process.stdout + process.stderr

    def states(self):
        """State of each program."""
        return dict(re.findall(r"^neo:(\w+) +([A-Z]+)", self.ctl("status"), re.MULTILINE))

    def wait(self, **wanted):
        return wait_for(lambda: wanted.items() <= self.states().items(), self.ctl, "status")

    def pid(self, name):
        return int(self.ctl("pid", f"neo:{name}"))


def wait_for(condition, tell, *args):
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, tell(*args)
        time.sleep(0.05)


@contextmanager
def supervisord(folder, conf):
    supervisor = Supervisor(folder, conf)
    process = subprocess.Popen(
        [BIN / "supervisord", "-n", "-c", supervisor.file],
        env={**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}"},
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    try:
        wait_for(supervisor.socket.exists, lambda: "supervisord does not listen")
        yield supervisor
    finally:
        # It stops the programs first.
        process.terminate()
        process.wait(PATIENCE)


def test_supervisor(tmp_path, cmd, conf):
    conf, admin = conf
    everything = ("master", "storage1", "admin")
    wait_running = ("neoctl", "-a", admin, "--timeout", PATIENCE, "wait", "RUNNING")
    with supervisord(tmp_path, conf) as supervisor:
        supervisor.wait(**dict.fromkeys(everything, "RUNNING"))
        assert cmd(*wait_running).code == 0

        first = supervisor.pid("storage1")
        os.kill(first, signal.SIGKILL)
        wait_for(lambda: supervisor.pid("storage1") not in (0, first), supervisor.ctl, "status")
        supervisor.wait(storage1="RUNNING")
        assert cmd(*wait_running).code == 0

        (tmp_path / "storage1.log").rename(tmp_path / "storage1.old")
        os.kill(supervisor.pid("storage1"), signal.SIGRTMIN + 1)
        wait_for((tmp_path / "storage1.log").exists, supervisor.ctl, "status")

        supervisor.ctl("stop", "neo:master")
        supervisor.ctl("stop", "neo:*")
        supervisor.wait(**dict.fromkeys(everything, "STOPPED"))
        # The database was ended cleanly.
        assert [x.name for x in tmp_path.glob("storage1.sqlite*")] == ["storage1.sqlite"]
        supervisor.ctl("start", "neo:*")
        assert cmd(*wait_running).code == 0
        assert supervisor.states() == dict.fromkeys(everything, "RUNNING")

        # Told to end by the cluster: not started again.
        assert cmd("neoctl", "-a", admin, "set", "cluster", "STOPPING").code == 0
        supervisor.wait(**dict.fromkeys(everything, "EXITED"))
    told = (tmp_path / "supervisord.log").read_text()
    exits = re.findall(r"exited: (\w+) \((.*)\)", told)
    assert exits[0] == ("storage1", "terminated by SIGKILL; not expected")
    assert sorted(exits[1:]) == [(x, "exit status 0; expected") for x in sorted(everything)]
    stops = re.findall(r"stopped: (\w+) \((.*)\)", told)
    assert [status for _, status in stops] == ["exit status 0"] * 3
    assert stops[0][0] == "master"


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not installed")
def test_systemd_accepts_the_unit(tmp_path):
    unit = example("systemd")
    assert "ExecStart=/usr/bin/neostorage " in unit
    path = tmp_path / "neo-storage@.service"
    path.write_text(unit.replace("/usr/bin/neostorage", str(BIN / "neostorage")))
    process = subprocess.run(
        ["systemd-analyze", "verify", tmp_path / "neo-storage@storage1.service"],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert (process.returncode, process.stdout + process.stderr) == (0, "")
    # It does tell what is wrong.
    path.write_text(path.read_text().replace("Restart=on-failure", "Restart=maybe"))
    process = subprocess.run(
        process.args, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert "restart specifier" in process.stderr
