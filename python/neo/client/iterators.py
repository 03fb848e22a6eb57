"""Transactions of the past."""

from collections.abc import Callable, Iterator
from pickle import loads
from typing import Any

from persistent.TimeStamp import TimeStamp
from ZODB.BaseStorage import DataRecord, TransactionRecord
from ZODB.utils import maxtid, p64, u64, z64

from .app import Application
from .exception import NEOStorageError, NEOStorageNotFoundError

#: Transactions asked at once.
PAGE = 100


class Transaction(TransactionRecord):
    """A transaction, that gives its records."""

    def __init__(self, app: Application, tid: bytes) -> None:
        user, description, extension, packed, self.oid_list = app.client.transaction(tid)
        super().__init__(tid, "p" if packed else " ", user, description, extension)
        self._app = app

    def __iter__(self) -> Iterator[DataRecord]:
        for oid in self.oid_list:
            try:
                data, data_tid = self._app.client.revision(oid, self.tid)
            except NEOStorageNotFoundError:
                # Only checked, or packed.
                continue
            yield DataRecord(oid, self.tid, data, data_tid)


class Transactions:
    """Transactions between two included TIDs, ascending."""

    def __init__(self, app: Application, start: bytes | None, stop: bytes | None) -> None:
        self._app = app
        last = app.last_tid
        self._start = start or z64
        self._stop = last if stop is None else min(stop, last)
        self._page: Iterator[bytes] = iter(())
        self._closed = False

    def __iter__(self) -> "Transactions":
        return self

    def __next__(self) -> Transaction:
        if self._closed:
            raise StopIteration
        tid = next(self._page, None)
        if tid is None:
            tids = self._next_page()
            if not tids:
                self.close()
                raise StopIteration
            self._page = iter(tids)
            tid = next(self._page)
        return Transaction(self._app, tid)

    def _next_page(self) -> list[bytes]:
        start, stop = self._start, self._stop
        tids: list[bytes] = []
        if start > stop or start > maxtid:
            return tids
        for partition in range(self._app.pt.partitions):
            tids += self._app.client.tids(start, stop, PAGE, partition)
            tids.sort()
            if len(tids) >= PAGE:
                del tids[PAGE:]
                # What comes after is for another page.
                stop = tids[-1]
        if tids:
            self._start = p64(u64(tids[-1]) + 1)
        return tids

    def close(self) -> None:
        self._closed = True
        self._page = iter(())


def describe(
    information: tuple[bytes, bytes, bytes, bool, list[bytes]], tid: bytes
) -> dict[str, Any]:
    """What is shown of a transaction to people."""
    user, description, extension, _, _ = information
    entry: dict[str, Any] = loads(extension) if extension else {}
    entry.update(time=TimeStamp(tid).timeTime(), user_name=user, description=description)
    return entry


def history(
    app: Application, oid: bytes, size: int, filter: Callable[[dict[str, Any]], bool] | None
) -> list[dict[str, Any]]:
    """The last revisions of an object, newest first."""
    result = []
    for serial, length in app.client.history(oid, size):
        entry = describe(app.client.transaction(serial), serial)
        entry.update(tid=serial, serial=serial, version="", size=length)
        if filter is None or filter(entry):
            result.append(entry)
    return result


def copy(source: Any, destination: Any) -> None:
    """Copies all transactions of a storage to another one, that only has older ones."""
    serials: dict[bytes, bytes] = {}
    for transaction in source.iterator():
        tid = transaction.tid
        destination.tpc_begin(transaction, tid, transaction.status)
        try:
            for record in transaction:
                oid = record.oid
                base = serials.get(oid) or _current(destination, oid)
                destination.store(oid, base, record.data, "", transaction)
                serials[oid] = tid
            if destination.tpc_vote(transaction):
                raise NEOStorageError(f"conflicts while {tid.hex()} was copied")
            if destination.tpc_finish(transaction) != tid:
                raise NEOStorageError(f"{tid.hex()} was copied with another TID")
        finally:
            destination.tpc_abort(transaction)


def _current(storage: Any, oid: bytes) -> bytes:
    try:
        serial: bytes = storage.getTid(oid)
    except KeyError:
        return bytes(z64)
    return serial
