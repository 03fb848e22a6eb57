"""Objects that are deleted, as those who have them in memory see it."""

import pytest
from neo.client.exception import NEOStorageCreationUndoneError
from writing import Wrapper, begin, commit, end
from ZODB.POSException import ConflictError, POSKeyError
from ZODB.utils import maxtid, z64


def test_deletion(client):
    storage, other = client(), client()
    oid = storage.new_oid()
    first = commit(storage, (oid, z64, b"x"))
    assert other.load(oid) == (b"x", first)
    txn = begin(storage)
    storage.deleteObject(oid, first, txn)
    deleted = end(storage, txn)
    other.sync()
    for s in storage, other:
        for _ in range(2):
            with pytest.raises(POSKeyError):
                s.load(oid)
            with pytest.raises(NEOStorageCreationUndoneError):
                s.app.load(oid)
            assert s.loadBefore(oid, deleted) == (b"x", first, deleted)
            with pytest.raises(POSKeyError):
                s.loadBefore(oid, maxtid)
            s._cache.clear()


def test_deletion_of_garbage(client):
    """Others need not be told about what nobody reaches: what they have in memory stays."""
    storage, other = client(), client()
    told = Wrapper()
    other.registerDB(told)
    oids = [storage.new_oid() for _ in range(30)]
    first = commit(storage, *((oid, z64, b"x") for oid in oids))
    other.sync()
    assert [other.load(oid) for oid in oids] == [(b"x", first)] * 30
    txn = begin(storage)
    for oid in oids[1:]:
        storage.deleteObject(oid, first, txn, invalidate=False)
    storage.deleteObject(oids[0], first, txn)
    second = end(storage, txn)
    other.sync()
    assert told.told[-1] == (second, [oids[0]])
    assert other.lastTransaction() == second
    with pytest.raises(POSKeyError):
        other.load(oids[0])
    assert [other.load(oid) for oid in oids[1:]] == [(b"x", first)] * 29
    # Nobody gets them from the database, and the process that deleted them knows.
    other._cache.clear()
    for oid in oids:
        for reader in storage, other, client():
            with pytest.raises(POSKeyError):
                reader.load(oid)
            assert reader.loadBefore(oid, second) == (b"x", first, second)
    assert list(storage.app.oids(min_oid=oids[0], max_oid=oids[-1])) == []
    [transaction] = storage.iterator(second)
    assert sorted(record.oid for record in transaction) == oids
    # A conflict is one, as for any deletion.
    txn = begin(other)
    with pytest.raises(ConflictError):
        other.deleteObject(oids[1], first, txn, invalidate=False)
        other.tpc_vote(txn)
    other.tpc_abort(txn)
