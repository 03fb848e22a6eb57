"""ZODB's own tests of storages, as they are, against real processes.

Each test gets a new cluster: many of them need an empty database.
"""

import cases
from ZODB.tests import (
    BasicStorage,
    ConflictResolution,
    HistoryStorage,
    IteratorStorage,
    MTStorage,
    PersistentStorage,
    ReadOnlyStorage,
    RevisionStorage,
    Synchronization,
    TransactionalUndoStorage,
    testMVCCMappingStorage,
)

TOPOLOGIES = {
    "One": {"storages": 1, "partitions": 1},
    "Two": {"storages": 2, "partitions": 12},
}


class UndoStorage(
    TransactionalUndoStorage.TransactionalUndoStorage,
    ConflictResolution.ConflictResolvingTransUndoStorage,
):
    """All that undoes. What packs too waits for packs."""

    testPackAfterUndoDeletion = None
    testPackAfterUndoManyTimes = None
    testTransactionalUndoAfterPack = None
    testTransactionalUndoAfterPackWithObjectUnlinkFromRoot = None


MIXINS = (
    BasicStorage.BasicStorage,
    ConflictResolution.ConflictResolvingStorage,
    HistoryStorage.HistoryStorage,
    IteratorStorage.IteratorStorage,
    IteratorStorage.ExtendedIteratorStorage,
    MTStorage.MTStorage,
    PersistentStorage.PersistentStorage,
    ReadOnlyStorage.ReadOnlyStorage,
    RevisionStorage.RevisionStorage,
    Synchronization.SynchronizedStorage,
    UndoStorage,
    testMVCCMappingStorage.MVCCTests,
)


def _cases():
    for name, topology in TOPOLOGIES.items():
        attributes = {"topology": topology, "__module__": __name__}
        for mixin in MIXINS:
            bases = (cases.ClusterTestCase, mixin)
            yield f"Test{name}{mixin.__name__}", bases, attributes
        yield f"Test{name}ZODBTests", (cases.DatabaseTestCase,), attributes


for _name, _bases, _attributes in _cases():
    globals()[_name] = type(_name, _bases, dict(_attributes))
