"""Test cases with a cluster of their own, for the suites of ZODB."""

import os
import time

import zc.zlibstorage
from cluster import Cluster
from ZODB import DB
from ZODB.DemoStorage import DemoStorage
from ZODB.FileStorage import FileStorage
from ZODB.tests import testZODB, util
from ZODB.tests.hexstorage import HexStorage
from ZODB.tests.StorageTestBase import StorageTestBase


class ClusterTestCase(StorageTestBase):
    """A test with a cluster, and a storage connected to it."""

    topology: dict[str, int]
    use_extension_bytes = True

    def setUp(self):
        # Gives an empty folder.
        util.TestCase.setUp(self)
        self._clients = []
        self._clusters = []
        self.cluster = self.new_cluster("cluster")
        self.open()

    def new_cluster(self, folder):
        cluster = Cluster(os.path.abspath(folder), **self.topology)
        self._clusters.append(cluster)
        cluster.start()
        return cluster

    def open(self, **options):
        """What suites call to open the storage again."""
        self._storage = self.wrap(self.cluster.open(**options))

    def wrap(self, storage):
        """What is tested: the storage, with something around it."""
        return storage

    def _new_storage_client(self):
        client = self.wrap(self.cluster.open())
        self._clients.append(client)
        return client

    def tearDown(self):
        for client in self._clients:
            client.close()
        self._close()
        try:
            for cluster in self._clusters:
                cluster.check()
        finally:
            for cluster in self._clusters:
                cluster.close()
            util.TestCase.tearDown(self)


class ClockTestCase(ClusterTestCase):
    """A test whose clock may be ahead of that of nodes."""

    def setUp(self):
        # Not as far as other tests took it.
        util.reset_monotonic_time()
        super().setUp()

    def _dostore(self, *args, **options):
        # The TID of a store must be after what the clock told before.
        if time.time is not util._real_time:
            time.sleep(max(util._current_time - util._real_time(), 0))
        return super()._dostore(*args, **options)


class CopyTestCase(ClusterTestCase):
    """A test with the storage of another cluster, to copy to."""

    def setUp(self):
        super().setUp()
        self._dst = self.new_dest()

    def new_dest(self):
        cluster = self.new_cluster(f"destination{len(self._clusters)}")
        self._clients.append(self.wrap(cluster.open()))
        return self._clients[-1]


class DatabaseTestCase(ClusterTestCase, testZODB.ZODBTests):
    """The tests of databases open one by themselves."""

    def setUp(self):
        ClusterTestCase.setUp(self)
        self._db = DB(self._storage)

    def tearDown(self):
        self._db.close()
        ClusterTestCase.tearDown(self)


class Hex:
    """Records that are not what is stored."""

    def wrap(self, storage):
        return HexStorage(storage)

    def _new_storage_client(self):
        # HexStorage is not made for servers: it tells what others commit with one argument more
        # than MVCCAdapter takes. Everything is invalidated each time, and connections do not know
        # as of which TID.
        raise NotImplementedError


class Zlib:
    """The same, compressed."""

    def wrap(self, storage):
        return zc.zlibstorage.ZlibStorage(storage)


class Changes:
    """The changes of a demonstration."""

    def wrap(self, storage):
        return DemoStorage(changes=storage)

    def _new_storage_client(self):
        # It tells nobody about what others commit, whatever it is around.
        raise NotImplementedError


class Base(Changes):
    """The base of a demonstration, whose changes are in memory."""

    #: They undo, which changes in memory can not: see `FileBase`.
    left_out = ("testLoadBeforeUndo", "testUndoZombie")

    def wrap(self, storage):
        return DemoStorage(base=storage)


class FileBase(Changes):
    """The same with changes in a file, that can be undone."""

    def wrap(self, storage):
        return DemoStorage(base=storage, changes=FileStorage("changes.fs"))
