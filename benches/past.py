"""What clients of a storage do while they are measured: its past, and whole databases."""

import contextlib
import random
import time
from pathlib import Path

from work import commit, payload, snapshot
from ZODB.Connection import TransactionMetaData
from ZODB.FileStorage import FileStorage
from ZODB.serialize import referencesf
from ZODB.utils import z64

#: A past that is there to be read: transactions, objects of each, size of an object in bytes.
#: The first object of all is the same one.
TRANSACTIONS = 300
OBJECTS = 4
BYTES = 400


def timed(work, items):
    """Microseconds that `work` takes for an item."""
    start = time.perf_counter()
    for item in items:
        work(item)
    return (time.perf_counter() - start) / len(items) * 1e6


def live(storage, seed):
    """Writes a past. Returns TIDs, and the object that all of them changed."""
    draw = random.Random(seed)
    changed, serial = storage.new_oid(), z64
    tids = []
    for _ in range(TRANSACTIONS):
        records = [(storage.new_oid(), z64, payload(draw, BYTES)) for _ in range(OBJECTS - 1)]
        serial = commit(storage, [(changed, serial, payload(draw, BYTES)), *records])
        tids.append(serial)
    return tids, changed


def prefetched(storage, barrier, oids, first):
    """Loads of objects that a connection announced, per second."""
    with snapshot(storage) as instance:
        instance.load(first)
        barrier.wait()
        start = time.perf_counter()
        if hasattr(instance, "prefetch"):
            instance.prefetch(oids)
        for oid in oids:
            instance.load(oid)
        return len(oids) / (time.perf_counter() - start)


def iterated(storage, barrier, tids):
    """Records that an iteration gives, per second."""
    storage.lastTransaction()
    barrier.wait()
    start = time.perf_counter()
    found = sum(
        len(record.data) > 0
        for transaction in storage.iterator(tids[0], tids[-1])
        for record in transaction
    )
    elapsed = time.perf_counter() - start
    assert found == TRANSACTIONS * OBJECTS, found
    return found / elapsed


def history(storage, barrier, oid):
    """Lists of the last 20 revisions of an object."""

    def work(_):
        assert len(storage.history(oid, size=20)) == 20

    work(0)
    barrier.wait()
    return timed(work, range(20))


def undone(storage, barrier, count, seed):
    """Transactions that undo the last one."""
    draw = random.Random(seed)
    oid = storage.new_oid()
    serial = commit(storage, [(oid, z64, payload(draw, BYTES))])
    commit(storage, [(oid, serial, payload(draw, BYTES))])
    barrier.wait()
    elapsed = 0.0
    for _ in range(count):
        identifier = storage.undoLog(0, 1)[0]["id"]
        start = time.perf_counter()
        txn = TransactionMetaData("bench", "undo")
        storage.tpc_begin(txn)
        storage.undo(identifier, txn)
        storage.tpc_vote(txn)
        storage.tpc_finish(txn)
        elapsed += time.perf_counter() - start
    return elapsed / count * 1e6


def load_before(storage, barrier, oid, tids):
    """Loads of old revisions, each once."""
    # Some storages only do it by an instance.
    with contextlib.ExitStack() as stack:
        if hasattr(storage, "new_instance"):
            storage = stack.enter_context(snapshot(storage))
        storage.loadBefore(oid, tids[1])

        def work(tid):
            assert storage.loadBefore(oid, tid)

        barrier.wait()
        return timed(work, tids[2:])


def mb_s(size, start):
    return size / 1e6 / (time.perf_counter() - start)


def copied_in(storage, barrier, path):
    """A FileStorage, copied into an empty storage by its own method."""
    source = FileStorage(path, read_only=True)
    storage.lastTransaction()
    barrier.wait()
    start = time.perf_counter()
    storage.copyTransactionsFrom(source)
    rate = mb_s(source.getSize(), start)
    source.close()
    return rate


def copied_out(storage, barrier, path):
    """The whole storage, copied into a FileStorage by the method of that one."""
    Path(path).unlink(missing_ok=True)
    destination = FileStorage(path, create=True)
    storage.lastTransaction()
    barrier.wait()
    start = time.perf_counter()
    destination.copyTransactionsFrom(storage)
    rate = mb_s(destination.getSize(), start)
    destination.close()
    return rate


def packed(storage, barrier, size):
    """All old revisions are removed, of `size` bytes in all; unreachable objects are kept."""
    storage.lastTransaction()
    barrier.wait()
    # Years after the last transaction of a generated database.
    now, start = time.time(), time.perf_counter()
    storage.pack(now, referencesf)
    return mb_s(size, start)


WORK = {
    "live": lambda storage, barrier, **options: live(storage, **options),
    "prefetched": prefetched,
    "iterated": iterated,
    "history": history,
    "undone": undone,
    "load_before": load_before,
    "copied_in": copied_in,
    "copied_out": copied_out,
    "packed": packed,
}
