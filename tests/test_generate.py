"""The generator of databases: what it writes is valid, and always the same."""

import statistics
import subprocess
import sys
import zlib

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
    transactions = [(txn.description, list(txn)) for txn in FileIterator(str(generated[0]))]
    records = [x for _, txn in transactions for x in txn]
    assert any(x.data_txn for x in records)
    assert any(x.data is None for x in records)
    # What an application adds and edits, without its catalog.
    added = [
        txn
        for description, txn in transactions[2:]
        if description != b"indexed" and all(x.data and not x.data_txn for x in txn)
    ]
    sizes = [len(x.data) for txn in added for x in txn]
    low, median, high = statistics.quantiles(sizes, n=4)
    assert 350 < median < 450
    # Log-normal: as far from the median on both sides, as a ratio, and far.
    assert 1.7 < median / low < 3 and 1.7 < high / median < 3
    assert max(sizes) > 30 * median
    assert statistics.median(map(len, added)) == 3
    assert 4 < statistics.mean(map(len, added)) < 5
    assert max(map(len, added)) > 30
    oids = [x.oid for txn in added for x in txn]
    assert 0.77 < len(set(oids)) / len(oids) < 0.87
    # As pickles do.
    texts = [x.data for x in records if x.data]
    compressed = sum(len(zlib.compress(text)) for text in texts)
    assert 0.4 < compressed / sum(map(len, texts)) < 0.6


def test_transactions_of_a_size(tmp_path):
    path = tmp_path / "large.fs"
    generate(path, "--transaction-size", "60K")
    lengths = [txn._tend - txn._tpos for txn in FileIterator(str(path))]
    assert 60 << 10 < statistics.median(lengths) < 80 << 10
