"""neolog, on files made here as spec tools.md 11.4 describes them."""

import bz2
import gzip
import json
import os
import signal
import sqlite3
import subprocess
import time
import zlib

import msgpack
import pytest
from cluster import argv

STORAGE, MASTER = 1, -268435455

NEW = """
CREATE TABLE log (date REAL PRIMARY KEY, node INTEGER, level INTEGER NOT NULL, pathname TEXT,
                  lineno INTEGER, msg TEXT) WITHOUT ROWID;
CREATE TABLE packet (date REAL PRIMARY KEY, node INTEGER, msg_id INTEGER NOT NULL,
                     code INTEGER NOT NULL, peer TEXT NOT NULL, body BLOB) WITHOUT ROWID;
CREATE TABLE node (id INTEGER PRIMARY KEY, name TEXT, cluster TEXT, nid INTEGER);
CREATE TABLE protocol (date REAL PRIMARY KEY, text BLOB NOT NULL) WITHOUT ROWID;
"""

OLD = """
CREATE TABLE log (date REAL PRIMARY KEY, name TEXT, level INTEGER NOT NULL, pathname TEXT,
                  lineno INTEGER, msg TEXT) WITHOUT ROWID;
CREATE TABLE packet (date REAL PRIMARY KEY, name TEXT, msg_id INTEGER NOT NULL,
                     code INTEGER NOT NULL, peer TEXT NOT NULL, body BLOB) WITHOUT ROWID;
CREATE TABLE protocol (date REAL PRIMARY KEY, text BLOB NOT NULL) WITHOUT ROWID;
"""

UTC = {"TZ": "UTC"}


def ext(code, value):
    return msgpack.ExtType(code, bytes([value]))


def p64(number):
    return number.to_bytes(8, "big")


def protocol(version):
    """A module that must not be executed."""
    text = f"raise SystemExit('executed')\nPROTOCOL_VERSION = {version}  # of packets\n"
    return bz2.compress(text.encode())


class Log:
    """A log file being made."""

    def __init__(self, path, schema=NEW):
        self.path = path
        self.database = sqlite3.connect(path)
        # Many commits, and nothing to lose.
        self.database.executescript("PRAGMA synchronous = OFF;" + schema)

    def add(self, table, *values):
        marks = ", ".join("?" * len(values))
        self.database.execute(f"INSERT INTO {table} VALUES ({marks})", values)
        self.database.commit()

    def log(self, date, node, text, level=20):
        self.add("log", date, node, level, "here.py", 1, text)

    def packet(self, date, node, msg_id, code, peer, arguments):
        body = arguments if arguments is None else msgpack.packb(arguments, use_bin_type=True)
        self.add("packet", date, node, msg_id, code, peer, body)


@pytest.fixture
def log(tmp_path):
    log = Log(tmp_path / "s1.log")
    log.add("node", 0, None, "test", None)
    log.add("node", 1, None, "test", STORAGE)
    log.add("protocol", 0, protocol(5))
    return log


@pytest.fixture
def neolog(cmd):
    def run(*args, code=0, err=""):
        result = cmd("neolog", *args, env=UTC)
        assert (result.code, result.err) == (code, err), result
        return result.out.splitlines()

    return run


