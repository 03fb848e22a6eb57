"""The storage for ZODB."""

import logging
import os
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

from persistent.TimeStamp import TimeStamp
from ZODB import BaseStorage, ConflictResolution, POSException
from ZODB.interfaces import (
    IExternalGC,
    IMultiCommitStorage,
    IPrefetchStorage,
    IStorage,
    IStorageCurrentRecordIteration,
    IStorageIteration,
    IStorageRestoreable,
    IStorageUndoable,
    ReadVerifyingStorage,
)
from zope.interface import implementer

from neo import _neo

from . import restore
from .app import Application
from .exception import NEOStorageError
from .reading import Reading

__all__ = ["Storage"]

logger = logging.getLogger("NEO")


@implementer(
    IStorage,
    IStorageIteration,
    IStorageUndoable,
    IExternalGC,
    ReadVerifyingStorage,
    IMultiCommitStorage,
    IPrefetchStorage,
    IStorageCurrentRecordIteration,
    IStorageRestoreable,
)
class Storage(Reading, ConflictResolution.ConflictResolvingStorage, BaseStorage.BaseStorage):
    """A thin shell: the work is done by `neo._neo.Client`. Threads share it, and each
    transaction is used by one thread at a time.

    Nothing is connected before the first call that needs the cluster.
    """

    def __init__(
        self,
        master_nodes: str,
        name: str,
        compress: Any = None,
        logfile: str | None = None,
        _app: Application | None = None,
        **options: Any,
    ) -> None:
        """`master_nodes`: addresses of masters, separated by blanks; `name`: of the cluster.

        Options: cache_size, read_only, ignore_wrong_checksum, dynamic_master_list, ca, cert, key,
        pack_wait, wait_timeout (in seconds).
        """
        if logfile:
            _neo.set_logfile(os.path.expanduser(logfile))
        self.app = _app or Application(master_nodes, name, compress, **options)
        self._client = self.app.client
        self._cache = self.app._cache
        self._is_read_only = self.app.read_only
        self._lock = threading.RLock()
        self.__name__ = f"NEOStorage({name})"

    def __bool__(self) -> bool:
        return True

    def registerDB(self, db: Any, limit: Any = None) -> None:
        super().registerDB(db)
        self.app.registerDB(db)

    # Reads

    def load(self, oid: bytes, version: str = "") -> tuple[bytes, bytes]:
        if version:
            raise AssertionError("versions do not exist any more")
        return self._client.load(oid)

    def loadBefore(self, oid: bytes, tid: bytes) -> tuple[bytes, bytes, bytes | None] | None:
        return self._client.load_before(oid, tid)

    def loadSerial(self, oid: bytes, serial: bytes) -> bytes:
        return self._client.load_serial(oid, serial)

    def loadEx(self, oid: bytes, version: str = "") -> tuple[bytes, bytes, str]:
        return (*self.load(oid, version), "")

    def getTid(self, oid: bytes) -> bytes:
        return self._client.load(oid)[1]

    def lastTransaction(self) -> bytes:
        return self._client.last_transaction()

    def sync(self, force: bool = True) -> None:
        self.app.sync()

    def ping(self) -> None:
        self.app.sync()

    # Writes

    def new_oid(self) -> bytes:
        return self.app.new_oid()

    def tpc_begin(self, transaction: Any, tid: bytes | None = None, status: str = " ") -> None:
        """Begins a transaction, with its TID if it was committed elsewhere.

        Such a TID must be after the last one, and no other transaction may be pending in the whole
        cluster but lower ones of this client: the master ends the connection of a client that does
        not obey, and with it all transactions of this process.
        """
        self.app.tpc_begin(self, transaction, tid, status)

    def store(
        self, oid: bytes, serial: bytes | None, data: bytes | None, version: str, transaction: Any
    ) -> None:
        self.app.store(oid, serial, data, version, transaction)

    def deleteObject(
        self,
        oid: bytes,
        oldserial: bytes | None,
        transaction: Any,
        invalidate: bool = True,
    ) -> None:
        """Deletes an object: it can not be loaded any more as of this transaction.

        For an object that nobody can reach any more, `invalidate` can be false: other processes
        are not told, which would cost them more than the deletion when many are collected as
        garbage. As long as they have the object in memory, it still is there for them.
        """
        self.app.context(transaction)
        self.app.deleteObject(oid, oldserial, transaction, invalidate)

    def checkCurrentSerialInTransaction(self, oid: bytes, serial: bytes, transaction: Any) -> None:
        self.app.checkCurrentSerialInTransaction(oid, serial, transaction)

    def tpc_vote(self, transaction: Any) -> list[bytes]:
        return self.app.tpc_vote(transaction)

    def tpc_finish(self, transaction: Any, f: Callable[[bytes], object] | None = None) -> bytes:
        return self.app.tpc_finish(transaction, f)

    def tpc_abort(self, transaction: Any) -> None:
        self.app.tpc_abort(transaction)

    def tpc_transaction(self) -> None:
        return None

    # The past

    def supportsUndo(self) -> bool:
        return True

    def undo(self, transaction_id: bytes, transaction: Any) -> tuple[None, list[bytes]]:
        return self.app.undo(transaction_id, transaction)

    def copyTransactionsFrom(self, source: Any, verbose: bool = False) -> None:
        self.app.importFrom(self, source)

    importFrom = copyTransactionsFrom

    def restore(
        self,
        oid: bytes,
        serial: bytes,
        data: bytes | None,
        version: str,
        prev_txn: bytes | None,
        transaction: Any,
    ) -> None:
        restore.restore(self.app, oid, data, prev_txn, transaction)

    def pack(
        self,
        t: float | None = None,
        referencesf: Any = None,
        *args: Any,
        wait: bool | None = None,
        days: float = 0,
        gc: bool | None = None,
        oids: Iterable[bytes] | None = None,
    ) -> None:
        """Forgets the revisions that were not current any more `days` before `t`, in seconds since
        the Unix epoch; by default, now. With `oids`, only those of some objects.

        Garbage is never collected. `wait`: return when it is done, and not only decided. Without
        its name, what follows `referencesf` is `wait` as for ZEO, or what ZODB's wrappers call
        `gc`: then, they wait.
        """
        if self._is_read_only:
            raise POSException.ReadOnlyError
        if args:
            given = wait, days, gc, oids
            wait, days, gc, oids = args + given[len(args) :]
            wait = wait or referencesf is not None
        if gc:
            raise NEOStorageError("a pack never collects garbage")
        if referencesf is not None:
            logger.warning("pack: garbage is not collected, referencesf is not used")
        stop = tid_of_time((time.time() if t is None else t) - days * 86400)
        self.app.pack(min(stop, self.app.last_tid), oids, wait)

    # Life

    def close(self) -> None:
        self.app.close()

    def lastSerial(self) -> None:
        raise NotImplementedError

    def _clear_temp(self) -> None:
        raise NotImplementedError

    def set_max_oid(self, possible_new_max_oid: bytes) -> None:
        raise NotImplementedError


def tid_of_time(t: float) -> bytes:
    """The TID of a moment, in seconds since the Unix epoch."""
    raw: bytes = TimeStamp(*time.gmtime(t)[:5], t % 60).raw()
    return raw
