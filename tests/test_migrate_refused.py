"""neomigrate and masters that do not let it begin a transaction while another one is pending."""

import subprocess

import old_master
import pytest
from cluster import Cluster, argv
from filestorages import contents, make, make_packed
from old_master import OldMaster
from raw import RawClient

PATIENCE = 60
NOTE = "The master takes transactions one by one only\n"
GUESS = "Connections were lost again and again: copied one by one\n"


@pytest.fixture
def cluster(tmp_path):
    with Cluster(tmp_path / "cluster", storages=2, partitions=6) as cluster:
        cluster.start()
        yield cluster


def expected(path):
    """What a cluster has of a FileStorage: the last record of an object in a transaction."""
    result = []
    for *metadata, records in contents(path, status=False):
        last = {record[0]: place for place, record in enumerate(records)}
        result.append((*metadata, [r for i, r in enumerate(records) if last[r[0]] == i]))
    return result


@pytest.fixture
def exported(cluster, cmd, tmp_path):
    """Function that tells what the cluster has, with all back-pointers."""

    def export():
        path = tmp_path / "out.fs"
        result = cmd("neomigrate", "-c", cluster.name, cluster.master_nodes, path)
        assert result.code == 0, result
        return contents(path)

    return export


#: How it may refuse, in words.
SAID = (old_master.says, old_master.says_otherwise)


@pytest.mark.parametrize(
    "refuse",
    [*SAID, old_master.closes, old_master.resets],
)
def test_everything_is_copied_one_by_one(cluster, cmd, exported, tmp_path, refuse):
    path = make_packed(tmp_path / "in.fs", 3)
    packed = sum(x[1] == "p" for x in contents(path))
    with OldMaster(cluster, refuse) as master:
        result = cmd("neomigrate", "-c", cluster.name, path, master.address)
        assert result.code == 0, result
        assert "panicked" not in result.err
        notes = result.out.count(NOTE), result.out.count(GUESS)
        assert sum(notes) == 1, result
        assert f"\n{packed} packed transactions lose their status" in result.out
        if refuse in SAID:
            assert (notes, master.refused) == ((1, 0), 1)
        else:
            # Some attempts before it understands.
            assert 1 <= master.refused <= 3
        copied = expected(path)
        assert exported() == copied
        assert f"\n{len(copied)} transactions, {sum(len(x[-1]) for x in copied)} records," in (
            result.out
        )
        # Once more: nothing to do, nothing to refuse.
        refused = master.refused
        result = cmd("neomigrate", "-c", cluster.name, path, master.address)
        assert result.code == 0 and NOTE not in result.out and GUESS not in result.out, result
        assert master.refused == refused


def test_a_train_is_not_refused_by_our_master(cluster, cmd, tmp_path):
    path = make(tmp_path / "in.fs", 4)
    with OldMaster(cluster) as master:
        result = cmd("neomigrate", "-c", cluster.name, path, master.address)
        assert result.code == 0, result
        assert NOTE not in result.out
        assert master.refused == 0
        assert master.begun == [x[0] for x in expected(path)]


def test_a_transaction_of_somebody_else_is_waited_for(cluster, exported, tmp_path):
    path = make(tmp_path / "in.fs", 4)
    other = RawClient(cluster)
    other.master.ask("AskBeginTransaction", None)
    with OldMaster(cluster) as master:
        process = subprocess.Popen(
            argv("neomigrate", "-c", cluster.name, path, master.address),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        cluster.wait_for(lambda: master.refused > 2, "it tries again", timeout=PATIENCE)
        other.close()
        out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, (out, err)
    assert exported() == expected(path)
