"""Logs of nodes and clients: what is written, when, and what becomes of a disk that refuses."""

import bz2
import os
import resource
import signal
import sqlite3
import subprocess
import sys

import msgpack
import pytest
import transaction
from cluster import Cluster, argv
from ZODB import DB


@pytest.fixture
def cluster(tmp_path):
    with Cluster(tmp_path / "cluster", partitions=3, logs=True) as cluster:
        yield cluster


def query(path, sql):
    with sqlite3.connect(path, timeout=60) as database:
        rows = database.execute(sql).fetchall()
    database.close()
    return rows


def packets(path):
    return query(path, "SELECT date, code, peer, body, nid FROM packet JOIN node ON id = node")


def count(path, table):
    return query(path, f"SELECT count(*) FROM {table}")[0][0]


def commit(storage, text):
    db = DB(storage)
    with db.transaction() as connection:
        connection.root()["text"] = text
    db.close()


def test_nothing_is_written_before_a_reason(cluster):
    cluster.start()
    commit(cluster.open(), "x" * 1000)
    assert [count(cluster.log_file(name), "packet") for name in cluster.nodes] == [0, 0, 0]
    cluster.neoctl("flush_log")
    for name in cluster.nodes:
        path = cluster.log_file(name)
        cluster.wait_for(lambda path=path: count(path, "packet"), f"{name} writes its log")
    nids = {nid for *_, nid in packets(cluster.log_file("s1"))}
    assert nids <= {None, 1} and 1 in nids
    assert {
        cluster for (cluster,) in query(cluster.log_file("s1"), "SELECT cluster FROM node")
    } == {"test"}


def test_the_description_of_the_protocol_works(cluster):
    """What the neolog of the Python NEO does with a log of ours."""
    cluster.start()
    commit(cluster.open(), "x" * 1000)
    cluster.stop()
    path = cluster.log_file("s1")
    ((date, text),) = query(path, "SELECT * FROM protocol")
    assert date == 0
    module = {}
    exec(bz2.decompress(text), module)
    assert module["PROTOCOL_VERSION"] == 5
    uuid_str = module["uuid_str"]
    nids = (1, -268435455, -536870911, -805306367, None, 0)
    assert [*map(uuid_str, nids)] == ["S1", "M1", "C1", "A1", "None", "0"]
    seen = set()
    lines = []
    for _, code, _, body, _ in packets(path):
        packet = module["Packets"][code]
        assert packet._code == code
        seen.add(packet.__name__)
        unpacker = module["Unpacker"](use_list=False, strict_map_key=False)
        unpacker.feed(body)
        arguments = unpacker.unpack()
        assert isinstance(arguments, tuple)
        if hasattr(packet, "_neolog"):
            shown, extra = packet._neolog(*arguments)
            assert isinstance(shown, tuple)
            lines += extra
    assert {"AskStoreObject", "AnswerStoreObject", "AskStoreTransaction", "StartOperation"} <= seen
    assert any(line.startswith(" ! M1 | MASTER  | 127.0.0.1:") for line in lines)
    assert repr(module["Unpacker"]) and msgpack


def test_a_warning_and_a_signal_write_everything(cluster):
    cluster.start()
    for name in cluster.nodes:
        assert not count(cluster.log_file(name), "packet")
    cluster["s1"].signal(signal.SIGRTMIN)
    cluster.wait_for(lambda: count(cluster.log_file("s1"), "packet"), "S1 writes its log")
    assert not count(cluster.log_file("m1"), "packet")
    # The master warns about the loss of its only storage.
    cluster.kill("s1")
    cluster.wait_for(lambda: count(cluster.log_file("m1"), "packet"), "M1 writes its log")
    levels = query(cluster.log_file("m1"), "SELECT level FROM log WHERE level >= 30")
    assert levels


@pytest.mark.parametrize("discard", [False, True])
def test_the_backlog_is_written_at_the_end_unless_it_is_not_wanted(cluster, discard):
    for node in cluster.nodes.values():
        node.command += ["--discard-log"] if discard else []
    cluster.start()
    # The storage has no reason to warn when it ends first.
    cluster.stop("s1")
    assert bool(count(cluster.log_file("s1"), "packet")) is not discard