def test_lines_are_those_of_the_python_neo(log, neolog):
    nodes = [
        [ext(4, 0), [b"127.0.0.1", 25100], MASTER, ext(3, 2), None],
        [ext(4, 1), [b"127.0.0.1", 25201], STORAGE, ext(3, 3), 1795364532.993236],
    ]
    log.log(1795364532.98815, 0, "Configuration loaded:")
    log.packet(1795364532.9925, 0, 0, 1, "> None (127.0.0.1:25100)", [])
    log.log(1795364532.9960, 1, "Node ID: S1")
    log.packet(1795364532.99825, 1, 0, 6, "< M1 (127.0.0.1:25100)", [1795364532.99, nodes])
    log.log(1795364536.35025, 1, "pt:              10v\npt: S1 R U.U.", 10)
    log.packet(1795364706.3213, 1, 0x5C, 0x8000, "> A1 (127.0.0.1:37266)", [1, b"no way"])
    log.log(1795364707.29969, 1, "operation stopped: ", 40)
    assert neolog(log.path) == [
        "2026-11-22 16:22:12.9881 INFO      s1         Configuration loaded:",
        "2026-11-22 16:22:12.9925 PACKET    s1         "
        "#0x0000 RequestIdentification          > None (127.0.0.1:25100)",
        "2026-11-22 16:22:12.9960 INFO      S1         Node ID: S1",
        "2026-11-22 16:22:12.9982 PACKET    S1         "
        "#0x0000 NotifyNodeInformation          < M1 (127.0.0.1:25100)",
        "2026-11-22 16:22:12.9982 PACKET    S1          "
        "! M1 | MASTER  | 127.0.0.1:25100 | RUNNING | None",
        "2026-11-22 16:22:12.9982 PACKET    S1          "
        "! S1 | STORAGE | 127.0.0.1:25201 | PENDING | 2026-11-22 16:22:12.993236",
        "2026-11-22 16:22:16.3502 DEBUG     S1         pt:              10v",
        "2026-11-22 16:22:16.3502 DEBUG     S1         pt: S1 R U.U.",
        "2026-11-22 16:25:06.3213 PACKET    S1         "
        "#0x005c Error                          > A1 (127.0.0.1:37266)",
        "2026-11-22 16:25:06.3213 PACKET    S1         1 (no way)",
        "2026-11-22 16:25:07.2996 ERROR     S1         operation stopped: ",
    ]


def test_columns_are_chosen(log, neolog):
    log.log(1.0, 0, "a")
    log.log(2.0, 1, "b", 30)
    log.log(3.0, None, "c", 50)
    assert neolog("-d", "", log.path) == [
        "INFO      s1         a",
        "WARNING   S1         b",
        "CRITICAL  s1         c",
    ]
    assert neolog("-d", "%H:%M", "-N", "-n", "-", log.path) == [
        "00:00.0000 INFO      a",
        "00:00.0000 WARNING   b",
        "00:00.0000 CRITICAL  c",
    ]
    assert neolog("-d", "", "-C", log.path)[1:] == [
        "WARNING   test/S1    b",
        "CRITICAL  s1         c",
    ]
    assert neolog("-d", "", "-n", "S1", log.path) == ["WARNING   S1         b"]
    assert neolog("-cd", "", "-n", "-", log.path) == [
        "\x1b[32ma\x1b[39;49;0m",
        "\x1b[33mb\x1b[39;49;0m",
        "\x1b[31;01mc\x1b[39;49;0m",
    ]


def test_files_are_merged_from_a_date_on(log, neolog, tmp_path):
    other = Log(tmp_path / "m1.log")
    for n in range(2000):
        (log if n % 3 else other).log(1000 + n / 1000, None, str(n))
    lines = neolog("-d", "", "-n", "-", log.path, other.path)
    assert lines == [f"INFO      {n}" for n in range(2000)]
    assert len(neolog("--from", "1001.5", log.path, other.path)) == 500
    assert len(neolog("--from", "1970-01-01 00:16:41.5", log.path, other.path)) == 500
    assert neolog("--from", "-60", log.path) == []
    assert len(neolog("--from", "1 Jan 1970", log.path, other.path)) == 2000


