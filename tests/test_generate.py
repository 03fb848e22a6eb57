"""The generator of databases: what it writes is valid, and always the same."""

import statistics
import subprocess
import sys

import pytest
import ZODB
from BTrees.check import check
from conftest import ROOT
from ZODB.FileStorage import FileIterator, FileStorage
from ZODB.scripts import fsrefs, fstest

GENERATE = ROOT / "benches" / "generate.py"

SIZE = 4 << 20


def generate(path, *options):
    command = [sys.executable, GENERATE, "--size", "4M", *options, path]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module")
def generated(tmp_path_factory):
    path = tmp_path_factory.mktemp("generated") / "Data.fs"
    said = generate(path, "--seed", "7")
    return path, said


def test_the_same_bytes_for_a_seed(generated, tmp_path):
    path, said = generated
    assert generate(tmp_path / "same.fs", "--seed", "7") == said
    assert (tmp_path / "same.fs").read_bytes() == path.read_bytes()
    generate(tmp_path / "other.fs", "--seed", "8")
    assert (tmp_path / "other.fs").read_bytes() != path.read_bytes()


def test_no_reference_to_what_is_not_there(generated, capsys):
    path, said = generated
    fstest.main([str(path)])
    fsrefs.main(str(path))
    assert "ERROR" not in (output := capsys.readouterr().out), output
    assert SIZE <= path.stat().st_size < 2 * SIZE
    for what in ("resolved", "undos", "deletions"):
        assert f"0 {what}" not in said.strip().split(", ")


def test_objects_load(generated):
    db = ZODB.DB(FileStorage(str(generated[0]), read_only=True))
    with db.transaction() as connection:
        root = connection.root()
        for tree in (root["by_number"], root["by_title"]):
            check(tree)
        assert len(root["by_number"]) == root["count"]() > len(root["by_title"]) > 0
        for head in root["by_number"].values():
            for part in (head, *head.get("parts", ())):
                assert all(isinstance(row, str) for row in part["rows"])
    db.close()


def test_sizes(generated, tmp_path):
    transactions = [list(txn) for txn in FileIterator(str(generated[0]))]
    sizes = [len(x.data) for txn in transactions for x in txn if x.data]
    assert 350 < statistics.median(sizes) < 500
    assert 2 <= statistics.median(map(len, transactions)) <= 4
    assert any(x.data_txn for txn in transactions for x in txn)
    assert any(x.data is None for txn in transactions for x in txn)
    path = tmp_path / "large.fs"
    generate(path, "--transaction-size", "60K")
    lengths = [txn._tend - txn._tpos for txn in FileIterator(str(path))]
    assert 60 << 10 < statistics.median(lengths) < 80 << 10
