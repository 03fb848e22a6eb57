"""kill -9 of anything while neomigrate runs; then the same command gives the same result."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from cluster import PATIENCE, Cluster, argv
from filestorages import contents


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A FileStorage that is big enough to be killed in the middle of, and its contents."""
    path = tmp_path_factory.mktemp("source") / "in.fs"
    generator = Path(__file__).parent.parent / "benches" / "generate.py"
    subprocess.run([sys.executable, generator, "--size", "12M", path], check=True)
    return path, contents(path)


@pytest.fixture
def cluster(tmp_path):
    with Cluster(tmp_path / "cluster", partitions=4) as cluster:
        cluster.start()
        yield cluster


def start(*args):
    return subprocess.Popen(
        argv("neomigrate", "-c", "test", *args),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_copied(cluster, process, tid):
    """Waits until a transaction is in the cluster. Whether it runs still."""
    storage = cluster.open(read_only=True)

    def is_there():
        storage.sync()
        return process.poll() is not None or storage.lastTransaction() >= tid

    cluster.wait_for(is_there, "the transaction is copied", 0.001)
    storage.close()
    return process.poll() is None


def wait_written(cluster, process, path, before):
    """Waits until a file gets bigger."""

    def is_bigger():
        return process.poll() is not None or (path.exists() and path.stat().st_size > before + 4)

    cluster.wait_for(is_bigger, "it writes", 0.001)


def check(expected, path):
    last = [{r[0]: i for i, r in enumerate(records)} for *_, records in expected]
    expected = [
        (*txn[:-1], [r for i, r in enumerate(txn[-1]) if places[r[0]] == i])
        for txn, places in zip(expected, last, strict=True)
    ]
    assert contents(path) == expected


#: When something is killed.
SHARES = (0.01, 0.2, 0.5)


def finish(source, destination):
    process = start(source, destination)
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, (out, err)


def check_import(cluster, source, tmp_path):
    """The same command once more, and back."""
    path, expected = source
    finish(path, cluster.master_nodes)
    finish(cluster.master_nodes, tmp_path / "out.fs")
    check(expected, tmp_path / "out.fs")


def test_an_import_that_was_killed_is_continued(cluster, source, tmp_path):
    path, expected = source
    in_the_middle = 0
    for share in SHARES:
        process = start(path, cluster.master_nodes)
        in_the_middle += wait_copied(cluster, process, expected[int(share * len(expected))][0])
        process.kill()
        process.wait()
    assert in_the_middle
    check_import(cluster, source, tmp_path)


@pytest.mark.parametrize("victim", ["s1", "m1"])
def test_an_import_goes_on_when_a_node_was_killed(cluster, source, tmp_path, victim):
    path, expected = source
    in_the_middle = 0
    process = start(path, cluster.master_nodes)
    for share in SHARES:
        in_the_middle += wait_copied(cluster, process, expected[int(share * len(expected))][0])
        cluster.kill(victim)
        cluster.start_node(victim)
        cluster.wait_state()
    assert in_the_middle
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, (out, err)
    assert "panicked" not in err
    assert re.search(r"Continued \d times? after a connection was lost", out), (out, err)
    assert f"\n{len(expected)} transactions, " in out, out
    check_import(cluster, source, tmp_path)


@pytest.mark.parametrize("victim", ["neomigrate", "s1", "m1"])
def test_an_export_that_was_killed_is_continued(cluster, source, tmp_path, victim):
    path, expected = source
    process = start(path, cluster.master_nodes)
    assert process.wait(PATIENCE) == 0
    out = tmp_path / "out.fs"
    for _ in range(3):
        before = out.stat().st_size if out.exists() else 0
        process = start(cluster.master_nodes, out)
        wait_written(cluster, process, out, before)
        if victim == "neomigrate":
            process.kill()
            process.wait()
        else:
            cluster.kill(victim)
            cluster.start_node(victim)
            _, err = process.communicate(timeout=PATIENCE)
            assert process.returncode == 0 or "run the same command again" in err, err
            cluster.wait_state()
    process = start(cluster.master_nodes, out)
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, err
    check(expected, out)
