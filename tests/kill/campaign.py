"""Kills processes of a cluster at random moments, while clients work."""

import json
import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from cluster import PATIENCE, ClusterError
from journal import Journal, counted, judge, missing, read, stamped
from ZODB.Connection import TransactionMetaData
from ZODB.utils import z64

#: Clients at a time.
CLIENTS = 3

#: Objects that all of them write.
SHARED = 4


class Campaign:
    """On a cluster that runs. `say` is told what happens."""

    def __init__(self, cluster, seed, say=lambda text: None):
        self.cluster = cluster
        self.draw = random.Random(seed)
        self.say = say
        self.folder = cluster.folder / "journals"
        self.folder.mkdir()
        self.clients = {}
        self.started = 0
        self.kills = Counter()
        self.checked = set()
        self.oids = self.prepare()
        for _ in range(CLIENTS):
            self.start_client()

    def prepare(self):
        """Writes the counter and the objects that all share."""
        storage = self.cluster.open()
        try:
            oids = [storage.new_oid() for _ in range(SHARED + 1)]
            journal = Journal(self.folder / "setup.journal")
            names = [oid.hex() for oid in oids[1:]]
            journal.write("begin", 0, oids=names, counter=True)
            txn = TransactionMetaData()
            storage.tpc_begin(txn)
            storage.store(oids[0], z64, counted(0), "", txn)
            for oid in oids[1:]:
                storage.store(oid, z64, stamped("setup", 0, oid, z64), "", txn)
            storage.tpc_vote(txn)
            journal.write("ack", 0, tid=storage.tpc_finish(txn).hex())
        finally:
            storage.close()
        return oids

    def start_client(self):
        self.started += 1
        name = f"client{self.started}"
        options = {
            "masters": self.cluster.master_nodes,
            "cluster": self.cluster.name,
            "journal": str(self.folder / f"{name}.journal"),
            "shared": [oid.hex() for oid in self.oids],
        }
        worker = Path(__file__).parent / "worker.py"
        with open(self.cluster.folder / f"{name}.log", "wb") as log:
            self.clients[name] = subprocess.Popen(
                [sys.executable, worker, json.dumps(options)], stdout=log, stderr=log
            )

    def run(self, kills):
        """So many kills. Returns what is wrong, and the outcomes of transactions."""
        try:
            while sum(self.kills.values()) < kills:
                self.cluster.check()
                self.wait_progress()
                # Anywhere within the few milliseconds that a transaction takes.
                time.sleep(self.draw.random() * 0.01)
                self.kill()
                if wrong := self.check():
                    return wrong, None
            return self.finish()
        finally:
            for process in self.clients.values():
                process.kill()
                process.wait()

    def kill(self):
        draw = self.draw
        nodes = sorted(self.cluster.nodes)
        dice = draw.random()
        if dice < 0.1:
            return self.kill_client()
        count = 1 if dice < 0.6 else draw.randint(2, len(nodes)) if dice < 0.85 else len(nodes)
        victims = draw.sample(nodes, count)
        self.note(victims)
        self.cluster.kill(*victims)
        # Some come back at once, some when others noticed.
        time.sleep(draw.choice((0, 0, 0.05, 0.3)))
        draw.shuffle(victims)
        for name in victims:
            self.cluster.start_node(name)
        if draw.random() < 0.25:
            # While it recovers.
            time.sleep(draw.random() * 0.3)
            again = draw.choice(nodes)
            self.note([again])
            self.cluster.kill(again)
            self.cluster.start_node(again)
        self.cluster.wait_state("RUNNING")

    def kill_client(self):
        name = self.draw.choice(sorted(self.clients))
        self.kills["client"] += 1
        self.say(f"{sum(self.kills.values())}: {name}")
        process = self.clients.pop(name)
        process.kill()
        process.wait()
        self.start_client()

    def note(self, victims):
        self.kills.update(name.rstrip("0123456789") for name in victims)
        self.say(f"{sum(self.kills.values())}: {' '.join(victims)}")

    def size(self, name):
        path = self.folder / f"{name}.journal"
        acks = path.read_bytes().count(b'"ack"') if path.exists() else 0
        return acks

    def wait_progress(self):
        """Waits until every client has committed something more: nobody is blocked."""
        wanted = {name: self.size(name) + self.draw.randint(1, 20) for name in self.clients}
        end = time.monotonic() + PATIENCE
        for name, size in wanted.items():
            while self.size(name) < size:
                if self.clients[name].poll() is not None:
                    log = (self.cluster.folder / f"{name}.log").read_text(errors="replace")
                    raise ClusterError(f"{name} ended: {log[-3000:]}")
                if time.monotonic() > end:
                    raise ClusterError(
                        f"{name} commits nothing: {self.size(name)} of {size}\n"
                        + self.cluster.neoctl("print", "cluster", check=False)
                    )
                time.sleep(0.005)

    def transactions(self):
        transactions, wrong = [], []
        for path in sorted(self.folder.iterdir()):
            found = read(path)
            transactions += found[0]
            wrong += found[1]
        return transactions, wrong

    def check(self):
        """What is wrong with transactions that were acknowledged since the last time."""
        transactions, wrong = self.transactions()
        new = [
            x
            for x in transactions
            if x.outcome == "ack" and (x.client, x.number) not in self.checked
        ]
        # Opened anew: a cache would hide what is lost.
        storage = self.cluster.open()
        try:
            wrong += missing(storage, new)
        finally:
            storage.close()
        self.checked.update((x.client, x.number) for x in new)
        return wrong

    def finish(self):
        """Stops clients, kills all nodes once more, and reads everything."""
        self.wait_progress()
        for process in self.clients.values():
            process.terminate()
        for name, process in self.clients.items():
            if process.wait(PATIENCE):
                raise ClusterError(f"{name} ended with {process.returncode}")
        self.note(sorted(self.cluster.nodes))
        self.cluster.kill()
        self.cluster.start()
        storage = self.cluster.open()
        try:
            transactions, wrong = self.transactions()
            more, outcomes = judge(storage, transactions, self.oids[0])
        finally:
            storage.close()
        return wrong + more, outcomes
