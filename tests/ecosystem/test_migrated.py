"""Tools of ZODB on a FileStorage that neomigrate wrote: they find nothing to complain about."""

import re
import sys

import pytest
from cluster import Cluster, argv
from conftest import ROOT
from zope_environment import prepare, run

sys.path.insert(0, str(ROOT / "benches"))

from generate import generate

#: Bytes of the database that is migrated.
SIZE = 1 << 20


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A FileStorage, and what comes out after it went into a cluster."""
    prepare()
    folder = tmp_path_factory.mktemp("migrated")
    source, result = folder / "Data.fs", folder / "result.fs"
    generate(source, SIZE, seed=5)
    with Cluster(folder / "cluster", storages=2, partitions=6) as cluster:
        cluster.start()
        for ends in ((source, cluster.master_nodes), (cluster.master_nodes, result)):
            command = argv("neomigrate", "-q", "-c", cluster.name, *ends)
            run(command[0], *command[1:])
    return source, result


def without_places(text):
    """What a tool says, without offsets: an object may have another place in its transaction."""
    return sorted(re.sub(r"offset=\S+|data #\d+", "", text).splitlines())


def test_fsdump(files):
    source, result = (run("fsdump", path) for path in files)
    assert len(source.splitlines()) > 1000
    assert without_places(result) == without_places(source)


def test_fstail(files):
    newest = [
        re.findall(r"user=(.*) description=(.*) length", run("fstail", "-n", "5", path))
        for path in files
    ]
    assert len(newest[0]) == 5
    assert newest[0] == newest[1]


def test_fstest(files):
    said = run("python", "-m", "ZODB.scripts.fstest", "-v", files[1])
    assert said.splitlines()[-1] == "no errors detected"


def test_fsrefs(files):
    assert run("fsrefs", files[1]) == ""


PACK = """\
import sys, time
from ZODB.FileStorage import FileStorage
from ZODB.serialize import referencesf
storage = FileStorage(sys.argv[1])
storage.pack(time.time(), referencesf)
storage.close()
"""


def test_zodbverify(files, tmp_path):
    # It stumbles over deleted objects of any FileStorage that was not packed.
    copy = tmp_path / "Data.fs"
    copy.write_bytes(files[1].read_bytes())
    run("python", "-c", PACK, copy)
    said = run("zodbverify", "-f", copy)
    assert "Found 0 records that could not be loaded" in said
    assert not re.search(r"Scanned [0-9]{1,2} records", said)


WRITE = """\
import sys
from ZODB import DB
from ZODB.FileStorage import FileStorage
db = DB(FileStorage(sys.argv[1]))
with db.transaction() as connection:
    root = connection.root()
    assert len(root["by_number"]) == root["count"]() > 0
    root["opened"] = True
undoable = [x for x in db.undoInfo(0, 3)]
assert len(undoable) == 3, undoable
db.close()
"""


def test_it_is_an_ordinary_database(files, tmp_path):
    """Opened without an index, written, and its past can be undone."""
    copy = tmp_path / "Data.fs"
    copy.write_bytes(files[1].read_bytes())
    run("python", "-c", WRITE, copy)
    assert run("fsrefs", copy) == ""