def test_packets_are_decoded(log, neolog):
    data = zlib.compress(b"y" * 100)
    # AskStoreObject
    store = [p64(1), p64(0), 1, b"\1" * 20, data, None, p64(0x3937AF2EEEEEEEE)]
    log.packet(1.0, 1, 7, 0x1C, "< C1 (h:1)", store)
    log.packet(2.0, 1, 7, 0x801C, "> C1 (h:1)", [None])
    log.packet(3.0, 1, 8, 0x7777, "> C1 (h:1)", [])
    log.packet(4.0, 1, 9, 0x1C, "> C1 (h:1)", None)
    log.add("packet", 5.0, 1, 10, 2, "> C1 (h:1)", b"\xc1")
    head, *rest = neolog("-ad", "", "-n", "-", log.path)
    start = (
        "PACKET    #0x0007 AskStoreObject                 < C1 (h:1) \t| (oid=0000000000000001, "
    )
    assert head.startswith(start) and head.endswith("ttid=03937af2eeeeeeee)")
    assert "compression=1, checksum=b'" in head
    assert rest == [
        "PACKET    #0x0007 AnswerStoreObject              > C1 (h:1) \t| (conflict=None)",
        "PACKET    #0x0008 UnknownPacket[30583]           > C1 (h:1) \t| ()",
        "PACKET    #0x0009 AskStoreObject                 > C1 (h:1)",
        "PACKET    #0x000a Ping                           > C1 (h:1)",
        "PACKET    Can't decode packet",
    ]
    decompressed = neolog("-Ad", "", log.path)[0]
    assert f"serial=0000000000000000, length=100, data=b'{'y' * 100}', data_serial" in decompressed
    # AnswerRelockObject: data of the conflict, if it has some
    log.packet(6.0, 1, 11, 0x801B, "> C1 (h:1)", [[p64(1), p64(2), [1, b"\1" * 20, data]]])
    log.packet(7.0, 1, 12, 0x801B, "> C1 (h:1)", [[p64(1), p64(2), None]])
    ids = f"{1:016x}, {2:016x}"
    *_, stored, deleted = neolog("-Ad", "", log.path)
    assert stored.endswith(f"(conflict=[{ids}, [100, b'{'y' * 100}']])")
    assert deleted.endswith(f"(conflict=[{ids}, None])")


def test_json(log, neolog):
    log.log(1.5, 1, "one\ntwo", 30)
    log.packet(2.0, 1, 7, 0x20, "< C1 (h:1)", [p64(1), None, p64(2)])
    record, packet = map(json.loads, neolog("--json", "-a", log.path))
    assert record == {
        "date": 1.5,
        "time": "1970-01-01T00:00:01.5Z",
        "node": "S1",
        "cluster": "test",
        "severity": "WARNING",
        "message": "one\ntwo",
    }
    assert packet["packet"] == "AskObject" and packet["peer"] == "C1 (h:1)"
    assert packet["arguments"] == {"oid": f"{1:016x}", "at": None, "before": f"{2:016x}"}
    assert (packet["sent"], packet["msg_id"], packet["code"]) == (False, 7, 0x20)


def test_another_version_of_the_protocol_is_shown_as_it_is(log, neolog):
    log.add("protocol", 10.0, protocol(4))
    log.packet(1.0, 1, 7, 2, "> M1 (h:1)", [])
    log.packet(20.0, 1, 7, 2, "> M1 (h:1)", [b"x", -1])
    assert neolog("-ad", "", "-n", "-", log.path) == [
        "PACKET    #0x0007 Ping                           > M1 (h:1) \t| ()",
        "PACKET    #0x0007 UnknownPacket[2]               > M1 (h:1) \t| (b'x', -1)",
    ]


def test_old_files_name_their_nodes(neolog, tmp_path):
    log = Log(tmp_path / "x.log", OLD)
    log.log(1.0, "storage1", "old")
    log.packet(2.0, "storage1", 7, 2, "> M1 (h:1)", [])
    lines = ["INFO      storage1   old"]
    lines.append("PACKET    storage1   #0x0007 Ping                           > M1 (h:1)")
    assert neolog("-d", "", log.path) == lines
    # A newer version reuses the file.
    log.database.executescript(
        "ALTER TABLE log RENAME TO log1; ALTER TABLE packet RENAME TO packet1; DROP TABLE protocol;"
        + NEW
    )
    log.add("node", 0, None, "test", STORAGE)
    log.log(3.0, 0, "new")
    assert neolog("-d", "", log.path) == [*lines, "INFO      S1         new"]


def test_a_file_without_packet_or_protocol(log, neolog, tmp_path):
    log.database.executescript("DROP TABLE protocol")
    log.log(1.0, 1, "x")
    assert neolog("-d", "", log.path) == ["INFO      S1         x"]
    empty = tmp_path / "empty"
    empty.touch()
    assert neolog(empty) == []


