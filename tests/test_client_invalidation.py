"""Connections of ZODB whose caches are invalidated whole, because nobody can tell what changed."""

import pytest
from cluster import Cluster
from persistent.mapping import PersistentMapping
from transaction import TransactionManager
from ZODB import DB

#: The master is killed.
WARNINGS = "the end of a master"


class Deaf:
    """A wrapper that can not be told what others commit, as HexStorage."""

    transform_record_data = untransform_record_data = staticmethod(lambda data: data)

    def __init__(self, base):
        self.base = base
        self.poll = None
        base.registerDB(self)

    def __getattr__(self, name):
        return getattr(self.base, name)

    def __len__(self):
        return len(self.base)

    def registerDB(self, db):
        self.db = db

    def invalidate(self, tid, oids):
        raise TypeError("nobody listens")

    def invalidateCache(self):
        self.db.invalidateCache()
        if self.poll:
            poll, self.poll = self.poll, None
            poll()


@pytest.fixture
def cluster(tmp_path):
    with Cluster(tmp_path, storages=1, partitions=2) as cluster:
        cluster.start()
        yield cluster


@pytest.mark.parametrize("reason", ["the wrapper fails", "the master was lost"])
def test_a_poll_between_the_invalidation_and_the_last_tid(reason, cluster):
    """What the connection then loads is as old as it is: it must not be kept any longer."""
    deaf = Deaf(cluster.open())
    db, other = DB(deaf), DB(cluster.open())
    with db.transaction() as connection:
        connection.root()["x"] = PersistentMapping(number=1)
    connection = db.open(TransactionManager())

    def number():
        return connection.root()["x"]["number"]

    assert number() == 1
    if reason == "the master was lost":
        cluster.kill("m1")
        cluster.start_node("m1")
        cluster.wait_state("RUNNING")
    polled = []

    def poll():
        polled.append(deaf.lastTransaction())
        connection.newTransaction(None, False)

    deaf.poll = poll
    before = deaf.lastTransaction()
    with other.transaction() as changing:
        changing.root()["x"]["number"] = 2
    deaf.sync()
    assert polled == [before] and deaf.lastTransaction() > before
    # The snapshot is that of the poll.
    assert number() == 1
    connection.newTransaction(None, False)
    assert number() == 2
    connection.close()
    db.close()
    other.close()


def test_a_poll_that_asked_for_the_last_tid_before_the_master_was_lost(cluster):
    """It knows the new one nevertheless, since it forgets everything once only."""
    storage = cluster.open()
    db, other = DB(storage), DB(cluster.open())
    with db.transaction() as connection:
        connection.root()["x"] = PersistentMapping(number=1)
    connection = db.open(TransactionManager())
    before = storage.lastTransaction()
    cluster.kill("m1")
    cluster.start_node("m1")
    cluster.wait_state("RUNNING")
    with other.transaction() as changing:
        changing.root()["x"]["number"] = 2
    storage.sync()
    assert storage.lastTransaction() > before
    storage.lastTransaction = lambda: before
    connection.newTransaction(None, False)
    del storage.lastTransaction
    assert connection.root()["x"]["number"] == 2
    connection.newTransaction(None, False)
    assert connection.root()["x"]["number"] == 2
    connection.close()
    db.close()
    other.close()
