"""Client of a NEO cluster: `neo.client.Storage.Storage` is the storage for ZODB."""

from ZODB.Connection import TransactionMetaData

__all__ = ["TransactionMetaData"]
