"""Reads beyond single revisions: iteration, prefetch, current records, the past of an object and
of the database."""

import gc
import pickle
import threading

import pytest
import ZODB
from neo.client import TransactionMetaData
from neo.client.exception import NEOStorageError
from ZODB.interfaces import IPrefetchStorage, IStorageCurrentRecordIteration
from ZODB.POSException import POSKeyError, ReadOnlyHistoryError
from ZODB.tests.MinPO import MinPO
from ZODB.utils import maxtid, p64, u64, z64
from zope.interface.verify import verifyObject

#: More than a page of transactions, or a group of records.
MANY = 300


def commit(storage, *objects, description="", extension=None):
    """Commits (oid, serial, data)... and returns the TID. No data is a deletion."""
    txn = TransactionMetaData("", description, extension)
    storage.tpc_begin(txn)
    for oid, serial, data in objects:
        if data is None:
            storage.deleteObject(oid, serial, txn)
        else:
            storage.store(oid, serial, data, "", txn)
    storage.tpc_vote(txn)
    return storage.tpc_finish(txn)


def following(tid):
    return p64(u64(tid) + 1)


# Iteration


def test_iteration_gives_every_record_of_big_and_small_transactions(client):
    storage = client()
    expected = []
    for count in (1, MANY, 0, 3, 2 * MANY, 1):
        records = [(storage.new_oid(), z64, b"%d" % i * (i % 7 * 100)) for i in range(count)]
        tid = commit(storage, *records, description=f"{count} objects")
        found = [(oid, tid, data, None) for oid, _, data in records]
        expected.append((tid, f"{count} objects".encode(), found))
    start = expected[0][0]
    for _ in range(2):
        iterator = storage.iterator(start)
        assert [
            (x.tid, x.description, sorted((r.oid, r.tid, r.data, r.data_txn) for r in x))
            for x in iterator
        ] == expected
        with pytest.raises(StopIteration):
            next(iterator)


def test_iteration_over_pages_of_transactions(client):
    storage = client()
    start = following(storage.lastTransaction())
    tids = [commit(storage, (storage.new_oid(), z64, b"%d" % i)) for i in range(MANY)]
    assert [(x.tid, [r.data for r in x]) for x in storage.iterator(start)] == [
        (tid, [b"%d" % i]) for i, tid in enumerate(tids)
    ]
    # Records of some transactions only, once the iteration is over, and twice.
    transactions = list(storage.iterator(start))
    gc.collect()
    for i in (0, 150, MANY - 1, 7, 150):
        assert [(r.oid, r.data) for r in transactions[i]] == [
            (oid, b"%d" % i) for oid in transactions[i].oid_list
        ]


def test_iteration_stops_at_what_was_committed_when_it_was_called(client):
    """Not at the first `next()`."""
    storage = client()
    start = following(storage.lastTransaction())
    tid = commit(storage, (storage.new_oid(), z64, b"x"))
    iterator = storage.iterator(start)
    commit(storage, (storage.new_oid(), z64, b"y"))
    assert [x.tid for x in iterator] == [tid]
    assert list(storage.iterator(following(storage.lastTransaction()))) == []
    assert list(storage.iterator(maxtid, maxtid)) == []
    assert list(storage.iterator(tid, z64)) == []
    assert [x.tid for x in storage.iterator(tid, tid)] == [tid]


def test_closing_an_iteration(client):
    storage = client()
    start = following(storage.lastTransaction())
    for _ in range(MANY):
        commit(storage, (storage.new_oid(), z64, b"x"))
    iterator = storage.iterator(start)
    transaction = next(iterator)
    iterator.close()
    assert list(iterator) == []
    # A transaction outlives it.
    assert [r.data for r in transaction] == [b"x"]
    iterator.close()


