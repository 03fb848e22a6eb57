"""How a process that runs a node ends, and what it does when the system refuses."""

import resource
import signal

import pytest
from tls import peer
from tls.node import EchoNode


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_stop_a_node_in_order(number):
    with EchoNode() as node, peer.connect(node.address) as sock:
        peer.ping(sock)
        node.process.send_signal(number)
        assert peer.read_all(sock) == b""
        assert node.end() == (0, ["accepted", "received Ping"], "")


def test_a_second_signal_does_not_wait():
    with EchoNode(extra=["--never-stop"]) as node, peer.connect(node.address) as sock:
        peer.ping(sock)
        node.expect("accepted", "received")
        node.process.terminate()
        node.expect("asked")
        node.process.terminate()
        code, out, err = node.end()
        assert (code, out, err) == (1, [], "stopped before it had finished\n")


def test_a_broken_invariant_ends_the_process():
    with EchoNode(extra=["--broken"]) as node, peer.connect(node.address) as sock:
        sock.sendall(peer.HANDSHAKE + peer.PING)
        code, _, err = node.end()
        assert code == 1
        assert "an invariant of this node is broken" in err


def test_too_many_connections():
    def few_files():
        resource.setrlimit(resource.RLIMIT_NOFILE, (20, 20))

    with EchoNode(prepare=few_files) as node:
        first = peer.connect(node.address)
        peer.ping(first)
        # Those that say nothing make room for those that speak.
        silent = [peer.connect(node.address) for _ in range(40)]
        with peer.connect(node.address) as last:
            peer.ping(last)
        first.sendall(peer.PING)
        assert peer.read(first, len(peer.PONG)) == peer.PONG
        for sock in (first, *silent):
            sock.close()
