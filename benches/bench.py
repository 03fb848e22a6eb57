#!/usr/bin/env python3
"""Speed of NEO beside that of other storages, in one interleaved run.

    benches/bench.py --rounds 7 --json result.json
    benches/bench.py --peers neo,zeo --rows commits-1,cold

Each round tries every row on every storage, so that all see the same moods of the machine. What is
printed are medians of rounds, and medians of the ratios of each round.
"""

import argparse
import contextlib
import functools
import json
import os
import platform
import shutil
import signal
import sys
import tempfile
import time
from datetime import datetime, timezone
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parent))

import floor
from clients import Clients
from generate import generate
from generate import number as size
from peers import PEERS, count_syncs, is_possible, memory_kb
from rows import POPULATION, ROWS
from work import compressed_share

DEFAULT_PEERS = "neo,neo-plain,neo-log,neo-2,zeo,filestorage,relstorage,relstorage-normal"

#: What others are compared with.
REFERENCE = "zeo"

#: Share of processor time that nobody uses while nothing is measured, on a calm machine.
CALM = 0.9


class Contender:
    """A storage, its clients, and what was measured on it."""

    def __init__(self, peer, folder):
        self.peer = PEERS[peer](folder)
        self.peer.start()
        self.clients = {count: Clients(self.peer, count) for count in (1, 4)}
        self.oids = self.clients[1]("populate", count=POPULATION, seed=0)[0]
        self.figures = {}
        self.at_start = self.memory()
        self.syncs = None

    @functools.cached_property
    def past(self):
        """TIDs of transactions, and the object that they changed."""
        return self.clients[1]("live", seed=1)[0]

    def memory(self):
        return {name: memory_kb(pid) for name, pid in self.peer.pids().items()}

    def count_syncs(self, commits=50):
        """Calls of fsync per commit: in servers or, without servers, in the client."""
        clients = self.clients[1]
        pids = list(self.peer.pids().values()) or clients.pids

        def work():
            clients("counted_commits", count=commits)

        syncs = count_syncs(pids, work)
        self.syncs = None if syncs is None else syncs / commits

    def measure(self, row, options, round):
        return ROWS[row].work(self, options, round)

    def keep(self, figures):
        """Takes the figures of a round, by row."""
        for row, figure in figures.items():
            self.figures.setdefault(row, []).append(figure)

    def close(self):
        for clients in self.clients.values():
            clients.close()
        self.peer.stop()

    def result(self):
        return {
            "what": self.peer.what,
            "syncs_per_commit": self.syncs,
            "memory_kb": {"after population": self.at_start, "at the end": self.memory()},
            "rounds": self.figures,
            "medians": {row: median(figures) for row, figures in self.figures.items()},
        }


def run(options, folder):
    """Every round of every row on every peer. Returns (floors, results by peer)."""
    with contextlib.ExitStack() as stack:
        contenders = {}
        for name in options.peers:
            progress(f"starting {name}")
            contender = contenders[name] = Contender(name, folder)
            stack.callback(contender.close)
        floors = []
        while len(floors) < options.rounds:
            if calm(options):
                figures = floor.measure(folder), one_round(contenders, options, len(floors))
                if calm(options, wait=False):
                    floors.append(figures[0])
                    for name, contender in contenders.items():
                        contender.keep(figures[1][name])
        for name, contender in contenders.items():
            progress(f"counting fsync, {name}")
            contender.count_syncs()
        progress("")
        results = {name: contender.result() for name, contender in contenders.items()}
    return floors, results


def one_round(contenders, options, round):
    """Figures by peer and row."""
    figures = {name: {} for name in contenders}
    # Nobody is always the first one.
    first = round % len(contenders)
    order = options.peers[first:] + options.peers[:first]
    for row in options.rows:
        for name in order:
            progress(f"round {round + 1}/{options.rounds}, {row}, {name}")
            figures[name][row] = contenders[name].measure(row, options, round)
    return figures


def calm(options, wait=True):
    """Whether others leave the machine alone, now that nothing is measured."""
    while options.patience > 0:
        start = time.monotonic()
        idle = floor.idle_share()
        if idle >= CALM:
            return True
        if not wait:
            progress(f"a round is repeated: the machine is {idle:.0%} idle")
            return False
        progress(f"waiting, the machine is {idle:.0%} idle")
        options.patience -= time.monotonic() - start
    return True


def progress(text):
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def ratio(results, name, row):
    """How many times better than the reference, by the median of rounds."""
    ours, theirs = (results[x]["rounds"][row] for x in (name, REFERENCE))
    more = ROWS[row].more
    return median((a / b if more else b / a) for a, b in zip(ours, theirs, strict=True))


