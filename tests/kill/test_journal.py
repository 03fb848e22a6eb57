"""The judge of the kill tests sees what it is there for."""

import pytest
from journal import END, Journal, counted, judge, missing, read, stamped
from ZODB.Connection import TransactionMetaData
from ZODB.MappingStorage import MappingStorage
from ZODB.utils import p64, z64


class Client:
    """A client of a storage that never fails, and that may lie to its journal."""

    def __init__(self, folder):
        self.storage = MappingStorage()
        self.path = folder / "client.journal"
        self.journal = Journal(self.path)
        self.counter = p64(0)
        self.count = 0
        self.write(0, [], kind="failed")
        self.commit([(self.counter, z64, counted(0))])

    def commit(self, records):
        txn = TransactionMetaData()
        self.storage.tpc_begin(txn)
        for oid, base, data in records:
            self.storage.store(oid, base, data, "", txn)
        self.storage.tpc_vote(txn)
        return self.storage.tpc_finish(txn)

    def write(self, number, oids, *, stored=None, kind="ack", counter=False, tid=None):
        """Journals a transaction of `oids`, of which `stored` are stored."""
        names = [p64(oid).hex() for oid in oids]
        self.journal.write("begin", number, oids=names, counter=counter)
        records = []
        for oid in map(p64, oids if stored is None else stored):
            base = next((tid for tid, _ in self.revisions(oid)), z64)
            records.append((oid, base, stamped("client", number, oid, base)))
        if records:
            done = self.commit(records)
            tid = tid or done
        if kind != "none":
            self.journal.write(kind, number, **({"tid": tid.hex()} if kind == "ack" else {}))
        return tid

    def revisions(self, oid):
        found = self.storage._data.get(oid)
        return [(tid, found[tid]) for tid in reversed(found.keys())] if found else []

    def judge(self):
        transactions, wrong = read(self.path)
        return wrong + judge(self.storage, transactions, self.counter)[0]


@pytest.fixture
def client(tmp_path):
    client = Client(tmp_path)
    client.write(1, [1, 2])
    client.write(2, [2, 3])
    client.write(3, [1, 4], kind="none")
    client.write(4, [1], kind="unknown", stored=[])
    assert client.judge() == []
    return client


def test_nothing_is_wrong(client):
    transactions, _ = read(client.path)
    assert [x.outcome for x in transactions] == ["failed", "ack", "ack", "unknown", "unknown"]
    assert list(missing(client.storage, transactions)) == []
    assert judge(client.storage, transactions, client.counter)[1] == {
        "ack": 2,
        "failed": 1,
        "unknown, True": 1,
        "unknown, False": 1,
    }


def test_an_acknowledged_transaction_is_lost(client):
    client.write(5, [1, 2], stored=[], tid=p64(2**60))
    assert any("client 5 (ack) is at []" in text for text in client.judge())
    assert len(list(missing(client.storage, read(client.path)[0]))) == 2


def test_a_transaction_is_half_there(client):
    client.write(5, [1, 2], stored=[2], kind="unknown")
    assert client.judge() == ["client 5 (unknown) is half there: 1 of 2 objects"]


def test_a_transaction_is_not_counted(client):
    client.write(5, [1], counter=True)
    assert client.judge() == ["client 5 (ack) is half there: it is not counted"]


def test_a_failed_transaction_is_there(client):
    client.write(5, [1], kind="failed")
    assert client.judge() == ["client 5 (failed) is there"]


def test_another_tid_was_acknowledged(client):
    client.write(5, [1], tid=p64(2**62))
    assert any("not at 4000000000000000" in text for text in client.judge())


def test_an_update_is_lost(client):
    tid = next(tid for tid, _ in client.revisions(p64(1)))
    client.storage._data[p64(1)].pop(tid)
    client.write(6, [5])
    assert any("client 3 (unknown) is half there" in text for text in client.judge())


def test_a_revision_hides_another(client):
    data = stamped("client", 5, p64(1), z64)
    client.journal.write("begin", 5, oids=[p64(1).hex()], counter=False)
    client.storage._data[p64(1)][END[:-1] + b"\0"] = data
    assert any("hides" in text for text in client.judge())


def test_the_counter_forgot(client):
    txn = TransactionMetaData()
    client.storage.tpc_begin(txn)
    base = client.revisions(client.counter)[0][0]
    client.storage.store(client.counter, base, counted(0), "", txn)
    client.storage.tpc_vote(txn)
    client.storage.tpc_finish(txn)
    assert client.judge() == ["the counter says 0 after 1 changes"]


def test_clients_find_things_too(client):
    client.journal.write("wrong", 5, text="gone")
    assert client.judge() == ["client: gone"]


def test_a_line_cut_short_is_no_outcome(client):
    with open(client.path, "a") as file:
        file.write('{"kind": "ack", "num')
    assert client.judge() == []
