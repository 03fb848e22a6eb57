"""Databases of the Python NEO, served by a cluster: what clients read, and what is left of them."""

import gzip
import hashlib
import json
import sqlite3
from functools import cache
from pathlib import Path

import pytest
from cluster import Cluster
from ZODB.Connection import TransactionMetaData
from ZODB.POSException import POSKeyError

FOLDER = Path(__file__).parent / "data" / "fixtures"

#: Tables that the Python NEO does not have.
OURS = {"neo_identity", "neo_packs", "neo_spilled"}


@cache
def expected():
    with gzip.open(FOLDER / "expected.json.gz") as file:
        return json.load(file)


@pytest.fixture
def serve(tmp_path):
    """Function that makes a cluster of a folder: its database, and the cluster."""
    clusters = []

    def serve(folder, *args):
        for path in (FOLDER / folder).iterdir():
            (tmp_path / path.stem).write_bytes(gzip.decompress(path.read_bytes()))
        entry = expected()[folder]
        clusters.append(
            Cluster(
                tmp_path / "nodes",
                name=entry["cluster"],
                partitions=entry["partitions"],
                databases=[tmp_path / "s1.sqlite"],
                master_args=args,
            )
        )
        return clusters[-1].databases[0], clusters[-1]

    yield serve
    for cluster in clusters:
        cluster.close()


def tables(path):
    """All rows of all tables."""
    database = sqlite3.connect(path)
    names = "SELECT name FROM sqlite_master WHERE type = 'table'"
    found = {
        name: sorted(database.execute(f"SELECT * FROM {name}"), key=repr)
        for (name,) in database.execute(names)
    }
    database.close()
    return found


def check_transaction(storage, found, wanted):
    """A transaction that the iterator gave."""
    assert found.tid.hex() == wanted["tid"]
    assert found.user.hex() == wanted["user_hex"]
    assert found.description.hex() == wanted["description_hex"]
    assert found.extension_bytes.hex() == wanted["extension_hex"]
    assert found.status == ("p" if wanted["packed"] else " ")
    assert [oid.hex() for oid in found.oid_list] == wanted["oids"]
    records = {record.oid.hex(): record for record in found}
    for record in wanted["records"]:
        if "record" in record:
            assert record["oid"] not in records
            continue
        got = records.pop(record["oid"])
        value_tid = got.data_txn and got.data_txn.hex()
        assert value_tid == record["value_tid"]
        if "deleted" in record:
            assert got.data is None
            with pytest.raises(POSKeyError):
                storage.loadSerial(got.oid, got.tid)
        else:
            assert storage.loadSerial(got.oid, got.tid) == got.data
            assert (len(got.data), sha1(got.data)) == (record["size"], record["sha1"])
    assert not records


def sha1(data):
    return hashlib.sha1(data).hexdigest()


def check_contents(cluster, transactions):
    """What a client reads is what was written."""
    storage = cluster.open()
    found = list(storage.iterator())
    assert len(found) == len(transactions)
    revisions = {}
    for transaction, wanted in zip(found, transactions, strict=True):
        check_transaction(storage, transaction, wanted)
        for record in wanted["records"]:
            if "record" not in record:
                revisions.setdefault(record["oid"], []).append((wanted["tid"], record))
    assert storage.lastTransaction().hex() == transactions[-1]["tid"]
    exist = set()
    for oid, all_of_it in revisions.items():
        oid = bytes.fromhex(oid)
        assert [x["tid"].hex() for x in storage.history(oid, len(all_of_it) + 1)] == [
            tid for tid, _ in reversed(all_of_it)
        ]
        tid, last = all_of_it[-1]
        if "deleted" in last:
            with pytest.raises(POSKeyError):
                storage.load(oid)
        else:
            exist.add(oid)
            data, serial = storage.load(oid)
            assert (sha1(data), serial.hex()) == (last["sha1"], tid)
    assert set(storage.app.oids(storage.lastTransaction())) == exist
    storage.close()


@pytest.mark.parametrize("folder", ["sqlite-1node", "sqlite-1node-dedup"])
def test_it_is_read_and_left_as_it_was(serve, folder):
    path, cluster = serve(folder)
    before = tables(path)
    for _ in range(2):
        cluster.start()
        check_contents(cluster, expected()[folder]["transactions"])
        cluster.stop()
    after = tables(path)
    assert after.keys() - before.keys() == OURS
    assert {name: after[name] for name in before} == before
    assert all(after[name] == [] for name in OURS)


def test_what_was_committed_when_it_was_killed_is_there(serve):
    path, cluster = serve("sqlite-killed")
    entry = expected()["sqlite-killed"]
    cluster.start()
    committed = entry["after_recovery"]["records"]
    transactions = [*expected()[entry["base"]]["transactions"], committed]
    check_contents(cluster, transactions)
    cluster.kill()
    cluster.start()
    check_contents(cluster, transactions)
    cluster.stop()

    after = tables(path)
    assert after["ttrans"] == after["tobj"] == []
    tids = {row[1] for row in after["trans"]}
    assert tids == {int(transaction["tid"], 16) for transaction in transactions}
    referred = {row[3] for row in after["obj"]}
    orphans = [row for row in after["data"] if row[0] not in referred]
    assert len(orphans) == entry["after_recovery"]["orphan_data_rows_left_by_reference"]


def test_packs_that_were_blocked_for_ever_are_done_again(serve):
    path, cluster = serve("stale-pack-order")
    before = tables(path)
    cluster.start()
    storage = cluster.open()
    oid = bytes(7) + b"\1"
    revisions = storage.history(oid, 9)
    assert len(revisions) == len(before["obj"]) > 1
    storage.app.pack(storage.lastTransaction())
    assert storage.history(oid, 9) == revisions[:1]
    (order,) = {row[3] for row in tables_of_cells(path)}
    storage.close()
    cluster.stop()

    after = tables(path)
    tids = {row[1] for row in before["trans"]}
    stale = {row[0] for row in before["pack"]} - tids
    assert len(stale) == 1
    signatures = {row[0]: row[1] for row in after["pack"]}
    rejected = {row[0] for row in before["pack"]} - stale
    assert signatures == {order: 1, **dict.fromkeys(rejected, 0)}
    assert {row[1] for row in after["trans"]} == {*tids, order}


def tables_of_cells(path):
    database = sqlite3.connect(path)
    rows = database.execute("SELECT * FROM pt").fetchall()
    database.close()
    return rows


def test_it_goes_on_being_written(serve):
    path, cluster = serve("sqlite-1node", "--partitions", "7")
    cluster.expects("the option --partitions 7 has no effect")
    cluster.start()
    # The database wins.
    warning = [line for line in cluster["m1"].log.read_text().splitlines() if "WARN" in line]
    assert any("12" in line and "7" in line for line in warning), cluster.logs()
    storage = cluster.open()
    assert storage.app.pt.getPartitions() == 12
    transaction = TransactionMetaData()
    storage.tpc_begin(transaction)
    oid = storage.new_oid()
    storage.store(oid, bytes(8), b"new", "", transaction)
    storage.tpc_vote(transaction)
    tid = storage.tpc_finish(transaction)
    assert oid.hex() > expected()["sqlite-1node"]["nodes"][0]["last_oid"]
    storage.app.pack(tid)
    storage.close()
    cluster.stop()
    cluster.start()
    storage = cluster.open()
    assert storage.load(oid) == (b"new", tid)
    storage.close()
    cluster.stop()
    referred = {row[3] for row in tables(path)["obj"]}
    assert {row[0] for row in tables(path)["data"]} == referred