def report(document):
    """The whole as text (Markdown)."""
    results = document["peers"]
    floors = {key: [x[key] for x in document["floors"]] for key in document["floors"][0]}
    yield f"{document['date']}, {document['machine']}, {document['rounds']} rounds"
    yield ""
    for name, x in results.items():
        syncs = x["syncs_per_commit"]
        durable = "not known" if syncs is None else f"{syncs:.2f}"
        yield f"- `{name}`: {x['what']}. fsync/fdatasync per commit of one client: {durable}."
    yield ""
    yield "| | " + " | ".join(results) + " |"
    yield "|---|" + "---:|" * len(results)
    for row in document["rows"]:
        cells = []
        for name in results:
            cell = number(results[name]["medians"][row])
            if REFERENCE in results and name != REFERENCE:
                cell += f" ({ratio(results, name, row):.2f} x)"
            cells.append(cell)
        yield f"| {ROWS[row].unit} | " + " | ".join(cells) + " |"
    yield ""
    yield f"In parentheses: how many times better than `{REFERENCE}`."
    yield ""
    yield "| floor of this machine, same run | us | least | most |"
    yield "|---|---:|---:|---:|"
    for key, what in (
        ("fdatasync_us", "append 4 KiB + fdatasync"),
        ("round_trip_us", "loopback round trip, where the system puts both"),
        ("round_trip_one_cpu_us", "loopback round trip, both on one processor"),
        ("round_trip_two_cpus_us", "loopback round trip, on two processors"),
    ):
        if key in floors:
            numbers = (median(floors[key]), min(floors[key]), max(floors[key]))
            yield f"| {what} | " + " | ".join(f"{x:.0f}" for x in numbers) + " |"
    yield from floor_lines(results, {key: median(x) for key, x in floors.items()})
    yield from memory_lines(results)


def floor_lines(results, floors):
    for name in results:
        if not name.startswith("neo"):
            continue
        medians = results[name]["medians"]
        if "commits-1" in medians:
            commit = 1e6 / medians["commits-1"]
            syncs = results[name]["syncs_per_commit"]
            text = f"`{name}`: a commit takes {commit:.0f} us"
            if syncs:
                text += f", of which {syncs * floors['fdatasync_us']:.0f} are fdatasync"
            yield ""
            yield text + f"; that is {commit / floors['round_trip_us']:.1f} round trips."
        if "cold" in medians:
            over = medians["cold"] - floors["round_trip_us"]
            yield ""
            yield f"`{name}`: a cold load takes a round trip and {over:.0f} us."


def memory_lines(results):
    yield ""
    yield "| memory at the end | MB | of which anonymous |"
    yield "|---|---:|---:|"
    for name, x in results.items():
        for process, kb in x["memory_kb"]["at the end"].items():
            if kb:
                mb = [kb[key] / 1024 for key in ("VmRSS", "RssAnon")]
                yield f"| {name} {process} | {mb[0]:.1f} | {mb[1]:.1f} |"


def number(x):
    return f"{x:,.0f}" if x >= 100 else f"{x:.1f}"


def parse(argv):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5, help="%(default)s")
    parser.add_argument(
        "--commits", type=int, default=240, help="of each figure of 1 object (%(default)s)"
    )
    parser.add_argument(
        "--seconds", type=float, default=0.5, help="of each figure of cached loads (%(default)s)"
    )
    parser.add_argument("--peers", default=DEFAULT_PEERS, help="%(default)s")
    parser.add_argument("--rows", default=",".join(ROWS), help="%(default)s")
    parser.add_argument(
        "--patience",
        type=float,
        default=0,
        help="seconds to wait, in all, for a machine that does nothing else before and after"
        " each round (%(default)s)",
    )
    parser.add_argument(
        "--size",
        type=size,
        default="4M",
        help="of the database that is copied, packed, migrated (%(default)s)",
    )
    parser.add_argument(
        "--transaction-size",
        type=size,
        help="of all its transactions (as an application makes them)",
    )
    parser.add_argument("--json", type=Path, help="where to write all figures")
    parser.add_argument("--folder", help="of the databases, on the disk to try (var/)")
    options = parser.parse_args(argv)
    options.rows = options.rows.split(",")
    options.peers = options.peers.split(",")
    for given, known in ((options.rows, ROWS), (options.peers, PEERS)):
        for name in given:
            if name not in known:
                parser.error(f"{name} is not one of {', '.join(known)}")
    for name in options.peers:
        if reason := is_possible(name):
            parser.error(f"{name}: {reason}")
    return options


def main(argv=None):
    options = parse(argv)
    # No server may be left behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    parent = options.folder or Path(__file__).resolve().parent.parent / "var"
    os.makedirs(parent, exist_ok=True)
    folder = tempfile.mkdtemp(prefix="bench-", dir=parent)
    start = time.monotonic()
    try:
        options.generated = Path(folder, "generated.fs")
        progress("generating a database")
        generate(options.generated, options.size, transaction_size=options.transaction_size)
        floors, results = run(options, folder)
    finally:
        shutil.rmtree(folder)
    document = {
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "machine": f"{platform.machine()}, {len(os.sched_getaffinity(0))} processors, "
        f"Linux {platform.release()}, Python {platform.python_version()}",
        "command": " ".join(sys.argv),
        "seconds": round(time.monotonic() - start),
        "rounds": options.rounds,
        "rows": options.rows,
        "compressed_share": compressed_share(),
        "floors": floors,
        "peers": results,
    }
    if options.json:
        options.json.write_text(json.dumps(document, indent=1) + "\n")
    print("\n".join(report(document)))


if __name__ == "__main__":
    main()
