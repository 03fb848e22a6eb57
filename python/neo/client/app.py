"""The client of a cluster, shared by the storages of a process that use it."""

import atexit
import json
import logging
import math
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pickle import dumps
from typing import Any, NamedTuple

from ZODB.POSException import (
    ConflictError,
    ReadConflictError,
    ReadOnlyError,
    StorageTransactionError,
)
from ZODB.utils import u64, z64

from neo import _neo

from .address import Address, resolve_all
from .exception import NEOStorageError
from .records import CurrentRecords

__all__ = ["TXN_PACK_DESC", "Application"]

#: Description of the transactions that carry a pack order and nothing else.
TXN_PACK_DESC = b"IStorage.pack"

# As soon as the library is there, signals of logs do not kill the process.
_neo.watch_signals()

DEFAULT_CACHE_SIZE = 20 << 20

#: OIDs asked at once.
OIDS_PER_PAGE = 1000

logger = logging.getLogger("NEO")

Conflict = tuple[bytes, bytes | None, bool, bytes, bytes, bool]

_hooks = threading.Lock()
_hooked = False


def _hook() -> None:
    """Once in the life of the process: what must be done around forks, and at its end."""
    global _hooked
    with _hooks:
        if not _hooked:
            _hooked = True
            os.register_at_fork(
                before=_neo.before_fork,
                after_in_parent=_neo.after_fork_in_parent,
                after_in_child=_neo.after_fork_in_child,
            )
            atexit.register(_neo.at_exit)


def compression(value: Any) -> int:
    """Level of zlib (0 for its default, -1 not to compress) of what `Storage` is given."""
    if isinstance(value, str):
        from .config import compress

        value = compress(value)
    if value is None or value is True:
        return 0
    if value is False:
        return -1
    algorithm, level = value
    if algorithm != 0 or not (level is None or 1 <= level <= 9):
        raise ValueError(f"no such compression: {value!r}")
    return level or 0


def _text(value: str | bytes) -> bytes:
    return value.encode() if isinstance(value, str) else bytes(value)


def _extension(transaction: Any) -> bytes:
    try:
        return bytes(transaction.extension_bytes)
    except AttributeError:
        extension = getattr(transaction, "_extension", None)
        return dumps(extension, 3) if extension else b""


class Master(NamedTuple):
    """A master, for code that rebuilds the address of a cluster."""

    address: Address

    def getAddress(self) -> Address:
        return self.address


class NodeManager:
    """Known nodes, as far as tools look at them."""

    def __init__(self, client: _neo.Client) -> None:
        self._client = client

    def getMasterList(self) -> list[Master]:
        return [Master(address) for address in self._client.masters]


class PollThread(NamedTuple):
    """Who reads the sockets while no call does: to know whose process it is."""

    name: str


class PartitionTable(NamedTuple):
    """Size of the partition table."""

    partitions: int
    replicas: int

    def getPartitions(self) -> int:
        return self.partitions

    def getReplicas(self) -> int:
        return self.replicas


class Cache:
    """The record cache, as far as applications look at it."""

    def __init__(self, client: _neo.Client, max_size: int) -> None:
        self._client = client
        self.max_size = max_size

    def clear(self) -> None:
        self._client.clear_cache()

    def __repr__(self) -> str:
        return self._client.describe_cache()


#: No cluster has as many objects.
MAX_LEN = 1 << 48


class Context:
    """What a storage knows of a transaction that was begun."""

    def __init__(self, storage: Any, transaction: Any) -> None:
        self.storage = storage
        # Also so that its identity is not that of another one.
        self.transaction = transaction
        self.number: int | None = None
        self.votes: list[bytes] | None = None
        self.failure: Exception | None = None
        #: What undos stored, and all that was stored since: a later one may have to merge with it.
        self.undone: dict[bytes, bytes | None] = {}
        #: Objects that were committed elsewhere, with the revision that has the same data.
        self.restored: dict[bytes, bytes | None] = {}


class Restored:
    """Serials of what was restored, for the next transactions: a hint, and of bounded size."""

    LIMIT = 1 << 20

    def __init__(self) -> None:
        self._serials: dict[bytes, bytes] = {}
        self._last = bytes(z64)

    def get(self, oid: bytes) -> bytes:
        return self._serials.get(oid) or bytes(z64)

    def update(self, oids: Iterable[bytes], tid: bytes) -> None:
        # After a truncation, serials would be those of the future.
        if tid <= self._last or len(self._serials) > self.LIMIT:
            self._serials.clear()
        self._last = tid
        self._serials.update(dict.fromkeys(oids, tid))


