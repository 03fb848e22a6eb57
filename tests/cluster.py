"""A cluster of real processes on this machine, for tests, benchmarks and demonstrations.

    with Cluster(folder, storages=2, partitions=12) as cluster:
        cluster.start()
        storage = cluster.open()
        cluster.kill("s2")
        cluster.start_node("s2")
        print(cluster.neoctl("print", "node"))

Nodes are named m1, m2..., s1, s2... and admin. What they say is in `folder`/NAME.log.
"""

import atexit
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import weakref
from pathlib import Path

#: Seconds after which a node that does not do what it must is taken for stuck.
PATIENCE = 60

#: Lines of each log that are shown after a failure.
TAIL = 40

#: Clusters that were started and not closed.
running = weakref.WeakSet()

#: Clusters of which a node was started, until what they said was checked.
to_check = set()

#: A line on stderr that deserves attention.
SERIOUS = re.compile(
    r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{4} (WARNING|ERROR|CRITICAL) +NEO +\[[^]]*\] (?P<text>.*)"
)

#: What nodes rightly say when another one is ended on purpose.
CONSEQUENCES = (
    "primary master is (down|lost)",
    "the (connection|link) to the primary master is lost",
    "the primary master is lost",
    "No longer operational",
    "the master stops operation",
    "no connection to storage",
    "asked to stop again",
    "stopping while transactions are being finished",
    "this storage may be the only one that knows of a commit",
    "the cluster starts without all storages",
    "the final TID can not be known",
)


class ClusterError(Exception):
    """A node died, or does not do what it must."""


def argv(name, *args):
    """Command line of a NEO command: the installed one or, with NEO_BIN, the native binary."""
    binary = os.environ.get("NEO_BIN")
    if binary:
        return [str(Path(__file__).resolve().parent.parent / binary), name, *map(str, args)]
    return [str(Path(sys.executable).parent / name), *map(str, args)]


