"""Addresses of masters, as people write them."""

import socket

Address = tuple[str, int]


def split(text: str) -> tuple[str, str]:
    """Host and port of `host:port`, `[ipv6]:port`, `host` or a bare IPv6 address."""
    if text.startswith("["):
        host, closed, port = text[1:].partition("]")
        if not closed or (port and not port.startswith(":")):
            raise ValueError(f"bad address: {text!r}")
        return host, port[1:] or "0"
    if text.count(":") == 1:
        host, _, port = text.partition(":")
        return host, port or "0"
    return text, "0"


def resolve(text: str) -> Address:
    """Numeric address. The name of a service will do for a port."""
    host, port = split(text)
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    numeric, number = found[0][4][:2]
    return str(numeric), int(number)


def resolve_all(text: str) -> list[Address]:
    """Addresses separated by blanks, each once."""
    if not (words := text.split()):
        raise ValueError("no address of a master")
    return list(dict.fromkeys(map(resolve, words)))
