"""Undo, beyond what ZODB's own suites ask: conflicts, chains, several in one transaction."""

from base64 import encodebytes

import pytest
from neo.client.exception import NEOStorageNotFoundError, NEOUndoPackError
from writing import begin, end
from ZODB.POSException import ConflictError, POSKeyError, UndoError
from ZODB.tests.ConflictResolution import PCounter
from ZODB.tests.StorageTestBase import zodb_pickle, zodb_unpickle
from ZODB.utils import maxtid, p64, u64, z64


class Counter(PCounter):
    """With something beside: records can be as big as wanted."""

    def __init__(self, value=0, big=b""):
        self._value = value
        self.big = big

    def _p_resolveConflict(self, old, committed, new):
        merged = PCounter._p_resolveConflict(self, old, committed, new)
        merged["big"] = max((state["big"] for state in (old, committed, new)), key=len)
        return merged


def commit(storage, oid, serial, value, big=b""):
    txn = begin(storage)
    storage.store(oid, serial, zodb_pickle(Counter(value, big)), "", txn)
    return end(storage, txn)


def undo(storage, *tids):
    """Undoes all in one transaction."""
    txn = begin(storage)
    try:
        for tid in tids:
            storage.undo(tid, txn)
        return end(storage, txn)
    finally:
        storage.tpc_abort(txn)


def value(storage, oid):
    return zodb_unpickle(storage.loadBefore(oid, maxtid)[0])._value


@pytest.fixture
def counter(client):
    """A storage, an object and its serials: 0, 1, 4, 9."""
    storage = client()
    oid = storage.new_oid()
    serials = [z64]
    for number in 0, 1, 4, 9:
        serials.append(commit(storage, oid, serials[-1], number))
    return storage, oid, serials[1:]


def test_ids_are_tids_or_base64(counter):
    storage, oid, serials = counter
    undo(storage, serials[3])
    assert value(storage, oid) == 4
    undo(storage, encodebytes(serials[2]).rstrip())
    assert value(storage, oid) == 1


def test_a_chain(counter):
    """Undo, undo of the undo, and so on; then an earlier one."""
    storage, oid, serials = counter
    tid = serials[3]
    for number in 4, 9, 4, 9, 4:
        tid = undo(storage, tid)
        assert value(storage, oid) == number
    undo(storage, serials[2])
    assert value(storage, oid) == 1
    # The data is that of an older record.
    [record] = next(storage.iterator(tid, tid))
    assert serials[2] <= record.data_txn < tid
    assert storage.loadSerial(oid, record.data_txn) == record.data


def test_conflicts_are_resolved(counter):
    storage, oid, serials = counter
    undo(storage, serials[1])
    assert value(storage, oid) == 8
    assert [entry["serial"] for entry in storage.history(oid, 10)][1:] == serials[::-1]


def test_several_with_conflicts_in_one_transaction(client):
    """And their records are as big as what is kept of a transaction."""
    storage = client(cache_size=10_000)
    oid = storage.new_oid()
    serials = [z64]
    for number in 0, 1, 4, 9:
        serials.append(commit(storage, oid, serials[-1], number, b"x" * 12_000))
    undo(storage, serials[2], serials[3])
    assert value(storage, oid) == 5
    assert len(zodb_unpickle(storage.loadBefore(oid, maxtid)[0]).big) == 12_000


@pytest.mark.parametrize("big", ["kept by storages", "spilled by storages"])
def test_a_conflict_with_what_was_too_big_to_be_kept(big, client):
    """The transaction itself stored it, and only storages have it."""
    storage = client(cache_size=10_000, compress=False)
    oid, other = storage.new_oid(), storage.new_oid()
    first = commit(storage, oid, z64, 0)
    second = commit(storage, oid, first, 1)
    third = commit(storage, oid, second, 4)
    # A storage keeps 64 MB of what is not voted.
    length = 12_000 if big == "kept by storages" else 30_000_000
    txn = begin(storage)
    for number in range(1 if big == "kept by storages" else 3):
        filling = p64(u64(other) + number) if number else other
        storage.store(filling, z64, zodb_pickle(Counter(0, b"y" * length)), "", txn)
    storage.store(oid, third, zodb_pickle(Counter(20, b"x" * length)), "", txn)
    assert storage.undo(second, txn) == (None, [oid])
    assert storage.undo(third, txn) == (None, [oid])
    end(storage, txn)
    state = zodb_unpickle(storage.loadBefore(oid, maxtid)[0])
    assert (state._value, len(state.big)) == (16, length)


def test_undo_conflict_small_cache(client):
    """Two increments are undone while another one is committed, and records are as big as the
    cache."""
    storage, other = client(cache_size=10_000), client()
    oid = storage.new_oid()
    serials = [z64]
    for number in 0, 1, 4:
        serials.append(commit(storage, oid, serials[-1], number, b"x" * 10_000))
    txn = begin(storage)
    commit(other, oid, serials[-1], 9, b"x" * 10_000)
    storage.undo(serials[3], txn)
    storage.undo(serials[2], txn)
    end(storage, txn)
    state = zodb_unpickle(storage.loadBefore(oid, maxtid)[0])
    assert (state._value, len(state.big)) == (5, 10_000)