def test_iteration_shows_deletions_back_pointers_and_no_checks(client):
    storage = client()
    oid, checked, deleted = (storage.new_oid() for _ in range(3))
    first = commit(storage, (oid, z64, b"1"), (checked, z64, b"c"), (deleted, z64, b"d"))
    txn = TransactionMetaData()
    storage.tpc_begin(txn)
    storage.store(oid, first, b"2", "", txn)
    storage.checkCurrentSerialInTransaction(checked, first, txn)
    storage.deleteObject(deleted, first, txn)
    storage.tpc_vote(txn)
    second = storage.tpc_finish(txn)
    txn = TransactionMetaData()
    storage.tpc_begin(txn)
    storage.undo(second, txn)
    storage.tpc_vote(txn)
    third = storage.tpc_finish(txn)
    found = {
        x.tid: {r.oid: (r.data, r.data_txn) for r in x} for x in storage.iterator(second, third)
    }
    assert found == {
        second: {oid: (b"2", None), deleted: (None, None)},
        third: {oid: (b"1", first), deleted: (b"d", first)},
    }
    [transaction] = storage.iterator(second, second)
    assert set(transaction.oid_list) == {oid, checked, deleted}


class Unpicklable:
    """Tells when it is unpickled."""

    def __reduce__(self):
        return unpickled, ()


def unpickled():
    raise AssertionError("the extension was unpickled")


def test_extensions_are_given_as_they_were_stored(client):
    """Bytes that pickle differently now, and that nobody decodes unless asked."""
    storage = client()
    for extension_bytes in (
        b"(dp0\nVa\np1\nI1\ns.",
        pickle.dumps({"k": "v"}, 2),
        pickle.dumps({"k": Unpicklable()}),
        b"",
    ):
        txn = TransactionMetaData(extension=extension_bytes)
        storage.tpc_begin(txn)
        storage.tpc_vote(txn)
        tid = storage.tpc_finish(txn)
        [transaction] = storage.iterator(tid, tid)
        assert transaction.extension_bytes == extension_bytes
        if b"unpickled" not in extension_bytes:
            expected = pickle.loads(extension_bytes) if extension_bytes else {}
            assert transaction.extension == expected


