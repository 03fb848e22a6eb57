"""neostorage, as an operator meets it."""

import json
import sqlite3

import pytest
from cluster import Cluster

ARGS = ("-c", "test", "-m", "127.0.0.1:1", "-a", "SQLite")


@pytest.fixture
def cluster(tmp_path):
    with Cluster(tmp_path / "cluster", storages=1, partitions=3) as cluster:
        yield cluster


def config(path):
    with sqlite3.connect(path) as database:
        rows = dict(database.execute("SELECT name, value FROM config"))
    database.close()
    return rows


def tables(path):
    with sqlite3.connect(path) as database:
        rows = {name for (name,) in database.execute("SELECT name FROM sqlite_master")}
    database.close()
    return rows


def files(path):
    return sorted(x.name for x in path.parent.glob(path.name + "*"))


def test_it_waits_for_the_operator_then_serves(tmp_path):
    with Cluster(
        tmp_path / "cluster", storages=1, partitions=3, master_args=("--autostart", "0")
    ) as cluster:
        cluster.start(wait="RECOVERING")
        cluster.wait_for(lambda: "PENDING" in cluster.neoctl("print", "node"), "S1 is there")
        assert cluster.state == "RECOVERING"
        cluster.neoctl("start")
        cluster.wait_state("RUNNING")
        assert "S1" in cluster.neoctl("print", "node", "storage")


def test_a_clean_stop_leaves_one_file_and_the_cluster_starts_again(cluster):
    (path,) = cluster.databases
    cluster.start()
    cluster.stop()
    assert files(path) == [path.name]
    recorded = config(path)
    assert recorded.pop("ptid").isdigit()
    assert recorded == {"version": "4", "name": "test", "nid": "1", "replicas": "0"}
    table = cluster_table(path)
    assert [(partition, nid, tid) for partition, nid, tid, _ in table] == [
        (0, 1, -1),
        (1, 1, -1),
        (2, 1, -1),
    ]
    cluster.start()
    cluster.stop()
    assert [row[:3] for row in cluster_table(path)] == [row[:3] for row in table]


def cluster_table(path):
    with sqlite3.connect(path) as database:
        rows = database.execute("SELECT * FROM pt ORDER BY partition, nid").fetchall()
    database.close()
    return rows


def test_a_killed_storage_comes_back(cluster):
    cluster.start()
    cluster.kill("s1")
    cluster.wait_for(lambda: cluster.state == "RECOVERING", "the cluster noticed")
    cluster.start_node("s1")
    cluster.wait_state("RUNNING")


def test_the_loss_of_the_master_is_survived(cluster):
    cluster.start()
    cluster.kill("m1")
    cluster.start_node("m1")
    cluster.wait_state("RUNNING")
    assert cluster["s1"].is_running


def test_a_database_has_one_process(cluster, cmd):
    cluster.start()
    (path,) = cluster.databases
    for reset in (), ("--reset",):
        result = cmd("neostorage", *ARGS, "-d", path, *reset)
        assert result.code == 1
        assert result.err.splitlines()[-1] == "neostorage: error: database is locked"
    assert cluster.state == "RUNNING"


def test_a_database_belongs_to_one_cluster(tmp_path, cmd):
    path = tmp_path / "db.sqlite"
    assert cmd("neostorage", *ARGS, "-d", path, "--reset").code == 0
    result = cmd("neostorage", "-c", "other", *ARGS[2:], "-d", path)
    assert result.code == 1
    (sentence,) = (line for line in result.err.splitlines() if line.startswith("neostorage: "))
    assert "name 'other' does not match with the database: 'test'" in sentence
    assert config(path)["name"] == "test"
    assert files(path) == [path.name]


def test_reset_makes_or_erases_the_database_and_talks_to_nobody(cluster, cmd):
    (path,) = cluster.databases
    assert cmd("neostorage", *ARGS, "-d", path, "--reset").code == 0
    fresh = {"version": "4", "name": "test"}
    assert config(path) == fresh
    assert {"config", "pt", "trans", "obj", "data", "ttrans", "tobj", "pack"} <= tables(path)
    cluster.start()
    cluster.stop()
    assert config(path) != fresh
    assert cmd("neostorage", *ARGS, "-d", path, "--reset").code == 0
    assert config(path) == fresh
    assert cluster_table(path) == []
    assert files(path) == [path.name]
    # With another name: what was there does not matter any more.
    assert cmd("neostorage", "-c", "other", *ARGS[2:], "-d", path, "--reset").code == 0
    assert config(path) == {**fresh, "name": "other"}


