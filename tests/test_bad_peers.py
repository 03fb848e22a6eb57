"""Whatever connects to a node, and whatever a node connects to: nodes go on, and nothing is lost
(spec protocol.md 10.4)."""

import contextlib
import datetime
import hashlib
import random
import resource
import socket
import ssl
import subprocess
import threading
import time
from pathlib import Path

import pytest
import raw
from cluster import Cluster, argv
from neo.client import TransactionMetaData
from neo.client.Storage import Storage
from raw import ANSWER, CLIENT, CODES, HANDSHAKE, STORAGE, Peer, RawClient
from tls import peer
from tls.certificates import Authority
from ZODB.utils import z64

#: Nodes are right to complain: peers send them anything.
WARNINGS = "provoked"

KINDS = ("m1", "s1", "admin")

ERROR = CODES["Error"]

#: ErrorCodes.
NOT_READY = 2
PROTOCOL_ERROR = 6

BAD = [(vector["note"], bytes.fromhex(vector["hex"])) for vector in raw.vectors("HANDSHAKE_BAD")]
MALFORMED = [
    (vector["note"], HANDSHAKE + bytes.fromhex(vector["hex"]))
    for vector in raw.vectors("MALFORMED")
]
OTHERS = [
    ("an HTTP request", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"),
    ("noise", random.Random(1).randbytes(100_000)),
    ("noise after the handshake", HANDSHAKE + random.Random(2).randbytes(100_000)),
    ("text", b"hello\n"),
    ("an object of 2 GiB is announced", HANDSHAKE + bytes.fromhex("93001c91c67fffffff")),
    ("4 G items are announced", HANDSHAKE + bytes.fromhex("93000291ddffffffff")),
    ("nested arrays", HANDSHAKE + b"\x93\x00\x02" + b"\x91" * 100_000),
    ("an answer that nobody asked for", HANDSHAKE + bytes.fromhex("9300cd800290")),
    ("a request of an unknown peer", HANDSHAKE + bytes.fromhex("93001291c0")),
]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with Cluster(tmp_path_factory.mktemp("cluster"), partitions=3) as cluster:
        cluster.start()
        yield cluster


@pytest.fixture
def addresses(cluster):
    """Where each kind of node listens."""
    line = cluster.neoctl("print", "node", "storage")
    return {
        "m1": cluster.masters[0],
        "s1": line.split("|")[2].strip(),
        "admin": cluster.admin_address,
    }


def commit(storage, data=b"x", oid=None, serial=z64):
    txn = TransactionMetaData()
    oid = oid or storage.new_oid()
    storage.tpc_begin(txn)
    storage.store(oid, serial, data, "", txn)
    storage.tpc_vote(txn)
    return oid, storage.tpc_finish(txn)


@pytest.fixture
def goes_on(cluster):
    """After the test, the same processes serve, and have what was committed before."""
    pids = {name: cluster[name].pid for name in KINDS}
    storage = cluster.open()
    oid, serial = commit(storage, b"before")
    yield storage
    cluster.check()
    assert cluster.state == "RUNNING"
    assert {name: cluster[name].pid for name in KINDS} == pids
    storage.close()
    storage = cluster.open()
    try:
        assert storage.load(oid) == (b"before", serial)
        commit(storage, b"after")
    finally:
        storage.close()


def memory(node):
    """Resident, in bytes."""
    for line in Path(f"/proc/{node.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("a process without memory")


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_not_the_protocol_closes_the_connection(cluster, addresses, goes_on, kind):
    for note, data in BAD + MALFORMED + OTHERS:
        with raw.connect(addresses[kind]) as sock:
            with contextlib.suppress(ConnectionResetError, BrokenPipeError):
                sock.sendall(data)
            answer = raw.rest(sock)
        assert HANDSHAKE.startswith(answer[:6]), (note, answer)
        cluster.check()


@pytest.mark.parametrize("kind", KINDS)
def test_another_cluster(cluster, addresses, goes_on, kind):
    with Peer(addresses[kind]) as peer:
        node_type = raw.ADMIN if kind == "admin" else CLIENT
        answer = peer.identify(node_type, "another")
        unknown = b"unknown backup cluster 'another'"
        reason = unknown if kind == "admin" else b"invalid cluster name"
        assert answer == (ERROR, [PROTOCOL_ERROR, reason])
        with pytest.raises((EOFError, ConnectionResetError)):
            peer.next()


@pytest.mark.parametrize("kind", KINDS)
def test_thousands_of_connections_that_say_nothing(cluster, addresses, goes_on, kind):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = min(3000, hard - 200)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted + 200), hard))
    before = memory(cluster[kind])
    socks = [raw.connect(addresses[kind]) for _ in range(wanted)]
    try:
        # Who speaks is served, and so are those who were there before.
        with Peer(addresses[kind]) as peer:
            assert peer.ask("Ping") == (CODES["Ping"] | ANSWER, [])
        commit(goes_on)
        assert memory(cluster[kind]) < before + (100 << 20)
    finally:
        for sock in socks:
            sock.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_few_files_for_many_connections(tmp_path):
    """The limit of the system is met before ours."""
    with Cluster(tmp_path, partitions=1) as cluster:
        master = cluster["m1"]
        master.command = ["bash", "-c", 'ulimit -n 64; exec "$0" "$@"', *master.command]
        cluster.start()
        storage = cluster.open()
        try:
            socks = [raw.connect(cluster.masters[0]) for _ in range(200)]
            commit(storage)
            with Peer(cluster.masters[0]) as peer:
                assert peer.ask("Ping") == (CODES["Ping"] | ANSWER, [])
            for sock in socks:
                sock.close()
            assert cluster.state == "RUNNING"
            # The lack is said, and not at each attempt.
            warnings = [x for x in master.tail(10_000).splitlines() if "can not accept" in x]
            assert len(warnings) == 1, warnings
        finally:
            storage.close()


