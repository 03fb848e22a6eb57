"""`Storage.app`: what tools and applications use besides the API of ZODB."""

import pytest
from neo.client import TransactionMetaData
from neo.client.exception import NEOStorageNotFoundError
from ZODB.POSException import POSKeyError
from ZODB.utils import maxtid, p64, z64

#: Transactions that are committed for the module: more than a page.
COUNT = 130


@pytest.fixture(scope="module")
def written(cluster):
    """A storage, an object, and its serials."""
    storage = cluster.open()
    oid = storage.new_oid()
    serials = [z64]
    for number in range(COUNT):
        txn = TransactionMetaData("user", f"number {number}", {"number": number})
        storage.tpc_begin(txn)
        storage.store(oid, serials[-1], b"%d" % number, "", txn)
        storage.tpc_vote(txn)
        serials.append(storage.tpc_finish(txn))
    yield storage, oid, serials[1:]
    storage.close()


def test_transaction_log(written):
    storage, oid, serials = written
    last, entries = storage.app.transactionLog(serials[1], serials[-2], COUNT)
    assert last == serials[-2]
    assert [entry["id"] for entry in entries] == serials[1:-1]
    assert entries[1] == {
        "time": entries[1]["time"],
        "user_name": b"user",
        "description": b"number 2",
        "id": serials[2],
        "oids": [oid],
        "packed": False,
        "ext": {"number": 2},
    }
    # Page by page.
    last, entries = storage.app.transactionLog(z64, maxtid, 3)
    assert [entry["id"] for entry in entries] == serials[:3] and last == serials[2]
    assert storage.app.transactionLog(p64(1), p64(2), 3) == (None, [])
    assert storage.app.transactionLog(z64, maxtid, 0) == (None, [])


def test_the_same_as_the_storage(written):
    storage, oid, serials = written
    app = storage.app
    assert [t.tid for t in app.iterator()] == serials
    assert [t.tid for t in app.iterator(serials[3], serials[5])] == serials[3:6]
    assert app.undoLog(2, 5) == storage.undoLog(2, 5) != []
    assert app.history(oid, 4) == storage.history(oid, 4) != []
    assert app.getLastTID(oid) == storage.getTid(oid) == serials[-1]
    assert app.getObjectCount() == len(storage)
    assert app.last_tid == storage.lastTransaction()
    assert app.load(oid) == (b"129", serials[-1], None)
    assert app.load(oid, serials[0]) == app.load(oid, before_tid=serials[1])
    assert list(app.oids()) == [oid]


def test_exceptions_of_neo(written):
    app, oid = written[0].app, written[1]
    with pytest.raises(NEOStorageNotFoundError):
        app.load(oid, p64(1))
    with pytest.raises(NEOStorageNotFoundError) as raised:
        app.getLastTID(p64(1 << 40))
    assert not isinstance(raised.value, POSKeyError)


def test_who_it_is(written, cluster):
    app = written[0].app
    assert app.name == app.poll_thread.name == "test"
    assert not app.ssl and app.ssl_credentials == (None, None, None)
    addresses = [master.getAddress() for master in app.nm.getMasterList()]
    assert [f"{host}:{port}" for host, port in addresses] == cluster.masters
    assert app.uuid < 0
    assert (app.pt.getPartitions(), app.pt.getReplicas()) == (12, 0)
