"""How tests write: transactions without a ZODB connection, and what ZODB would be told."""

from neo.client import TransactionMetaData


class Wrapper:
    """What ZODB registers, as a list of what it is told."""

    transform_record_data = untransform_record_data = staticmethod(lambda data: data)

    def __init__(self):
        self.told = []

    def invalidate(self, tid, oids):
        self.told.append((tid, list(oids)))

    def invalidateCache(self):
        self.told.append(None)


def begin(storage):
    txn = TransactionMetaData()
    storage.tpc_begin(txn)
    return txn


def end(storage, txn, f=None):
    storage.tpc_vote(txn)
    return storage.tpc_finish(txn, f)


def commit(storage, *objects):
    """Commits (oid, serial, data)... and returns the TID."""
    txn = begin(storage)
    for oid, serial, data in objects:
        storage.store(oid, serial, data, "", txn)
    return end(storage, txn)
