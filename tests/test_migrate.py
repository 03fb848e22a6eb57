"""neomigrate on real FileStorages and real clusters: there, back, and what comes out."""

import shutil
from base64 import encodebytes
from pathlib import Path

import pytest
import transaction
import ZODB
from cluster import Cluster
from filestorages import contents, describe, make, make_packed
from ZODB.Connection import TransactionMetaData
from ZODB.FileStorage import FileStorage
from ZODB.POSException import ConflictError, MultipleUndoErrors, UndoError
from ZODB.utils import p64

DATA = Path(__file__).parent / "data" / "Data.fs"


@pytest.fixture
def empty(tmp_path):
    """Function that starts an empty cluster."""
    clusters = []

    def start(**options):
        folder = tmp_path / f"cluster{len(clusters)}"
        clusters.append(Cluster(folder, **{"partitions": 3, "admin": True, **options}))
        clusters[-1].start()
        return clusters[-1]

    yield start
    for cluster in clusters:
        cluster.close()


@pytest.fixture
def migrate(cmd):
    """Function that runs neomigrate."""

    def run(cluster, source, destination, *options, code=0):
        result = cmd("neomigrate", "-c", cluster.name, *options, source, destination)
        assert result.code == code, result
        return result

    return run


def superseded(transactions):
    """What remains of transactions that have several records of an object: NEO has one."""
    result = []
    for *metadata, records in transactions:
        last = {record[0]: place for place, record in enumerate(records)}
        records = [r for place, r in enumerate(records) if last[r[0]] == place]
        result.append((*metadata, records))
    return result


def test_the_fixture_goes_in_and_comes_out(empty, migrate, tmp_path):
    cluster = empty()
    result = migrate(cluster, DATA, cluster.master_nodes)
    lines = result.out.splitlines()
    assert lines[0] == f"Migrating from {DATA} to {cluster.master_nodes}"
    assert lines[-1].startswith("Migration done in ")
    assert "3 packed transactions lose their status 'p'" in result.out
    assert result.err == ""
    out = tmp_path / "out.fs"
    migrate(cluster, cluster.master_nodes, out)
    assert contents(out) == contents(DATA, status=False)
    storage = cluster.open()
    assert describe(storage.iterator()) == contents(DATA, status=False)
    storage.close()


def test_undo_works_on_what_was_imported(empty, migrate, tmp_path):
    """The same undos succeed as in the FileStorage itself, and give the same objects."""
    cluster = empty()
    migrate(cluster, DATA, cluster.master_nodes)
    original = FileStorage(str(shutil.copy(DATA, tmp_path / "copy.fs")))
    states = []
    for storage in (original, cluster.open()):
        db = ZODB.DB(storage)
        outcomes = []
        for place in range(0, 30, 2):
            undone = db.undoLog(0, 100)[place]["id"]
            manager = transaction.TransactionManager()
            db.undo(undone, manager.get())
            try:
                manager.commit()
                outcomes.append(True)
            except (UndoError, ConflictError, MultipleUndoErrors):
                manager.abort()
                outcomes.append(False)
        new = [records for *_, records in describe(storage.iterator())][78:]
        states.append((outcomes, [sorted((r[0], r[2]) for r in records) for records in new]))
        db.close()
    assert states[0] == states[1]
    assert sum(states[0][0]) > 3


@pytest.mark.parametrize("seed", range(6))
def test_random_filestorages_come_out_as_they_went_in(empty, migrate, tmp_path, seed):
    path = tmp_path / "in.fs"
    (make if seed % 3 else make_packed)(path, seed)
    cluster = empty(storages=1 + seed % 2, partitions=1 + 2 * seed, admin=True)
    result = migrate(cluster, path, cluster.master_nodes, "-v")
    out = tmp_path / "out.fs"
    migrate(cluster, cluster.master_nodes, out)
    expected = superseded(contents(path, status=False))
    assert contents(out) == expected
    left_out = sum(len(t[-1]) for t in contents(path)) - sum(len(t[-1]) for t in expected)
    assert ("left out" in result.out) == (left_out > 0)
    # ZODB can write to it, and an object's history is there.
    storage = FileStorage(str(out))
    storage.close()


