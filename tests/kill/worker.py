"""A client that writes without rest, whatever happens to the cluster, and keeps a journal.

Told to stop by SIGTERM, it ends its transaction first.
"""

import contextlib
import json
import logging
import random
import signal
import sys
import time
from pathlib import Path

from journal import Journal, counted, stamped, state_of
from neo.client.Storage import Storage
from ZODB.Connection import TransactionMetaData
from ZODB.POSException import ConflictError, POSKeyError, StorageError
from ZODB.utils import z64

#: What a storage may answer while nodes are dead.
EXPECTED = (StorageError, ConflictError)

#: Objects of a large transaction.
LARGE = 300


class Failed(Exception):
    """The transaction failed before its end was asked."""


class Worker:
    def __init__(self, storage, journal, name, shared, counter):
        self.storage = storage
        self.journal = journal
        self.name = name
        self.shared = shared
        self.counter = counter
        self.draw = random.Random(name)
        self.number = 0
        # Objects that only this client writes: the number of the transaction that is the last
        # one, if it is known.
        self.own = {}
        self.stopping = False

    def stop(self, *_):
        self.stopping = True

    def run(self):
        while not self.stopping:
            self.number += 1
            try:
                oids, counter = self.choose()
            except EXPECTED:
                time.sleep(0.01)
                continue
            self.transaction(oids, counter)
            if self.draw.random() < 0.2:
                self.look()
            # So that what must be read again stays within bounds.
            time.sleep(self.draw.random() * 0.004)

    def choose(self):
        """Objects of the next transaction."""
        draw = self.draw
        if draw.random() < 0.02:
            return [self.new_oid() for _ in range(LARGE)], False
        count = draw.randint(1, 4)
        oids = set(draw.sample(sorted(self.own), min(count, len(self.own))))
        while len(oids) < count or draw.random() < 0.05:
            oids.add(self.new_oid())
        if draw.random() < 0.3:
            oids.add(draw.choice(self.shared))
        return sorted(oids), draw.random() < 0.3

    def new_oid(self):
        oid = self.storage.new_oid()
        if oid in self.own or oid in self.shared or oid == self.counter:
            self.wrong(f"{oid.hex()} was given twice")
        return oid

    def transaction(self, oids, counter):
        txn = TransactionMetaData(self.name, str(self.number))
        names = [oid.hex() for oid in oids]
        self.journal.write("begin", self.number, oids=names, counter=counter)
        try:
            try:
                self.prepare(txn, oids, counter)
            except EXPECTED as error:
                # Aborting may find the cluster away, too.
                with contextlib.suppress(*EXPECTED):
                    self.storage.tpc_abort(txn)
                raise Failed(error) from error
            tid = self.storage.tpc_finish(txn)
        except Failed as error:
            self.journal.write("failed", self.number, error=str(error))
        except EXPECTED as error:
            self.journal.write("unknown", self.number, error=str(error))
            with contextlib.suppress(*EXPECTED):
                self.storage.tpc_abort(txn)
            self.own.update((oid, None) for oid in oids if oid in self.own)
        else:
            self.journal.write("ack", self.number, tid=tid.hex())
            if len(oids) < LARGE:
                self.own.update((oid, self.number) for oid in oids if oid not in self.shared)

    def prepare(self, txn, oids, counter):
        storage = self.storage
        storage.tpc_begin(txn)
        for oid in oids:
            base = self.serial(oid)
            data = stamped(self.name, self.number, oid, base)
            storage.store(oid, base, data, "", txn)
        if counter:
            data, serial = storage.load(self.counter)
            storage.store(self.counter, serial, counted(state_of(data) + 1), "", txn)
        storage.tpc_vote(txn)

    def serial(self, oid):
        if oid not in self.own and oid not in self.shared:
            return z64
        return self.storage.load(oid)[1]

    def look(self):
        """Reads what nobody else writes."""
        for oid, number in self.draw.sample(sorted(self.own.items()), min(3, len(self.own))):
            try:
                by = state_of(self.storage.load(oid)[0])["by"]
            except POSKeyError:
                self.wrong(f"{oid.hex()} is not there")
                continue
            except EXPECTED:
                continue
            if number is not None and by != (self.name, number):
                self.wrong(f"{oid.hex()} is of {by}, but {number} was acknowledged after it")

    def wrong(self, text):
        self.journal.write("wrong", self.number, text=text)


def main():
    options = json.loads(sys.argv[1])
    logging.basicConfig(level=logging.ERROR)
    storage = Storage(options["masters"], options["cluster"])
    oids = [bytes.fromhex(oid) for oid in options["shared"]]
    path = Path(options["journal"])
    worker = Worker(storage, Journal(path), path.stem, oids[1:], oids[0])
    signal.signal(signal.SIGTERM, worker.stop)
    try:
        worker.run()
    except Exception as error:
        # What no storage should answer.
        worker.wrong(f"{type(error).__name__}: {error}")
        raise
    finally:
        storage.close()


if __name__ == "__main__":
    main()
