"""Iteration over current records (spec client.md 16.3)."""

import threading
from typing import TYPE_CHECKING

from ZODB.utils import z64

if TYPE_CHECKING:
    from .app import Application

__all__ = ["CurrentRecords"]

#: Size of a group of records, in bytes, if they are as big as the last ones.
BUDGET = 8 << 20

#: Records read at once, at first and at most.
FIRST, MOST = 32, 1000

#: Groups of records that are kept for those who did not ask for the next record yet.
KEPT = 4

Record = tuple[bytes, bytes, bytes]


class CurrentRecords:
    """Iteration over the current records of a database, in steps that know nothing of each other.

    What is given back is the snapshot (a TID) and the next OID. Records that were read together
    with those that were asked for are kept for a while.
    """

    def __init__(self, app: "Application") -> None:
        self._app = app
        self._lock = threading.Lock()
        self._kept: dict[bytes, tuple[list[Record], bytes | None]] = {}
        self._length = FIRST

    def after(self, following: bytes | None) -> tuple[bytes, bytes, bytes, bytes | None]:
        """A record, and what to give for the following one. ValueError if there is none."""
        if following is None or len(following) == 8:
            following = self._app.last_tid + (following or z64)
        elif len(following) != 16:
            raise ValueError("not what was given for the following record, nor an OID")
        snapshot = following[:8]
        with self._lock:
            records, after = self._kept.pop(following, ([], following[8:]))
        if not records:
            records, after = self._read(snapshot, after)
            if not records:
                raise ValueError("there is no record any more")
        # Last first.
        oid, tid, data = records.pop()
        if not records:
            records, after = self._read(snapshot, after)
        if not records:
            return oid, tid, data, None
        following = snapshot + records[-1][0]
        with self._lock:
            self._kept[following] = records, after
            while len(self._kept) > KEPT:
                del self._kept[next(iter(self._kept))]
        return oid, tid, data, following

    def _read(self, snapshot: bytes, first: bytes | None) -> tuple[list[Record], bytes | None]:
        """Records from an OID on, in reverse, and the OID to go on with."""
        records: list[Record] = []
        while first is not None and not records:
            records, first = self._app.past.records(snapshot, first, self._length)
        if records:
            size = sum(len(data) for _, _, data in records) // len(records)
            self._length = min(max(BUDGET // max(size, 1), 1), MOST)
        return records[::-1], first
