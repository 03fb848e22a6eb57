"""What an application sees of a storage, beyond what ZODB's own suites ask."""

import threading

import pytest
import transaction
import ZODB
from neo.client import TransactionMetaData
from neo.client.exception import (
    NEOStorageDoesNotExistError,
    NEOStorageError,
    NEOStorageNotFoundError,
)
from writing import Wrapper, begin, commit, end
from ZODB.interfaces import IMVCCStorage
from ZODB.POSException import (
    ConflictError,
    POSKeyError,
    ReadConflictError,
    ReadOnlyError,
    StorageTransactionError,
    UndoError,
)
from ZODB.tests.ConflictResolution import PCounter
from ZODB.tests.StorageTestBase import zodb_pickle
from ZODB.utils import maxtid, p64, u64, z64

#: Seconds after which something is taken for stuck. No test waits for it.
PATIENCE = 30


def following(tid):
    return p64(u64(tid) + 1)


def test_it_is_not_an_mvcc_storage_by_default(client):
    assert not IMVCCStorage.providedBy(client())


def test_what_was_not_begun(client):
    storage = client()
    txn = TransactionMetaData()
    oid = storage.new_oid()
    for call in (
        lambda: storage.store(oid, z64, b"", "", txn),
        lambda: storage.undo(z64, txn),
        lambda: storage.deleteObject(oid, z64, txn),
        lambda: storage.checkCurrentSerialInTransaction(oid, z64, txn),
        lambda: storage.tpc_vote(txn),
        lambda: storage.tpc_finish(txn),
    ):
        with pytest.raises(StorageTransactionError):
            call()
    storage.tpc_abort(txn)


def test_read_only(cluster, client):
    oid = client().new_oid()
    serial = commit(client(), (oid, z64, b"x"))
    storage = client(read_only=True)
    assert storage.isReadOnly() is True
    assert storage.load(oid) == (b"x", serial)
    txn = TransactionMetaData()
    for call in (
        storage.new_oid,
        storage.pack,
        lambda: storage.tpc_begin(txn),
        lambda: storage.store(None, None, None, None, None),
        lambda: storage.undo(None, None),
    ):
        with pytest.raises(ReadOnlyError):
            call()
    for call in (
        lambda: storage.tpc_vote(txn),
        lambda: storage.tpc_finish(txn),
        lambda: storage.deleteObject(oid, serial, txn),
        lambda: storage.checkCurrentSerialInTransaction(oid, serial, txn),
    ):
        with pytest.raises(StorageTransactionError):
            call()
    storage.tpc_abort(txn)
    serial = commit(client(), (oid, serial, b"y"))
    storage.sync()
    assert storage.load(oid) == (b"y", serial)


def test_what_is_not_there(client):
    storage = client()
    oid = storage.new_oid()
    unknown = storage.new_oid()
    first = commit(storage, (oid, z64, b"1"))
    other = commit(storage, (storage.new_oid(), z64, b""))
    second = commit(storage, (oid, first, b"2"))
    for _ in range(2):
        assert storage.loadBefore(oid, first) is None
        assert storage.loadBefore(oid, second) == (b"1", first, second)
        assert storage.loadBefore(oid, maxtid) == (b"2", second, None)
        assert storage.loadSerial(oid, first) == b"1"
        # Not a serial of that object, but one within a range that is cached.
        with pytest.raises(POSKeyError):
            storage.loadSerial(oid, other)
        with pytest.raises(NEOStorageNotFoundError):
            storage.app.load(oid, other)
        for call in (storage.load, storage.getTid, storage.history, storage.loadEx):
            with pytest.raises(POSKeyError):
                call(unknown)
        with pytest.raises(POSKeyError):
            storage.loadBefore(unknown, maxtid)
        with pytest.raises(NEOStorageDoesNotExistError):
            storage.app.load(unknown)
        storage._cache.clear()


@pytest.mark.parametrize("oid", [b"", b"x" * 7, b"x" * 9, "x" * 8, None, 1])
def test_bad_oids(oid, client):
    storage = client()
    txn = begin(storage)
    for call in (
        lambda: storage.load(oid),
        lambda: storage.loadBefore(oid, maxtid),
        lambda: storage.store(oid, z64, b"", "", txn),
    ):
        with pytest.raises((TypeError, ValueError)):
            call()
    end(storage, txn)