def test_dump_of_the_state(cluster):
    cluster.start()
    for name, node in cluster.nodes.items():
        for number in (2, 3):
            node.signal(signal.SIGRTMIN + number)
            path = cluster.log_file(name)
            text = "SELECT msg FROM log WHERE msg LIKE 'connections: %pt: # ptid: 1%'"

            def dumped(node=node, path=path, text=text, number=number):
                node.signal(signal.SIGRTMIN)
                return len(query(path, text)) == number - 1

            cluster.wait_for(dumped, f"{name} dumps its state")
    ((dump,),) = query(cluster.log_file("s1"), text)[:1]
    for part in ("nodes: ", "transactions: 0", "read locks: 0", "write locks: 0", "pt: S1 "):
        assert part in dump


def test_rotation(cluster):
    cluster.start()
    for name, node in cluster.nodes.items():
        path = cluster.log_file(name)
        old = path.with_suffix(".old")
        path.rename(old)
        node.signal(signal.SIGRTMIN + 1)
        cluster.wait_for(path.exists, f"{name} opens its log again")
        cluster.wait_for(lambda path=path: tables(path) >= {"log", "packet"}, "it is a log")
        # Nothing was written to the old one: it is made tiny.
        assert "protocol" not in tables(old)
        node.signal(signal.SIGRTMIN)
        cluster.wait_for(lambda path=path: count(path, "packet"), "what waited is in the new file")


def tables(path):
    try:
        return {name for (name,) in query(path, "SELECT name FROM sqlite_master")}
    except sqlite3.DatabaseError:
        return set()


def test_a_reader_only_delays_what_is_written(cluster):
    cluster.start()
    path = cluster.log_file("m1")
    with sqlite3.connect(path, isolation_level=None) as reader:
        reader.execute("BEGIN EXCLUSIVE")
        cluster["m1"].signal(signal.SIGRTMIN)
        says = "database is locked: retrying to emit log..."
        cluster.wait_for(lambda: says in cluster["m1"].tail(), "the master waits for the reader")
        commit(cluster.open(), "the cluster goes on")
        reader.execute("ROLLBACK")
    reader.close()
    cluster.wait_for(lambda: says + " ok\n" in cluster["m1"].tail() + "\n", "it could write")
    assert count(path, "packet")


def test_a_full_disk_stops_nobody(cluster):
    """Files of the master may not grow: that is what a full disk is."""
    cluster.start()
    master = cluster["m1"]
    cluster.expects("cannot write to log file")
    size = os.path.getsize(cluster.log_file("m1"))
    unlimited = resource.prlimit(master.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    for _ in range(3):
        for _ in range(30):
            commit(cluster.open(), "x")
        master.signal(signal.SIGRTMIN)
        cluster.wait_for(lambda: "cannot write to log file" in master.tail(), "it warns")
    assert cluster.state == "RUNNING"
    assert master.tail().count("WARNING") == 1
    assert not count(cluster.log_file("m1"), "packet")
    resource.prlimit(master.pid, resource.RLIMIT_FSIZE, unlimited)
    master.signal(signal.SIGRTMIN)
    cluster.wait_for(lambda: count(cluster.log_file("m1"), "packet"), "it writes again")
    ((text,),) = query(cluster.log_file("m1"), "SELECT msg FROM log WHERE level = 30")
    assert text.startswith("cannot write to log file")


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda path: sqlite3.connect(path).executescript("CREATE TABLE t (x)"), "a table 't'"),
        (lambda path: path.mkdir(), "it is a directory"),
    ],
)
def test_what_belongs_to_another_program_is_left_alone(cmd, tmp_path, make, reason):
    path = tmp_path / "log"
    make(path)
    before = path.is_file() and path.read_bytes()
    result = cmd("neomaster", "-c", "test", "-b", "127.0.0.1:0", "-l", path)
    assert (result.code, result.out) == (1, "")
    assert f"cannot use log file {path}: " in result.err and reason in result.err
    assert (path.is_file() and path.read_bytes()) == before


def damage(path):
    """Spoils all pages of a database but the first one, which tells that it changed."""
    content = bytearray(path.read_bytes())
    content[27] ^= 1
    content[4096:] = b"\xa5" * (len(content) - 4096)
    path.write_bytes(content)


def said(node, text):
    return [line for line in node.tail().splitlines() if text in line]


