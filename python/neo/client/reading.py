"""What a storage reads besides single revisions."""

from collections.abc import Callable, Iterable
from typing import Any

from . import iterators, undolog
from .app import Application

__all__ = ["Reading"]


class Reading:
    """What `Storage` inherits."""

    app: Application

    def __len__(self) -> int:
        """An upper bound of the number of objects: the last OID that was given to an application,
        or chosen by one. Nothing counts objects; those that were deleted, and OIDs that other
        processes keep for later, are in it."""
        return self.app.getObjectCount()

    def getSize(self) -> int:
        """A guess of the size of the database in bytes, for people: 300 for each object that
        there can be."""
        return 300 * len(self)

    def is_connected(self) -> bool:
        """Whether the cluster can be asked at once."""
        return self.app.client.geometry is not None

    def is_read_only(self) -> bool:
        return self.app.read_only

    def getExtensionMethods(self) -> dict[str, Any]:
        """Methods for ZEO to forward: none."""
        return {}

    def prefetch(self, oids: Iterable[bytes], tid: bytes) -> None:
        """Has the last revisions before `tid` loaded in the cache, without waiting for them."""
        self.app.past.prefetch(iter(oids), tid)

    def record_iternext(
        self, next: bytes | None = None
    ) -> tuple[bytes, bytes, bytes, bytes | None]:
        """OID, serial and data of an object as of the first call, and what to give to the next
        call, or None at the end. `next` can be an OID to begin with. ValueError if no object is
        left."""
        return self.app.current_records.after(next)

    def lastInvalidations(self, size: int) -> list[tuple[bytes, list[bytes]]]:
        """The last transactions with the objects they wrote, oldest first."""
        return undolog.last_transactions(self.app, size)

    def _iterator(
        self, start: bytes | None = None, stop: bytes | None = None
    ) -> iterators.Transactions:
        return iterators.Transactions(self.app, start, stop)

    @property
    def iterator(self) -> Callable[..., iterators.Transactions]:
        """Function of two included TIDs."""
        return self._iterator

    def history(
        self, oid: bytes, size: int = 1, filter: iterators.Filter | None = None
    ) -> list[iterators.Entry]:
        """The last revisions of an object, newest first."""
        return iterators.history(self.app, oid, size, filter)

    def undoLog(
        self, first: int = 0, last: int = -20, filter: iterators.Filter | None = None
    ) -> list[iterators.Entry]:
        """Transactions that can be undone, newest first, from one place of that list to another
        one; a negative `last` is how many."""
        return undolog.log(self.app, first, last, filter)

    def undoInfo(
        self, first: int = 0, last: int = -20, specification: dict[str, Any] | None = None
    ) -> list[iterators.Entry]:
        """The same for those that have all items of `specification`."""
        wanted = (specification or {}).items()
        return self.undoLog(first, last, lambda entry: wanted <= entry.items())