@pytest.mark.parametrize("cache_size", [0, 1000, None])
def test_sizes(cache_size, client):
    """Records bigger than the cache, transactions much bigger than the cache, empty records."""
    storage = client(cache_size=cache_size)
    records = [b"", b"x", bytes(range(256)) * 40, b"a" * 100_000]
    objects = [(storage.new_oid(), z64, data) for data in records * 5]
    tid = commit(storage, *objects)
    for _ in range(2):
        for oid, _, data in objects:
            assert storage.load(oid) == (data, tid)
        storage._cache.clear()


@pytest.mark.parametrize("compress", [True, False, "zlib=1", (0, 9)])
def test_compression(compress, client):
    storage = client(compress=compress)
    import zlib

    incompressible = zlib.compress(b"a" * 1000)
    records = [b"foo", b"", b"a" * 1000, incompressible]
    objects = [(storage.new_oid(), z64, data) for data in records]
    commit(storage, *objects)
    storage._cache.clear()
    for oid, _, data in objects:
        assert storage.load(oid)[0] == data
    [size] = [entry["size"] for entry in storage.history(objects[2][0])]
    assert (size == 1000) == (compress is False)
    assert storage.history(objects[3][0])[0]["size"] == len(incompressible)


def test_the_last_store_of_an_object_wins(client):
    storage = client()
    oid = storage.new_oid()
    for i in range(10):
        txn = begin(storage)
        serial = storage.getTid(oid) if i else z64
        for j in range(i + 2):
            storage.store(oid, serial, b"%d %d" % (i, j), "", txn)
        end(storage, txn)
        storage._cache.clear()
        assert storage.load(oid)[0] == b"%d %d" % (i, j)


def test_check_after_store_and_store_after_check(client):
    storage = client()
    oid = storage.new_oid()
    serial = commit(storage, (oid, z64, b"1"))
    txn = begin(storage)
    storage.store(oid, serial, b"2", "", txn)
    storage.checkCurrentSerialInTransaction(oid, serial, txn)
    serial = end(storage, txn)
    txn = begin(storage)
    storage.checkCurrentSerialInTransaction(oid, serial, txn)
    storage.store(oid, serial, b"3", "", txn)
    serial = end(storage, txn)
    assert storage.load(oid) == (b"3", serial)
    txn = begin(storage)
    with pytest.raises(ReadConflictError):
        storage.checkCurrentSerialInTransaction(oid, z64, txn)
        storage.tpc_vote(txn)
    storage.tpc_abort(txn)


def test_a_conflict(client):
    storage, other = client(), client()
    oid = storage.new_oid()
    first = commit(storage, (oid, z64, b"1"))
    txn = begin(other)
    second = commit(storage, (oid, first, b"2"))
    with pytest.raises(ConflictError) as raised:
        other.store(oid, first, b"3", "", txn)
        other.tpc_vote(txn)
    assert (raised.value.oid, raised.value.serials) == (oid, (second, first))
    # Not what was asked any more: it can only be aborted.
    with pytest.raises(NEOStorageError):
        other.tpc_vote(txn)
    other.tpc_abort(txn)
    assert storage.load(oid) == (b"2", second)


def test_conflicts_are_resolved_in_the_thread_that_stores(client):
    storage, other = client(), client()
    oid = storage.new_oid()
    counter = PCounter()
    counter.inc()
    first = commit(storage, (oid, z64, zodb_pickle(counter)))
    counter.inc()
    second = commit(storage, (oid, first, zodb_pickle(counter)))
    counter.inc()
    counter.inc()
    resolve = other.tryToResolveConflict
    threads = []

    def spy(*args):
        threads.append(threading.get_ident())
        return resolve(*args)

    other.tryToResolveConflict = spy
    txn = begin(other)
    other.store(oid, first, zodb_pickle(counter), "", txn)
    assert list(other.tpc_vote(txn)) == [oid]
    assert list(other.tpc_vote(txn)) == [oid]
    third = other.tpc_finish(txn)
    assert threads == [threading.get_ident()]
    assert other.loadBefore(oid, maxtid)[1:] == (third, None)
    assert other.loadBefore(oid, third)[1:] == (second, third)


def test_invalidations_have_an_order(client):
    storage, other = client(), client()
    wrapper = Wrapper()
    storage.registerDB(wrapper)
    storage.sync()
    wrapper.told.clear()
    oids = [storage.new_oid() for _ in range(3)]
    tids = [
        commit(other, *((oid, z64, b"") for oid in oids[:i])) if i else commit(other)
        for i in (0, 1)
    ]
    storage.sync()
    assert wrapper.told == [(tids[0], []), (tids[1], oids[:1])]
    # Nothing is told about commits of one's own: the callback does that.
    told = []
    txn = begin(storage)
    storage.store(oids[1], z64, b"", "", txn)
    tid = end(storage, txn, told.append)
    assert told == [tid] == [storage.lastTransaction()]
    assert len(wrapper.told) == 2