@pytest.mark.parametrize("extension", ["gz", "bz2", "xz", "zst"])
def test_compressed_files(extension, log, neolog, tmp_path):
    log.log(1.0, None, "x")
    log.database.close()
    path = tmp_path / f"s1.log.{extension}"
    if extension == "gz":
        path.write_bytes(gzip.compress(log.path.read_bytes()))
    elif extension == "bz2":
        path.write_bytes(bz2.compress(log.path.read_bytes()))
    else:
        tool = {"xz": "xz", "zst": "zstd"}[extension]
        with open(path, "wb") as out:
            subprocess.run([tool, "-c", log.path], stdout=out, check=True)
    assert neolog("-d", "", path) == ["INFO      s1         x"]
    path.write_bytes(path.read_bytes()[:-10])
    assert neolog_fails(neolog, path).startswith(f"neolog: error: {path}: ")


def neolog_fails(neolog, *args):
    process = subprocess.run(argv("neolog", *args), capture_output=True, text=True)
    assert (process.returncode, process.stdout) == (1, "")
    assert process.stderr.count("\n") == 1
    return process.stderr


def test_what_is_no_log_is_told_in_one_line(neolog, tmp_path):
    missing = neolog_fails(neolog, tmp_path / "missing")
    assert "missing: No such file or directory" in missing
    (tmp_path / "text").write_text("nothing like a database\n" * 100)
    assert "file is not a database" in neolog_fails(neolog, tmp_path / "text")
    other = sqlite3.connect(tmp_path / "other")
    other.executescript("CREATE TABLE x (y)")
    assert "not a log of NEO" in neolog_fails(neolog, tmp_path / "other")


def test_a_damaged_table_does_not_hide_the_others(log, neolog):
    for n in range(5000):
        log.log(n + 1.0, 1, "x" * 50)
    log.packet(1e6, 1, 7, 2, "> M1 (h:1)", [])
    (root,) = log.database.execute("SELECT rootpage FROM sqlite_master WHERE name = 'log'")
    (page_size,) = log.database.execute("PRAGMA page_size").fetchone()
    log.database.close()
    with open(log.path, "r+b") as file:
        file.seek((root[0] - 1) * page_size)
        file.write(b"\xff" * 100)
    lines = neolog("-d", "", log.path)
    assert "cannot read table log: database disk image is malformed" in lines[0]
    assert lines[-1].startswith("PACKET    S1         #0x0007 Ping")


def test_following_a_file_and_the_one_that_takes_its_place(log, tmp_path):
    log.log(1.0, 1, "first")
    command = argv("neolog", "-f", "-s", "0.05", "-d", "", "-n", "-", log.path)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "INFO      first\n"
        log.log(2.0, 1, "second")
        assert process.stdout.readline() == "INFO      second\n"
        log.packet(3.0, 1, 7, 2, "> M1 (h:1)", [])
        assert "Ping" in process.stdout.readline()
        os.rename(log.path, tmp_path / "old")
        Log(log.path).log(4.0, None, "third")
        assert process.stdout.readline() == "INFO      third\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0


def test_flush_asks_processes(log):
    """Here, the process that is asked is this one."""
    asked = []
    former = signal.signal(signal.SIGRTMIN, lambda *_: asked.append(True))
    command = argv("neolog", "-f", "-s", "0.05", "-F", str(os.getpid()), log.path)
    try:
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
            end = time.monotonic() + 60
            while len(asked) < 2 and time.monotonic() < end:
                time.sleep(0.01)
            process.send_signal(signal.SIGINT)
        assert len(asked) >= 2
    finally:
        signal.signal(signal.SIGRTMIN, former)


def test_a_reader_that_had_enough(log):
    for n in range(5000):
        log.log(n + 1.0, 1, "x" * 50)
    command = argv("neolog", log.path)
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(60) == 1


def test_wrong_options(cmd, log):
    for args, reason in [
        (["-s", "0", log.path], "sleep_interval must be positive"),
        (["--from", "soon", log.path], "not a date: 'soon'"),
        (["-d", "%!", log.path], "invalid format of dates '%!'"),
    ]:
        result = cmd("neolog", *args)
        assert result.code in (1, 2) and reason in result.err, result
        assert "Traceback" not in result.err
