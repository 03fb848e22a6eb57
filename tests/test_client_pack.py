"""Packs, as an application asks for them."""

import threading
import time

import pytest
from cluster import Cluster
from neo.client import TransactionMetaData
from neo.client.app import TXN_PACK_DESC
from neo.client.exception import NEOStorageError
from writing import begin, end
from ZODB.POSException import POSKeyError, UndoError
from ZODB.utils import maxtid, p64, u64, z64

#: Seconds after which something is taken for stuck. No test waits for it.
PATIENCE = 30


@pytest.fixture
def own(tmp_path):
    """A cluster for one test: a pack is for all objects."""
    with Cluster(tmp_path, storages=2, partitions=12, replicas=1) as cluster:
        cluster.start()
        yield cluster


@pytest.fixture
def storage(own):
    storage = own.open()
    yield storage
    storage.close()


def fill(storage, objects=30, revisions=4):
    """Objects, with their serials."""
    oids = [storage.new_oid() for _ in range(objects)]
    tids = [z64]
    for number in range(revisions):
        txn = begin(storage)
        for oid in oids:
            storage.store(oid, tids[-1], b"%d" % number, "", txn)
        tids.append(end(storage, txn))
    return oids, tids[1:]


def revisions(storage, oid):
    """Serials from the oldest one, of what can still be loaded."""
    found = []
    tid = maxtid
    while record := storage.loadBefore(oid, tid):
        tid = record[1]
        assert storage.loadSerial(oid, tid) == record[0]
        found.insert(0, tid)
    return found


def test_old_revisions_are_forgotten(storage):
    oids, tids = fill(storage)
    for oid in oids:
        assert revisions(storage, oid) == tids
    storage.app.pack(tids[2])
    for oid in oids:
        assert revisions(storage, oid) == tids[2:]
        with pytest.raises(POSKeyError):
            storage.loadSerial(oid, tids[1])
    # Transactions stay, without their records.
    records = [len(list(txn)) for txn in storage.iterator()]
    assert records == [0, 0, len(oids), len(oids), 0]
    # Twice, or earlier, changes nothing.
    storage.app.pack(tids[2])
    storage.app.pack(tids[0])
    for oid in oids:
        assert revisions(storage, oid) == tids[2:]
    storage.pack()
    for oid in oids:
        assert revisions(storage, oid) == tids[3:]


def test_some_objects_only(storage):
    oids, tids = fill(storage)
    storage.app.pack(tids[2], oids[::2])
    for i, oid in enumerate(oids):
        assert revisions(storage, oid) == (tids[2:] if i % 2 == 0 else tids)
    storage.pack(oids=oids[1::4])
    for i, oid in enumerate(oids):
        assert len(revisions(storage, oid)) == {0: 2, 1: 1, 2: 2, 3: 4}[i % 4]


def test_no_object_is_not_all_objects(storage):
    oids, tids = fill(storage)
    last = storage.lastTransaction()
    storage.app.pack(tids[2], [])
    storage.pack(oids=iter(()))
    assert storage.lastTransaction() == last
    txn = begin(storage)
    storage.app.setPackOrder(txn, last, [])
    storage.app.client.wait_for_pack(end(storage, txn))
    for oid in oids:
        assert revisions(storage, oid) == tids


def test_deleted_objects(storage):
    """What an external garbage collector does: deletions and a pack in one transaction."""
    oids, tids = fill(storage, 5)
    txn = begin(storage)
    for oid in oids[:2]:
        storage.deleteObject(oid, tids[-1], txn)
    deleted = end(storage, txn)
    assert storage.loadBefore(oids[0], deleted)[1] == tids[-1]
    txn = begin(storage)
    for oid in oids[2:4]:
        storage.deleteObject(oid, tids[-1], txn)
    storage.app.setPackOrder(txn, deleted)
    storage.app.client.wait_for_pack(end(storage, txn))
    storage._cache.clear()
    for oid in oids[:2]:
        for tid in deleted, maxtid:
            with pytest.raises(POSKeyError):
                storage.loadBefore(oid, tid)
    for oid in oids[2:4]:
        with pytest.raises(POSKeyError):
            storage.load(oid)
        assert storage.loadSerial(oid, tids[-1]) == b"3"
    assert storage.load(oids[4]) == (b"3", tids[-1])
    assert list(storage.app.oids()) == oids[4:]


