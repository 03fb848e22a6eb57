"""The log of what can be undone, and of what was committed last (spec client.md 8.3, 16.6)."""

from collections.abc import Iterator
from itertools import islice

from ZODB.utils import p64, u64, z64

from .app import TXN_PACK_DESC, Application
from .iterators import Entry, Filter, Information, describe

#: TIDs asked at once in all partitions together, and the least of each.
TIDS = 400
MIN_TIDS = 8

#: Transactions whose metadata is asked for at once.
PAGE = 32


def log(app: Application, first: int, last: int, filter: Filter | None) -> list[Entry]:
    """Transactions that can be undone, newest first, from one place of that list to another."""
    if last < 0:
        last = first - last
    entries = _entries(app)
    wanted = entries if filter is None else (entry for entry in entries if filter(entry))
    return list(islice(wanted, first, max(first, last)))


def last_transactions(app: Application, size: int) -> list[tuple[bytes, list[bytes]]]:
    """The last transactions with their objects, oldest first."""
    # A commit that is being published is waited for.
    app.past.settle()
    found = islice(_transactions(app, z64), max(size, 0))
    return [(tid, information[4]) for tid, information in found][::-1]


def _entries(app: Application) -> Iterator[Entry]:
    for tid, information in _transactions(app, last_pack(app)):
        _, description, _, packed, oids = information
        if packed or (description == TXN_PACK_DESC and not oids):
            continue
        yield {**describe(information, tid), "id": tid}


def _transactions(app: Application, limit: bytes) -> Iterator[tuple[bytes, Information]]:
    """Transactions newer than a TID, descending."""
    tids = _tids(app, limit)
    while page := list(islice(tids, PAGE)):
        yield from zip(page, app.past.transactions(page), strict=True)


def _tids(app: Application, limit: bytes) -> Iterator[bytes]:
    """TIDs newer than a TID, descending, of what was committed before the call."""
    bound = p64(u64(app.last_tid) + 1)
    length = max(TIDS // app.pt.partitions, MIN_TIDS)
    place = 0
    later: list[bytes] = []
    while True:
        lists = app.past.last_tids(place, place + length)
        place += length
        # Below the last TID of a list that goes on, others may have some between.
        limits = [tids[-1] for tids in lists if len(tids) == length]
        complete = max(limits, default=z64)
        later += (tid for tids in lists for tid in tids)
        later.sort(reverse=True)
        for tid in later:
            if tid < complete:
                break
            if tid <= limit:
                return
            # What is committed meanwhile is not wanted, and shifts the others.
            if tid < bound:
                bound = tid
                yield tid
        if not limits:
            return
        later = [tid for tid in later if tid < complete]


def last_pack(app: Application) -> bytes:
    """The TID of the last pack of all objects that was approved: what is not newer is packed, or
    will be at any moment."""
    known, last = app.known_packs
    if known > app.last_tid:
        # The database was truncated.
        known = last = z64
    is_known = True
    for order, approved, partial, tid in app.past.pack_orders(p64(u64(known) + 1)):
        if approved and not partial:
            last = max(last, tid)
        # One that is not decided yet must be asked for again.
        is_known = is_known and approved is not None
        if is_known:
            known = order
    app.known_packs = known, last
    return last
