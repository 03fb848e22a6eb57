#!/usr/bin/env python3
"""Writes a FileStorage like that of an application, of any size: always the same for a seed.

    benches/generate.py --size 1G --seed 1 Data.fs
    benches/generate.py --size 200M --transaction-size 60K Data.fs

Objects have log-normal sizes (median 400 bytes) and compress like pickles; there are some in a
transaction (log-normal, median 3), and four in five of them are new. Trees of BTrees hold
them, which are filled from two connections at once: their conflicts are resolved. Some
transactions are undone, or redone; some objects are deleted. Nothing refers to what does not
exist, and classes are those of persistent and BTrees.
"""

import argparse
import random
import sys
from base64 import encodebytes
from bisect import bisect
from functools import partial
from itertools import accumulate
from pathlib import Path
from time import gmtime

import transaction
import ZODB
from BTrees.IOBTree import IOBTree
from BTrees.Length import Length
from BTrees.OOBTree import OOBTree
from persistent.mapping import PersistentMapping
from persistent.TimeStamp import TimeStamp
from ZODB.Connection import TransactionMetaData
from ZODB.FileStorage import FileStorage
from ZODB.POSException import ConflictError, POSKeyError, UndoError
from ZODB.utils import z64

#: Medians of both distributions, and the deviations of their logarithms.
OBJECT_BYTES = 400, 1.2
TRANSACTION_OBJECTS = 3, 0.9

#: Largest object.
MAX_OBJECT_BYTES = 4 << 20

#: Share of objects of a transaction that are there already.
EDITED = 0.2

#: Shares of transactions that undo another one, or delete objects.
UNDOS = 0.02
DELETIONS = 0.02

#: Share of the additions to trees that are made by two connections at once.
CONFLICTS = 0.2

#: Groups of objects that one transaction adds to trees, with or without a given size.
LINKED = 8
LINKED_LARGE = 100

#: What is remembered of the past: memory does not grow with the file (its index does).
KNOWN_OBJECTS = 20_000
KNOWN_GROUPS = 200
KNOWN_TRANSACTIONS = 40

#: When the first transaction was committed: 2020-01-01 00:00 UTC.
EPOCH = 1577836800

USERS = ("", "admin", "/ jim", "Zoë", "/plone/acl_users cron")
PATHS = ("", "/site/front-page/edit", "/site/news/manage_addFolder", "Größe geändert", "reindex")

CLASS = b"cpersistent.mapping\nPersistentMapping\n"


class Storage(FileStorage):
    """Its clock is drawn, and nothing is made durable before the end."""

    def __init__(self, path, draw):
        self.draw = draw
        self.now = EPOCH
        super().__init__(str(path), create=True)

    def tpc_begin(self, transaction, tid=None, status=" "):
        self.now += 1 + self.draw.expovariate(1 / 30)
        tid = TimeStamp(*gmtime(self.now)[:5], self.now % 60).raw()
        super().tpc_begin(transaction, tid, status)

    def _finish_finish(self, tid):
        self._file.flush()
        self._pos = self._nextpos
        self._index.update(self._tindex)
        self._ltid = tid


class Text:
    """Strings in pickles, cut out of a long list of them."""

    def __init__(self, draw):
        letters = "eeeetttaaoooinnsshrdlcumwfgypbvk"
        words = ["".join(draw.choices(letters, k=draw.randint(2, 11))) for _ in range(1000)]
        # A few words are most of a text.
        weights = [1 / (i + 3) for i in range(len(words))]
        flow = iter(draw.choices(words, weights, k=400_000))
        rows = []
        for _ in range(20_000):
            row = " ".join(next(flow) for _ in range(draw.randint(1, 14))).encode()
            rows.append(b"X" + len(row).to_bytes(4, "little") + row)
        self.data = b"".join(rows)
        self.ends = [0, *accumulate(map(len, rows))]

    def cut(self, draw, size):
        """About `size` bytes of whole strings."""
        whole, size = divmod(size, len(self.data))
        start = draw.randrange(len(self.ends) - 1)
        end = bisect(self.ends, self.ends[start] + size, lo=start + 1, hi=len(self.ends) - 1)
        return self.data * whole + self.data[self.ends[start] : self.ends[end]]


def record(text, parts):
    """A PersistentMapping that holds strings, and refers to the objects `parts`."""
    references = b"".join(b"C\x08%sh\x00\x86Q" % oid for oid in parts)
    if references:
        # The class is named once, as pickle does.
        references = CLASS + b"q\x000" + b"X\x05\x00\x00\x00parts](" + references + b"e"
    return (b"\x80\x03%s.\x80\x03}X\x04\x00\x00\x00data}(%sX\x04\x00\x00\x00rows](%seus.") % (
        CLASS,
        references,
        text,
    )