def test_a_client_that_reads_nothing_of_what_it_asks(cluster, goes_on):
    size = 1 << 20
    storage = cluster.open(compress=False)
    try:
        oid, _ = commit(storage, random.Random(3).randbytes(size))
    finally:
        storage.close()
    client = RawClient(cluster)
    greedy = client.storage()
    before = memory(cluster["s1"])
    # 2 GB are asked for.
    for _ in range(2000):
        greedy.send("AskObject", oid, None, None)
    for _ in range(20):
        commit(goes_on)
    assert memory(cluster["s1"]) < before + (64 << 20)
    # It may take its time: what it asked for still comes.
    for _ in range(10):
        assert greedy.next()[1] == CODES["AskObject"] | ANSWER
    greedy.close()
    client.close()


def test_a_client_that_is_killed_in_a_transaction(cluster, goes_on):
    """Its lock does not stay."""
    oid, serial = commit(goes_on, b"1")
    client = RawClient(cluster)
    storage = client.storage()
    _, (ttid,) = client.master.ask("AskBeginTransaction", None)
    data = b"2"
    digest = hashlib.sha1(data).digest()
    code, _ = storage.ask("AskStoreObject", oid, serial, 0, digest, data, None, ttid)
    assert code == CODES["AskStoreObject"] | ANSWER
    client.close()
    storage.close()
    assert commit(goes_on, b"3", oid, serial)


def test_wrong_nodes_are_refused(cluster, addresses, goes_on):
    """Nodes that claim what they are not."""
    host, _, port = addresses["s1"].rpartition(":")
    with Peer(addresses["m1"]) as peer:
        # The NID and the address of a storage that is there.
        answer = peer.identify(STORAGE, cluster.name, 1, address=[host.encode(), int(port)])
        assert answer == (ERROR, [PROTOCOL_ERROR, b"already connected"])
    with Peer(addresses["s1"]) as peer:
        answer = peer.identify(CLIENT, cluster.name, -(0x20 << 24) + 77, 1.0)
        assert answer == (ERROR, [NOT_READY, b"unknown by master"])


class FakeServer:
    """Accepts connections, and answers each with the next of `speeches`, then closes."""

    def __init__(self, speeches):
        self.server = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.server.getsockname()[1]}"
        self.speeches = list(speeches)
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self):
        for speech in self.speeches:
            sock, _ = self.server.accept()
            with sock:
                sock.settimeout(raw.PATIENCE)
                sock.sendall(speech)
                # What it says must be read, or it would see a reset.
                sock.shutdown(socket.SHUT_WR)
                raw.rest(sock)
        self.server.close()


