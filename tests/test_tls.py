"""Connections between our nodes and peers that do TLS as the Python NEO does (spec protocol.md
2.2), in both directions; every row of its table of mismatches."""

import ssl

import pytest
from tls import peer
from tls.certificates import Authority
from tls.node import EchoNode


@pytest.fixture(scope="module", params=["ec", "rsa"])
def authority(request, tmp_path_factory):
    return Authority(tmp_path_factory.mktemp(request.param), request.param)


@pytest.fixture(scope="module")
def ours(authority):
    return authority.issue("ours")


@pytest.fixture(scope="module")
def theirs(authority):
    return authority.issue("theirs")


@pytest.fixture(scope="module")
def foreign(authority, tmp_path_factory):
    """Of another authority with the same name."""
    return Authority(tmp_path_factory.mktemp("foreign"), authority.kind).issue("foreign")


VERSIONS = pytest.mark.parametrize(
    ("version", "name"), [(None, "TLSv1.2"), (ssl.TLSVersion.TLSv1_3, "TLSv1.3")]
)

CIPHERS = ["AES128-GCM-SHA256", "AES256-GCM-SHA384", "CHACHA20-POLY1305"]


def still_serves(node, context):
    with peer.tls_client(node.address, context) as sock:
        peer.ping(sock)
        node.expect("accepted", "received")
    node.expect("closed")


@VERSIONS
def test_peer_connects(ours, theirs, version, name):
    with EchoNode(ours) as node:
        with peer.tls_client(node.address, peer.context(theirs, version)) as sock:
            assert sock.version() == name
            peer.ping(sock)
            node.expect("accepted", "received")
        # The peer closed without close_notify: an end like another.
        node.expect("closed")


@VERSIONS
def test_node_connects(ours, theirs, version, name):
    with peer.listen() as server, EchoNode(ours, server.getsockname()) as node:
        context = peer.context(theirs, version)
        with context.wrap_socket(peer.accept(server), server_side=True) as sock:
            assert sock.version() == name
            peer.answer_ping(sock)
            assert node.end() == (0, ["connected", "received Pong"], "")


@pytest.mark.parametrize("cipher", CIPHERS)
def test_every_cipher_of_the_reference(authority, ours, theirs, cipher):
    kind = {"ec": "ECDSA", "rsa": "RSA"}[authority.kind]
    context = peer.context(theirs)
    context.set_ciphers(f"ECDHE-{kind}-{cipher}")
    with EchoNode(ours) as node, peer.tls_client(node.address, context) as sock:
        assert sock.cipher()[0] == f"ECDHE-{kind}-{cipher}"
        peer.ping(sock)


def test_no_close_notify(ours, theirs):
    with EchoNode(ours) as node:
        with peer.tls_client(node.address, peer.context(theirs)) as sock:
            peer.ping(sock)
            node.process.terminate()
            with pytest.raises(ssl.SSLEOFError):
                sock.recv(1)
        assert node.end() == (0, ["accepted", "received Ping"], "")


def test_peer_says_close_notify(ours, theirs):
    with EchoNode(ours) as node:
        sock = peer.tls_client(node.address, peer.context(theirs))
        peer.ping(sock)
        node.expect("accepted", "received")
        with pytest.raises((ssl.SSLEOFError, ConnectionResetError)):
            # Ours is not sent.
            sock.unwrap()
        node.expect("closed")
        sock.close()


def test_plain_peer_of_a_tls_node(ours, theirs):
    with EchoNode(ours) as node:
        with peer.connect(node.address) as sock:
            sock.sendall(peer.HANDSHAKE + peer.PING)
            assert peer.read_all(sock) == b""
        still_serves(node, peer.context(theirs))


def test_plain_node_of_a_tls_peer():
    with peer.listen() as server, EchoNode(connect=server.getsockname()) as node:
        with peer.accept(server) as sock:
            # What the accepting side does with it: it looks at the first byte and closes.
            assert peer.read(sock, 1) != b"\x16"
        assert node.end() == (1, ["connected", "closed"], "connection lost\n")


def test_tls_peer_of_a_plain_node(theirs):
    context = peer.context(theirs)
    with EchoNode() as node:
        with pytest.raises(ssl.SSLError):
            peer.tls_client(node.address, context)
        node.expect("accepted", "closed")
        with peer.connect(node.address) as sock:
            sock.sendall(b"\x16\x03\x01")
            assert peer.read_all(sock) == peer.HANDSHAKE
        node.expect("accepted", "closed")
        with peer.connect(node.address) as sock:
            peer.ping(sock)
        node.expect("accepted", "received", "closed")


