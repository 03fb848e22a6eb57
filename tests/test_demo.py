"""The first thing a visitor tries."""

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys

import pytest
from cluster import argv
from conftest import PATIENCE, ROOT

pytestmark = pytest.mark.skipif(not shutil.which("make"), reason="make is not installed")


def demo(folder):
    # The package was built for these tests: building it again would replace it under them.
    command = ["make", "demo", "ONCE=1", "BUILT=1", f"FOLDER={folder}", "ARGS=--seconds 1"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE)


def test_the_demo_ends_by_itself_and_continues_with_the_same_data(tmp_path):
    totals = []
    for _ in range(2):
        result = demo(tmp_path / "demo")
        assert result.returncode == 0, result.stdout + result.stderr
        assert "\nRUNNING\n" in result.stdout
        assert "WRONG" not in result.stdout
        totals.append(int(re.search(r"\nright: 10000 in .* (\d+) transfers\n", result.stdout)[1]))
    assert totals[1] > totals[0] > 0


def test_the_demo_runs_until_ctrl_c(tmp_path, cmd):
    command = [sys.executable, ROOT / "scripts" / "demo.py", "--seconds", "0.5"]
    process = subprocess.Popen(
        [*command, "--folder", tmp_path / "demo"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    admin = None
    for line in process.stdout:
        if line.startswith("Operators:"):
            admin = line.split()[-1]
        if line.startswith("== Running until Ctrl-C"):
            break
    assert cmd("neoctl", "-a", admin, "print", "cluster").out == "RUNNING\n"
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, err) == (0, ""), out
    assert out.endswith("== The cluster ended with 0\n")
    assert cmd("neoctl", "-a", admin, "print", "cluster").code == 1


@pytest.fixture
def simple(tmp_path):
    """A neosimple that says it runs, and what it said."""
    command = argv("neosimple", "--adapter", "SQLite", "--temp-dir", tmp_path, "--logger", "db")
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    lines = []
    for line in process.stdout:
        lines.append(line.rstrip("\n"))
        if line.startswith("Cluster running"):
            break
    yield process, lines
    if process.poll() is None:
        process.kill()
    process.communicate()


def fact(lines, key):
    return next(line for line in lines if line.startswith(f"{key}: ")).partition(": ")[2]


def test_neosimple_runs_until_it_is_interrupted(simple, tmp_path, cmd):
    process, lines = simple
    assert lines[-1] == "Cluster running ..."
    assert lines[0] == f"Using temp directory {tmp_path}"
    admin = fact(lines, "Admin")
    assert cmd("neoctl", "-a", admin, "print", "cluster").out == "RUNNING\n"
    # As a terminal does: to the whole group.
    os.killpg(process.pid, signal.SIGINT)
    assert (process.wait(PATIENCE), process.stderr.read()) == (0, "")
    assert cmd("neoctl", "-a", admin, "print", "cluster").code == 1
    assert {x.name for x in tmp_path.glob("*.log")} == {
        "master_0.log",
        "admin.log",
        "storage_0.log",
    }


def test_neosimple_ends_with_its_cluster(simple, cmd):
    process, lines = simple
    result = cmd("neoctl", "-a", fact(lines, "Admin"), "set", "cluster", "STOPPING")
    assert result.code == 0, result.err
    assert process.wait(PATIENCE) == 0, process.stderr.read()


def test_neosimple_says_which_node_failed(simple):
    process, lines = simple
    storage = shlex.split(fact(lines, "storage_0"))
    pids = [
        int(pid)
        for pid in os.listdir("/proc")
        if pid.isdecimal() and words(pid)[-len(storage) + 1 :] == storage[1:]
    ]
    assert len(pids) == 1
    os.kill(pids[0], signal.SIGKILL)
    assert process.wait(PATIENCE) == 1
    assert "storage_0 ended: signal: 9" in process.stderr.read()


def words(pid):
    """Command line of a process, [] if it ended."""
    try:
        with open(f"/proc/{pid}/cmdline") as file:
            return file.read().split("\0")[:-1]
    except OSError:
        return []


@pytest.mark.parametrize("clients", (1, 3))
def test_the_bank_finds_its_money(tmp_path, clients):
    """On a storage that is not ours: what it says of ours is worth as much."""
    bank = [sys.executable, ROOT / "examples" / "bank.py", "--seconds", "0.5"]
    bank += ["--clients", str(clients), f"file://{tmp_path}/bank.fs"]
    result = subprocess.run(bank, capture_output=True, text=True, timeout=PATIENCE)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "right: 10000 in 100 accounts" in result.stdout


def test_the_bank_sees_money_that_is_missing(tmp_path):
    uri = f"file://{tmp_path}/bank.fs"
    steal = (
        f"import sys; sys.path.insert(0, {str(ROOT / 'examples')!r}); import bank;"
        f"db = bank.open_database({uri!r}); bank.open_bank(db, 10);"
        "c = db.open(); c.root()['bank'].accounts[3].balance -= 1;"
        "c.transaction_manager.commit(); db.close()"
    )
    subprocess.run([sys.executable, "-c", steal], check=True, timeout=PATIENCE)
    bank = [sys.executable, ROOT / "examples" / "bank.py", "--seconds", "0.1", uri]
    result = subprocess.run(bank, capture_output=True, text=True, timeout=PATIENCE)
    assert result.returncode == 1
    assert "WRONG: account 3 has" in result.stdout
