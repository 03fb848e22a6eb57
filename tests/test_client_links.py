"""A storage whose master or storage nodes come and go."""

import threading

import pytest
import ZODB
from cluster import Cluster
from neo.client import TransactionMetaData
from neo.client.exception import NEOPrimaryMasterLost, NEOStorageError
from transaction.interfaces import TransientError
from ZODB.POSException import ConflictError, StorageError
from ZODB.utils import maxtid, z64

#: Seconds after which something is taken for stuck. No test waits for it.
PATIENCE = 30


@pytest.fixture
def own(tmp_path):
    """A cluster of two storages that have everything, for one test."""
    with Cluster(tmp_path, storages=2, partitions=4, replicas=1) as cluster:
        cluster.start()
        yield cluster


@pytest.fixture
def storage(own):
    storage = own.open()
    yield storage
    storage.close()


def begin(storage):
    txn = TransactionMetaData()
    storage.tpc_begin(txn)
    return txn


def commit(storage, oid, serial, data):
    txn = begin(storage)
    try:
        storage.store(oid, serial, data, "", txn)
        storage.tpc_vote(txn)
        return storage.tpc_finish(txn)
    except StorageError:
        storage.tpc_abort(txn)
        raise


def test_without_master(own, storage):
    oid = storage.new_oid()
    serial = commit(storage, oid, z64, b"x")
    own.kill("m1")
    # What is in memory goes on.
    assert storage.load(oid) == (b"x", serial)
    assert storage.lastTransaction() == serial
    storage.app.max_reconnection_to_master = 0
    with pytest.raises(NEOPrimaryMasterLost) as raised:
        storage.sync()
    assert isinstance(raised.value, ConflictError)
    with pytest.raises(NEOPrimaryMasterLost):
        storage.tpc_begin(TransactionMetaData())


def test_waiting_for_a_master_may_be_limited(own):
    storage = own.open(wait_timeout=0.2)
    storage.sync()
    txn = begin(storage)
    own.kill("m1")
    for call in storage.sync, lambda: storage.tpc_begin(TransactionMetaData()):
        with pytest.raises(NEOPrimaryMasterLost, match="no primary master after"):
            call()
    with pytest.raises(TransientError):
        storage.tpc_vote(txn)
    storage.tpc_abort(txn)
    own.start_node("m1")
    own.wait_state("RUNNING")
    own.wait_for(lambda: _syncs(storage), "the storage is connected again")
    storage.close()


def _syncs(storage):
    try:
        storage.sync()
    except TransientError:
        return False
    return True


def test_sync_new_oid_and_begin_are_asked_again(own, storage):
    """No error at all is told, whatever the moment at which the master is lost."""
    oid = storage.new_oid()
    serial = commit(storage, oid, z64, b"0")
    stop = threading.Event()
    errors = []

    def work():
        try:
            while not stop.is_set():
                storage.sync()
                txn = begin(storage)
                storage.tpc_abort(txn)
                storage.new_oid()
        except Exception as error:
            errors.append(error)
            raise

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(3):
        own.kill("m1")
        own.start_node("m1")
        own.wait_state("RUNNING")
        storage.sync()
    stop.set()
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive()
    assert not errors
    assert storage.load(oid) == (b"0", serial)


@pytest.mark.parametrize("name", ["sync", "new_oid", "begin", "load"])
def test_calls_wait_for_the_master(name, own, storage):
    oid = storage.new_oid()
    serial = commit(storage, oid, z64, b"x")
    storage._cache.clear()
    own.kill("m1")
    results = []
    calls = {
        "sync": storage.sync,
        "new_oid": lambda: [storage.new_oid() for _ in range(101)],
        "begin": lambda: commit(storage, oid, serial, b"y"),
        "load": lambda: storage.loadBefore(oid, maxtid),
    }

    def call():
        for _ in range(10):
            try:
                results.append(calls[name]())
                return
            except (NEOPrimaryMasterLost, TransientError):
                # What a publisher tries again.
                continue

    thread = threading.Thread(target=call)
    thread.start()
    own.start_node("m1")
    thread.join(PATIENCE)
    assert len(results) == 1
    own.wait_state("RUNNING")
    storage.sync()
    assert storage.load(oid)[0] == (b"y" if name == "begin" else b"x")


def test_many_storages_come_and_go_at_once(own, storage):
    oid = storage.new_oid()
    serial = commit(storage, oid, z64, b"x")
    results = []

    def work():
        other = own.open()
        try:
            other.sync()
            results.append(other.load(oid))
            other.new_oid()
        finally:
            other.close()

    threads = [threading.Thread(target=work) for _ in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert results == [(b"x", serial)] * 64
    assert storage.load(oid) == (b"x", serial)


def test_a_transaction_does_not_survive_its_master(own, storage):
    oid = storage.new_oid()
    txn = begin(storage)
    storage.store(oid, z64, b"x", "", txn)
    # Until the master has answered the begin, another one can be asked.
    storage.sync()
    own.kill("m1")
    own.start_node("m1")
    own.wait_state("RUNNING")
    storage.sync()
    with pytest.raises(NEOStorageError) as raised:
        storage.tpc_vote(txn)
    assert isinstance(raised.value, TransientError)
    storage.tpc_abort(txn)
    commit(storage, oid, z64, b"y")
    assert storage.load(oid)[0] == b"y"


def test_oids_are_not_given_again_after_the_master_restarted(own, storage):
    before = {storage.new_oid() for _ in range(10)}
    last = max(before)
    commit(storage, last, z64, b"")
    own.kill("m1")
    own.start_node("m1")
    own.wait_state("RUNNING")
    storage.sync()
    assert storage.new_oid() > last


def test_a_database_sees_what_happened_while_it_was_away(own, storage):
    db = ZODB.DB(storage)
    connection = db.open()
    with db.transaction() as other:
        other.root.x = 1
    connection.sync()
    assert connection.root.x == 1
    own.kill("m1")
    own.start_node("m1")
    own.wait_state("RUNNING")
    second = ZODB.DB(own.open())
    with second.transaction() as other:
        other.root.x = 2
    connection.sync()
    assert connection.root.x == 2
    second.close()
    db.close()


@pytest.mark.parametrize("name", ["s1", "s2"])
def test_a_storage_that_dies_is_replaced_by_its_replica(name, own, storage):
    oids = [storage.new_oid() for _ in range(20)]
    serials = {oid: commit(storage, oid, z64, b"1") for oid in oids}
    txn = begin(storage)
    for oid in oids[:5]:
        storage.store(oid, serials[oid], b"2", "", txn)
    own.kill(name)
    for oid in oids[5:10]:
        storage.store(oid, serials[oid], b"2", "", txn)
    storage.tpc_vote(txn)
    tid = storage.tpc_finish(txn)
    storage._cache.clear()
    for i, oid in enumerate(oids):
        expected = (b"2", tid) if i < 10 else (b"1", serials[oid])
        assert storage.load(oid) == expected
    commit(storage, oids[0], tid, b"3")
    assert own.state == "RUNNING"
