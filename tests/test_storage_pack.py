"""Packs executed by storages, as clients and the operator see it."""

import sqlite3

import pytest
from cluster import Cluster
from ZODB.Connection import TransactionMetaData
from ZODB.POSException import POSKeyError, UndoError
from ZODB.utils import p64, u64, z64

#: More than one slice of a pack, in each of three partitions.
OBJECTS = 1200


@pytest.fixture
def cluster(tmp_path):
    with Cluster(tmp_path / "cluster", storages=2, partitions=3, replicas=1) as cluster:
        yield cluster


def commit(storage, *actions):
    """Carries the actions out in a transaction, whose TID it returns."""
    transaction = TransactionMetaData()
    storage.tpc_begin(transaction)
    for action in actions:
        action(transaction)
    storage.tpc_vote(transaction)
    return storage.tpc_finish(transaction)


def store(storage, oid, serial, data):
    return lambda transaction: storage.store(oid, serial, data, "", transaction)


def write(storage, revisions):
    """Commits `revisions` of OBJECTS objects. Returns OIDs and TIDs."""
    oids = [storage.new_oid() for _ in range(OBJECTS)]
    serial, tids = z64, []
    for number in range(revisions):
        data = b"revision %d" % number
        actions = (store(storage, oid, serial, data + oid) for oid in oids)
        serial = commit(storage, *actions)
        tids.append(serial)
    return oids, tids


def revisions(storage, oid):
    return [entry["tid"] for entry in storage.history(oid, 9)]


def records(cluster):
    """What each database holds of objects: must be the same everywhere."""
    found = []
    for path in cluster.databases:
        database = sqlite3.connect(path)
        rows = "SELECT partition, oid, tid, value_tid, hash FROM obj LEFT JOIN data ON id = data_id"
        found.append(database.execute(f"{rows} ORDER BY 1, 2, 3").fetchall())
        orphans = "SELECT count(*) FROM data WHERE id NOT IN (SELECT data_id FROM obj)"
        assert database.execute(orphans).fetchone() == (0,)
        database.close()
    return found


def test_old_revisions_and_deleted_objects_are_removed(cluster):
    cluster.start()
    storage = cluster.open()
    oids, tids = write(storage, 3)
    deleted, back, *_ = oids
    deletion = commit(
        storage, *(lambda t, o=o: storage.deleteObject(o, tids[-1], t) for o in (deleted, back))
    )
    creation = commit(storage, store(storage, back, deletion, b"back"))
    storage.app.pack(deletion)
    assert revisions(storage, back) == [creation]
    for oid in oids[2:]:
        assert revisions(storage, oid) == tids[-1:]
    with pytest.raises(POSKeyError):
        storage.history(deleted)
    assert storage.load(oids[-1])[0] == b"revision 2" + oids[-1]
    storage.close()
    cluster.stop()
    one, two = records(cluster)
    assert one == two
    assert len(one) == OBJECTS - 1


def test_a_partial_pack_leaves_other_objects(cluster):
    cluster.start()
    storage = cluster.open()
    oids, tids = write(storage, 3)
    # In partitions 0 and 1 only.
    packed = [oid for oid in oids if u64(oid) % 3 < 2 and u64(oid) % 2]
    storage.app.pack(tids[1], packed)
    for oid in oids:
        expected = tids[1:] if oid in packed else tids
        assert revisions(storage, oid) == expected[::-1]
    storage.close()
    cluster.stop()
    one, two = records(cluster)
    assert one == two


@pytest.mark.parametrize("partial", [False, True])
def test_what_a_pack_left_is_not_undone(cluster, partial):
    cluster.start()
    storage = cluster.open()
    oid, other = storage.new_oid(), storage.new_oid()
    tids = [z64]
    for data in b"one", b"two", b"three":
        tids.append(commit(storage, store(storage, oid, tids[-1], data)))
    creation = commit(storage, store(storage, other, z64, b"other"))
    storage.app.pack(tids[2], [oid] if partial else None)

    def undo(tid):
        return commit(storage, lambda transaction: storage.undo(tid, transaction))

    def check():
        with pytest.raises(UndoError):
            undo(tids[2])
        assert storage.load(oid)[0] == b"three"

    check()
    storage.close()
    cluster.stop()
    cluster.start()
    storage = cluster.open()
    check()
    # What is newer still can be, creations included.
    undo(creation)
    with pytest.raises(POSKeyError):
        storage.load(other)
    undo(tids[3])
    assert storage.load(oid)[0] == b"two"
    storage.close()