def free_port():
    """A port nobody listens on, out of those that the system gives to outgoing connections."""
    while True:
        port = random.randrange(15000, 32000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


class Node:
    """A process of the cluster, or the place of one that does not run."""

    def __init__(self, name, command, log):
        self.name = name
        self.command = command
        self.log = log
        self.process = None
        #: How much of the log was checked.
        self.checked = 0
        #: Somebody ended it, or may have.
        self.was_signalled = False

    def start(self, *args):
        """Starts it; `args` are added to its command line."""
        assert not self.is_running, f"{self.name} runs already"
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [*self.command, *map(str, args)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    @property
    def is_running(self):
        return self.process is not None and self.process.poll() is None

    @property
    def pid(self):
        return self.process.pid

    def signal(self, number):
        self.was_signalled = True
        self.process.send_signal(number)

    def serious_lines(self):
        """What it said since the last time that deserves attention."""
        try:
            with open(self.log, "rb") as log:
                log.seek(self.checked)
                said = log.read()
        except FileNotFoundError:
            return []
        self.checked += len(said)
        return [
            x["text"] for x in map(SERIOUS.match, said.decode(errors="replace").split("\n")) if x
        ]

    def wait(self, timeout=PATIENCE):
        """Waits for its end and returns its status."""
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise ClusterError(f"{self.name} does not stop") from None

    def tail(self, lines=TAIL):
        """The end of what it said."""
        try:
            text = self.log.read_text(errors="replace")
        except FileNotFoundError:
            return ""
        return "\n".join(text.splitlines()[-lines:])


class Cluster:
    """See the module. Nothing is started by making one."""

    def __init__(
        self,
        folder,
        *,
        name="test",
        masters=1,
        storages=1,
        partitions=1,
        replicas=0,
        admin=True,
        databases=None,
        tls=None,
        master_args=(),
        storage_args=(),
        logs=False,
    ):
        """`databases` are paths of SQLite files, in `folder` by default; `tls` is (ca, cert, key).

        With `logs`, each node has a log database: see `log_file`.

        The cluster starts of itself as soon as all storages are there.
        """
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.name = name
        self.tls = tls
        self.has_logs = logs
        self.masters = [f"127.0.0.1:{free_port()}" for _ in range(masters)]
        self.admin_address = f"127.0.0.1:{free_port()}"
        self.databases = [
            Path(path)
            for path in databases or [self.folder / f"s{i + 1}.sqlite" for i in range(storages)]
        ]
        self.nodes = {}
        # All of it is on one machine.
        self._expected = ["Can't maximize resiliency"] if replicas else []
        common = ("-c", name, "-m", self.master_nodes, *self._tls_args())
        for i, address in enumerate(self.masters):
            self._add(
                f"m{i + 1}",
                "neomaster",
                *common,
                *("-b", address, "-p", partitions, "-r", replicas),
                *("--autostart", len(self.databases)),
                *master_args,
            )
        for i, path in enumerate(self.databases):
            self._add(f"s{i + 1}", "neostorage", *common, "-a", "SQLite", "-d", path, *storage_args)
        if admin:
            self._add("admin", "neoadmin", *common, "-b", self.admin_address)
        atexit.register(_kill_all, weakref.ref(self))

    def _add(self, name, *command):
        if self.has_logs:
            command = (*command, "-l", self.log_file(name))
        self.nodes[name] = Node(name, argv(*command), self.folder / f"{name}.log")

    def _tls_args(self):
        if not self.tls:
            return ()
        ca, cert, key = map(str, self.tls)
        return ("--ca", ca, "--cert", cert, "--key", key)

    def log_file(self, name):
        return self.folder / f"{name}.db"

    def __getitem__(self, name):
        return self.nodes[name]

    @property
    def master_nodes(self):
        """What clients need to find the cluster."""
        return " ".join(self.masters)

    @property
    def uri(self):
        """The same for zodburi."""
        scheme = "neos" if self.tls else "neo"
        options = zip(("ca", "cert", "key"), self.tls or (), strict=False)
        query = "&".join(f"{key}={value}" for key, value in options)
        return f"{scheme}://{self.name}@{','.join(self.masters)}{'?' if query else ''}{query}"

    def open(self, **options):
        """A storage connected to it."""
        from neo.client.Storage import Storage

        if self.tls:
            options = {**dict(zip(("ca", "cert", "key"), self.tls, strict=True)), **options}
        return Storage(self.master_nodes, self.name, **options)

    def start(self, wait="RUNNING"):
        """Starts every node, then waits for a state of the cluster unless `wait` is None."""
        running.add(self)
        for name in self.nodes:
            if not self[name].is_running:
                self.start_node(name)
        if wait:
            self.wait_state(wait)

    def start_node(self, name, *args):
        """Starts a node. Masters are waited for until they listen: others need not retry."""
        running.add(self)
        to_check.add(self)
        node = self[name]
        node.start(*args)
        if name.startswith("m"):
            self._wait_listening(node, self.masters[int(name[1:]) - 1])

    def expects(self, *patterns):
        """Texts at WARNING or above that its nodes may log: regular expressions.

        After each test, others make it fail: see `conftest.py`.
        """
        self._expected += patterns

    def unexpected(self):
        """What its nodes logged at WARNING or above since the last time, and was not announced."""
        expected = [*self._expected]
        if any(node.was_signalled or not node.is_running for node in self.nodes.values()):
            expected += CONSEQUENCES
        return [
            f"{node.name}: {text}"
            for node in self.nodes.values()
            for text in node.serious_lines()
            if not any(re.search(pattern, text) for pattern in expected)
        ]

    def _wait_listening(self, node, address):
        host, _, port = address.rpartition(":")

        def listens():
            self._check(node)
            with socket.socket() as probe:
                return probe.connect_ex((host, int(port))) == 0

        self.wait_for(listens, f"{node.name} listens on {address}", 0.005)

    def _check(self, node):
        if not node.is_running:
            raise ClusterError(f"{node.name} ended with {node.process.returncode}\n{node.tail()}")

    def check(self):
        """Raises if a node that was started ended."""
        for node in self.nodes.values():
            if node.process is not None:
                self._check(node)

    def wait_for(self, condition, what, pause=0.02, timeout=PATIENCE):
        """Waits until `condition()` is true, and returns what it returned."""
        end = time.monotonic() + timeout
        while True:
            if result := condition():
                return result
            if time.monotonic() > end:
                raise ClusterError(f"in {timeout} s, it never became true that {what}")
            time.sleep(pause)

    def neoctl(self, *args, check=True):
        """What neoctl prints. With `check`, a failure raises; else its error message is added."""
        tls = self._tls_args()
        result = subprocess.run(
            argv("neoctl", "-a", self.admin_address, *tls, *args),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        if not check:
            return result.stdout + result.stderr
        if result.returncode:
            raise ClusterError(f"neoctl {' '.join(map(str, args))}: {result.stderr.strip()}")
        return result.stdout

    @property
    def state(self):
        """State of the cluster, or why it is not known."""
        return self.neoctl("print", "cluster", check=False).strip()

    def wait_state(self, state="RUNNING"):
        def reached():
            self.check()
            return self.state == state

        self.wait_for(reached, f"the cluster is {state}")

    def kill(self, *names, number=signal.SIGKILL):
        """Kills nodes (all by default) and waits for their end."""
        nodes = [self[name] for name in names or self.nodes]
        nodes = [node for node in nodes if node.is_running]
        for node in nodes:
            node.signal(number)
            if number == signal.SIGKILL:
                # A stopped process must go on, to die.
                node.signal(signal.SIGCONT)
        for node in nodes:
            node.wait()

    def stop(self, *names):
        """Stops nodes (all by default) as an operator does; raises for those that fail."""
        order = [*reversed(names or self.nodes)]
        nodes = [self[name] for name in order if self[name].is_running]
        for node in nodes:
            node.signal(signal.SIGTERM)
        bad = [f"{node.name} ended with {node.process.returncode}" for node in nodes if node.wait()]
        if bad:
            raise ClusterError(", ".join(bad))

    def erase(self):
        """Kills everything and removes databases and logs."""
        self.kill()
        for node in self.nodes.values():
            node.log.unlink(missing_ok=True)
        for path in self.databases:
            for suffix in ("", "-wal", "-shm", "-journal"):
                path.with_name(path.name + suffix).unlink(missing_ok=True)

    def logs(self, lines=TAIL):
        """The end of what every node said."""
        return "\n".join(
            f"--- {node.name}: {state(node)}\n{node.tail(lines)}" for node in self.nodes.values()
        )

    def close(self):
        """Kills everything, and forgets the cluster. What it wrote stays."""
        self.kill()
        running.discard(self)

    def remove(self):
        """The same, and what it wrote is removed."""
        self.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, kind, value, traceback):
        if kind is not None and hasattr(value, "add_note"):
            value.add_note(self.logs())
        self.close()


def state(node):
    """In words."""
    if node.process is None:
        return "not started"
    return f"process {node.pid} " + (
        "runs" if node.is_running else f"ended with {node.process.returncode}"
    )


def _kill_all(reference):
    cluster = reference()
    if cluster is not None:
        cluster.kill()