class Generator:
    """See the module."""

    def __init__(self, path, seed=0, transaction_size=None):
        self.draw = random.Random(seed)
        self.transaction_size = transaction_size
        self.text = Text(self.draw)
        self.storage = Storage(path, self.draw)
        self.db = ZODB.DB(self.storage, cache_size=2000, pool_size=2)
        self.managers = [transaction.TransactionManager() for _ in range(2)]
        self.connections = [self.db.open(manager) for manager in self.managers]
        #: Objects without parts, that can be edited: their serials.
        self.serials = {}
        self.known = []
        #: Groups that are not in a tree yet: [(oid, transaction)].
        self.pending = []
        #: Groups whose parts can be deleted: {oid: parts}.
        self.groups = {}
        #: Transactions that can be undone: [(tid, kind)].
        self.undoable = []
        self.counts = dict.fromkeys(
            ("transactions", "objects", "edits", "resolved", "undos", "deletions"), 0
        )
        self.number = 0
        self.make_trees()

    def make_trees(self):
        manager, connection = self.managers[0], self.connections[0]
        with manager:
            root = connection.root()
            root["by_number"], root["by_title"], root["count"] = IOBTree(), OOBTree(), Length()
        self.counts["transactions"] += 2

    def run(self, size):
        """Goes on until the file has `size` bytes, and closes it. Returns what was made."""
        linked = LINKED_LARGE if self.transaction_size else LINKED
        while self.storage.getSize() < size:
            self.create()
            if len(self.pending) >= linked:
                self.link()
            if not self.transaction_size:
                luck = self.draw.random()
                if luck < UNDOS:
                    self.undo()
                elif luck < UNDOS + DELETIONS:
                    self.delete()
        if self.pending:
            self.link()
        self.db.close()
        return self.counts

    def lognormal(self, median, deviation):
        return round(median * self.draw.lognormvariate(0, deviation))

    def new_text(self):
        size = min(self.lognormal(*OBJECT_BYTES), MAX_OBJECT_BYTES)
        # Around it: two pickles.
        return self.text.cut(self.draw, max(size - 110, 1))

    def commit(self, work):
        """A transaction in which `work` uses the storage. Returns (tid, what `work` returned)."""
        draw = self.draw
        extension = {"request_type": "Plone"} if draw.random() < 0.1 else {}
        txn = TransactionMetaData(draw.choice(USERS), draw.choice(PATHS), extension)
        self.storage.tpc_begin(txn)
        try:
            result = work(txn)
            self.storage.tpc_vote(txn)
            tid = self.storage.tpc_finish(txn)
        except BaseException:
            self.storage.tpc_abort(txn)
            raise
        self.counts["transactions"] += 1
        return tid, result

    def create(self):
        """A group of new objects, with those that are edited at the same time."""
        draw, storage = self.draw, self.storage
        parts, edited = [], set()
        wanted = max(1, self.lognormal(*TRANSACTION_OBJECTS))

        def is_enough(size):
            return size >= self.transaction_size if self.transaction_size else wanted == 0

        def work(txn):
            nonlocal wanted
            size = 0
            while True:
                wanted -= 1
                data = self.new_text()
                size += len(data)
                if is_enough(size):
                    break
                data = record(data, ())
                if self.known and draw.random() < EDITED and not self.transaction_size:
                    oid = draw.choice(self.known)
                    if oid not in edited:
                        storage.store(oid, self.serials[oid], data, "", txn)
                        edited.add(oid)
                else:
                    parts.append(storage.new_oid())
                    storage.store(parts[-1], z64, data, "", txn)
            head = storage.new_oid()
            storage.store(head, z64, record(data, parts), "", txn)
            return head

        tid, head = self.commit(work)
        self.counts["objects"] += len(parts) + 1
        self.counts["edits"] += len(edited)
        for oid in edited:
            self.serials[oid] = tid
        for oid in parts:
            self.know(oid, tid)
        self.pending.append((head, tid))
        self.groups[head] = tid, parts
        if len(self.groups) > KNOWN_GROUPS:
            del self.groups[next(iter(self.groups))]
        self.remember(tid, "create")

    def know(self, oid, tid):
        if len(self.known) < KNOWN_OBJECTS:
            self.known.append(oid)
        else:
            i = self.draw.randrange(KNOWN_OBJECTS)
            del self.serials[self.known[i]]
            self.known[i] = oid
        self.serials[oid] = tid

    def forget(self, oid):
        if self.serials.pop(oid, None):
            i = self.known.index(oid)
            self.known[i] = self.known[-1]
            self.known.pop()

    def remember(self, tid, kind):
        self.undoable.append((tid, kind))
        del self.undoable[:-KNOWN_TRANSACTIONS]

    def link(self):
        """Adds groups to trees, from one connection or, with conflicts, from two."""
        heads = [head for head, _ in self.pending]
        self.pending.clear()
        # From now on, the creation of these cannot be undone.
        self.undoable = [(tid, kind) for tid, kind in self.undoable if kind != "create"]
        if len(heads) < 2 or self.draw.random() >= CONFLICTS:
            return self.add(0, heads)
        middle = len(heads) // 2
        for i in (0, 1):
            self.fill(i, heads[middle * i : middle * (i + 1) or None])
        self.managers[0].commit()
        self.linked()
        try:
            self.managers[1].commit()
        except ConflictError:
            self.managers[1].abort()
            self.add(1, heads[middle:])
        else:
            self.linked()
            self.counts["resolved"] += 1
        return None

    def add(self, i, heads):
        self.fill(i, heads)
        self.managers[i].commit()
        self.linked()

    def fill(self, i, heads):
        manager, connection = self.managers[i], self.connections[i]
        txn = manager.begin()
        txn.note("indexed")
        root = connection.root()
        for oid in heads:
            ghost = connection._cache.get(oid)
            if ghost is None:
                ghost = PersistentMapping.__new__(PersistentMapping)
                connection._cache.new_ghost(oid, ghost)
            self.number += 1
            root["by_number"][self.number] = ghost
            if self.draw.random() < 0.2:
                root["by_title"][f"document {self.draw.getrandbits(40):x}"] = ghost
        root["count"].change(len(heads))

    def linked(self):
        self.counts["transactions"] += 1
        self.remember(self.storage.lastTransaction(), "link")

    def undo(self):
        """Undoes one of the last transactions: what it wrote must not have changed since."""
        for _ in range(5):
            if not self.undoable:
                return
            undone, kind = self.undoable.pop(self.draw.randrange(len(self.undoable)))
            identifier = encodebytes(undone).rstrip()
            try:
                tid, (_, oids) = self.commit(partial(self.storage.undo, identifier))
                break
            except (UndoError, ConflictError, POSKeyError):
                continue
        else:
            return
        self.counts["undos"] += 1
        if kind == "create":
            self.pending = [x for x in self.pending if x[1] != undone]
        else:
            self.remember(tid, "undo")
        for connection in self.connections:
            connection.cacheMinimize()
        for oid in oids:
            self.groups.pop(oid, None)
            self.forget(oid)

    def delete(self):
        """Deletes a part of a group, which does not refer to it any more."""
        choices = [
            (head, oid)
            for head, (_, parts) in self.groups.items()
            for oid in parts
            if oid in self.serials
        ]
        if not choices:
            return
        head, oid = self.draw.choice(choices)
        serial, parts = self.groups.pop(head)
        rest = [x for x in parts if x != oid]
        data = record(self.new_text(), rest)

        def work(txn):
            self.storage.store(head, serial, data, "", txn)
            self.storage.deleteObject(oid, self.serials[oid], txn)

        tid, _ = self.commit(work)
        self.counts["deletions"] += 1
        self.counts["edits"] += 1
        self.forget(oid)
        self.remember(tid, "delete")


def generate(path, size, seed=0, transaction_size=None):
    """Writes `size` bytes, or somewhat more, into a new FileStorage. Returns what it holds."""
    for suffix in ("", ".index", ".lock", ".tmp"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)
    return Generator(path, seed, transaction_size).run(size)


def number(text):
    """Bytes: `4M`, `60K`."""
    units = {"K": 10, "M": 20, "G": 30}
    unit = units.get(text[-1:].upper())
    return int(text) if unit is None else int(float(text[:-1]) * (1 << unit))


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", type=Path)
    parser.add_argument("--size", type=number, default="4M", help="%(default)s")
    parser.add_argument("--seed", type=int, default=0, help="%(default)s")
    parser.add_argument("--transaction-size", type=number, help="of objects, for all transactions")
    options = parser.parse_args()
    if options.file.exists():
        sys.exit(f"{options.file} exists")
    counts = generate(options.file, options.size, options.seed, options.transaction_size)
    print(", ".join(f"{count:,} {what}" for what, count in counts.items()))


if __name__ == "__main__":
    main()