@pytest.mark.parametrize("kind", ["text", "damaged", "cut"])
def test_a_node_starts_whatever_its_log_was(cluster, kind):
    cluster.expects("is damaged")
    path = cluster.log_file("s1")
    if kind == "text":
        path.write_text("a text\n" * 1000)
    else:
        cluster.start()
        cluster["s1"].signal(signal.SIGRTMIN)
        cluster.wait_for(lambda: count(path, "packet"), "there is a log")
        for name in cluster.nodes:
            cluster.stop(name)
        if kind == "damaged":
            damage(path)
        else:
            os.truncate(path, 6000)
    before = path.read_bytes()
    cluster.start()
    assert len(said(cluster["s1"], "log file")) == 1
    aside = path.with_name(path.name + ".damaged")
    assert said(cluster["s1"], f"log file {path} is damaged (")
    assert said(cluster["s1"], f": it is kept as {aside}, and a new one is begun")
    assert aside.read_bytes() == before
    cluster["s1"].signal(signal.SIGRTMIN)
    cluster.wait_for(lambda: count(path, "packet"), "it writes to a new log")
    told = query(path, "SELECT msg FROM log WHERE level = 30 AND msg LIKE 'log file %'")
    assert [str(aside) in text for (text,) in told] == [True]


def test_a_log_that_is_damaged_meanwhile_stops_nobody(cluster):
    cluster.start()
    path = cluster.log_file("s1")
    cluster["s1"].signal(signal.SIGRTMIN)
    cluster.wait_for(lambda: count(path, "packet"), "there is a log")
    damage(path)
    cluster.expects("is damaged")
    commit(cluster.open(), "the cluster goes on")
    cluster["s1"].signal(signal.SIGRTMIN)
    cluster.wait_for(lambda: said(cluster["s1"], "and a new one is begun"), "it warns")
    # What waited is in the new file.
    stored = "SELECT count(*) FROM packet WHERE code = 0x1c"
    cluster.wait_for(lambda: query(path, stored)[0][0], "it writes to a new log")
    assert cluster.state == "RUNNING"
    assert len(said(cluster["s1"], "WARNING")) == 1


def test_neoctl_writes_everything_at_once(cluster, tmp_path):
    cluster.start()
    path = tmp_path / "ctl.log"
    assert cluster.neoctl("-l", path, "print", "cluster") == "RUNNING\n"
    sent = [code for _, code, peer, _, _ in query(path, "SELECT 0, code, peer, 0, 0 FROM packet")]
    assert 0x2E in sent and 0x802E in sent


CLIENT = """
import os, signal, sys
import transaction
from neo.client.Storage import Storage
from ZODB import DB
os.kill(os.getpid(), signal.SIGRTMIN)
os.kill(os.getpid(), signal.SIGRTMIN + 2)
db = DB(Storage(sys.argv[1], "test", logfile=sys.argv[2]))
with db.transaction() as connection:
    connection.root()["x"] = "x" * 1000
os.kill(os.getpid(), signal.SIGRTMIN + 2)
if len(sys.argv) > 3:
    pid = os.fork()
    if pid:
        assert os.waitpid(pid, 0)[1] == 0
    else:
        with db.transaction() as connection:
            connection.root()["x"] = "child"
db.close()
"""


@pytest.mark.parametrize("fork", [(), ("fork",)])
def test_the_log_of_a_client(cluster, tmp_path, fork):
    cluster.start()
    path = tmp_path / "client.log"
    command = [sys.executable, "-c", CLIENT, cluster.master_nodes, path, *fork]
    subprocess.run(command, check=True, timeout=60)
    peers = {peer for _, _, peer, _, _ in packets(path)}
    assert any(peer.startswith("> S1 (") for peer in peers), peers
    nids = {nid for *_, nid in packets(path)}
    # A child that forked has an identifier of its own.
    assert len(nids - {None}) == 1 + len(fork)
    stored = query(path, "SELECT count(*) FROM packet WHERE code = 28 AND peer LIKE '> %'")
    assert stored[0][0] >= 1 + len(fork)
    lines = subprocess.run(argv("neolog", "-A", path), capture_output=True, text=True, check=True)
    assert "C1 " in lines.stdout


def test_flush_log_reaches_clients(cluster, tmp_path):
    cluster.start()
    path = tmp_path / "client.log"
    storage = cluster.open(logfile=str(path))
    try:
        assert storage.lastTransaction()
        transaction.abort()
        before = count(path, "packet")
        cluster.neoctl("flush_log")
        cluster.wait_for(lambda: count(path, "packet") > before, "the client writes its log")
    finally:
        storage.close()