def test_arguments(own, storage, caplog):
    oids, tids = fill(storage, 2)
    now = time.time()
    storage.pack(now, days=1)
    storage.pack(now - 86400)
    assert revisions(storage, oids[0]) == tids
    with pytest.raises(NEOStorageError, match="garbage"):
        storage.pack(now, gc=True)
    # Those of ZODB's wrappers, and of ZEO.
    storage.pack(now - 86400, lambda: None, False)
    storage.pack(now - 86400, None, True, 1)
    assert revisions(storage, oids[0]) == tids
    assert any("referencesf" in record.message for record in caplog.records)
    orders = [txn for txn in storage.iterator() if txn.description == TXN_PACK_DESC]
    assert len(orders) == 4
    assert not any(txn.oid_list for txn in orders)
    # Without waiting, it is done some day.
    storage.pack(wait=False)
    own.wait_for(lambda: len(_uncached(storage, oids[0])) == 1, "the storages packed")
    # One that does not wait by default.
    other = own.open(pack_wait=False)
    other.pack()
    other.close()


def _uncached(storage, oid):
    storage._cache.clear()
    return revisions(storage, oid)


def test_what_was_packed_can_not_be_undone(storage):
    """Above all, that is not the undo of a creation: the object would be lost."""
    oids, tids = fill(storage)
    storage.app.pack(tids[2])
    for tid in tids[:3]:
        txn = begin(storage)
        if tid == tids[2]:
            with pytest.raises(UndoError):
                storage.undo(tid, txn)
            storage.tpc_abort(txn)
        else:
            # Nothing of it is there any more.
            assert storage.undo(tid, txn) == (None, [])
            end(storage, txn)
    txn = begin(storage)
    storage.undo(tids[3], txn)
    end(storage, txn)
    for oid in oids:
        assert storage.loadBefore(oid, maxtid)[0] == b"2"


def test_a_pack_in_the_middle_of_an_undo(storage):
    oids, tids = fill(storage, 3)
    ask = storage._client.undo_serials

    def meanwhile(*args):
        serials = ask(*args)
        storage.app.pack(tids[-1])
        return serials

    class Spy:
        def __getattr__(self, name):
            return meanwhile if name == "undo_serials" else getattr(storage._client, name)

    txn = begin(storage)
    storage.app.client = Spy()
    with pytest.raises((UndoError, NEOStorageError)):
        storage.undo(tids[-1], txn)
        storage.tpc_vote(txn)
    storage.app.client = storage._client
    storage.tpc_abort(txn)
    for oid in oids:
        assert storage.load(oid) == (b"3", tids[-1])


def test_the_master_restarts_while_one_waits(own, storage):
    oids, tids = fill(storage)
    client = storage.app.client
    waits = threading.Event()

    class Spy:
        def __getattr__(self, name):
            return getattr(client, name)

        def wait_for_pack(self, tid):
            own.kill("m1")
            waits.set()
            client.wait_for_pack(tid)

    storage.app.client = Spy()
    thread = threading.Thread(target=storage.pack)
    thread.start()
    assert waits.wait(PATIENCE)
    own.start_node("m1")
    thread.join(PATIENCE)
    assert not thread.is_alive()
    storage.app.client = client
    for oid in oids:
        assert revisions(storage, oid) == tids[-1:]


def test_an_order_that_the_master_would_refuse(client):
    """It ends the link of who asks for that, and with it all transactions of the process."""
    storage = client()
    storage.sync()
    connected = storage.app.uuid
    assert connected
    txn = TransactionMetaData()
    storage.tpc_begin(txn)
    for tid in z64, p64(u64(storage.lastTransaction()) + 1), maxtid:
        with pytest.raises(NEOStorageError, match="can not pack"):
            storage.app.setPackOrder(txn, tid)
        # There is nothing to pack.
        storage.app.setPackOrder(txn, tid, [])
    storage.tpc_vote(txn)
    storage.tpc_finish(txn)
    assert storage.app.uuid == connected