def test_a_callback_that_raises(client):
    storage, other = client(), client()
    oid = storage.new_oid()

    def f(tid):
        told.append(tid)
        raise ZeroDivisionError

    told = []
    txn = begin(storage)
    storage.store(oid, z64, b"x", "", txn)
    storage.tpc_vote(txn)
    with pytest.raises(ZeroDivisionError):
        storage.tpc_finish(txn, f)
    assert told == [storage.lastTransaction()]
    assert storage.load(oid) == (b"x", told[0])
    commit(storage, (oid, told[0], b"y"))
    other.sync()
    assert other.load(oid)[0] == b"y"


def test_a_wrapper_that_raises(client, caplog):
    storage, other = client(), client()
    wrapper = Wrapper()

    def invalidate(tid, oids):
        raise ZeroDivisionError

    wrapper.invalidate = invalidate
    storage.registerDB(wrapper)
    storage.sync()
    wrapper.told.clear()
    oid = storage.new_oid()
    tid = commit(other, (oid, z64, b"x"))
    storage.sync()
    # Before the new TID is visible, and after: see test_client_invalidation.
    assert wrapper.told == [None, None]
    assert storage.lastTransaction() == tid
    assert any(record.exc_info for record in caplog.records if record.name == "NEO")


def test_reads_while_a_commit_is_being_published(client):
    """Rules O1 to O6: see chapter 4.2 of the specification of clients."""
    storage = client()
    oid, other_oid = storage.new_oid(), storage.new_oid()
    first = commit(storage, (oid, z64, b"1"), (other_oid, z64, b"1"))
    inside, leave = threading.Event(), threading.Event()
    seen = []

    def f(tid):
        # Calls made from within are exempt, or they would wait for themselves.
        seen.append(storage.loadBefore(oid, maxtid)[:2] == (b"2", tid))
        seen.append(storage.lastTransaction() == first)
        inside.set()
        assert leave.wait(PATIENCE)

    def publish():
        txn = begin(storage)
        storage.store(oid, first, b"2", "", txn)
        results["tid"] = end(storage, txn, f)

    def unbounded():
        results["unbounded"] = storage.loadBefore(oid, maxtid)[1]
        results["after"] = storage.lastTransaction()

    def commit_other():
        results["other"] = commit(storage, (other_oid, first, b"2"))

    results = {}
    threads = [threading.Thread(target=publish)]
    threads[0].start()
    assert inside.wait(PATIENCE)
    # What is bounded by what is published does not wait.
    assert storage.loadBefore(oid, following(first))[:2] == (b"1", first)
    storage._cache.clear()
    assert storage.loadBefore(oid, following(first))[:2] == (b"1", first)
    assert storage.lastTransaction() == first
    threads += (threading.Thread(target=unbounded), threading.Thread(target=commit_other))
    for thread in threads[1:]:
        thread.start()
    for thread in threads[1:]:
        thread.join(0.1)
        assert thread.is_alive()
    leave.set()
    for thread in threads:
        thread.join(PATIENCE)
    assert seen == [True, True]
    assert results["unbounded"] >= results["tid"]
    assert results["after"] >= results["tid"]
    assert results["other"] > results["tid"]


def test_a_wrapper_may_call_the_storage(client):
    storage, other = client(), client()
    oid = storage.new_oid()
    first = commit(storage, (oid, z64, b"1"))
    storage.sync()
    wrapper = Wrapper()

    def invalidate(tid, oids):
        bounded = storage.loadBefore(oid, following(first))
        wrapper.told.append((storage.lastTransaction(), bounded))

    wrapper.invalidate = invalidate
    storage.registerDB(wrapper)
    second = commit(other, (oid, first, b"2"))
    storage.sync()
    assert wrapper.told == [(first, (b"1", first, second))]


def test_an_imposed_tid(client):
    storage = client()
    last = commit(storage)
    for tid in last, z64:
        txn = TransactionMetaData()
        with pytest.raises(NEOStorageError):
            storage.tpc_begin(txn, tid)
        storage.tpc_abort(txn)
    txn = TransactionMetaData()
    wanted = following(last)
    storage.tpc_begin(txn, wanted)
    assert end(storage, txn) == wanted


