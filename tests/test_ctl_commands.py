"""Every command of neoctl on a real cluster: what is printed, and what becomes of the cluster."""

import json
import os
import pty
import re
import socket
import sqlite3
import subprocess

import pytest
import transaction
from cluster import Cluster, argv, free_port
from conftest import PATIENCE
from ZODB import DB
from ZODB.Connection import TransactionMetaData
from ZODB.utils import z64

DATE = r"20\d\d-\d\d-\d\d \d\d:\d\d:\d\d(\.\d{6})?"
ISO = DATE.replace(" ", "T") + "Z"


@pytest.fixture
def ctl(cmd):
    """Function that runs neoctl on a cluster: (status, stdout, stderr)."""

    def run(cluster, *words, env=None):
        return tuple(cmd("neoctl", "-a", cluster.admin_address, *words, env=env))

    return run


@pytest.fixture
def json_ctl(cmd):
    """The same with --json: (status, object)."""

    def run(cluster, *words, options=()):
        result = cmd("neoctl", "-a", cluster.admin_address, "--json", *options, *words)
        assert result.err == ""
        assert result.out.count("\n") == 1
        return result.code, json.loads(result.out)

    return run


def commit(cluster, *values):
    """Commits each value; returns their TIDs as integers."""
    db = DB(cluster.open())
    try:
        tids = []
        for value in values:
            with transaction.manager:
                connection = db.open()
                connection.root()["x"] = value
            tids.append(int.from_bytes(db.storage.lastTransaction(), "big"))
            connection.close()
        return tids
    finally:
        db.close()


def add_storage(cluster, name, *args):
    """Starts a storage that the cluster does not know, and waits until it is pending."""
    path = cluster.folder / f"{name}.sqlite"
    common = ("-c", cluster.name, "-m", cluster.master_nodes)
    cluster._add(name, "neostorage", *common, "-a", "SQLite", "-d", path, *args)
    cluster.start_node(name)
    cluster.wait_for(
        lambda: (
            f"{name.upper()} | STORAGE" in cluster.neoctl("print", "node")
            and "PENDING" in cluster.neoctl("print", "node", "storage")
        ),
        f"{name} is pending",
    )


# What is printed, on a cluster that the tests of this module leave as it is


def test_print_cluster(cluster, ctl, json_ctl):
    assert ctl(cluster, "print", "cluster") == (0, "RUNNING\n", "")
    assert json_ctl(cluster, "print", "cluster") == (0, {"state": "RUNNING"})


def test_print_primary(cluster, ctl, json_ctl):
    assert ctl(cluster, "print", "primary") == (0, "M1\n", "")
    assert json_ctl(cluster, "print", "primary") == (0, {"primary": "M1"})


def test_print_node(cluster, ctl, json_ctl):
    code, out, err = ctl(cluster, "print", "node")
    assert (code, err) == (0, "")
    lines = [re.sub(r"127\.0\.0\.1:\d{5}", "ADDRESS", line) for line in out.splitlines()]
    date = f"({DATE})"
    assert len(lines) == 4
    assert re.fullmatch(rf"A1 \| ADMIN   \| ADDRESS \| RUNNING \| {date}", lines[0])
    assert lines[1] == "M1 | MASTER  | ADDRESS | RUNNING | None"
    assert re.fullmatch(rf"S1 \| STORAGE \| ADDRESS \| RUNNING \| {date}", lines[2])
    code, answer = json_ctl(cluster, "print", "node", "master")
    expected = {
        "nid": "M1",
        "type": "MASTER",
        "address": cluster.masters[0],
        "state": "RUNNING",
        "id_timestamp": None,
    }
    assert (code, answer) == (0, {"nodes": [expected]})
    code, answer = json_ctl(cluster, "print", "node", "storage")
    assert re.fullmatch(ISO, answer["nodes"][0]["id_timestamp"])


