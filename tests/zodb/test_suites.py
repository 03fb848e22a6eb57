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
    PackableStorage,
    PersistentStorage,
    ReadOnlyStorage,
    RecoveryStorage,
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
    """All that undoes: the second one uses methods of the first."""


#: They expect a pack to remove objects that are not reachable any more, which it never does.
NEED_GARBAGE_COLLECTION = ("testPackAllRevisions", "testPackWithGCOnDestinationAfterRestore")

BASIC = (
    BasicStorage.BasicStorage,
    ConflictResolution.ConflictResolvingStorage,
    HistoryStorage.HistoryStorage,
    IteratorStorage.IteratorStorage,
    IteratorStorage.ExtendedIteratorStorage,
    RevisionStorage.RevisionStorage,
    Synchronization.SynchronizedStorage,
)

#: What wrappers are tested with too.
WRAPPED = (
    *BASIC,
    PackableStorage.PackableStorageWithOptionalGC,
    PackableStorage.PackableUndoStorage,
    PersistentStorage.PersistentStorage,
    RecoveryStorage.RecoveryStorage,
    UndoStorage,
)

ALL = (
    *WRAPPED,
    MTStorage.MTStorage,
    ReadOnlyStorage.ReadOnlyStorage,
    testMVCCMappingStorage.MVCCTests,
)

#: What is around the storage, and what is tried with that.
WRAPPERS = (
    (None, ALL),
    (cases.Hex, WRAPPED),
    (cases.Zlib, WRAPPED),
    (cases.Changes, BASIC),
    (cases.Base, BASIC),
    (cases.FileBase, (RevisionStorage.RevisionStorage,)),
)


def _case(wrapper, suite, topology):
    case = cases.ClusterTestCase
    if suite is RecoveryStorage.RecoveryStorage:
        case = cases.CopyTestCase
    elif suite is PackableStorage.PackableUndoStorage:
        case = cases.ClockTestCase
    bases = (case, suite) if wrapper is None else (wrapper, case, suite)
    names = (*NEED_GARBAGE_COLLECTION, *getattr(wrapper, "left_out", ()))
    left_out = {name: None for name in names if hasattr(suite, name)}
    return bases, {**left_out, "topology": TOPOLOGIES[topology], "__module__": __name__}


def _cases():
    for topology in TOPOLOGIES:
        attributes = {"topology": TOPOLOGIES[topology], "__module__": __name__}
        yield f"Test{topology}ZODBTests", (cases.DatabaseTestCase,), attributes
        for wrapper, suites in WRAPPERS:
            prefix = "" if wrapper is None else wrapper.__name__
            for suite in suites:
                yield f"Test{topology}{prefix}{suite.__name__}", *_case(wrapper, suite, topology)


for _name, _bases, _attributes in _cases():
    globals()[_name] = type(_name, _bases, _attributes)