def test_what_is_packed_meanwhile(client):
    """Between the question where the data is, and the question for the data."""
    storage, other = client(), client()
    oid = storage.new_oid()
    first = commit(storage, oid, z64, 0)
    second = commit(storage, oid, first, 1)

    class Spy:
        def __getattr__(self, name):
            return getattr(storage._client, name)

        def undo_serials(self, *args):
            serials = storage._client.undo_serials(*args)
            other.app.pack(second, [oid])
            return serials

    storage.app.client = Spy()
    txn = begin(storage)
    with pytest.raises(NEOUndoPackError):
        storage.undo(second, txn)
    storage.tpc_abort(txn)
    assert value(other, oid) == 1


def test_several_newest_first(counter):
    storage, oid, serials = counter
    tid = undo(storage, *serials[:0:-1])
    assert value(storage, oid) == 0
    assert [record.data_txn for record in next(storage.iterator(tid, tid))] == [serials[0]]


def test_after_a_store_of_the_same_transaction(counter):
    storage, oid, serials = counter
    txn = begin(storage)
    storage.store(oid, serials[3], zodb_pickle(Counter(20)), "", txn)
    assert storage.undo(serials[1], txn) == (None, [oid])
    end(storage, txn)
    assert value(storage, oid) == 19


@pytest.mark.parametrize("when", ["before", "after"])
def test_somebody_commits_meanwhile(when, counter, client):
    """Whether the undo notices it when it asks, or when it stores."""
    storage, oid, serials = counter
    other = client()
    txn = begin(storage)
    if when == "before":
        commit(other, oid, serials[3], 14)
    else:
        stored = storage._client.undo_serials

        def meanwhile(*args):
            commit(other, oid, serials[3], 14)
            return stored(*args)

        class Spy:
            def __getattr__(self, name):
                return meanwhile if name == "undo_serials" else getattr(storage._client, name)

        storage.app.client = Spy()
    storage.undo(serials[3], txn)
    storage.app.client = storage._client
    end(storage, txn)
    assert value(storage, oid) == 9


def test_what_can_not_be_merged(client):
    storage = client()
    oid = storage.new_oid()
    first = commit(storage, oid, z64, 0)
    txn = begin(storage)
    storage.store(oid, first, b"no pickle", "", txn)
    second = end(storage, txn)
    third = commit(storage, oid, second, 1)
    with pytest.raises(UndoError) as raised:
        undo(storage, second)
    assert raised.value._oid == oid
    # Nothing is left of that: not even locks.
    commit(storage, oid, third, 2)
    assert value(storage, oid) == 2


def test_creations(counter):
    """Undone, created again by an undo of that, and changed since."""
    storage, oid, serials = counter
    with pytest.raises(UndoError):
        undo(storage, serials[0])
    assert value(storage, oid) == 9
    new = storage.new_oid()
    first = commit(storage, new, z64, 3)
    undone = undo(storage, first)
    with pytest.raises(POSKeyError):
        storage.load(new)
    assert undo(storage, undone) == storage.lastTransaction()
    assert value(storage, new) == 3
    assert [entry["size"] > 0 for entry in storage.history(new, 10)] == [True, False, True]


def test_a_creation_that_somebody_changes_meanwhile(counter, client):
    storage, other = counter[0], client()
    oid = storage.new_oid()
    first = commit(storage, oid, z64, 0)
    txn = begin(storage)
    storage.undo(first, txn)
    storage.tpc_abort(txn)
    txn = begin(other)
    storage.sync()
    commit(storage, oid, first, 1)
    with pytest.raises((ConflictError, UndoError)):
        other.undo(first, txn)
        other.tpc_vote(txn)
    other.tpc_abort(txn)
    assert value(storage, oid) == 1


def test_unknown_transactions(client):
    storage = client()
    txn = begin(storage)
    with pytest.raises(UndoError) as raised:
        storage.undo(p64(1), txn)
    assert isinstance(raised.value, NEOStorageNotFoundError)
    for nonsense in b"", b"abc", b"AAAA", b"\xff" * 11:
        with pytest.raises(UndoError, match="not a transaction"):
            storage.undo(nonsense, txn)
    storage.tpc_abort(txn)


def test_many_objects_in_all_partitions(client):
    storage = client()
    oids = [storage.new_oid() for _ in range(50)]
    tids = []
    for number in range(2):
        txn = begin(storage)
        for oid in oids:
            serial = tids[-1] if tids else z64
            storage.store(oid, serial, b"%d %s" % (number, oid), "", txn)
        tids.append(end(storage, txn))
    txn = begin(storage)
    assert storage.undo(tids[1], txn) == (None, oids)
    tid = end(storage, txn)
    [record] = storage.iterator(tid, tid)
    assert [(r.oid, r.data, r.data_txn) for r in record] == [
        (oid, b"0 %s" % oid, tids[0]) for oid in oids
    ]
