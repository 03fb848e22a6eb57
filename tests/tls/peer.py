"""The other side of a connection, in Python: TLS as the Python NEO sets it up."""

import socket
import ssl
import warnings

HANDSHAKE = b"\x92\xa3NEO\x05"
PING = b"\x93\x07\x02\x90"
PONG = b"\x93\x07\xcd\x80\x02\x90"

#: The first ping of a node.
FIRST_PING = b"\x93\x00\x02\x90"
FIRST_PONG = b"\x93\x00\xcd\x80\x02\x90"

#: Seconds after which a peer is taken for stuck. No test waits for it.
PATIENCE = 60


def context(files, version=None):
    """One context for both roles, as spec protocol.md 2.2 describes it; `version` is another one
    than TLS 1.2. Without certificate if it is None in `files`."""
    with warnings.catch_warnings():
        # The reference uses these names too.
        warnings.simplefilter("ignore", DeprecationWarning)
        if version is None:
            result = ssl.SSLContext(ssl.PROTOCOL_TLSv1_2)
        else:
            result = ssl.SSLContext(ssl.PROTOCOL_TLS)
            result.minimum_version = result.maximum_version = version
    result.check_hostname = False
    result.verify_mode = ssl.CERT_REQUIRED
    result.verify_flags |= ssl.VERIFY_X509_STRICT
    result.load_verify_locations(files.ca)
    if b"X509 CRL" in files.ca.read_bytes():
        result.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
    if files.cert:
        result.load_cert_chain(files.cert, files.key)
    return result


def connect(address):
    return socket.create_connection(address, timeout=PATIENCE)


def tls_client(address, context):
    # A stream that ends without close_notify is seen as such.
    return context.wrap_socket(connect(address), suppress_ragged_eofs=False)


def listen():
    server = socket.create_server(("127.0.0.1", 0))
    server.settimeout(PATIENCE)
    return server


def accept(server):
    sock, _ = server.accept()
    sock.settimeout(PATIENCE)
    return sock


def read(sock, count):
    """Exactly `count` bytes."""
    data = b""
    while len(data) < count:
        chunk = sock.recv(count - len(data))
        assert chunk, f"end of stream after {data!r}"
        data += chunk
    return data


def read_all(sock):
    """Everything until the end of the stream, orderly or not."""
    data = b""
    while True:
        try:
            chunk = sock.recv(65536)
        except ConnectionResetError:
            return data
        if not chunk:
            return data
        data += chunk


def ping(sock):
    """The exchange of a client with a node that answers Ping."""
    sock.sendall(HANDSHAKE + PING)
    assert read(sock, len(HANDSHAKE + PONG)) == HANDSHAKE + PONG


def answer_ping(sock):
    """The exchange of a server with a node that sends one."""
    sock.sendall(HANDSHAKE)
    assert read(sock, len(HANDSHAKE + FIRST_PING)) == HANDSHAKE + FIRST_PING
    sock.sendall(FIRST_PONG)
