"""What clients of a storage do while they are measured: writes, and reads of the present."""

import contextlib
import itertools
import os
import random
import time
import zlib
from statistics import median

from ZODB.Connection import TransactionMetaData
from ZODB.mvccadapter import MVCCAdapter
from ZODB.utils import z64

#: What a small object holds, in bytes.
SMALL = 100

#: Size of the objects that are written in bulk and read, in bytes.
SIZE = 1000

#: Objects of a bulk transaction.
BULK = 1000


def payload(draw, size):
    """Bytes that compress like pickles: to 40% or so."""
    words = [draw.randbytes(draw.randint(2, 9)).hex().encode() for _ in range(size // 12)]
    data = b""
    while len(data) < size:
        data += b"U\x08" + draw.choice(words) + b"q\x01"
    return data[:size]


def compressed_share(draw=None):
    """What zlib leaves of a payload."""
    data = payload(draw or random.Random(0), SIZE)
    return len(zlib.compress(data)) / len(data)


def commit(storage, records):
    """A transaction of (oid, serial, data)."""
    txn = TransactionMetaData("bench", "commit")
    storage.tpc_begin(txn)
    for oid, serial, data in records:
        storage.store(oid, serial, data, "", txn)
    storage.tpc_vote(txn)
    return storage.tpc_finish(txn)


def populate(storage, count, seed):
    """Writes objects, and returns their oids."""
    draw = random.Random(seed)
    oids = [storage.new_oid() for _ in range(count)]
    for i in range(0, count, BULK):
        commit(storage, [(oid, z64, payload(draw, SIZE)) for oid in oids[i : i + BULK]])
    return oids


def commits(storage, barrier, count, seconds):
    """Transactions of one small object, always the same one: so many, within so much time.

    Not simply during some time: every storage asks the disk for as much.
    """
    data = os.urandom(SMALL)
    oid = storage.new_oid()
    serial = commit(storage, [(oid, z64, data)])
    for _ in range(10):
        serial = commit(storage, [(oid, serial, data)])
    barrier.wait()
    times = [time.perf_counter()]
    while len(times) <= count and times[-1] < times[0] + seconds:
        serial = commit(storage, [(oid, serial, data)])
        times.append(time.perf_counter())
    return {
        "rate": (len(times) - 1) / (times[-1] - times[0]),
        "median_us": median(b - a for a, b in itertools.pairwise(times)) * 1e6,
    }


def counted_commits(storage, barrier, count):
    """So many of them."""
    oid = storage.new_oid()
    serial = z64
    barrier.wait()
    for _ in range(count):
        serial = commit(storage, [(oid, serial, b"x" * SMALL)])


def bulk(storage, barrier, transactions, seed):
    """Transactions of many new objects."""
    draw = random.Random(seed)
    data = [[payload(draw, SIZE) for _ in range(BULK)] for _ in range(transactions)]
    oids = [[storage.new_oid() for _ in range(BULK)] for _ in range(transactions)]
    commit(storage, [(storage.new_oid(), z64, b"first")])
    barrier.wait()
    start = time.perf_counter()
    for i in range(transactions):
        commit(storage, [(oid, z64, x) for oid, x in zip(oids[i], data[i], strict=True)])
    elapsed = time.perf_counter() - start
    return {"mb_s": transactions * BULK * SIZE / 1e6 / elapsed}


@contextlib.contextmanager
def snapshot(storage):
    """What a ZODB connection reads from."""
    adapter = storage if hasattr(storage, "new_instance") else MVCCAdapter(storage)
    instance = adapter.new_instance()
    instance.poll_invalidations()
    try:
        yield instance
    finally:
        instance.release()


def cold(storage, barrier, oids, first):
    """Loads of objects that no cache of this client holds."""
    with snapshot(storage) as instance:
        instance.load(first)
        load = instance.load
        clock = time.perf_counter
        times = []
        barrier.wait()
        start = clock()
        for oid in oids:
            before = clock()
            load(oid)
            times.append(clock() - before)
        elapsed = clock() - start
    return {"median_us": median(times) * 1e6, "rate": len(oids) / elapsed}


def cached(storage, barrier, oids, seconds):
    """Loads of objects that the cache of this client holds: by a connection, and bare."""
    with snapshot(storage) as instance:
        for oid in oids:
            instance.load(oid)
        if hasattr(storage, "new_instance"):
            storage = instance
        for oid in oids:
            storage.load(oid)
        barrier.wait()
        return {
            "rate": repeated(instance.load, oids, seconds / 2),
            "bare_rate": repeated(storage.load, oids, seconds / 2),
        }


def repeated(load, oids, seconds):
    clock = time.perf_counter
    done = 0
    now = start = clock()
    while now < start + seconds:
        for oid in oids:
            load(oid)
        done += len(oids)
        now = clock()
    return done / (now - start)


WORK = {
    "populate": lambda storage, barrier, **options: populate(storage, **options),
    "commits": commits,
    "counted_commits": counted_commits,
    "bulk": bulk,
    "cold": cold,
    "cached": cached,
}