def test_neoctl_and_an_admin_that_says_anything():
    speeches = [data for _, data in BAD + MALFORMED + OTHERS]
    server = FakeServer(speeches)
    for note, _ in BAD + MALFORMED + OTHERS:
        result = subprocess.run(
            argv("neoctl", "-a", server.address, "print", "cluster"),
            capture_output=True,
            text=True,
            timeout=raw.PATIENCE,
        )
        assert result.returncode == 1, note
        assert result.stdout == "", note
        assert result.stderr.count("\n") == 1, (note, result.stderr)
        assert "Traceback" not in result.stderr and "panicked" not in result.stderr


def test_a_client_and_a_master_that_says_anything(cluster):
    """It finds the good one."""
    server = FakeServer(data for _, data in (BAD + MALFORMED + OTHERS)[-6:])
    storage = Storage(f"{server.address} {cluster.master_nodes}", cluster.name)
    try:
        commit(storage)
    finally:
        storage.close()


def test_a_storage_and_a_master_that_says_anything(tmp_path):
    server = FakeServer(data for _, data in (BAD + MALFORMED + OTHERS)[-6:])
    with Cluster(tmp_path, partitions=1) as cluster:
        for name in ("s1", "admin"):
            command = cluster[name].command
            at = command.index("-m") + 1
            command[at] = f"{server.address} {command[at]}"
        cluster.start()
        storage = cluster.open()
        try:
            commit(storage)
        finally:
            storage.close()


def test_a_stop_does_not_wait_for_silent_peers(tmp_path):
    with Cluster(tmp_path, partitions=1) as cluster:
        cluster.start()
        peers = [raw.connect(cluster.masters[0]) for _ in range(3)]
        greeted = [Peer(cluster.masters[0]), Peer(cluster.admin_address)]
        start = time.monotonic()
        cluster.stop()
        # Not a timing: the patience of a stop is some minutes.
        assert time.monotonic() - start < raw.PATIENCE
        for peer in (*peers, *greeted):
            peer.close()


def test_certificates_that_do_not_match(tmp_path):
    """Peers without TLS, of another authority, expired or revoked: the cluster goes on."""
    authority = Authority(tmp_path / "ours")
    foreign = Authority(tmp_path / "theirs").issue("foreign")
    good, revoked = authority.issue("node"), authority.issue("revoked")
    expired = authority.issue("expired", datetime.datetime(2021, 1, 1))
    files = good._replace(ca=authority.revoke(revoked))
    with Cluster(tmp_path / "cluster", tls=files) as cluster:
        cluster.start()
        storage = cluster.open()
        addresses = cluster.masters[0], cluster.admin_address
        for address in addresses:
            host, _, port = address.rpartition(":")
            with raw.connect(address) as sock:
                sock.sendall(HANDSHAKE)
                assert raw.rest(sock) == b""
            for bad in foreign, expired, revoked:
                context = peer.context(bad._replace(ca=good.ca))
                with (
                    pytest.raises((ssl.SSLError, ConnectionResetError)),
                    socket.create_connection((host, int(port)), raw.PATIENCE) as sock,
                    context.wrap_socket(sock) as tls,
                ):
                    # With TLS 1.3, a refusal comes after the handshake.
                    tls.sendall(HANDSHAKE)
                    while tls.recv(100):
                        pass
        for bad in foreign, expired, revoked:
            # Ours say it before they connect anywhere, if the certificate itself tells it.
            reason = {foreign: "none of them issued it", expired: "it is expired"}.get(bad)
            result = subprocess.run(
                argv(
                    *("neostorage", "-c", cluster.name, "-m", cluster.master_nodes),
                    *("-a", "SQLite", "-d", tmp_path / "other.sqlite"),
                    *("--ca", files.ca, "--cert", bad.cert, "--key", bad.key),
                ),
                capture_output=True,
                text=True,
                timeout=raw.PATIENCE,
            )
            assert result.returncode == 1
            assert (reason or "it is revoked") in result.stderr.splitlines()[-1], result.stderr
        commit(storage)
        cluster.check()
        assert cluster.state == "RUNNING"
        storage.close()