def test_print_table(cluster, ctl, json_ctl):
    text = "# ptid: 1, replicas: 0\n             10v\nS1 R U.U.U.U.U.U.\nS2 R .U.U.U.U.U.U\n"
    assert ctl(cluster, "print", "pt") == (0, text, "")
    rows = "# ptid: 1, replicas: 0\n002 | S1 - UP_TO_DATE |\n003 | S2 - UP_TO_DATE |\n"
    assert ctl(cluster, "print", "pt", "2", "4") == (0, rows, "")
    row = {"partition": 3, "cells": [{"nid": "S2", "state": "UP_TO_DATE"}]}
    table = {"ptid": 1, "replicas": 0, "partitions": [row]}
    assert json_ctl(cluster, "print", "pt", "2", "4", "S2") == (0, table)
    assert len(json_ctl(cluster, "print", "pt")[1]["partitions"]) == 12


def test_print_ids(cluster, ctl, json_ctl):
    (tid,) = commit(cluster, "print ids")
    code, out, err = ctl(cluster, "print", "ids")
    assert (code, err) == (0, "")
    expected = rf"last_oid = 0x[0-9a-f]+\nlast_tid = {tid:#x} \({DATE}\)\nlast_ptid = 1\n"
    assert re.fullmatch(expected, out)
    code, answer = json_ctl(cluster, "print", "ids")
    assert (code, answer["last_tid"]["tid"], answer["ptid"]) == (0, f"{tid:016x}", 1)
    assert re.fullmatch(ISO, answer["last_tid"]["date"])


def test_print_summary(cluster, ctl, json_ctl):
    (tid,) = commit(cluster, "print summary")
    code, out, err = ctl(cluster, "print", "summary")
    expected = rf"# {{}}\nRUNNING; UP_TO_DATE=12; ltid={tid:016x} \({DATE}\)\n"
    assert (code, err) == (0, "") and re.fullmatch(expected, out), out
    code, answer = json_ctl(cluster, "print", "summary")
    text = out.split("\n")[1]
    assert answer == {"severity": "ok", "warning": [], "problem": [], "summary": text}


def test_commands_that_change_nothing(cluster, ctl, json_ctl):
    assert ctl(cluster, "add", "all") == (0, "No node added\n", "")
    assert json_ctl(cluster, "add", "all") == (0, {"message": "No node added"})
    assert ctl(cluster, "tweak") == (0, "No change done.\n", "")
    assert json_ctl(cluster, "tweak", "-n") == (0, {"changed": False})
    assert ctl(cluster, "set", "replicas", "0") == (0, "\n", "")
    assert ctl(cluster, "flush_log") == (0, "", "")
    assert json_ctl(cluster, "flush_log") == (0, {})
    # Nothing to compare where there is one copy.
    assert ctl(cluster, "check", ":") == (0, "", "")
    cluster.check()


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("start", "Can not switch to this state"),
        ("set cluster running", "Invalid state requested"),
        (
            "set cluster starting_backup",
            "No upstream cluster to backup defined in configuration",
        ),
        ("set cluster stopping_backup", "Can not switch to this state"),
        ("kill M1", "can not kill primary master node"),
        ("kill A1", "can not switch node to DOWN state"),
        ("kill S9", "unknown node"),
        (
            "kill S1",
            "Refuse to drop nodes that contain the only readable copies of partition 0",
        ),
        ("drop S1", "a running node must be stopped before removal"),
        ("drop M1", "can not switch node to UNKNOWN state"),
        ("tweak S1 S2", "Can't remove all nodes."),
        ("truncate tid:0x7000000000000000", "Truncating after last transaction does nothing"),
        ("prune_orphan 1 S9", "invalid storage node S9"),
        ("check 12:", "unknown partition 12: the cluster has 12 of them"),
    ],
)
def test_refusals(cluster, ctl, json_ctl, words, reason):
    assert ctl(cluster, *words.split()) == (1, "", reason + "\n")
    code, answer = json_ctl(cluster, *words.split())
    assert (code, answer["error"]) == (1, reason)
    assert answer["code"] in ("DENIED", "REFUSED")
    assert cluster.state == "RUNNING"
    cluster.check()


