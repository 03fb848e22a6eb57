"""What a storage says that it can do is what it can."""

import pytest
import ZODB.interfaces
from neo.client.Storage import Storage
from zope.interface import providedBy
from zope.interface.exceptions import Invalid
from zope.interface.verify import verifyObject

PROVIDED = {
    "IExternalGC",
    "IMultiCommitStorage",
    "IPrefetchStorage",
    "IStorage",
    "IStorageCurrentRecordIteration",
    "IStorageIteration",
    "IStorageRestoreable",
    "IStorageUndoable",
    "ReadVerifyingStorage",
}

#: Other things that a storage of ZODB may do.
NOT_PROVIDED = {
    "IBlobStorage",
    "IBlobStorageRestoreable",
    "IMVCCAfterCompletionStorage",
    "IMVCCPrefetchStorage",
    "IMVCCStorage",
}


@pytest.fixture
def storage():
    storage = Storage("127.0.0.1:1", "test")
    yield storage
    storage.close()


def test_what_is_declared(storage):
    declared = {interface.__name__ for interface in providedBy(storage)}
    assert declared == PROVIDED


@pytest.mark.parametrize("name", sorted(PROVIDED))
def test_what_is_there(name, storage):
    assert verifyObject(getattr(ZODB.interfaces, name), storage)


@pytest.mark.parametrize("name", sorted(NOT_PROVIDED))
def test_what_is_not_there(name, storage):
    with pytest.raises(Invalid):
        verifyObject(getattr(ZODB.interfaces, name), storage, tentative=True)


def test_nothing_is_forgotten():
    kinds = {
        name
        for name, value in vars(ZODB.interfaces).items()
        if isinstance(value, type(ZODB.interfaces.IStorage))
        and value.extends(ZODB.interfaces.IStorage, strict=False)
    }
    assert kinds - {"IStorageWrapper"} <= PROVIDED | NOT_PROVIDED
