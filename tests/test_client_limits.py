"""What is refused before anything is sent."""

from pickle import dumps

import pytest
from neo.client import TransactionMetaData
from neo.client.exception import NEOStorageError
from writing import begin, end
from ZODB.utils import p64, z64


def test_objects_that_are_too_big(client):
    """They are refused at once, and the transaction goes on."""
    storage = client(compress=False, cache_size=1 << 20)
    limit = (64 << 20) - (64 << 10)
    oid = storage.new_oid()
    txn = begin(storage)
    with pytest.raises(NEOStorageError, match=f"too big: {limit + 1} bytes, {limit} at most"):
        storage.store(oid, z64, bytes(limit + 1), "", txn)
    storage.store(oid, z64, bytes(limit), "", txn)
    for wrong in p64(1 << 63), b"\xff" * 8:
        with pytest.raises(NEOStorageError, match="the last one is 7fffffffffffffff"):
            storage.store(wrong, z64, b"x", "", txn)
    tid = end(storage, txn)
    assert storage.load(oid) == (bytes(limit), tid)
    # What counts is what is stored.
    compressed = client(cache_size=0)
    txn = begin(compressed)
    compressed.store(oid, tid, bytes(2 * limit), "", txn)
    tid = end(compressed, txn)
    assert compressed.load(oid) == (bytes(2 * limit), tid)


@pytest.mark.parametrize("field", ["user", "description", "extension_bytes"])
def test_metadata_that_is_too_long(field, client):
    storage = client()
    # A pickle, for those who look at it later.
    overhead = len(dumps({"k": ""}, 3))
    longest = dumps({"k": "x" * (65_535 - overhead)}, 3)
    assert len(longest) == 65_535
    txn = TransactionMetaData()
    setattr(txn, field, longest + b".")
    storage.tpc_begin(txn)
    with pytest.raises(NEOStorageError, match="65535 at most"):
        storage.tpc_vote(txn)
    storage.tpc_abort(txn)
    setattr(txn, field, longest)
    storage.tpc_begin(txn)
    tid = end(storage, txn)
    [record] = storage.iterator(tid, tid)
    assert getattr(record, field) == longest