def test_what_is_not_a_neo_database_is_left_untouched(tmp_path, cmd):
    path = tmp_path / "app.sqlite"
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE accounts (name TEXT)")
    database.close()
    before = path.read_bytes()
    for reset in (), ("--reset",):
        result = cmd("neostorage", *ARGS, "-d", path, *reset)
        assert result.code == 1
        assert "not a NEO database" in result.err
        assert path.read_bytes() == before


@pytest.mark.parametrize(
    "args, what",
    [
        (("-a", "MySQL", "-d", "neo"), "MySQL"),
        (("-a", "Importer", "-d", "importer.conf"), "Importer"),
    ],
)
def test_other_backends_are_not_there_yet(cmd, args, what):
    result = cmd("neostorage", *ARGS[:4], *args)
    assert result.code == 1
    last = result.err.splitlines()[-1]
    assert what in last and "not there yet" in last


def test_an_operator_stops_one(tmp_path):
    with Cluster(tmp_path / "cluster", storages=2, partitions=2, replicas=1) as cluster:
        cluster.start()
        cluster.neoctl("kill", "S2")
        two = next(n for n in ("s1", "s2") if config(path_of(cluster, n)).get("nid") == "2")
        assert cluster[two].wait() == 0
        assert cluster.state == "RUNNING"


def path_of(cluster, name):
    return cluster.databases[int(name[1:]) - 1]


def test_a_forced_nid(tmp_path):
    with Cluster(tmp_path / "cluster", storages=1, storage_args=("-i", "5")) as cluster:
        cluster.start()
        assert "S5" in cluster.neoctl("print", "node", "storage")
        cluster.stop()
        assert config(cluster.databases[0])["nid"] == "5"
        assert [row[:2] for row in cluster_table(cluster.databases[0])] == [(0, 5)]


def test_masters_are_remembered(tmp_path):
    known = tmp_path / "masters.json"
    with Cluster(
        tmp_path / "cluster", storages=1, storage_args=("-D", known), masters=1
    ) as cluster:
        # It only knows a master that is not there, besides its list.
        at = cluster["s1"].command.index("-m")
        host, port = cluster.masters[0].split(":")
        known.write_text(json.dumps([[host, int(port)]]))
        cluster["s1"].command[at + 1] = "127.0.0.1:1"
        cluster.start()
        assert [host, int(port)] in json.loads(known.read_text())


@pytest.mark.parametrize("journal_mode", ["WAL", "DELETE"])
def test_a_commit_that_fails_ends_the_process(tmp_path, journal_mode):
    pytest.importorskip("neo.client.Storage")
    import transaction
    from ZODB.DB import DB
    from ZODB.POSException import POSError

    with Cluster(tmp_path / "cluster", storages=1) as cluster:
        cluster.expects("a commit failed")
        node = cluster["s1"]
        at = node.command.index("-d")
        node.command[at + 1] = f"file:{node.command[at + 1]}?journal_mode={journal_mode}"
        # No file can be greater than 1 MiB.
        limit = 'trap "" XFSZ; ulimit -f 1024; exec "$0" "$@"'
        node.command = ["bash", "-c", limit, *node.command]
        cluster.start()
        db = DB(cluster.open(compress=False))
        try:
            connection = db.open()
            root = connection.root()
            root["small"] = 1
            transaction.commit()
            root["big"] = b"x" * (4 << 20)
            with pytest.raises((POSError, transaction.interfaces.TransientError)):
                transaction.commit()
            transaction.abort()
            assert node.wait() == 1
            last = node.tail().splitlines()[-1]
            assert last.startswith("neostorage: error: a commit failed: "), node.tail()
            # Once there is room, everything that was acknowledged is there.
            node.command = node.command[3:]
            cluster.start_node("s1")
            cluster.wait_state("RUNNING")
            connection.sync()
            assert connection.root()["small"] == 1
            assert "big" not in connection.root()
        finally:
            transaction.abort()
            db.close()
