"""ZODB's own tests of storages, as they are, against real processes.

Each test gets a new cluster: many of them need an empty database.
"""

import cases
from ZODB.tests import (
    BasicStorage,
    ConflictResolution,
    MTStorage,
    PersistentStorage,
    ReadOnlyStorage,
    RevisionStorage,
    Synchronization,
    testMVCCMappingStorage,
)

TOPOLOGIES = {
    "One": {"storages": 1, "partitions": 1},
    "Two": {"storages": 2, "partitions": 12},
}

MIXINS = (
    BasicStorage.BasicStorage,
    ConflictResolution.ConflictResolvingStorage,
    MTStorage.MTStorage,
    PersistentStorage.PersistentStorage,
    ReadOnlyStorage.ReadOnlyStorage,
    RevisionStorage.RevisionStorage,
    Synchronization.SynchronizedStorage,
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
