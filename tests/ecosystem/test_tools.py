"""Tools that others wrote for ZODB, as PyPI has them, on a cluster."""

import re
import subprocess
import sys

import pytest
from cluster import Cluster, free_port
from conftest import ROOT
from zope_environment import BIN, prepare, run

sys.path.insert(0, str(ROOT / "benches"))

from generate import generate

#: Bytes of the databases that are copied.
SIZE = 1 << 19


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A FileStorage as applications make them."""
    prepare()
    path = tmp_path_factory.mktemp("source") / "Data.fs"
    generate(path, SIZE, seed=3)
    return path


@pytest.fixture
def cluster(tmp_path):
    """An empty cluster."""
    with Cluster(tmp_path / "cluster", storages=2, partitions=6) as cluster:
        cluster.start()
        yield cluster


def section(cluster, name=""):
    return (
        f"<NEOStorage {name}>\n master_nodes {cluster.master_nodes}\n name {cluster.name}\n"
        "</NEOStorage>\n"
    )


def filestorage(path, name=""):
    return f"<filestorage {name}>\n path {path}\n</filestorage>\n"


def relstorage(path, name=""):
    return f"<relstorage {name}>\n <sqlite3>\n  data-dir {path}\n </sqlite3>\n</relstorage>\n"


def convert(folder, source, destination, *options):
    """zodbconvert, with sections for both."""
    path = folder / "convert.conf"
    path.write_text(f"%import relstorage\n%import neo.client\n{source}{destination}")
    return run("zodbconvert", *options, path)


def iterated(storage, with_status=True):
    """Everything that can be iterated of a storage, which is closed."""
    try:
        return [
            (
                txn.tid,
                txn.status if with_status else None,
                txn.user,
                txn.description,
                txn.extension_bytes,
                sorted((x.oid, x.data) for x in txn),
            )
            for txn in storage.iterator()
        ]
    finally:
        storage.close()


def of_file(path):
    from ZODB.FileStorage import FileStorage

    return iterated(FileStorage(str(path), read_only=True))


def test_zodbconvert_from_filestorage_and_back(cluster, source, tmp_path):
    convert(tmp_path, filestorage(source, "source"), section(cluster, "destination"))
    assert iterated(cluster.open()) == of_file(source)
    back = tmp_path / "back.fs"
    convert(tmp_path, section(cluster, "source"), filestorage(back, "destination"))
    assert of_file(back) == of_file(source)


def test_zodbconvert_to_relstorage_and_back(cluster, source, tmp_path):
    relational = tmp_path / "relstorage"
    convert(tmp_path, filestorage(source, "source"), section(cluster, "destination"))
    convert(tmp_path, section(cluster, "source"), relstorage(relational, "destination"))
    with Cluster(tmp_path / "second", name="second") as second:
        second.start()
        convert(tmp_path, relstorage(relational, "source"), section(second, "destination"))
        assert iterated(second.open()) == iterated(cluster.open())


def test_zodbconvert_goes_on_where_it_was(cluster, source, tmp_path):
    sections = filestorage(source, "source"), section(cluster, "destination")
    convert(tmp_path, *sections)
    later = tmp_path / "later.fs"
    later.write_bytes(source.read_bytes())
    add_a_transaction(later)
    said = convert(
        tmp_path, filestorage(later, "source"), section(cluster, "destination"), "--incremental"
    )
    assert "Resuming ZODB copy" in said
    assert iterated(cluster.open()) == of_file(later)


def add_a_transaction(path):
    import ZODB
    from ZODB.FileStorage import FileStorage

    db = ZODB.DB(FileStorage(str(path)))
    with db.transaction() as connection:
        connection.root()["later"] = True
    db.close()


ZODBURI = """\
import sys, transaction, zodburi, ZODB
factory, options = zodburi.resolve_uri(sys.argv[1] + "?connection_cache_size=7")
db = ZODB.DB(factory(), **options)
with db.transaction() as connection:
    root = connection.root()
    root["visits"] = root.get("visits", 0) + 1
    print(root["visits"], db.getCacheSize(), db.storage.getName())
db.close()
"""


def test_zodburi(cluster):
    prepare()
    for visits in (1, 2):
        said = run("python", "-c", ZODBURI, cluster.uri)
        assert said.splitlines()[-1] == f"{visits} 7 NEOStorage({cluster.name})"


ZEO_CLIENT = """\
import sys, transaction, ZODB
from ZEO.ClientStorage import ClientStorage
from ZODB.utils import p64
host, port = sys.argv[1].split(":")
def connect():
    return ZODB.DB(ClientStorage((host, int(port)), wait_timeout=60, server_sync=True))
one, two = connect(), connect()
reader = two.open()
assert "x" not in reader.root()
for value in (1, 2):
    with one.transaction("set x") as connection:
        connection.root()["x"] = value
reader.sync()
assert reader.root()["x"] == 2
assert [x["description"] for x in one.history(p64(0), 2)] == ["set x", "set x"]
one.undo(one.undoInfo()[0]["id"])
transaction.commit()
reader.sync()
assert reader.root()["x"] == 1, reader.root()["x"]
reader.close()
one.close()
two.close()
"""


def test_zeo_serves_it(cluster, tmp_path):
    prepare()
    address = f"127.0.0.1:{free_port()}"
    configuration = tmp_path / "zeo.conf"
    configuration.write_text(
        f"%import neo.client\n<zeo>\n address {address}\n</zeo>\n{section(cluster, '1')}"
    )
    with open(tmp_path / "log", "wb") as log:
        server = subprocess.Popen([BIN / "runzeo", "-C", configuration], stdout=log, stderr=log)
    try:
        # A client waits for a server that starts.
        run("python", "-c", ZEO_CLIENT, address)
    finally:
        server.terminate()
        server.wait()
    storage = cluster.open()
    assert [x.description for x in storage.iterator()][1:3] == [b"set x", b"set x"]
    storage.close()


ZODBVERIFY = """\
import logging, sys, zodburi
from zodbverify.verify import verify_zodb
logging.basicConfig(level=logging.INFO)
storage = zodburi.resolve_uri(sys.argv[1])[0]()
verify_zodb(storage)
storage.close()
"""


def test_zodbverify_reads_the_cluster(cluster, source, tmp_path):
    convert(tmp_path, filestorage(source, "source"), section(cluster, "destination"))
    said = run("python", "-c", ZODBVERIFY, cluster.uri)
    assert "Found 0 records that could not be loaded" in said
    assert not re.search(r"Scanned [0-9]{1,2} records", said)
