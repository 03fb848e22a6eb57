#!/usr/bin/env python3
"""A bank on ZODB: several clients move money between accounts, auditors count it meanwhile.

    examples/bank.py neo://test@127.0.0.1:10000
    examples/bank.py --clients 4 --seconds 10 zeo://localhost:8100
    examples/bank.py file:///tmp/bank.fs

Any storage that `zodburi` can open will do. What it shows:

- Clients are processes (threads, on a storage that one process alone can open) that share nothing
  but the database.
- Accounts and the ledger are in BTrees, the number of transfers is a Length. Two clients that
  credit one account at the same time conflict: `Account._p_resolveConflict` adds both amounts up,
  BTrees and Length do likewise, and nobody waits. What cannot be merged (an overdraft, a bucket
  that was split) is a ConflictError, and the transfer is tried again.
- Auditors read all accounts in one snapshot: money is never seen half on its way.

Ends with status 1 if a single coin appeared or vanished.
"""

import argparse
import json
import multiprocessing
import random
import sys
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import transaction
import zodburi
from BTrees.IOBTree import IOBTree
from BTrees.Length import Length
from BTrees.OOBTree import OOBTree
from persistent import Persistent
from ZODB import DB
from ZODB.POSException import ConflictError

#: Schemes of storages that only one process can open.
SINGLE_PROCESS = ("file", "memory", "demo")

#: What every account starts with.
DEPOSIT = 100

#: The highest amount of a transfer.
MOST = 20


class Overdraft(Exception):
    """An account has not that much."""


class Account(Persistent):
    """An amount of money, never below zero."""

    #: How many times changes of two clients were added up in this process.
    merged = 0

    def __init__(self, balance):
        self.balance = balance

    def add(self, amount):
        if self.balance + amount < 0:
            raise Overdraft(self.balance)
        self.balance += amount

    def _p_resolveConflict(self, old, committed, new):
        # What each of the two transactions added is due.
        balance = committed["balance"] + new["balance"] - old["balance"]
        if balance < 0:
            # Both spent the same money: the second one has to look again.
            raise ConflictError
        Account.merged += 1
        return {**new, "balance": balance}


class Bank(Persistent):
    """Accounts by number, and a ledger of (from, to, amount) by (client, number)."""

    def __init__(self, accounts):
        self.accounts = IOBTree({number: Account(DEPOSIT) for number in range(accounts)})
        self.ledger = OOBTree()
        self.transfers = Length()

    def transfer(self, source, target, amount, reference):
        self.accounts[source].add(-amount)
        self.accounts[target].add(amount)
        self.ledger[reference] = source, target, amount
        self.transfers.change(1)

    @property
    def total(self):
        return sum(account.balance for account in self.accounts.values())

    def audit(self):
        """What is wrong, quickly."""
        due = len(self.accounts) * DEPOSIT
        if (total := self.total) != due:
            yield f"{total} in all accounts, {due} expected"
        if any(account.balance < 0 for account in self.accounts.values()):
            yield "an account is below zero"

    def audit_ledger(self):
        """What is wrong, by doing every transfer again."""
        yield from self.audit()
        balances = dict.fromkeys(self.accounts, DEPOSIT)
        for source, target, amount in self.ledger.values():
            balances[source] -= amount
            balances[target] += amount
        for number, account in self.accounts.items():
            if account.balance != balances[number]:
                yield f"account {number} has {account.balance}, {balances[number]} by the ledger"
        if len(self.ledger) != self.transfers():
            yield f"{len(self.ledger)} transfers in the ledger, {self.transfers()} were counted"


def open_database(uri):
    factory, options = zodburi.resolve_uri(uri)
    return DB(factory(), **options)


def open_bank(database, accounts):
    """Makes the bank unless it is there, and returns how many transfers it has done."""
    with database.transaction() as connection:
        root = connection.root()
        if "bank" not in root:
            root["bank"] = Bank(accounts)
        return root["bank"].transfers()


def run_client(database, options, name):
    """Makes transfers until the time is over."""
    draw = random.Random(f"{options.seed} {name}")
    manager = transaction.TransactionManager()
    bank = database.open(manager).root()["bank"]
    merged = Account.merged
    # A run must not use the references of a former one.
    run = f"{time.time_ns():x}"
    done = refused = retried = 0
    start = now = time.monotonic()
    while now < start + options.seconds:
        try:
            manager.begin()
            source, target = draw.sample(range(len(bank.accounts)), 2)
            bank.transfer(source, target, draw.randint(1, MOST), (name, run, done))
            manager.get().note(f"transfer {done} of {name}")
            manager.commit()
            done += 1
        except ConflictError:
            manager.abort()
            retried += 1
        except Overdraft:
            manager.abort()
            refused += 1
        now = time.monotonic()
    return {
        "name": name,
        "transfers": done,
        "seconds": now - start,
        "retried": retried,
        "refused": refused,
        # By all clients of this process.
        "merged": Account.merged - merged,
    }


