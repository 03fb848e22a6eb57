"""Test cases with a cluster of their own, for the suites of ZODB."""

import os

import ZODB.tests.util
from cluster import Cluster
from ZODB import DB
from ZODB.tests import testZODB
from ZODB.tests.StorageTestBase import StorageTestBase


class ClusterTestCase(StorageTestBase):
    """A test with a cluster, and a storage connected to it."""

    topology: dict[str, int]
    use_extension_bytes = True

    def setUp(self):
        # Gives an empty folder.
        ZODB.tests.util.TestCase.setUp(self)
        self._clients = []
        self.cluster = Cluster(os.path.abspath("cluster"), **self.topology)
        self.cluster.start()
        self.open()

    def open(self, **options):
        """What suites call to open the storage again."""
        self._storage = self.cluster.open(**options)

    def _new_storage_client(self):
        client = self.cluster.open()
        self._clients.append(client)
        return client

    def tearDown(self):
        for client in self._clients:
            client.close()
        self._close()
        try:
            self.cluster.check()
        finally:
            self.cluster.close()
            ZODB.tests.util.TestCase.tearDown(self)


class DatabaseTestCase(ClusterTestCase, testZODB.ZODBTests):
    """The tests of databases open one by themselves."""

    def setUp(self):
        ClusterTestCase.setUp(self)
        self._db = DB(self._storage)

    def tearDown(self):
        self._db.close()
        ClusterTestCase.tearDown(self)
