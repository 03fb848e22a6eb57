"""Transactions of the past."""

from collections.abc import Callable, Iterator
from itertools import islice
from pickle import loads
from typing import Any

from persistent.TimeStamp import TimeStamp
from ZODB.BaseStorage import DataRecord, TransactionRecord
from ZODB.utils import maxtid, z64

from neo import _neo

from .app import Application

#: User, description, extension, whether it is packed, OIDs.
Information = tuple[bytes, bytes, bytes, bool, list[bytes]]

Entry = dict[str, Any]
Filter = Callable[[Entry], bool]


class Transaction(TransactionRecord):
    """A transaction, that gives its records. It does not keep them."""

    def __init__(
        self,
        tid: bytes,
        user: bytes,
        description: bytes,
        extension: bytes,
        packed: bool,
        records: _neo.Records,
    ) -> None:
        super().__init__(tid, "p" if packed else " ", user, description, extension)
        self._records = records

    @property
    def oid_list(self) -> list[bytes]:
        """Objects that it stored, deleted or checked."""
        return self._records.oids

    def __iter__(self) -> Iterator[DataRecord]:
        """Its records in that order. There is none of an object that was only checked."""
        tid = self.tid
        place: int | None = 0
        while place is not None:
            records, place = self._records.some(place)
            for oid, data, data_tid in records:
                yield DataRecord(oid, tid, data, data_tid)


class Transactions:
    """Transactions between two included TIDs, ascending; none that is committed later.

    Metadata is asked for by pages, ahead; records for several transactions at once, when the first
    of them is iterated.
    """

    def __init__(
        self, app: Application, start: bytes | None = None, stop: bytes | None = None
    ) -> None:
        self._iteration = app.past.iterate(start or z64, maxtid if stop is None else stop)
        self._transactions = self._iterate()

    def _iterate(self) -> Iterator[Transaction]:
        while page := self._iteration.page():
            for transaction in page:
                yield Transaction(*transaction)

    def __iter__(self) -> Iterator[Transaction]:
        return self._transactions

    def __next__(self) -> Transaction:
        return next(self._transactions)

    def close(self) -> None:
        """Frees everything."""
        self._transactions = iter(())
        self._iteration.close()


def describe(information: Information, tid: bytes) -> Entry:
    """What is shown of a transaction to people."""
    user, description, extension, _, _ = information
    entry: Entry = loads(extension) if extension else {}
    entry.update(time=TimeStamp(tid).timeTime(), user_name=user, description=description)
    return entry


def log(
    app: Application, start: bytes, stop: bytes, limit: int
) -> tuple[bytes | None, list[Entry]]:
    """See `Application.transactionLog`."""
    transactions = Transactions(app, start, stop)
    entries: list[Entry] = [
        {
            "time": TimeStamp(transaction.tid).timeTime(),
            "user_name": transaction.user,
            "description": transaction.description,
            "id": transaction.tid,
            "oids": transaction.oid_list,
            "packed": transaction.status == "p",
            "ext": transaction.extension,
        }
        for transaction in islice(transactions, max(limit, 0))
    ]
    transactions.close()
    return (entries[-1]["id"] if entries else None), entries


def history(app: Application, oid: bytes, size: int, filter: Filter | None) -> list[Entry]:
    """The last revisions of an object, newest first: `size` of those that `filter` wants."""
    result: list[Entry] = []
    place = 0
    wanted = max(size, 1)
    while True:
        try:
            revisions = app.past.history(oid, place, place + wanted)
        except KeyError:
            if place:
                return result
            raise
        transactions = app.past.transactions([serial for serial, _ in revisions])
        for (serial, length), information in zip(revisions, transactions, strict=True):
            if len(result) >= size:
                return result
            entry = describe(information, serial)
            entry.update(tid=serial, serial=serial, version="", size=length)
            if filter is None or filter(entry):
                result.append(entry)
        place += wanted
        if len(result) >= size or len(revisions) < wanted:
            return result