def run_auditor(database, options, name):
    """Counts the money until the time is over."""
    manager = transaction.TransactionManager()
    bank = database.open(manager).root()["bank"]
    wrong = []
    done = 0
    start = now = time.monotonic()
    while not wrong and now < start + options.seconds:
        try:
            manager.begin()
            wrong += bank.audit()
            done += 1
        except ConflictError:
            # The storage could not give a snapshot: it was restarted meanwhile, or packed.
            pass
        manager.abort()
        now = time.monotonic()
    return {"name": name, "audits": done, "seconds": now - start, "wrong": wrong}


def in_process(work, uri, options, name):
    """What a process does: it opens the database itself."""
    database = open_database(uri)
    try:
        return work(database, options, name)
    finally:
        database.close()


def run_all(uri, options, database):
    """Runs clients and auditors, and returns their results."""
    tasks = [(run_client, f"client {i + 1}") for i in range(options.clients)]
    tasks += [(run_auditor, f"auditor {i + 1}") for i in range(options.auditors)]
    if options.threads:
        with ThreadPoolExecutor(len(tasks)) as pool:
            futures = [pool.submit(work, database, options, name) for work, name in tasks]
            return [future.result() for future in futures]
    # Spawned, not forked: each one starts as if it ran on a machine of its own.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(len(tasks), context) as pool:
        futures = [pool.submit(in_process, work, uri, options, name) for work, name in tasks]
        return [future.result() for future in futures]


def print_results(results, uri, options):
    kind = "threads" if options.threads else "processes"
    print(f"{uri}: {options.clients} clients, {options.auditors} auditors ({kind})")
    rate = count = 0
    for x in results:
        if "transfers" not in x:
            print(f"{x['name']:10} {x['audits']:7} audits    {x['audits'] / x['seconds']:8.1f}/s")
            continue
        each = x["transfers"] / x["seconds"]
        rate += each
        count += x["transfers"]
        print(
            f"{x['name']:10} {x['transfers']:7} transfers {each:8.1f}/s,"
            f" {x['retried']} tried again, {x['refused']} refused for want of money"
        )
    merged = [x["merged"] for x in results if "merged" in x]
    merged = max(merged) if options.threads else sum(merged)
    print(f"{'together':10} {count:7} transfers {rate:8.1f}/s, {merged} conflicts merged")


def parse(argv):
    parser = argparse.ArgumentParser(
        description="Move money on a ZODB storage, and count it.", epilog=f"{__doc__}"
    )
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("uri", help="of the storage, as zodburi has it")
    parser.add_argument("--accounts", type=int, default=100, help="of a new bank (%(default)s)")
    parser.add_argument("--clients", type=int, default=3, help="%(default)s")
    parser.add_argument("--auditors", type=int, default=1, help="%(default)s")
    parser.add_argument("--seconds", type=float, default=5, help="%(default)s")
    parser.add_argument("--seed", type=int, default=0, help="of what is transferred (%(default)s)")
    parser.add_argument("--threads", action="store_true", help="clients in one process")
    parser.add_argument("--json", action="store_true", help="results in JSON")
    options = parser.parse_args(argv)
    if options.accounts < 2 or options.clients < 1 or options.auditors < 0:
        parser.error("two accounts and one client at least")
    options.threads |= options.uri.partition("://")[0] in SINGLE_PROCESS
    return options


def main(argv=None):
    options = parse(argv)
    database = open_database(options.uri)
    try:
        before = open_bank(database, options.accounts)
        results = run_all(options.uri, options, database)
        wrong = [text for x in results for text in x.get("wrong", ())]
        with database.transaction() as connection:
            bank = connection.root()["bank"]
            wrong += bank.audit_ledger()
            known = sum(x.get("transfers", 0) for x in results)
            if bank.transfers() != before + known:
                wrong.append(f"{known} transfers were made, {bank.transfers() - before} are there")
            state = f"{bank.total} in {len(bank.accounts)} accounts, {bank.transfers()} transfers"
    finally:
        database.close()
    if options.json:
        print(json.dumps({"results": results, "wrong": wrong}, indent=1))
    else:
        print_results(results, options.uri, options)
        print("\n".join(f"WRONG: {text}" for text in wrong) or f"right: {state}")
    return int(bool(wrong))


if __name__ == "__main__":
    # Classes are stored by the name of their module, which must not be `__main__`.
    import bank

    sys.exit(bank.main())