def test_both_ways_continue(empty, migrate, tmp_path):
    path, part = tmp_path / "in.fs", tmp_path / "part.fs"
    make(path, 1)
    whole = contents(path)
    middle = whole[len(whole) // 2][0]
    storage = FileStorage(str(path), read_only=True)
    copy = FileStorage(str(part))
    copy.copyTransactionsFrom(type("", (), {"iterator": lambda s: storage.iterator(stop=middle)})())
    copy.close()
    storage.close()
    cluster = empty()
    out = tmp_path / "out.fs"
    migrate(cluster, part, cluster.master_nodes)
    migrate(cluster, cluster.master_nodes, out, "-q")
    result = migrate(cluster, path, cluster.master_nodes)
    assert "were there already" in result.out
    # A transaction that was being written when the exporter died.
    out.write_bytes(out.read_bytes() + b"\0" * 11)
    result = migrate(cluster, cluster.master_nodes, out)
    assert "were there already" in result.out and "Cut off 11 bytes" in result.out
    assert contents(out) == superseded(contents(path))
    # Once more: nothing to do.
    size = out.stat().st_size
    migrate(cluster, path, cluster.master_nodes)
    migrate(cluster, cluster.master_nodes, out)
    assert out.stat().st_size == size


def test_other_data_is_refused(empty, migrate, tmp_path):
    one, other = make(tmp_path / "1.fs", 1), make(tmp_path / "2.fs", 2)
    cluster = empty()
    migrate(cluster, one, cluster.master_nodes)
    result = migrate(cluster, other, cluster.master_nodes, code=1)
    assert "the cluster has other data: after 0 transactions in common" in result.err
    before = other.read_bytes()
    result = migrate(cluster, cluster.master_nodes, other, code=1)
    assert "has other data" in result.err
    assert other.read_bytes() == before


def test_a_quiet_run_prints_nothing(empty, migrate, tmp_path):
    cluster = empty()
    result = migrate(cluster, DATA, cluster.master_nodes, "-q")
    assert (result.out, result.err) == ("", "")
    result = migrate(cluster, cluster.master_nodes, tmp_path / "out.fs", "--quiet")
    assert (result.out, result.err) == ("", "")


def test_a_truncated_file_is_taken_up_to_the_last_transaction(empty, migrate, tmp_path):
    path = tmp_path / "cut.fs"
    path.write_bytes(DATA.read_bytes()[:-10])
    cluster = empty()
    result = migrate(cluster, path, cluster.master_nodes)
    assert "at the end of the file, from position" in result.out
    storage = cluster.open()
    assert describe(storage.iterator()) == contents(DATA, status=False)[:-1]
    storage.close()


def test_a_damaged_file_tells_where_and_what_was_kept(empty, migrate, tmp_path):
    data = bytearray(DATA.read_bytes())
    position = None
    iterator = FileStorage(str(DATA), read_only=True).iterator()
    kept = [next(iterator) for _ in range(40)]
    position = iterator._pos
    iterator.close()
    data[position + 16] = ord("?")
    path = tmp_path / "bad.fs"
    path.write_bytes(data)
    cluster = empty()
    for _ in range(2):
        result = migrate(cluster, path, cluster.master_nodes, code=1)
        assert f"damaged at position {position}: invalid status" in result.err
        assert "the 40 transactions before it are in the cluster" in result.err
    storage = cluster.open()
    assert [txn.tid for txn in storage.iterator()] == [txn.tid for txn in kept]
    storage.close()


def test_an_undo_that_goes_back_to_what_is_not_copied(empty, migrate, tmp_path):
    """To a transaction of status 'u', which readers of FileStorages pass over."""
    path = tmp_path / "in.fs"
    storage = FileStorage(str(path))
    tids = [b"\0" * 8]
    for data in (b"first", b"second", b"third", None):
        txn = TransactionMetaData()
        storage.tpc_begin(txn)
        if data is None:
            storage.undo(encodebytes(tids[-1]).rstrip(), txn)
        else:
            storage.store(p64(1), tids[-1], data, "", txn)
        storage.tpc_vote(txn)
        tids.append(storage.tpc_finish(txn))
    storage.close()
    iterator = FileStorage(str(path), read_only=True).iterator()
    next(iterator)
    content = bytearray(path.read_bytes())
    assert content[iterator._pos + 16] == ord(" ")
    content[iterator._pos + 16] = ord("u")
    iterator.close()
    path.write_bytes(content)
    cluster = empty()
    result = migrate(cluster, path, cluster.master_nodes)
    assert "1 transaction of status 'u' skipped" in result.out
    assert "1 transaction copied as if made without undo" in result.out
    storage = cluster.open()
    found = [[(r.tid, r.data) for r in txn] for txn in storage.iterator()]
    storage.close()
    first, _, third, undo = tids[1:]
    assert found == [[(first, b"first")], [(third, b"third")], [(undo, b"second")]]


def test_what_can_not_be_read_is_said_at_once(cmd, tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "other").write_bytes(b"PK\x03\x04 whatever")
    (tmp_path / "link").symlink_to("nowhere")
    for source, reason in [
        ("folder", "it is a folder"),
        ("other", "not a FileStorage"),
        ("link", "No such file"),
        ("no/such.fs:1", "neither an existing FileStorage"),
        # Below a file: whether it exists can not be known.
        ("other/x:1", "cannot read other/x:1: Not a directory"),
    ]:
        result = cmd("neomigrate", "-c", "test", source, "127.0.0.1:1")
        assert result.code == 1 and result.out == "", result
        assert reason in result.err and "Traceback" not in result.err, result


def test_big_records_and_transactions(empty, migrate, tmp_path):
    """More than what is kept of one transaction, so that it is written in pieces."""
    path = tmp_path / "big.fs"
    storage = FileStorage(str(path))
    from filestorages import Maker

    storage.close()
    maker = Maker(path, 0)
    for _ in range(2):
        txn = maker.transaction()
        for i in reversed(range(30)):
            oid = (i + 1).to_bytes(8, "big")
            data = maker.random.randbytes(300_000) + b"x" * 300_000
            maker.storage.store(oid, maker.serials.get(oid, b"\0" * 8), data, "", txn)
        maker.commit(txn)
    maker.undo()
    maker.close()
    cluster = empty()
    migrate(cluster, path, cluster.master_nodes)
    out = tmp_path / "out.fs"
    migrate(cluster, cluster.master_nodes, out)
    assert contents(out) == contents(path)
