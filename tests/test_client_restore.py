"""Copies of databases, and what ZODB calls restore."""

import os

import pytest
from cluster import Cluster
from neo.client import TransactionMetaData
from neo.client.exception import NEOStorageError
from ZODB.FileStorage import FileStorage
from ZODB.POSException import POSKeyError
from ZODB.utils import p64, u64, z64


@pytest.fixture
def empty(tmp_path):
    """A storage of a cluster that has nothing."""
    with Cluster(tmp_path / "empty", storages=2, partitions=12) as cluster:
        cluster.start()
        storage = cluster.open()
        yield storage
        storage.close()


class Metadata(TransactionMetaData):
    """Its extension is not what pickle would make of it."""

    extension_bytes = b"}q\x00(X\x01\x00\x00\x00kq\x01K\x01u."


def commit(storage, *objects, undone=(), metadata=None):
    txn = metadata or TransactionMetaData()
    storage.tpc_begin(txn)
    for oid, serial, data in objects:
        if data is None:
            storage.deleteObject(oid, serial, txn)
        else:
            storage.store(oid, serial, data, "", txn)
    for tid in undone:
        storage.undo(tid, txn)
    storage.tpc_vote(txn)
    return storage.tpc_finish(txn)


def fill(storage, rounds=30):
    """Stores, deletes and undoes."""
    oids = [storage.new_oid() for _ in range(20)]
    serials = dict.fromkeys(oids, z64)
    for i in range(rounds):
        metadata = Metadata(b"us\xc3\xa9r %d" % i, b"descripti\xc3\xb6n \xff %d" % i)
        chosen = oids[i % 7 :: 3]
        data = os.urandom(10) * 100
        tid = commit(storage, *((oid, serials[oid], data) for oid in chosen), metadata=metadata)
        serials.update(dict.fromkeys(chosen, tid))
        if i % 5 == 4:
            newest = storage.undoLog(0, 1)[0]["id"]
            tid = commit(storage, undone=[newest])
            serials.update(dict.fromkeys(chosen, tid))
    commit(storage, (oids[1], serials[oids[1]], None))
    return oids


def content(storage):
    return [
        (
            (txn.tid, txn.user, txn.description, txn.extension_bytes),
            [(record.oid, record.tid, record.data, record.data_txn) for record in txn],
        )
        for txn in storage.iterator()
    ]


def test_a_copy_is_the_same(client, empty):
    """To the byte, with what points at former records."""
    source = client()
    fill(source)
    empty.copyTransactionsFrom(source)
    copied = content(empty)
    assert copied == content(source)
    assert any(record[3] for _, records in copied for record in records)


def test_a_copy_goes_on(client, empty):
    source = client()

    class Part:
        """What there was before the copy was interrupted."""

        def iterator(self):
            for i, txn in enumerate(source.iterator()):
                if i == 20:
                    raise ZeroDivisionError
                yield txn

    fill(source)
    with pytest.raises(ZeroDivisionError):
        empty.copyTransactionsFrom(Part())
    assert len(content(empty)) == 20
    # Another process knows nothing of what was copied.
    empty.app.restored.__init__()
    empty.copyTransactionsFrom(source)
    assert content(empty) == content(source)
    # All is there: nothing is done.
    empty.copyTransactionsFrom(source)
    assert content(empty) == content(source)


def test_only_what_is_newer_can_be_copied(client, empty):
    source = client()
    fill(source, 1)
    commit(empty, (empty.new_oid(), z64, b"x"))
    with pytest.raises(NEOStorageError, match="can not be copied before"):
        empty.copyTransactionsFrom(source)


def test_both_ways_with_filestorage(tmp_path, client, empty):
    """Undo of what was copied works on both sides."""
    file = FileStorage(str(tmp_path / "source.fs"))
    oids = fill(file, 10)
    empty.copyTransactionsFrom(file)

    def plain(storage):
        # FileStorage points at the first record that has the data, we at what was pointed at.
        return [(head, [record[:3] for record in records]) for head, records in content(storage)]

    assert plain(empty) == plain(file)
    back = FileStorage(str(tmp_path / "back.fs"))
    back.copyTransactionsFrom(empty)
    assert plain(back) == plain(file)
    back.close()
    newest = empty.lastTransaction()
    commit(empty, undone=[newest])
    assert empty.loadBefore(oids[1], p64(u64(empty.lastTransaction()) + 1))[0]
    file.close()


def test_restore(empty):
    """There is no conflict, and the last record of an object counts."""
    oid = empty.new_oid()
    first = commit(empty, (oid, z64, b"1"))
    second = commit(empty, (oid, first, b"2"))
    txn = TransactionMetaData()
    tid = p64(u64(second) + 1)
    empty.tpc_begin(txn, tid)
    other = empty.new_oid()
    empty.restore(other, tid, b"x", "", None, txn)
    empty.restore(oid, tid, b"3", "", None, txn)
    empty.restore(oid, tid, b"1", "", first, txn)
    assert list(empty.tpc_vote(txn)) == []
    assert empty.tpc_finish(txn) == tid
    [record] = empty.iterator(tid, tid)
    assert [(r.oid, r.data, r.data_txn) for r in record] == [
        (other, b"x", None),
        (oid, b"1", first),
    ]
    # What it points at is not there, or is not the same.
    txn = TransactionMetaData()
    tid = p64(u64(tid) + 1)
    empty.tpc_begin(txn, tid)
    empty.restore(oid, tid, b"4", "", p64(1), txn)
    empty.restore(other, tid, None, "", None, txn)
    empty.tpc_vote(txn)
    empty.tpc_finish(txn)
    assert empty.load(oid) == (b"4", tid)
    with pytest.raises(POSKeyError):
        empty.load(other)
    txn = TransactionMetaData()
    tid = p64(u64(tid) + 1)
    empty.tpc_begin(txn, tid)
    empty.restore(oid, tid, b"5", "", first, txn)
    empty.tpc_vote(txn)
    empty.tpc_finish(txn)
    [record] = empty.iterator(tid, tid)
    assert [(r.oid, r.data, r.data_txn) for r in record] == [(oid, b"5", None)]