def test_versions_do_not_exist(client):
    """With and without assertions."""
    storage = client()
    with pytest.raises(AssertionError):
        storage.load(z64, "version")


def test_a_pack_in_the_future_is_one_of_now(client):
    storage = client()
    oid = storage.new_oid()
    commit(storage, (oid, z64, b"x"))
    last = storage.lastTransaction()
    with pytest.raises(NEOStorageError):
        storage.app.pack(following(last))
    # The link to the master did not suffer from that.
    storage.sync()
    assert storage.lastTransaction() == last


def test_oids_are_never_given_twice(client):
    storage = client()
    oids = set()
    lock = threading.Lock()

    def work(storage):
        own = [storage.new_oid() for _ in range(250)]
        with lock:
            oids.update(own)

    threads = [threading.Thread(target=work, args=(s,)) for s in (storage, storage, client())]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(oids) == 750
    # One that the application chose is respected too.
    chosen = p64(u64(max(oids)) + 1000)
    commit(storage, (chosen, z64, b""))
    fresh = client()
    assert fresh.new_oid() > chosen


def test_metadata(client):
    storage = client()
    txn = TransactionMetaData("usér", "descriptïon", {"k": 1})
    storage.tpc_begin(txn)
    oid = storage.new_oid()
    storage.store(oid, z64, b"x", "", txn)
    tid = end(storage, txn)
    [record] = list(storage.iterator(tid, tid))
    assert (record.user, record.description) == ("usér".encode(), "descriptïon".encode())
    assert record.extension_bytes == txn.extension_bytes
    assert record.extension == {"k": 1}
    assert [(r.oid, r.tid, r.data, r.data_txn) for r in record] == [(oid, tid, b"x", None)]
    [entry] = storage.undoLog(0, 1, lambda entry: entry.get("k") == 1)
    assert entry["id"] == tid
    [entry] = storage.history(oid)
    assert (entry["tid"], entry["user_name"], entry["k"]) == (tid, "usér".encode(), 1)


def test_iteration_is_bounded_by_what_was_committed_before(client):
    storage = client()
    start = storage.lastTransaction()
    tids = [commit(storage, (storage.new_oid(), z64, b"")) for _ in range(250)]
    iterator = storage.iterator(following(start))
    commit(storage)
    assert [record.tid for record in iterator] == tids
    iterator = storage.iterator(tids[10], tids[20])
    assert [record.tid for record in iterator] == tids[10:21]
    log = [entry["id"] for entry in storage.undoLog(1, 8)]
    assert log == tids[:-8:-1]


def test_undo_of_a_creation_that_changed_since(client):
    """Nothing is merged: see defect D-36 of the Python NEO."""
    storage = client()
    oid = storage.new_oid()
    counter = PCounter()
    first = commit(storage, (oid, z64, zodb_pickle(counter)))
    counter.inc()
    commit(storage, (oid, first, zodb_pickle(counter)))
    txn = begin(storage)
    with pytest.raises(UndoError):
        storage.undo(first, txn)
    storage.tpc_abort(txn)


def test_others_see_that_a_creation_was_undone(client):
    storage, other = client(), client()
    oid = storage.new_oid()
    first = commit(storage, (oid, z64, b"x"))
    other.sync()
    assert other.load(oid) == (b"x", first)
    txn = begin(storage)
    assert storage.undo(first, txn) == (None, [oid])
    end(storage, txn)
    other.sync()
    with pytest.raises(POSKeyError):
        other.load(oid)


def test_zodb_over_it(client):
    """Two databases on one cluster see each other's objects, and conflicts are told."""
    first, second = (ZODB.DB(client()) for _ in range(2))
    managers = [transaction.TransactionManager() for _ in range(2)]
    with first.transaction() as connection:
        connection.root.list = []
        connection.root.counter = PCounter()
        connection.root.counter.inc()
    a, b = (db.open(m) for db, m in zip((first, second), managers, strict=True))
    for manager in managers:
        manager.begin()
    a.root.counter.inc()
    b.root.counter.inc()
    managers[0].commit()
    managers[1].commit()
    managers[0].begin()
    assert a.root.counter._value == 3
    for manager in managers:
        manager.begin()
    a.root.list += [1]
    b.root.list += [2]
    managers[0].commit()
    with pytest.raises(ConflictError):
        managers[1].commit()
    managers[1].abort()
    managers[1].begin()
    assert b.root.list == [1]
    first.close()
    second.close()
