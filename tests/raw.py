"""A peer made by hand, that says what it wants (spec protocol.md 3 to 7)."""

import gzip
import json
import socket
from pathlib import Path

import msgpack

VECTORS = Path(__file__).parent / "data" / "vectors"

HANDSHAKE = b"\x92\xa3NEO\x05"

#: Code of each class of packet.
CODES = {
    packet["name"]: packet["code"]
    for packet in map(json.loads, (VECTORS / "schema.jsonl").read_text().splitlines())
}

#: Bit of the code of answers.
ANSWER = 0x8000

#: NodeTypes: MASTER, STORAGE, CLIENT, ADMIN.
MASTER, STORAGE, CLIENT, ADMIN = (msgpack.ExtType(4, bytes([value])) for value in range(4))

#: Seconds after which a node is taken for stuck. No test waits for it.
PATIENCE = 60


def vectors(*names):
    """Lines of the golden packets that have one of these names."""
    with gzip.open(VECTORS / "packets.jsonl.gz", "rt") as lines:
        found = [json.loads(line) for line in lines]
    return [vector for vector in found if vector["name"] in names]


def connect(address):
    """A socket, to `HOST:PORT`."""
    host, _, port = address.rpartition(":")
    return socket.create_connection((host, int(port)), timeout=PATIENCE)


def rest(sock):
    """Everything until the end of the stream, orderly or not."""
    data = b""
    while True:
        try:
            chunk = sock.recv(65536)
        except (ConnectionResetError, BrokenPipeError):
            return data
        if not chunk:
            return data
        data += chunk


class Peer:
    """A connection on which the handshake was done."""

    def __init__(self, address):
        self.sock = connect(address)
        self.unpacker = msgpack.Unpacker(strict_map_key=False)
        self.msg_id = 0
        self.sock.sendall(HANDSHAKE)
        assert self.next() == ["NEO", 5]

    def next(self):
        """The next thing that is received: [msg_id, code, args]."""
        while True:
            try:
                return self.unpacker.unpack()
            except msgpack.OutOfData:
                data = self.sock.recv(65536)
                if not data:
                    raise EOFError from None
                self.unpacker.feed(data)

    def send(self, name, *args):
        """Sends a request, and returns its identifier."""
        self.msg_id += 1
        self.sock.sendall(msgpack.packb([self.msg_id, CODES[name], args]))
        return self.msg_id

    def ask(self, name, *args):
        """Code and arguments of the answer."""
        msg_id = self.send(name, *args)
        while True:
            got, code, result = self.next()
            if got == msg_id and code & ANSWER:
                return code, result

    def identify(self, kind, cluster, nid=None, timestamp=None, address=None):
        """Code and arguments of the answer to RequestIdentification."""
        name = cluster.encode()
        return self.ask("RequestIdentification", kind, nid, address, name, timestamp, {})

    def close(self):
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self.close()


class RawClient:
    """A client of a cluster, known by its master."""

    def __init__(self, cluster):
        self.name = cluster.name
        self.master = Peer(cluster.masters[0])
        code, args = self.master.identify(CLIENT, self.name)
        assert code == CODES["RequestIdentification"] | ANSWER, args
        self.nid = args[2]
        _, code, (_, nodes) = self.master.next()
        assert code == CODES["NotifyNodeInformation"]
        self.nodes = nodes
        _, _, nid, _, self.timestamp = nodes[0]
        assert nid == self.nid

    def storage(self):
        """A connection to a storage that accepted this client."""
        addresses = [node[1] for node in self.nodes if node[0] == STORAGE]
        host, port = addresses[0]
        peer = Peer(f"{host.decode()}:{port}")
        code, args = peer.identify(CLIENT, self.name, self.nid, self.timestamp)
        assert code == CODES["RequestIdentification"] | ANSWER, args
        return peer

    def close(self):
        self.master.close()