def test_a_node_that_does_not_pack_catches_up_without_that_option(cluster):
    node = cluster["s2"]
    node.command.append("--disable-pack")
    cluster.start()
    storage = cluster.open()
    oids, tids = write(storage, 3)
    # Nobody waits for it.
    storage.app.pack(tids[1], oids[::5])
    storage.app.pack(tids[1])
    storage.close()
    # A master that ends last may find that one of them is out of date.
    cluster.stop("m1")
    cluster.stop()
    one, two = map(len, records(cluster))
    assert (one, two) == (2 * OBJECTS, 3 * OBJECTS)
    node.command.remove("--disable-pack")
    cluster.start()
    cluster.wait_for(lambda: packs(cluster.databases[1]) == packs(cluster.databases[0]), "packed")
    cluster.stop()
    one, two = records(cluster)
    assert one == two


def packs(path):
    """The last order completed on each cell of this node."""
    database = sqlite3.connect(path)
    rows = "SELECT partition, pack FROM pt WHERE pack IS NOT NULL ORDER BY partition"
    found = database.execute(rows).fetchall()
    database.close()
    return found


def test_a_killed_storage_goes_on(tmp_path):
    with Cluster(tmp_path / "cluster", storages=1, partitions=3) as cluster:
        cluster.start()
        storage = cluster.open()
        oids, tids = write(storage, 3)
        storage.app.wait_for_pack = False
        storage.app.pack(tids[2])
        order = commit(storage)
        cluster.kill("s1")
        cluster.start_node("s1")
        cluster.wait_state("RUNNING")
        storage.app.wait_for_pack = True
        storage.app.pack(tids[2], oids[:1])
        for oid in oids:
            assert revisions(storage, oid) == tids[-1:]
        assert all(order < p64(pack) for _, pack in packs(cluster.databases[0]))
        storage.close()


def test_commits_go_on_meanwhile(cluster):
    cluster.start()
    storage = cluster.open()
    oids, tids = write(storage, 3)
    storage.app.wait_for_pack = False
    storage.app.pack(tids[2])
    serial = tids[2]
    for number in range(100):
        serial = commit(storage, store(storage, oids[0], serial, b"%d" % number))
    assert storage.load(oids[0]) == (b"99", serial)
    storage.app.wait_for_pack = True
    storage.app.pack(serial)
    assert revisions(storage, oids[0]) == [serial]
    storage.close()


def test_a_pack_is_not_truncated_after_a_restart(cluster):
    cluster.start()
    storage = cluster.open()
    oid, tids = storage.new_oid(), [z64]
    for number in range(4):
        tids.append(commit(storage, store(storage, oid, tids[-1], b"%d" % number)))
    storage.app.pack(tids[-1])
    for number in range(2):
        tids.append(commit(storage, store(storage, oid, tids[-1], b"after %d" % number)))
    storage.close()

    def truncate():
        return cluster.neoctl("truncate", f"tid:{u64(tids[2])}", check=False).splitlines()[-1]

    reason = "Can not truncate before an approved pack"
    assert truncate() == reason
    cluster.stop()
    cluster.start()
    assert truncate() == reason
    storage = cluster.open()
    assert storage.load(oid) == (b"after 1", tids[-1])
    storage.close()


def test_a_node_that_does_not_pack_holds_nobody_up_after_a_restart(cluster):
    for name in "s1", "s2":
        cluster[name].command.append("--disable-pack")
    for _ in range(2):
        cluster.start()
        storage = cluster.open()
        oid = storage.new_oid()
        tid = commit(storage, store(storage, oid, z64, b"one"))
        commit(storage, store(storage, oid, tid, b"two"))
        storage.app.pack(storage.lastTransaction())
        assert len(revisions(storage, oid)) == 2
        storage.close()
        cluster.stop()
