"""What clients were promised, written down before anything can be lost, and the judgement of it.

A transaction of a client writes records that name it. Its journal holds a line before the first
request, and another one for its outcome:

- `ack`: tpc_finish returned this TID. All of it is there, for ever.
- `failed`: it failed before tpc_finish. Nothing of it is there.
- none, or `unknown`: all of it is there or nothing.
"""

import io
import json
import os
import pickle
import random
from collections import Counter
from typing import NamedTuple

from ZODB.POSException import POSKeyError
from ZODB.utils import p64, u64, z64

#: After every revision.
END = p64(2**63 - 1)


def record(class_path, state):
    """Data of an object, as ZODB writes it."""
    return pickle.dumps((class_path, None), 2) + pickle.dumps(state, 2)


def state_of(data):
    """The state in it."""
    file = io.BytesIO(data)
    pickle.load(file)
    return pickle.load(file)


def stamped(client, number, oid, base):
    """Data that says which transaction wrote it, over which serial."""
    draw = random.Random(f"{client} {number} {u64(oid)}")
    filling = draw.randbytes(draw.choice((0, 50, 1000, 5000)))
    # Nothing that could resolve conflicts.
    path = ("persistent.mapping", "PersistentMapping")
    return record(path, {"by": (client, number), "base": base, "filling": filling})


def counted(value):
    """Data of a counter: conflicts are resolved by adding up."""
    return record(("BTrees.Length", "Length"), value)


class Journal:
    """The file of a client. Each line goes to the system at once."""

    def __init__(self, path):
        self.file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def write(self, kind, number, **facts):
        line = json.dumps({"kind": kind, "number": number, **facts}) + "\n"
        os.write(self.file, line.encode())


class Transaction(NamedTuple):
    client: str
    number: int
    oids: list
    counter: bool
    outcome: str
    tid: bytes


def read(path):
    """(transactions, what the client itself found wrong)."""
    begun, ends, wrong = {}, {}, []
    for line in path.read_text().splitlines(keepends=True):
        if not line.endswith("\n"):
            # Killed while it wrote.
            break
        x = json.loads(line)
        if x["kind"] == "begin":
            begun[x["number"]] = x
        elif x["kind"] == "wrong":
            wrong.append(f"{path.stem}: {x['text']}")
        else:
            ends[x["number"]] = x
    transactions = []
    for number, x in begun.items():
        end = ends.get(number, {"kind": "unknown"})
        oids = [bytes.fromhex(oid) for oid in x["oids"]]
        tid = bytes.fromhex(end.get("tid", ""))
        transactions.append(Transaction(path.stem, number, oids, x["counter"], end["kind"], tid))
    return transactions, wrong


def revisions(storage, oid):
    """Revisions of an object, the last one first."""
    before = END
    while True:
        try:
            found = storage.loadBefore(oid, before)
        except POSKeyError:
            return
        if found is None:
            return
        data, before, _ = found
        yield before, data


def missing(storage, transactions):
    """What of acknowledged transactions is not there. Cheap: only these are read."""
    for x in transactions:
        for oid in x.oids if x.outcome == "ack" else ():
            try:
                by = state_of(storage.loadSerial(oid, x.tid))["by"]
            except POSKeyError:
                by = None
            if by != (x.client, x.number):
                yield f"{x.client} {x.number} at {x.tid.hex()}: {oid.hex()} is of {by}"


def judge(storage, transactions, counter):
    """Everything that is wrong, and how many transactions have which outcome."""
    there, wrong = {}, []
    for oid in {oid for x in transactions for oid in x.oids}:
        newer = None
        for tid, data in revisions(storage, oid):
            state = state_of(data)
            there.setdefault(state["by"], {})[oid] = tid
            if stamped(*state["by"], oid, state["base"]) != data:
                wrong.append(f"{oid.hex()} at {tid.hex()}: other data than was stored")
            if newer is not None and newer != tid:
                wrong.append(f"{oid.hex()}: a revision over {newer.hex()} hides {tid.hex()}")
            newer = state["base"]
        if newer not in (None, z64):
            wrong.append(f"{oid.hex()}: {newer.hex()} was lost")
    counts = list(revisions(storage, counter))
    counted_at = {tid for tid, _ in counts}
    outcomes = Counter()
    last = {}
    for x in transactions:
        found = there.pop((x.client, x.number), {})
        outcomes[x.outcome if x.outcome != "unknown" else f"unknown, {bool(found)}"] += 1
        wrong += judge_one(x, found, counted_at)
        if x.outcome == "ack":
            if x.tid <= last.get(x.client, z64):
                wrong.append(f"{x.client} {x.number}: {x.tid.hex()} is not after the one before")
            last[x.client] = x.tid
    wrong += [f"{by}: written by nobody" for by in there]
    # The first revision of the counter says 0.
    if counts and state_of(counts[0][1]) != len(counts) - 1:
        wrong.append(f"the counter says {state_of(counts[0][1])} after {len(counts) - 1} changes")
    return wrong, outcomes


def judge_one(x, found, counted_at):
    name = f"{x.client} {x.number} ({x.outcome})"
    tids = set(found.values())
    if x.outcome == "failed" and found:
        yield f"{name} is there"
    if x.outcome == "ack" and tids != {x.tid}:
        yield f"{name} is at {[tid.hex() for tid in tids]}, not at {x.tid.hex()}"
    if found and (set(found) != set(x.oids) or len(tids) != 1):
        yield f"{name} is half there: {len(found)} of {len(x.oids)} objects"
    if x.counter and found and not tids <= counted_at:
        yield f"{name} is half there: it is not counted"