def test_iteration_by_several_threads(client):
    storage = client()
    start = following(storage.lastTransaction())
    tids = [commit(storage, (storage.new_oid(), z64, b"x" * 1000)) for _ in range(50)]
    results = []

    def iterate():
        results.append([(x.tid, len(list(x))) for x in storage.iterator(start)])

    threads = [threading.Thread(target=iterate) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [[(tid, 1) for tid in tids]] * 4


# Prefetch


def test_prefetched_objects_are_loaded_from_the_cache(client):
    storage = client()
    oids = [storage.new_oid() for _ in range(MANY)]
    tid = commit(storage, *((oid, z64, oid) for oid in oids))
    reader = client()
    unknown = p64(u64(oids[-1]) + 10**6)
    # The iterable is used once.
    reader.prefetch(iter([unknown, *oids, unknown]), following(tid))
    for oid in oids:
        assert reader.loadBefore(oid, following(tid)) == (oid, tid, None)
    with pytest.raises(POSKeyError):
        reader.load(unknown)
    # Nothing is left to do.
    reader.prefetch(oids, following(tid))
    for oid in oids:
        assert reader.load(oid) == (oid, tid)


def test_prefetch_is_bounded(client):
    storage = client()
    oid = storage.new_oid()
    first = commit(storage, (oid, z64, b"1"))
    second = commit(storage, (oid, first, b"2"))
    for _ in range(2):
        storage._cache.clear()
        storage.prefetch([oid], second)
        assert storage.loadBefore(oid, second) == (b"1", first, second)
        storage.prefetch([oid], maxtid)
        assert storage.load(oid) == (b"2", second)


def test_prefetch_does_not_hide_what_is_committed_meanwhile(client):
    storage, other = client(), client()
    oids = [storage.new_oid() for _ in range(50)]
    tid = commit(other, *((oid, z64, b"0") for oid in oids))
    storage.sync()
    for i in range(20):
        storage._cache.clear()
        storage.prefetch(oids, following(storage.lastTransaction()))
        data = b"%d" % i
        tid = commit(other, *((oid, tid, data) for oid in oids))
        storage.sync()
        for oid in oids:
            assert storage.load(oid) == (data, tid)


@pytest.mark.parametrize("oids", [[b"short"], [None], ["x" * 8]])
def test_prefetch_of_what_is_no_oid(client, oids):
    with pytest.raises((TypeError, ValueError)):
        client().prefetch(oids, maxtid)


def test_prefetch_by_a_connection(client):
    storage = client()
    db = ZODB.DB(storage)
    with db.transaction() as connection:
        root = connection.root()
        for i in range(MANY):
            root[i] = MinPO(i)
    oids = [root_object._p_oid for root_object in root.values()]
    storage._cache.clear()
    connection = db.open()
    connection.cacheMinimize()
    objects = [connection.get(oid) for oid in oids]
    connection.prefetch(objects[: MANY // 2], oids[MANY // 2 :])
    assert sorted(x.value for x in objects) == list(range(MANY))
    with db.transaction() as cleaner:
        cleaner.root().clear()
    db.close()


def test_prefetch_without_cache_or_after_close(client):
    storage = client(cache_size=0)
    oid = storage.new_oid()
    tid = commit(storage, (oid, z64, b"x"))
    storage.prefetch([oid], maxtid)
    assert storage.load(oid) == (b"x", tid)
    storage = client()
    storage.close()
    storage.prefetch([oid], maxtid)
    with pytest.raises(NEOStorageError):
        storage.load(oid)


# Current records


def current_records(storage, start=None):
    records = []
    while True:
        oid, tid, data, start = storage.record_iternext(start)
        records.append((oid, tid, data))
        if start is None:
            return records


def test_current_records_are_those_of_the_first_call(client):
    storage = client()
    oids = [storage.new_oid() for _ in range(MANY)]
    first = commit(storage, *((oid, z64, b"1") for oid in oids))
    second = commit(storage, *((oid, first, b"2") for oid in oids[::2]), (oids[1], first, None))
    expected = [(oids[0], second, b"2")] + [
        (oid, *((second, b"2") if i % 2 == 0 else (first, b"1")))
        for i, oid in enumerate(oids)
        if i > 1
    ]
    assert current_records(storage, oids[0]) == expected
    oid, tid, data, token = storage.record_iternext(oids[0])
    third = commit(storage, *((oid, second, b"3") for oid in oids[::2]))
    assert [(oid, tid, data), *current_records(storage, token)] == expected
    # Any token can be used again, and by another storage; an OID need not exist.
    assert current_records(client(), token) == expected[1:]
    assert current_records(storage, oids[1])[0] == (oids[2], third, b"3")
    with pytest.raises(ValueError):
        storage.record_iternext(following(oids[-1]))
    with pytest.raises(ValueError):
        storage.record_iternext(b"?")


def test_oids(client):
    storage = client()
    oids = [storage.new_oid() for _ in range(MANY)]
    first = commit(storage, *((oid, z64, b"1") for oid in oids))
    deleted = commit(storage, *((oid, first, None) for oid in oids[::3]))
    bounds = oids[0], oids[-1]
    assert list(storage.app.oids(first, *bounds)) == oids
    left = [oid for i, oid in enumerate(oids) if i % 3]
    assert list(storage.app.oids(deleted, *bounds)) == left
    assert list(storage.app.oids(None, *bounds)) == left
    assert list(storage.app.oids(first, oids[5], oids[9])) == oids[5:10]
    assert list(storage.app.oids(first, oids[9], oids[5])) == []


# History and log


def test_history_filters_what_it_shows(client):
    """The filter sees all that is shown, extension included, which hides nothing."""
    storage = client()
    oid = storage.new_oid()
    serial, serials = z64, []
    for i in range(12):
        extension = {"even": i % 2 == 0, "size": "hidden", "serial": "hidden", "time": "hidden"}
        serial = commit(storage, (oid, serial, b"x" * i), description=str(i), extension=extension)
        serials.append(serial)
    newest = storage.history(oid)
    assert [(e["tid"], e["serial"], e["version"]) for e in newest] == [(serial, serial, "")]
    assert newest[0]["description"] == b"11"
    assert isinstance(newest[0]["time"], float)
    assert isinstance(newest[0]["size"], int)
    assert [e["tid"] for e in storage.history(oid, 100)] == serials[::-1]
    assert [e["tid"] for e in storage.history(oid, 5)] == serials[:-6:-1]
    # So many of those that are wanted.
    found = storage.history(oid, 3, lambda entry: entry["even"])
    assert [e["tid"] for e in found] == [serials[10], serials[8], serials[6]]
    found = storage.history(oid, 100, lambda entry: entry["serial"] == serials[0])
    assert [e["size"] for e in found] == [0]
    assert storage.history(oid, 0) == []
    with pytest.raises(POSKeyError):
        storage.history(p64(2**62), 0)


def test_pages_of_the_log_are_exact_slices(client):
    """With several nodes and partitions, filters on extensions, and empty slices."""
    storage = client()
    wanted = [
        commit(storage, (storage.new_oid(), z64, b"x"), extension={"place": i, "odd": i % 2})
        for i in range(40)
    ][::-1]
    for first, last in ((0, 12), (4, 8), (0, -20), (5, -5), (3, 3), (8, 4), (39, 40)):
        stop = first - last if last < 0 else last
        entries = storage.undoLog(first, last)
        assert [entry["id"] for entry in entries] == wanted[first:stop]
    odd = storage.undoLog(2, 6, lambda entry: entry.get("odd") == 1)
    assert [entry["place"] for entry in odd] == [35, 33, 31, 29]
    assert [e["id"] for e in storage.undoInfo(0, -2, {"odd": 0})] == [wanted[1], wanted[3]]
    [entry] = storage.undoInfo(0, -1, {"place": 7})
    assert entry["id"] == wanted[32]
    assert set(entry) == {"id", "time", "user_name", "description", "place", "odd"}


def test_last_invalidations(client):
    storage = client()
    oid = storage.new_oid()
    first = commit(storage, (oid, z64, b"1"))
    second = commit(storage, (oid, first, b"2"))
    third = commit(storage, (oid, second, None))
    assert storage.lastInvalidations(2) == [(second, [oid]), (third, [oid])]
    assert storage.lastInvalidations(0) == []
    assert len(storage.lastInvalidations(10**6)) >= 3


# Historical connections, other ways to open


def test_historical_connections(client):
    storage = client()
    db = ZODB.DB(storage)
    with db.transaction() as connection:
        connection.root()["x"] = MinPO(1)
    first = storage.lastTransaction()
    with db.transaction() as connection:
        connection.root()["x"].value = 2
    second = storage.lastTransaction()
    for options, value in (
        ({"at": first}, 1),
        ({"before": second}, 1),
        ({"at": second}, 2),
        ({"before": following(second)}, 2),
    ):
        for clear in (False, True):
            if clear:
                storage._cache.clear()
            connection = db.open(**options)
            assert connection.root()["x"].value == value
            connection.root()["x"].value = 3
            with pytest.raises(ReadOnlyHistoryError):
                connection.transaction_manager.commit()
            connection.transaction_manager.abort()
            connection.close()
    with db.transaction() as connection:
        del connection.root()["x"]
    connection = db.open(at=second)
    assert connection.root()["x"].value == 2
    connection.close()
    db.close()


def test_a_read_only_storage_reads_everything(client):
    storage, reader = client(), client(read_only=True)
    oid = storage.new_oid()
    first = commit(storage, (oid, z64, b"1"))
    second = commit(storage, (oid, first, b"2"))
    reader.sync()
    assert reader.is_read_only() is reader.isReadOnly() is True
    reader.prefetch([oid], maxtid)
    assert reader.load(oid) == (b"2", second)
    assert [[r.data for r in x] for x in reader.iterator(first)] == [[b"1"], [b"2"]]
    assert [e["tid"] for e in reader.history(oid, 9)] == [second, first]
    assert [e["id"] for e in reader.undoLog(0, 2)] == [second, first]
    assert reader.record_iternext(oid)[:3] == (oid, second, b"2")
    assert len(reader) >= u64(oid)


def test_the_length_bounds_the_number_of_objects(client):
    storage = client()
    oid = storage.new_oid()
    commit(storage, (oid, z64, b"x"))
    for s in storage, client():
        assert len(s) >= u64(oid)
        assert s.getSize() == 300 * len(s)
        assert s.app.getObjectCount() == len(s)


def test_interfaces(client):
    storage = client()
    assert not storage.is_connected()
    storage.sync()
    assert storage.is_connected()
    for interface in (IPrefetchStorage, IStorageCurrentRecordIteration):
        assert interface.providedBy(storage)
        assert verifyObject(interface, storage)
    assert storage.getExtensionMethods() == {}
