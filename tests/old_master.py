"""Between clients and the master of a cluster: it refuses what that of the Python NEO refuses.

    with OldMaster(cluster, SAYS) as master:
        Storage(master.address, cluster.name)

That master has no train of transactions with imposed TIDs: each must be over before another one
begins (spec master.md 10.3).
"""

import contextlib
import socket
import struct
import threading

import msgpack
from cluster import free_port
from raw import ANSWER, CODES, MASTER, connect

PROTOCOL_ERROR = 6
TEXT = b"There can't be concurrent transactions when a TID is specified for any of them."


def says(link, msg_id):
    """As the Python NEO: an error, then the end of the link."""
    link.answer_error(msg_id, TEXT)
    link.end()


def says_otherwise(link, msg_id):
    link.answer_error(msg_id, b"Another transaction is pending.")
    link.end()


def closes(link, msg_id):
    """What it said was not sent."""
    link.close()


def resets(link, msg_id):
    """What it said is forgotten by the system of who should read it, or not."""
    link.answer_error(msg_id, TEXT)
    link.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    link.close()


class OldMaster:
    """See the module. `refuse(link, msg_id)` is how; None: it only counts what the master
    refuses."""

    def __init__(self, cluster, refuse=None):
        self.cluster = cluster
        self.refuse = refuse
        self.address = f"127.0.0.1:{free_port()}"
        #: How often a transaction was not allowed to begin.
        self.refused = 0
        #: TIDs of the transactions that began, in order.
        self.begun = []
        #: Those that are not over, with their links.
        self.pending = {}
        self.lock = threading.Lock()
        host, port = self.address.split(":")
        self.server = socket.create_server((host, int(port)))
        self.links = []
        self.thread = threading.Thread(target=self.accept, daemon=True)
        self.thread.start()

    def accept(self):
        while True:
            try:
                client, _ = self.server.accept()
            except OSError:
                return
            self.links.append(Link(self, client))

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        # A thread that accepts is not awaken by close.
        with contextlib.suppress(OSError):
            self.server.shutdown(socket.SHUT_RDWR)
        self.server.close()
        self.thread.join()
        for link in self.links:
            link.close()
            for thread in link.threads:
                thread.join()


class Link:
    """A client, and the connection to the real master that is made for it."""

    def __init__(self, master, client):
        self.master = master
        self.client = client
        self.real = connect(master.cluster.masters[0])
        self.real.settimeout(None)
        #: Requests to begin or finish: their TIDs.
        self.asked = {}
        self.is_ending = False
        ways = (self.client, self.real, self.request), (self.real, self.client, self.response)
        self.threads = [threading.Thread(target=self.pump, args=x, daemon=True) for x in ways]
        for thread in self.threads:
            thread.start()

    def pump(self, source, destination, see):
        """Forwards packets as they are, unless `see(msg_id, code, args)` is false."""
        unpacker = msgpack.Unpacker(strict_map_key=False, max_buffer_size=1 << 30)
        data, start = b"", 0
        with contextlib.suppress(OSError):
            while chunk := source.recv(65536):
                unpacker.feed(chunk)
                data += chunk
                for packet in unpacker:
                    end = unpacker.tell()
                    raw, data, start = data[: end - start], data[end - start :], end
                    # The handshake has two elements.
                    if len(packet) == 3 and not see(*packet):
                        return
                    if len(packet) == 3 and packet[1] == CODES["NotifyNodeInformation"]:
                        # It would be used, and tell the way round us.
                        nodes = packet[2][1]
                        nodes[:] = [node for node in nodes if node[0] != MASTER]
                        raw = msgpack.packb(packet)
                    destination.sendall(raw)
        if not self.is_ending:
            self.close()

    def request(self, msg_id, code, args):
        if self.is_refused(msg_id, code, args):
            self.master.refuse(self, msg_id)
            return False
        return True

    def is_refused(self, msg_id, code, args):
        master = self.master
        with master.lock:
            if code == CODES["AskBeginTransaction"]:
                if args[0] is not None and master.pending and master.refuse:
                    master.refused += 1
                    self.forget()
                    return True
                self.asked[msg_id] = args[0]
                if args[0] is not None:
                    master.begun.append(args[0])
                    master.pending[args[0]] = self
            elif code == CODES["AskFinishTransaction"]:
                self.asked[msg_id] = args[0]
            elif code == CODES["AbortTransaction"]:
                master.pending.pop(args[0], None)
        return False

    def response(self, msg_id, code, args):
        master = self.master
        with master.lock:
            tid = self.asked.pop(msg_id, None) if code & ANSWER else None
            if code == CODES["AnswerTransactionFinished"]:
                master.pending.pop(tid, None)
            elif code == CODES["Error"] and tid is not None:
                master.refused += 1
        return True

    def answer_error(self, msg_id, text):
        packet = [msg_id, CODES["Error"], [PROTOCOL_ERROR, text]]
        self.client.sendall(msgpack.packb(packet))

    def forget(self):
        """Its transactions are aborted: those that are being finished are not, but are over."""
        pending = self.master.pending
        for tid in [tid for tid, link in pending.items() if link is self]:
            del pending[tid]

    def end(self):
        """Closes it, after the client has read everything."""
        self.is_ending = True
        self.real.shutdown(socket.SHUT_RDWR)
        self.client.shutdown(socket.SHUT_WR)
        while self.client.recv(65536):
            pass
        self.close()

    def close(self):
        for end in (self.client, self.real):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
