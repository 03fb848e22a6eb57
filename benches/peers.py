"""Storages that are compared: how each is started, and how a client opens it.

A client opens it as an application does, by a section of ZConfig.
"""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from cluster import Cluster, free_port

#: Seconds after which a server that does not answer is taken for stuck.
PATIENCE = 30

#: Where pip puts commands.
COMMANDS = Path(sys.executable).parent


class Peer:
    """A storage on this machine. `processes` says whether several processes can open it."""

    name = ""
    what = ""
    processes = True

    def __init__(self, folder):
        self.folder = Path(folder) / self.name
        self.folder.mkdir(parents=True)

    def start(self):
        """Starts its servers."""

    def stop(self):
        """Stops them."""

    def pids(self):
        """Servers, by name."""
        return {}

    def section(self):
        """How clients open it."""
        raise NotImplementedError

    #: Function that copies a FileStorage into it or, given a second path, it into a FileStorage.
    #: None where users call copyTransactionsFrom.
    migrate = None


class FileStorage(Peer):
    name = "filestorage"
    what = "FileStorage in the process of its clients, which are threads"
    processes = False

    def section(self):
        return f"<filestorage>\n path {self.folder}/data.fs\n pack-gc false\n</filestorage>"


class Zeo(Peer):
    name = "zeo"
    what = "ZEO server over FileStorage, no client cache on disk"

    def start(self):
        self.address = f"127.0.0.1:{free_port()}"
        configuration = self.folder / "zeo.conf"
        configuration.write_text(
            f"<zeo>\n address {self.address}\n</zeo>\n<filestorage 1>\n"
            f" path {self.folder}/data.fs\n pack-gc false\n</filestorage>\n"
        )
        with open(self.folder / "log", "wb") as log:
            self.server = subprocess.Popen(
                [COMMANDS / "runzeo", "-C", configuration], stdout=log, stderr=log
            )
        wait_listening(self.address, self.server)

    def stop(self):
        terminate(self.server)

    def pids(self):
        return {"zeo": self.server.pid}

    def section(self):
        return f"<zeoclient>\n server {self.address}\n cache-size 20MB\n</zeoclient>"


class RelStorage(Peer):
    name = "relstorage"
    what = "RelStorage on SQLite in the process of each client, synchronous=FULL"
    pragmas = "  <pragmas>\n   synchronous 2\n  </pragmas>\n"

    def section(self):
        return (
            "%import relstorage\n<relstorage>\n cache-local-mb 20\n pack-gc false\n <sqlite3>\n"
            f"  data-dir {self.folder}\n{self.pragmas} </sqlite3>\n</relstorage>"
        )

    def migrate(self, source, destination):
        ours = self.section().replace(
            "<relstorage>", f"<relstorage {'destination' if source else 'source'}>"
        )
        theirs = (
            f"<filestorage {'source' if source else 'destination'}>\n"
            f" path {source or destination}\n</filestorage>\n"
        )
        configuration = self.folder / "convert.conf"
        configuration.write_text(f"{ours}\n{theirs}")
        command(self.folder, "zodbconvert", configuration)


class RelStorageDefault(RelStorage):
    name = "relstorage-normal"
    what = "the same as it comes, synchronous=NORMAL"
    pragmas = ""


class Neo(Peer):
    name = "neo"
    what = "NEO, 1 master, 1 admin, 1 storage on SQLite"
    storages = 1
    partitions = 1
    logs = False
    options = ""

    def start(self):
        self.cluster = Cluster(
            self.folder,
            name="bench",
            storages=self.storages,
            partitions=self.partitions,
            logs=self.logs,
        )
        self.cluster.start()

    def stop(self):
        self.cluster.stop()
        self.cluster.close()

    def pids(self):
        return {name: node.pid for name, node in self.cluster.nodes.items()}

    def section(self):
        return (
            f"%import neo.client\n<NEOStorage>\n master_nodes {self.cluster.master_nodes}\n"
            f" name {self.cluster.name}\n{self.options}</NEOStorage>"
        )

    def migrate(self, source, destination):
        masters = self.cluster.master_nodes
        command(
            self.folder,
            *("neomigrate", "-q", "-c", self.cluster.name),
            *(source or masters, destination or masters),
        )


class NeoUncompressed(Neo):
    name = "neo-plain"
    what = "the same, clients do not compress"
    options = " compress false\n"


class NeoLogs(Neo):
    name = "neo-log"
    what = "the same as neo, every node with a log database (-l)"
    logs = True


class NeoTwo(Neo):
    name = "neo-2"
    what = "NEO, 2 storages on the same machine, 12 partitions"
    storages = 2
    partitions = 12


PEERS = {
    peer.name: peer
    for peer in (
        *(Neo, NeoUncompressed, NeoLogs, NeoTwo),
        *(Zeo, FileStorage, RelStorage, RelStorageDefault),
    )
}


def wait_listening(address, process):
    host, port = address.split(":")
    end = time.monotonic() + PATIENCE
    while socket.socket().connect_ex((host, int(port))):
        if process.poll() is not None or time.monotonic() > end:
            raise RuntimeError(f"nothing listens on {address}")
        time.sleep(0.05)


def command(folder, name, *args):
    """Runs a tool until its end; it must succeed."""
    said = folder / "said"
    with open(said, "wb") as log:
        status = subprocess.call([COMMANDS / name, *map(str, args)], stdout=log, stderr=log)
    if status:
        raise RuntimeError(f"{name} ended with {status}: {said.read_text()[-500:]}")


def terminate(process):
    process.send_signal(signal.SIGTERM)
    process.wait(PATIENCE)


def memory_kb(pid):
    """Resident memory of a process: (all of it, what it shares with no file)."""
    values = {}
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            key, _, value = line.partition(":")
            if key in ("VmRSS", "RssAnon"):
                values[key] = int(value.split()[0])
    return values


def count_syncs(pids, work):
    """Calls of fsync and fdatasync that processes make while `work()` runs, or None."""
    command = ["strace", "-f", "-q", "-e", "trace=fsync,fdatasync", "-o", "/dev/stdout"]
    for pid in pids:
        command += ["-p", str(pid)]
    try:
        tracer = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    except FileNotFoundError:
        return None
    # It has attached once the kernel names a tracer for every thread.
    end = time.monotonic() + PATIENCE
    while not all(is_traced(pid) for pid in pids):
        if tracer.poll() is not None or time.monotonic() > end:
            tracer.kill()
            return None
        time.sleep(0.01)
    work()
    tracer.send_signal(signal.SIGINT)
    lines = tracer.communicate()[0].decode(errors="replace").splitlines()
    # A call that another thread interrupts is written on two lines.
    return sum("sync(" in line for line in lines)


def is_traced(pid):
    try:
        return all(
            "TracerPid:\t0\n" not in (task / "status").read_text()
            for task in Path(f"/proc/{pid}/task").iterdir()
        )
    except OSError:
        return False


def is_possible(name):
    """Why a peer cannot be tried here, if so."""
    module = {"relstorage": "relstorage", "zeo": "ZEO", "neo": "neo.client.Storage"}
    module = module.get(name.partition("-")[0])
    try:
        if module:
            __import__(module)
    except ImportError as error:
        return str(error)
    return None


def cpus():
    return sorted(os.sched_getaffinity(0))
