"""Protocol of the packets in this log, for neolog. Written by NEO in Rust."""

PROTOCOL_VERSION = 5

import datetime

try:
    from msgpack import ExtType as _ExtType
    from msgpack import Unpacker as _Unpacker
except ImportError:
    from msgpack.fallback import ExtType as _ExtType
    from msgpack.fallback import Unpacker as _Unpacker


def uuid_str(nid):
    if not nid:
        return str(nid)
    kinds = "SMCA????????????"
    return "%s%s" % (kinds[-(nid >> 28) & 15], nid & 0xFFFFFF)


class Enum(int):
    def __new__(cls, value, name):
        self = int.__new__(cls, value)
        self._name = name
        return self

    def __str__(self):
        return self._name

    def __repr__(self):
        return "<EnumItem %s (%s)>" % (self._name, int(self))


ENUMS = {
    0: "OUT_OF_DATE UP_TO_DATE FEEDING CORRUPTED DISCARDED",
    1: "RECOVERING VERIFYING RUNNING STOPPING STARTING_BACKUP BACKINGUP STOPPING_BACKUP",
    3: "UNKNOWN DOWN RUNNING PENDING",
    4: "MASTER STORAGE CLIENT ADMIN",
}


def _ext(code, data):
    number = ord(data[:1]) if len(data) == 1 else -1
    names = ENUMS.get(code, "").split()
    if 0 <= number < len(names):
        return Enum(number, names[number])
    return _ExtType(code, data)


def Unpacker(**options):
    options.setdefault("use_list", False)
    options.setdefault("strict_map_key", False)
    return _Unpacker(ext_hook=_ext, **options)


def _nodes(timestamp, nodes):
    rows = []
    for kind, address, nid, state, since in nodes:
        if address is None:
            address = ""
        else:
            host = address[0].decode() if isinstance(address[0], bytes) else address[0]
            address = ("[%s]:%s" if ":" in host else "%s:%s") % (host, address[1])
        if since is not None:
            since = datetime.datetime(1970, 1, 1) + datetime.timedelta(seconds=since)
        rows.append((uuid_str(nid), str(kind), address, str(state), str(since)))
    widths = [max(map(len, column)) for column in zip(*rows)]
    widths[-1:] = [0]
    pad = lambda row: " ! " + " | ".join(x.ljust(w) for x, w in zip(row, widths))
    return (timestamp,), list(map(pad, rows))


def _error(code, message):
    return (code,), ["%s (%s)" % (int(code), message)]


class Packet(object):
    def __init__(self, code, name):
        self._code = code
        self.__name__ = name


Packets = {}
for _line in """
@PACKETS@
""".split():
    _name, _code = _line.split("=")
    Packets[int(_code)] = Packet(int(_code), _name)

for _packet in Packets.values():
    if _packet.__name__ == "NotifyNodeInformation":
        _packet._neolog = _nodes
    elif _packet.__name__ == "Error":
        _packet._neolog = _error
