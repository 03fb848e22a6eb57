"""A storage whose disk refuses: one sentence says why, and what was acknowledged is there."""

import os
import shutil
import sqlite3
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from cluster import Cluster
from neo.client import TransactionMetaData
from ZODB.POSException import POSError
from ZODB.utils import z64

#: Nodes are right to complain: their disks fail.
WARNINGS = "provoked"

ARGS = ("-c", "test", "-m", "127.0.0.1:1", "-a", "SQLite")

#: Commands put before that of a storage: the last word of each is followed by it.
ROOT = () if os.geteuid() == 0 else ("--map-root-user",)
READ_ONLY = (
    "unshare",
    "--mount",
    *ROOT,
    "bash",
    "-c",
    'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$@"',
)


def commit(storage, oid, serial, data):
    txn = TransactionMetaData()
    storage.tpc_begin(txn)
    storage.store(oid, serial, data, "", txn)
    storage.tpc_vote(txn)
    return storage.tpc_finish(txn)


def last_line(node):
    return node.tail().splitlines()[-1]


@pytest.fixture
def refused(cmd):
    """Function that starts a storage on a database: the sentence it ends with."""

    def run(path):
        result = cmd("neostorage", *ARGS, "-d", path)
        assert result.code == 1
        assert "Traceback" not in result.err and "panicked" not in result.err
        return result.err.splitlines()[-1]

    return run


def test_where_no_database_can_be(tmp_path, refused):
    file = tmp_path / "file"
    file.write_bytes(b"x" * 5000)
    assert refused(tmp_path).startswith("neostorage: error: ")
    assert str(tmp_path / "missing") in refused(tmp_path / "missing" / "db.sqlite")
    assert str(file / "db.sqlite") in refused(file / "db.sqlite")
    assert "not a NEO database" in refused(file)
    assert file.read_bytes() == b"x" * 5000


@pytest.mark.skipif(os.geteuid() == 0, reason="permissions do not bind root")
def test_a_file_that_is_not_ours(tmp_path, refused):
    path = tmp_path / "db.sqlite"
    path.touch(mode=0)
    assert str(path) in refused(path)


def test_a_file_system_that_is_read_only(tmp_path):
    probe = subprocess.run([*READ_ONLY, tmp_path, "true"], capture_output=True, text=True)
    if probe.returncode:
        pytest.skip(f"this system lets nobody mount: {probe.stderr.strip()}")
    folder = tmp_path / "cluster"
    with Cluster(folder) as cluster:
        cluster.start()
        storage = cluster.open()
        try:
            oid = storage.new_oid()
            serial = commit(storage, oid, z64, b"x")
            cluster.stop("s1")
            node = cluster["s1"]
            command = node.command
            node.command = [*READ_ONLY, folder, *command]
            before = cluster.databases[0].read_bytes()
            node.start()
            assert node.wait() == 1
            assert last_line(node).startswith("neostorage: error: "), node.tail()
            assert f"{folder}/s1.sqlite: Read-only file system" in last_line(node), node.tail()
            assert cluster.databases[0].read_bytes() == before
            node.command = command
            cluster.start_node("s1")
            cluster.wait_state("RUNNING")
            assert storage.load(oid) == (b"x", serial)
        finally:
            storage.close()


def test_a_database_that_another_program_locked(tmp_path, refused):
    path = tmp_path / "db.sqlite"
    with sqlite3.connect(path, isolation_level=None) as other:
        other.execute("BEGIN EXCLUSIVE")
        assert refused(path).endswith("(database is locked)")
    other.close()


@pytest.mark.parametrize("call", ["fdatasync", "pwrite64"])
def test_an_error_of_the_disk_ends_the_process(tmp_path, call):
    strace = shutil.which("strace")
    assert strace, "strace is missing: make setup installs it"
    with Cluster(tmp_path / "cluster") as cluster:
        node = cluster["s1"]
        command = node.command
        # Once it serves. -D: the process of the test is the storage.
        when = {"fdatasync": "40+", "pwrite64": "200+"}[call]
        inject = f"inject={call}:error=EIO:when={when}"
        quiet = ("-o", "/dev/null", "-f", "-D")
        node.command = [strace, *quiet, "-e", f"trace={call}", "-e", inject, *command]
        cluster.start()
        storage = cluster.open()
        oid = storage.new_oid()
        ended = threading.Event()

        def replace():
            assert node.wait() == 1
            ended.set()
            node.command = command
            cluster.start_node("s1")

        with ThreadPoolExecutor(1) as pool:
            # A commit whose outcome is not known waits for the storage.
            replaced = pool.submit(replace)
            acknowledged, serial = {}, z64
            number = 0
            while not ended.is_set() and number < 1000:
                number += 1
                try:
                    serial = commit(storage, oid, serial, b"%d" % number)
                except POSError:
                    break
                acknowledged[serial] = number
            replaced.result()
        storage.close()
        assert number < 1000 and acknowledged
        log = node.tail().splitlines()
        (sentence,) = (line for line in log if line.startswith("neostorage: "))
        assert sentence.startswith("neostorage: error: a commit failed: input/output error")
        cluster.wait_state("RUNNING")
        storage = cluster.open()
        try:
            for serial, number in acknowledged.items():
                assert storage.loadSerial(oid, serial) == b"%d" % number
        finally:
            storage.close()
