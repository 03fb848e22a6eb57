"""What is measured: rows of the table."""

import shutil
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from clients import Clients
from past import TRANSACTIONS, mb_s
from peers import PEERS
from work import BULK, SIZE, SMALL

#: Objects that are there to be read.
POPULATION = 4000


class Row(NamedTuple):
    """A row: what it says, whether more is better, clients, and how it is measured.

    `work` is given a contender, the options of the run and the number of the round.
    """

    unit: str
    more: bool
    clients: int
    work: Callable[[Any, Any, int], float]


def commits(count):
    def work(contender, options, round):
        clients = contender.clients[count]
        results = clients("commits", count=options.commits // count, seconds=10)
        return sum(x["rate"] for x in results)

    return work


def one(name, **fixed):
    """What a client returns, as it is. Functions in `fixed` are given the contender."""

    def work(contender, options, round):
        given = {
            key: value(contender) if callable(value) else value for key, value in fixed.items()
        }
        return contender.clients[1](name, **given)[0]

    return work


def bulk(contender, options, round):
    return contender.clients[1]("bulk", transactions=5, seed=round)[0]["mb_s"]


def cold(contender, options, round):
    first, *oids = contender.oids[:2001]
    return contender.clients[1]("cold", oids=oids, first=first)[0]["median_us"]


def cached(key):
    def work(contender, options, round):
        oids = contender.oids[:1000]
        return contender.clients[1]("cached", oids=oids, seconds=options.seconds)[0][key]

    return work


def undone(contender, options, round):
    return contender.clients[1]("undone", count=max(options.commits // 10, 1), seed=round)[0]


class Fresh:
    """A storage with nothing in it, beside the one that is measured otherwise."""

    def __init__(self, contender):
        self.folder = contender.peer.folder.parent / "fresh"
        self.peer = PEERS[contender.peer.name](self.folder)

    def __enter__(self):
        self.peer.start()
        self.clients = Clients(self.peer, 1)
        return self

    def __exit__(self, *_):
        self.clients.close()
        self.peer.stop()
        shutil.rmtree(self.folder)


def put_in(fresh, path):
    """By the library: every storage can."""
    return fresh.clients("copied_in", path=str(path))[0]


def take_out(fresh):
    path = fresh.folder / "out.fs"
    return fresh.clients("copied_out", path=str(path))[0]


def copied_in(contender, options, round):
    with Fresh(contender) as fresh:
        return put_in(fresh, options.generated)


def copied_out(contender, options, round):
    with Fresh(contender) as fresh:
        put_in(fresh, options.generated)
        return take_out(fresh)


def packed(contender, options, round):
    with Fresh(contender) as fresh:
        put_in(fresh, options.generated)
        return fresh.clients("packed", size=options.generated.stat().st_size)[0]


def migrated_in(contender, options, round):
    """By the tool that its users have for it."""
    with Fresh(contender) as fresh:
        if not fresh.peer.migrate:
            return put_in(fresh, options.generated)
        start = time.perf_counter()
        fresh.peer.migrate(options.generated, None)
        return mb_s(options.generated.stat().st_size, start)


def migrated_out(contender, options, round):
    with Fresh(contender) as fresh:
        put_in(fresh, options.generated)
        if not fresh.peer.migrate:
            return take_out(fresh)
        out = fresh.folder / "out.fs"
        start = time.perf_counter()
        fresh.peer.migrate(None, out)
        return mb_s(out.stat().st_size, start)


ROWS = {
    "commits-1": Row(f"commits/s, 1 object of {SMALL} bytes, 1 client", True, 1, commits(1)),
    "commits-4": Row(f"commits/s, 1 object of {SMALL} bytes, 4 clients", True, 4, commits(4)),
    "bulk": Row(f"MB/s, {BULK} new objects of {SIZE} bytes in a transaction", True, 1, bulk),
    "cold": Row("us, a load that no client cache knows", False, 1, cold),
    "cached": Row("loads/s from the cache, by a connection (MVCCAdapter)", True, 1, cached("rate")),
    "cached-bare": Row("loads/s from the cache, storage.load()", True, 1, cached("bare_rate")),
    "prefetch": Row(
        "loads/s of 1000 objects after their prefetch, by a connection",
        True,
        1,
        one("prefetched", oids=lambda x: x.oids[1:1001], first=lambda x: x.oids[0]),
    ),
    "iteration": Row(
        f"records/s, an iteration over {TRANSACTIONS} transactions",
        True,
        1,
        one("iterated", tids=lambda x: x.past[0]),
    ),
    "history": Row(
        "us, the last 20 revisions of an object",
        False,
        1,
        one("history", oid=lambda x: x.past[1]),
    ),
    "load-before": Row(
        "us, loadBefore of a revision that no client cache knows",
        False,
        1,
        one("load_before", oid=lambda x: x.past[1], tids=lambda x: x.past[0]),
    ),
    "undo": Row("us, a transaction that undoes the last one", False, 1, undone),
    "pack": Row("MB/s, pack of all old revisions, without garbage collection", True, 1, packed),
    "copy-in": Row("MB/s, copyTransactionsFrom(FileStorage)", True, 1, copied_in),
    "copy-out": Row("MB/s, FileStorage.copyTransactionsFrom(storage)", True, 1, copied_out),
    "migrate-in": Row(
        "MB/s, import of a FileStorage by neomigrate or zodbconvert", True, 1, migrated_in
    ),
    "migrate-out": Row("MB/s, export to a FileStorage by the same", True, 1, migrated_out),
}