class Application:
    """See the module."""

    def __init__(
        self,
        master_nodes: str,
        name: str,
        compress: Any = None,
        cache_size: int | None = None,
        read_only: bool | None = False,
        ignore_wrong_checksum: bool | None = False,
        dynamic_master_list: str | None = None,
        ca: str | None = None,
        cert: str | None = None,
        key: str | None = None,
        pack_wait: bool | None = None,
        wait_timeout: float | None = None,
    ) -> None:
        self.name = name
        self.wait_for_pack = True if pack_wait is None else bool(pack_wait)
        self.read_only = bool(read_only)
        self.compress = compression(compress)
        self.ignore_wrong_checksum = bool(ignore_wrong_checksum)
        self.ssl_credentials = credentials = (ca, cert, key)
        self.ssl = any(credentials)
        if self.ssl and not all(credentials):
            raise ValueError("TLS needs all of ca, cert and key")
        size = DEFAULT_CACHE_SIZE if cache_size is None else cache_size
        if size < 0:
            raise ValueError("the size of the cache is negative")
        masters = resolve_all(master_nodes)
        self._master_list = MasterList(dynamic_master_list) if dynamic_master_list else None
        if self._master_list:
            masters += (x for x in self._master_list.load() if x not in masters)
        self.client = _neo.Client(
            name,
            masters,
            compress=self.compress,
            cache_size=size,
            write_buffer=size or DEFAULT_CACHE_SIZE,
            read_only=self.read_only,
            ignore_wrong_checksum=self.ignore_wrong_checksum,
            tls=(ca, cert, key) if ca and cert and key else None,
            wait_timeout=wait_timeout or None,
        )
        _hook()
        self.past = _neo.Past(self.client)
        self.current_records = CurrentRecords(self)
        #: The last pack order of which everything is known, and the TID of the last pack.
        self.known_packs: tuple[bytes, bytes] = z64, z64
        self.nm = NodeManager(self.client)
        self._cache = Cache(self.client, size)
        self._max_reconnections = math.inf
        self._transactions: dict[int, Context] = {}
        self.restored = Restored()

    # Connection

    @property
    def uuid(self) -> int | None:
        return self.client.nid

    @property
    def last_tid(self) -> bytes:
        return self.client.last_transaction()

    @property
    def poll_thread(self) -> PollThread:
        return PollThread(self.name)

    @property
    def pt(self) -> PartitionTable:
        while not (geometry := self.client.geometry):
            self.client.connect()
        return PartitionTable(*geometry)

    @property
    def max_reconnection_to_master(self) -> float:
        return self._max_reconnections

    @max_reconnection_to_master.setter
    def max_reconnection_to_master(self, limit: float) -> None:
        self._max_reconnections = limit
        self.client.set_max_reconnections(None if math.isinf(limit) else int(limit))

    def registerDB(self, db: Any) -> None:
        self.client.register(db)

    def sync(self) -> None:
        self.client.sync()
        if self._master_list:
            self._master_list.save(self.client.masters)

    def close(self) -> None:
        if self._master_list:
            self._master_list.save(self.client.masters)
        self.client.close()
        self._transactions.clear()

    def new_oid(self) -> bytes:
        if self.read_only:
            raise ReadOnlyError
        return self.client.new_oid()

    # Reads

    def load(
        self, oid: bytes, tid: bytes | None = None, before_tid: bytes | None = None
    ) -> tuple[bytes, bytes, bytes | None]:
        return self.client.load_revision(oid, tid, before_tid)

    def getLastTID(self, oid: bytes) -> bytes:
        return self.client.load_revision(oid)[1]

    def getObjectCount(self) -> int:
        """An upper bound: see `Storage.__len__`."""
        count: int = u64(self.past.last_oid())
        # Beyond, OIDs were not allocated by masters, but drawn by an application (DemoStorage):
        # they tell nothing. 0 is what storages say that do not know.
        return count if count < MAX_LEN else 0

    def oids(
        self,
        tid: bytes | None = None,
        min_oid: bytes | None = None,
        max_oid: bytes | None = None,
    ) -> Iterator[bytes]:
        """OIDs of the objects that exist as of `tid`, ascending, between included bounds."""
        last = self.last_tid if tid is None else tid
        following: bytes | None = z64 if min_oid is None else min_oid
        while following is not None and (max_oid is None or following <= max_oid):
            oids, following = self.past.oids(last, following, OIDS_PER_PAGE)
            for oid in oids:
                if max_oid is not None and oid > max_oid:
                    return
                yield oid

    # Transactions

    def context(self, transaction: Any) -> Context:
        """What is known of a transaction that was begun."""
        try:
            return self._transactions[id(transaction)]
        except KeyError:
            raise StorageTransactionError("the transaction was not begun here") from None

    def number(self, context: Context) -> int:
        if context.number is None:
            raise StorageTransactionError("the transaction could not be begun")
        return context.number

    def tpc_begin(
        self, storage: Any, transaction: Any, tid: bytes | None = None, status: str = " "
    ) -> None:
        if self.read_only:
            raise ReadOnlyError
        context = Context(storage, transaction)
        if self._transactions.setdefault(id(transaction), context) is not context:
            raise StorageTransactionError("the transaction was begun already")
        # The master would close the link, for all transactions of this process.
        if tid is not None and tid <= self.last_tid:
            raise NEOStorageError(f"the TID {tid.hex()} is not after the last one")
        context.number = self.client.begin(tid)

    def store(
        self,
        oid: bytes,
        serial: bytes | None,
        data: bytes | None,
        version: str,
        transaction: Any,
    ) -> None:
        if self.read_only:
            raise ReadOnlyError
        context = self.context(transaction)
        if version:
            raise ValueError("versions do not exist any more")
        if context.undone:
            context.undone[oid] = data
        conflict = self.client.store(self.number(context), oid, serial, data)
        if conflict:
            self.resolve(context, conflict)

    def deleteObject(
        self, oid: bytes, serial: bytes | None, transaction: Any, invalidate: bool = True
    ) -> None:
        """Unless `invalidate`, other clients are not told: see `Storage.deleteObject`."""
        context = self.context(transaction)
        if context.undone:
            context.undone[oid] = None
        number = self.number(context)
        conflict = self.client.delete(number, oid, serial, not invalidate)
        if conflict:
            self.resolve(context, conflict)

    def checkCurrentSerialInTransaction(self, oid: bytes, serial: bytes, transaction: Any) -> None:
        context = self.context(transaction)
        conflict = self.client.check(self.number(context), oid, serial)
        if conflict:
            self.resolve(context, conflict)

    def flush(self, context: Context) -> None:
        """Waits until everything is stored."""
        while conflict := self.client.flush(self.number(context)):
            self.resolve(context, conflict)

    def resolve(self, context: Context, first: Conflict) -> None:
        """Stores again until storing tells about no conflict any more."""
        conflict: Conflict | None = first
        try:
            while conflict:
                oid, data, checked, base, committed, unpublished = conflict
                if checked:
                    raise ReadConflictError(oid=oid, serials=(committed, base))
                data_serial = context.restored.get(oid)
                if oid not in context.restored:
                    if unpublished:
                        # What was committed is not visible yet.
                        self.client.sync()
                    data = self._merge(context.storage, oid, data, base, committed)
                    if oid in context.undone:
                        context.undone[oid] = data
                number = self.number(context)
                conflict = self.client.store(number, oid, committed, data, data_serial)
        except ConflictError as error:
            # An object is missing from now on.
            context.failure = error
            raise

    def _merge(
        self, storage: Any, oid: bytes, data: bytes | None, base: bytes, committed: bytes
    ) -> bytes:
        if data:
            try:
                merged: bytes = storage.tryToResolveConflict(oid, committed, base, data)
            except ConflictError:
                logger.info(
                    "conflict of %s with %s can not be resolved", oid.hex(), committed.hex()
                )
            else:
                logger.info("conflict of %s with %s resolved", oid.hex(), committed.hex())
                return merged
            # The exception names the class, that a wrapper may have hidden.
            data = storage._crs_untransform_record_data(data)
        raise ConflictError(oid=oid, serials=(committed, base), data=data or None)

    def tpc_vote(self, transaction: Any) -> list[bytes]:
        """OIDs of the conflicts that were resolved."""
        context = self.context(transaction)
        if context.votes is None:
            if context.failure:
                raise NEOStorageError("a conflict was not resolved") from context.failure
            number = self.number(context)
            user, description = _text(transaction.user), _text(transaction.description)
            extension = _extension(transaction)
            while True:
                conflict, votes = self.client.vote(number, user, description, extension)
                if not conflict:
                    break
                self.resolve(context, conflict)
            context.votes = [oid for oid in votes if oid not in context.restored]
        return context.votes

    def tpc_finish(self, transaction: Any, f: Callable[[bytes], object] | None = None) -> bytes:
        self.tpc_vote(transaction)
        context = self._transactions.pop(id(transaction))
        tid = self.client.finish(self.number(context), f)
        if context.restored:
            self.restored.update(context.restored, tid)
        return tid

    def tpc_abort(self, transaction: Any) -> None:
        context = self._transactions.pop(id(transaction), None)
        if context and context.number is not None:
            self.client.abort(context.number)

    # Packs

    def setPackOrder(
        self, transaction: Any, tid: bytes, oids: Iterable[bytes] | None = None
    ) -> None:
        """Attaches a pack order to a transaction, that may also write objects. There is nothing to
        pack if `oids` is empty.
        """
        number = self.number(self.context(transaction))
        if oids is not None:
            oids = list(oids)
            if not oids:
                return
        self._check_pack(tid)
        self.client.set_pack(number, tid, oids)

    def _check_pack(self, tid: bytes) -> None:
        # The master would close the link, for all transactions of this process.
        if not z64 < tid <= self.last_tid:
            raise NEOStorageError(f"can not pack at {tid.hex()}, which is after the last TID or 0")

    def pack(
        self, tid: bytes, oids: Iterable[bytes] | None = None, wait: bool | None = None
    ) -> None:
        """Forgets, of all objects or of some, the revisions that were not current any more at
        `tid`. Returns once storages did it, unless `wait` (by default `wait_for_pack`) is false.
        """
        from . import TransactionMetaData

        if self.read_only:
            raise ReadOnlyError
        if oids is not None:
            oids = list(oids)
        # An empty list would be sent as an order to pack everything.
        if tid == z64 or oids == []:
            return
        self._check_pack(tid)
        transaction = TransactionMetaData(description=TXN_PACK_DESC)
        self.tpc_begin(None, transaction)
        try:
            self.setPackOrder(transaction, tid, oids)
            order = self.tpc_finish(transaction)
        finally:
            self.tpc_abort(transaction)
        if self.wait_for_pack if wait is None else wait:
            self.client.wait_for_pack(order)
            self._cache.clear()

    # What is made of all that

    def transactionLog(
        self, start: bytes, stop: bytes, limit: int
    ) -> tuple[bytes | None, list[dict[str, Any]]]:
        """The first `limit` transactions between two included TIDs, ascending, and the TID of the
        last of these, or None."""
        from .iterators import log

        return log(self, start, stop, limit)

    @property
    def iterator(self) -> Callable[..., Iterator[Any]]:
        from .iterators import Transactions

        return partial(Transactions, self)

    def history(self, oid: bytes, size: int = 1, filter: Any = None) -> list[dict[str, Any]]:
        from .iterators import history

        return history(self, oid, size, filter)

    def undoLog(self, first: int = 0, last: int = -20, filter: Any = None) -> list[dict[str, Any]]:
        from .undolog import log

        return log(self, first, last, filter)

    def undo(self, undone_tid: bytes, transaction: Any) -> tuple[None, list[bytes]]:
        from .undo import undo

        return None, undo(self, undone_tid, transaction)

    def importFrom(self, storage: Any, source: Any) -> None:
        from .restore import copy

        copy(source, storage)


class MasterList:
    """A JSON file that remembers masters."""

    def __init__(self, path: str) -> None:
        self.path = os.path.expanduser(path)
        self._lock = threading.Lock()
        self._saved: list[Address] | None = None

    def load(self) -> list[Address]:
        """What it says; it is created if it does not exist."""
        try:
            with open(self.path) as f:
                self._saved = [(str(host), int(port)) for host, port in json.load(f)]
        except FileNotFoundError:
            with open(self.path, "x") as f:
                f.write("[]")
            self._saved = []
        return list(self._saved)

    def save(self, masters: list[Address]) -> None:
        """Writes another list, if it is another one."""
        with self._lock:
            if masters == self._saved:
                return
            partial = f"{self.path}.{os.getpid()}.tmp"
            try:
                with open(partial, "w") as f:
                    json.dump(masters, f)
                os.replace(partial, self.path)
            except OSError:
                logger.warning("can not write %s", self.path, exc_info=True)
            self._saved = masters
