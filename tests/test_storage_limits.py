"""What a database can not hold: the transaction fails with a reason, and nothing else happens."""

import pytest
from cluster import Cluster
from ZODB.Connection import TransactionMetaData
from ZODB.utils import p64, z64


@pytest.fixture
def cluster(tmp_path):
    with Cluster(tmp_path / "limits", storages=1, partitions=3) as cluster:
        cluster.start()
        yield cluster


def commit(storage, oid, serial=z64, **metadata):
    transaction = TransactionMetaData(**metadata)
    storage.tpc_begin(transaction)
    try:
        storage.store(oid, serial, b"data", "", transaction)
        storage.tpc_vote(transaction)
        return storage.tpc_finish(transaction)
    finally:
        storage.tpc_abort(transaction)


def count(storage):
    return len(list(storage.iterator()))


def test_the_greatest_oid(cluster, client):
    storage = client()
    greatest = p64((1 << 63) - 1)
    tid = commit(storage, greatest)
    assert storage.load(greatest) == (b"data", tid)
    before = count(storage)
    with pytest.raises(Exception, match="8000000000000000 is too big: the last one is 7fff"):
        commit(storage, p64(1 << 63))
    with pytest.raises(KeyError):
        storage.load(p64(1 << 63))
    assert count(storage) == before
    commit(storage, greatest, tid)
    assert cluster["s1"].is_running


@pytest.mark.parametrize("field", ["user", "description", "extension"])
def test_the_longest_metadata(cluster, client, field):
    def value(length):
        # A pickle of a dictionary is longer than what is in it.
        return {"x": "x" * (length - 22)} if field == "extension" else "x" * length

    storage = client()
    oid = storage.new_oid()
    tid = commit(storage, oid, **{field: value(65535)})
    before = count(storage)
    with pytest.raises(Exception, match="too long: 65536 bytes, 65535 at most"):
        commit(storage, oid, tid, **{field: value(65536)})
    assert count(storage) == before
    assert storage.load(oid) == (b"data", tid)
    commit(storage, oid, tid)
    assert cluster["s1"].is_running


def test_the_greatest_number_of_partitions(tmp_path):
    with Cluster(tmp_path / "cluster", storages=1, partitions=32769) as cluster:
        cluster.start(wait=None)
        node = cluster["s1"]
        cluster.wait_for(lambda: "32769 partitions" in node.tail(), "it says why")
        assert "the limit of the database is 32768" in node.tail()
        assert node.is_running
        cluster.erase()
    with Cluster(tmp_path / "cluster", storages=1, partitions=32768) as cluster:
        cluster.start()
        storage = cluster.open()
        oid = p64(32767)
        tid = commit(storage, oid)
        assert storage.load(oid) == (b"data", tid)
        storage.close()
        cluster.stop()
        cluster.start()
        storage = cluster.open()
        assert storage.load(oid) == (b"data", tid)
        storage.close()
