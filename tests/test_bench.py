"""The benchmark still runs. What it measures here is worth nothing."""

import json
import subprocess
import sys

import pytest
from conftest import PATIENCE, ROOT

sys.path.insert(0, str(ROOT / "benches"))

from rows import ROWS as KNOWN

ROWS = [row for row in KNOWN if row != "pack"]


def bench(*args):
    command = [sys.executable, ROOT / "benches" / "bench.py", *args]
    return subprocess.run(command, capture_output=True, text=True, timeout=4 * PATIENCE)


def test_a_short_run_has_every_figure(tmp_path):
    pytest.importorskip("ZEO")
    result = bench(
        *("--peers", "neo,filestorage,zeo", "--rounds", "1", "--commits", "8"),
        *("--seconds", "0.02", "--size", "64K", "--rows", ",".join(ROWS)),
        *("--folder", tmp_path, "--json", tmp_path / "x.json"),
    )
    assert result.returncode == 0, result.stderr
    document = json.loads((tmp_path / "x.json").read_text())
    for peer in document["peers"].values():
        assert set(peer["medians"]) == set(ROWS)
        assert all(figure > 0 for figure in peer["medians"].values())
    assert set(document["peers"]["neo"]["memory_kb"]["at the end"]) == {"m1", "s1", "admin"}
    lines = [line for line in result.stdout.splitlines() if line.startswith("| ")]
    # A head, rows, the floor, memory of four servers.
    assert len(lines) == 1 + len(ROWS) + 1 + 4 + 1 + 4
    assert [x.name for x in tmp_path.iterdir()] == ["x.json"]


def test_unknown_names_are_refused():
    result = bench("--peers", "neo,mongo")
    assert result.returncode == 2
    assert "mongo is not one of" in result.stderr