def test_orphan_data_is_counted_then_deleted(tmp_path, ctl):
    orphans = "SELECT count(*) FROM data WHERE id NOT IN (SELECT data_id FROM obj)"
    with Cluster(tmp_path / "cluster", partitions=2, logs=True) as cluster:
        cluster.start()
        storage = cluster.open()
        oid, transaction = storage.new_oid(), TransactionMetaData()
        storage.tpc_begin(transaction)
        storage.store(oid, z64, b"kept", "", transaction)
        storage.tpc_vote(transaction)
        storage.tpc_finish(transaction)
        storage.close()
        cluster.stop()
        (path,) = cluster.databases
        row = "INSERT INTO data VALUES (?, randomblob(20), 0, 'lost')"
        with sqlite3.connect(path) as database:
            # More than a slice, in the numbers of both partitions and of one that is not there.
            ids = [(p << 48) + 1000 + n for p in (0, 1, 7) for n in range(300)]
            database.executemany(row, ((n,) for n in ids))
        database.close()

        def count():
            database = sqlite3.connect(path)
            (found,) = database.execute(orphans).fetchone()
            database.close()
            return found

        def said(text):
            cluster.neoctl("flush_log")
            database = sqlite3.connect(cluster.log_file("s1"))
            try:
                return database.execute(
                    "SELECT 1 FROM log WHERE msg LIKE ?", (f"%{text}%",)
                ).fetchone()
            finally:
                database.close()

        cluster.start()
        assert ctl(cluster, "prune_orphan", "1", "all")[0] == 0
        cluster.wait_for(lambda: said("orphan data: counted%orphans=900"), "they are counted")
        assert count() == 900
        assert ctl(cluster, "prune_orphan", "0", "all")[0] == 0
        cluster.wait_for(lambda: count() == 0, "they are deleted")
        cluster.wait_for(lambda: said("orphan data: deleted%orphans=900"), "that is told")
        storage = cluster.open()
        assert storage.load(oid)[0] == b"kept"
        storage.close()


# How it fails


def test_programs_tell_failures_apart(cluster, json_ctl, cmd):
    def status(*args, **options):
        result = cmd("neoctl", "--json", *args, **options)
        return result.code, json.loads(result.out)["code"]

    cluster.expects("unexpected packet .*AskClusterState")
    nobody = f"127.0.0.1:{free_port()}"
    assert status("-a", nobody, "print", "cluster") == (3, "NOT_CONNECTED")
    assert status("-a", cluster.admin_address, "print") == (2, "USAGE")
    assert status("-a", cluster.masters[0], "print", "cluster") == (1, "PROTOCOL_ERROR")
    args = ("-a", cluster.admin_address, "--timeout", "0.1", "wait", "STOPPING")
    assert status(*args) == (4, "TIMED_OUT")


def test_the_next_admin_is_tried(cluster, cmd):
    nobody = f"127.0.0.1:{free_port()}"
    with socket.create_server(("127.0.0.1", 0)) as silent:
        mute = f"127.0.0.1:{silent.getsockname()[1]}"
        admins = f"{nobody},{mute} {cluster.admin_address}"
        result = cmd("neoctl", "-a", admins, "print", "cluster")
        assert result == (0, "RUNNING\n", "")
        result = cmd("neoctl", "print", "cluster", env={"NEO_ADMIN": admins})
        assert result == (0, "RUNNING\n", "")
    assert cmd("neoctl", "-a", f"{nobody} {nobody}", "start") == (1, "", "ERROR: not connected\n")
    result = cmd("neoctl", "start", env={"NEO_ADMIN": "here:there"})
    assert result.err == (
        "neoctl: error: NEO_ADMIN: bad port in address 'here:there': write host:port\n"
    )


# wait