def test_tls_node_of_a_plain_peer(ours):
    with peer.listen() as server, EchoNode(ours, server.getsockname()) as node:
        with peer.accept(server) as sock:
            sock.sendall(peer.HANDSHAKE)
            data = peer.read_all(sock)
        assert data[:1] == b"\x16"
        assert peer.HANDSHAKE not in data
        assert node.end() == (1, ["closed"], "connection lost\n")


def test_silent_peer(ours, theirs):
    context = peer.context(theirs)
    with EchoNode(ours) as node, peer.connect(node.address) as silent:
        # Others are served.
        still_serves(node, context)
        # Nothing was sent meanwhile, and it is not too late.
        silent.setblocking(False)
        with pytest.raises(BlockingIOError):
            silent.recv(1)
        silent.settimeout(peer.PATIENCE)
        with context.wrap_socket(silent) as sock:
            peer.ping(sock)


def test_peer_that_distrusts_the_node(ours, foreign, theirs):
    with EchoNode(ours) as node:
        with pytest.raises(ssl.SSLCertVerificationError):
            peer.tls_client(node.address, peer.context(foreign))
        still_serves(node, peer.context(theirs))


def test_peer_that_the_node_distrusts(ours, foreign, theirs):
    context = peer.context(foreign._replace(ca=ours.ca))
    with EchoNode(ours) as node:
        with pytest.raises(ssl.SSLError, match=r"(?i)alert.unknown.ca"):
            peer.tls_client(node.address, context)
        still_serves(node, peer.context(theirs))


def test_node_that_distrusts_the_peer(ours, foreign):
    with peer.listen() as server, EchoNode(ours, server.getsockname()) as node:
        # The peer trusts the node, and has a certificate of another authority.
        context = peer.context(foreign._replace(ca=ours.ca))
        with pytest.raises(ssl.SSLError, match=r"(?i)alert.unknown.ca"):
            context.wrap_socket(peer.accept(server), server_side=True)
        assert node.end() == (1, ["closed"], "connection lost\n")


def test_node_that_the_peer_distrusts(ours, theirs, foreign):
    with peer.listen() as server, EchoNode(ours, server.getsockname()) as node:
        context = peer.context(theirs._replace(ca=foreign.ca))
        with pytest.raises(ssl.SSLCertVerificationError):
            context.wrap_socket(peer.accept(server), server_side=True)
        assert node.end() == (1, ["closed"], "connection lost\n")


@VERSIONS
def test_peer_without_certificate(ours, theirs, version, name):
    context = peer.context(theirs._replace(cert=None), version)
    with EchoNode(ours) as node:
        with pytest.raises(ssl.SSLError, match=r"(?i)alert"):
            # With TLS 1.3 the client learns it when it reads.
            sock = peer.tls_client(node.address, context)
            sock.recv(1)
        still_serves(node, peer.context(theirs))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_peer_of_another_version(ours, theirs):
    context = peer.context(theirs, ssl.TLSVersion.TLSv1_1)
    context.set_ciphers("ALL:@SECLEVEL=0")
    with EchoNode(ours) as node:
        with pytest.raises(ssl.SSLError, match=r"(?i)alert"):
            peer.tls_client(node.address, context)
        still_serves(node, peer.context(theirs))


def test_revoked_peer(authority, ours, theirs):
    good = authority.issue("good")
    files = ours._replace(ca=authority.revoke(theirs))
    with EchoNode(files) as node:
        with pytest.raises(ssl.SSLError, match=r"(?i)alert.certificate.revoked"):
            peer.tls_client(node.address, peer.context(theirs))
        still_serves(node, peer.context(good))
        # Python reads the same list.
        still_serves(node, peer.context(good._replace(ca=files.ca)))


def test_files_are_checked_at_startup(ours, theirs, foreign):
    def sentence(**changes):
        with EchoNode(ours._replace(**changes), connect=("127.0.0.1", 1)) as node:
            code, out, err = node.end()
        assert (code, out) == (1, [])
        return err.strip()

    assert sentence(key=theirs.key) == f"{theirs.key}: this is not the key of {ours.cert}"
    assert sentence(ca=foreign.ca) == (
        f"{ours.cert} is not accepted with the authorities of {foreign.ca}: none of them issued it"
    )
    missing = ours.ca.parent / "missing.pem"
    assert sentence(cert=missing).startswith(f"can not read {missing}: No such file")