def test_wait_from_before_the_beginning(tmp_path, cmd):
    with Cluster(tmp_path, storages=2, partitions=4, replicas=1) as cluster:
        command = argv("neoctl", "-a", cluster.admin_address, "--timeout", PATIENCE, "wait")
        commands = [
            subprocess.Popen([*command, goal], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            for goal in ("running", "replicated")
        ]
        cluster.start(wait=None)
        for process in commands:
            assert process.communicate(timeout=PATIENCE) == (b"", b"")
            assert process.returncode == 0
        assert cluster.state == "RUNNING"
        cluster.kill("s2")
        cluster.wait_for(lambda: "O" in cluster.neoctl("print", "pt"), "cells are out of date")
        result = cmd(
            "neoctl", "-a", cluster.admin_address, "--timeout", "0.5", "wait", "replicated"
        )
        assert result == (1, "", "ERROR: timed out: 4 cells are not UP_TO_DATE\n")
        cluster.kill("m1")
        result = cmd("neoctl", "-a", cluster.admin_address, "--timeout", "0.5", "wait", "running")
        text = "ERROR: timed out: Not connected to a primary master.\n"
        assert result == (1, "", text)


# What changes a cluster


def test_kill_and_drop_a_storage(tmp_path, ctl):
    with Cluster(tmp_path, storages=2, partitions=4, replicas=1) as cluster:
        cluster.start()
        checked = "S2 can not check replicas in this version of NEO: nothing was done\n"
        assert ctl(cluster, "check", ":") == (1, "", checked)
        assert ctl(cluster, "kill", "S2") == (0, "state changed\n", "")
        # Which process was given S2 is not known.
        nodes = cluster["s1"], cluster["s2"]
        cluster.wait_for(lambda: not all(node.is_running for node in nodes), "S2 stops")
        (ended,) = (node for node in nodes if not node.is_running)
        assert ended.wait() == 0
        text = "# ptid: 2, replicas: 1\nS1 R UUUU\nS2 D OOOO\n"
        assert ctl(cluster, "print", "pt") == (0, text, "")
        assert ctl(cluster, "kill", "S2") == (0, "node already in DOWN state\n", "")
        assert ctl(cluster, "tweak") == (1, "", "tweak: down nodes must be listed explicitly\n")
        assert ctl(cluster, "drop", "S2") == (0, "node permanently removed\n", "")
        text = "# ptid: 3, replicas: 1\nS1 R UUUU\n"
        assert ctl(cluster, "print", "pt") == (0, text, "")
        assert cluster.state == "RUNNING"
        assert (tmp_path / f"{ended.name}.sqlite").stat().st_size > 0


def test_a_second_storage(tmp_path, ctl, json_ctl):
    with Cluster(tmp_path, storages=1, partitions=4) as cluster:
        cluster.start()
        add_storage(cluster, "s2")
        assert ctl(cluster, "add", "S2") == (0, "Nodes added: S2\n", "")
        table = "S1 R UFUF\nS2 R .O.O\n"
        assert ctl(cluster, "tweak", "-n") == (0, table, "")
        assert json_ctl(cluster, "tweak", "-n")[1]["changed"] is True
        reason = "S2 can not replicate in this version of NEO: nothing was done\n"
        assert ctl(cluster, "tweak") == (1, "", reason)
        assert ctl(cluster, "set", "replicas", "1") == (0, "\n", "")
        assert ctl(cluster, "print", "pt")[1].startswith("# ptid: 2, replicas: 1\nS1 R UUUU\n")
        cluster.check()


def test_a_database_is_not_erased_without_force(tmp_path, ctl):
    with Cluster(tmp_path, storages=1, partitions=4) as cluster:
        cluster.start()
        add_storage(cluster, "s2")
        code, out, err = ctl(cluster, "drop", "S2")
        assert (code, out) == (1, "")
        assert "would erase its database" in err and "--force" in err
        assert cluster["s2"].is_running
        cluster.expects("removed from the cluster: the database is erased")
        assert ctl(cluster, "drop", "--force", "S2") == (0, "state changed\n", "")
        assert cluster["s2"].wait() == 0


def test_truncate_says_what_it_erases(tmp_path, ctl):
    with Cluster(tmp_path, storages=2, partitions=4) as cluster:
        cluster.start()
        second, third = commit(cluster, 1, 2, 3)[1:]
        code, out, err = ctl(cluster, "truncate", f"tid:{second:#x}")
        assert (code, out) == (0, "")
        expected = (
            rf"warning: transactions after {second:016x} \({DATE}\), "
            rf"up to {third:016x} \({DATE}\), are erased for ever\n"
        )
        assert re.fullmatch(expected, err)
        cluster.neoctl("--timeout", PATIENCE, "wait", "RUNNING")
        cluster.wait_for(
            lambda: f"; ltid={second:016x} " in cluster.neoctl("print", "summary", check=False),
            "the third transaction is gone",
        )


def test_starting_without_a_storage_says_what_may_be_lost(tmp_path, ctl):
    with Cluster(tmp_path, storages=2, partitions=4, replicas=1) as cluster:
        cluster.start()
        commit(cluster, 1)
        cluster.neoctl("set", "cluster", "stopping")
        for node in cluster.nodes.values():
            node.wait()
        for name in ("m1", "s1", "admin"):
            cluster.start_node(name)
        # Which NID a process was given is not known.
        pending = cluster.wait_for(
            lambda: re.search("(S[12]) P UUUU", cluster.neoctl("print", "pt", check=False)),
            "a storage is pending",
        )
        absent = {"S1": "S2", "S2": "S1"}[pending[1]]
        code, out, err = ctl(cluster, "print", "ids")
        assert code == 0 and err.startswith("warning: in RECOVERING, a master of the Python NEO")

        def start():
            # Refused as long as S1 is being asked what it knows.
            result = ctl(cluster, "start")
            return result if result[0] == 0 else None

        _, out, err = cluster.wait_for(start, "the start is allowed")
        assert out == "Cluster state changed\n"
        assert err == (
            f"warning: {absent} is absent: its 4 readable cells become out of date, "
            "and what only it has is lost\n"
        )
        cluster.neoctl("--timeout", PATIENCE, "wait", "RUNNING")


def test_stopping_says_who_is_connected(tmp_path, ctl):
    with Cluster(tmp_path) as cluster:
        cluster.start()
        storage = cluster.open()
        try:
            storage.new_oid()
            code, out, err = ctl(cluster, "set", "cluster", "stopping")
        finally:
            storage.close()
        assert (code, out) == (0, "Cluster state changed\n")
        assert err.startswith("warning: clients are connected (C1): ")
        assert [node.wait() for node in cluster.nodes.values()] == [0, 0, 0]


# On a terminal


def on_terminal(answer, *command):
    """(status, what is on the screen) of a command to which this is typed."""
    pid, terminal = pty.fork()
    if not pid:
        os.execv(command[0], command)
    screen = b""
    typed = False
    try:
        while block := os.read(terminal, 1024):
            screen += block
            if not typed and screen.endswith(b"[y/N] "):
                os.write(terminal, answer)
                typed = True
    except OSError:
        # So ends a terminal whose process is gone.
        pass
    finally:
        os.close(terminal)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return status, screen.decode().replace("\r\n", "\n")


def test_a_person_is_asked_before_data_is_erased(tmp_path):
    with Cluster(tmp_path) as cluster:
        cluster.start()
        first, second = commit(cluster, 1, 2)
        command = argv("neoctl", "-a", cluster.admin_address)
        truncate = ("truncate", f"tid:{first:#x}")

        def is_last(tid):
            return f"; ltid={tid:016x} " in cluster.neoctl("print", "summary", check=False)

        for answer in (b"n\n", b"\n"):
            status, screen = on_terminal(answer, *command, *truncate)
            assert (status, screen.splitlines()[-1]) == (1, "cancelled: nothing was done")
            assert "are erased for ever\nContinue? [y/N] " in screen
        assert is_last(second)
        status, screen = on_terminal(b"y\n", *command, *truncate)
        assert (status, "cancelled" in screen) == (0, False)
        cluster.wait_for(lambda: is_last(first), "it is truncated")
        commit(cluster, 3)
        status, screen = on_terminal(b"", *command, "--yes", *truncate)
        assert (status, "Continue" in screen) == (0, False)
