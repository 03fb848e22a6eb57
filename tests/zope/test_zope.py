"""Zope, as PyPI has it, on a cluster."""

import re
import threading
import urllib.error
from concurrent.futures import ThreadPoolExecutor

import pytest
from cluster import Cluster
from instance import Instance
from zope_environment import prepare

#: Where the ZMI has undo and pack.
DATABASE = "Control_Panel/Database/main"

#: A counter that takes its time between the read and the write, and says how often it was retried.
COUNTER = """\
<p tal:define="n python:context.getProperty('n');
               slow python:[x for x in range(200000)];
               done python:context.manage_changeProperties(n=n + 1)"
   tal:content="string:retried ${request/retry_count}"></p>
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    prepare()
    with Cluster(tmp_path_factory.mktemp("cluster"), storages=2, partitions=6) as cluster:
        cluster.start()
        yield cluster


@pytest.fixture(scope="module")
def zopes(cluster, tmp_path_factory):
    """Two instances on one cluster."""
    zopes = [Instance(tmp_path_factory.mktemp("zope"), cluster) for _ in range(2)]
    try:
        for zope in zopes:
            zope.start()
        yield zopes
    finally:
        for zope in zopes:
            zope.stop()


@pytest.fixture
def zope(zopes):
    return zopes[0]


def test_what_one_adds_the_other_sees(zopes):
    one, two = zopes
    one.add_folder("", "seen")
    one.add_template("seen/", "page", "<p>from one</p>")
    assert "from one" in two("seen/page")
    two.edit("seen/page", "<p>from two</p>")
    assert "from two" in one("seen/page")
    two("seen/manage_delObjects", ids=["page"])
    assert not one.is_found("seen/page")
    assert one.is_found("seen/")


def test_undo(zope):
    zope.add_template("", "undone", "<p>first</p>")
    zope.edit("undone", "<p>second</p>")
    newest = zope.values(f"{DATABASE}/manage_UndoForm", "transaction_info:list")[0]
    assert newest.split()[-1] == "/undone/pt_editAction"
    zope(f"{DATABASE}/manage_undo_transactions", transaction_info__list=[newest])
    assert "first" in zope("undone")
    # Undoing what undid.
    newest = zope.values(f"{DATABASE}/manage_UndoForm", "transaction_info:list")[0]
    zope(f"{DATABASE}/manage_undo_transactions", transaction_info__list=[newest])
    assert "second" in zope("undone")


def test_an_impossible_undo_is_explained(zope):
    zope.add_template("", "changed", "<p>first</p>")
    zope.edit("changed", "<p>second</p>")
    zope.edit("changed", "<p>third</p>")
    older = zope.values(f"{DATABASE}/manage_UndoForm", "transaction_info:list")[1]
    said = zope(f"{DATABASE}/manage_undo_transactions", transaction_info__list=[older])
    assert "UndoError" in said
    assert "third" in zope("changed")


def test_history(zope):
    for text in ("one", "two", "three"):
        if text == "one":
            zope.add_template("", "told", text)
        else:
            zope.edit("told", text)
    keys = zope.values("told/manage_change_history_page", "keys:list")
    assert len(keys) == 3
    said = zope("told/manage_historicalComparison", keys__list=[keys[0], keys[1]])
    assert "two" in said
    assert "three" in said
    zope("told/manage_historyCopy", keys__list=[keys[2]])
    # The source: Zope does not compile it again, whatever the storage.
    assert zope("told/document_src") == "one"
    assert len(zope.values("told/manage_change_history_page", "keys:list")) == 4


def test_pack(zopes):
    one, two = zopes
    one.add_folder("", "packed")
    one.add_template("packed/", "page", "one")
    for text in ("two", "three"):
        one.edit("packed/page", text)
    assert "three" in two("packed/page")
    assert edits(one, "packed/page") == 2

    # Nothing is that old.
    assert "Database packed to 1.0 days" in pack(one, days="1")
    for zope in zopes:
        assert versions(zope, "packed/page") == 3

    assert "Database packed to 0.0 days" in pack(one, days="0")
    for zope in zopes:
        assert versions(zope, "packed/page") == 1
        assert edits(zope, "packed/page") == 0
        assert "three" in zope("packed/page")
    # A process that starts has nothing in its caches.
    two.stop()
    two.start()
    for path in ("", "packed/", "packed/page", "manage_main", f"{DATABASE}/manage_main"):
        assert two(path)

    # The past begins anew.
    two.edit("packed/page", "four")
    assert "four" in one("packed/page")
    for zope in zopes:
        assert versions(zope, "packed/page") == 2
    newest = one.values(f"{DATABASE}/manage_UndoForm", "transaction_info:list")[0]
    one(f"{DATABASE}/manage_undo_transactions", transaction_info__list=[newest])
    assert "three" in two("packed/page")


def pack(zope, days):
    """What the ZMI says after a pack."""
    return zope(f"{DATABASE}/manage_pack", days__float=days)


def versions(zope, path):
    """How many the history of an object has."""
    return len(zope.values(f"{path}/manage_change_history_page", "keys:list"))


def edits(zope, path):
    """How many edits of an object the ZMI offers to undo."""
    offered = zope.values(f"{DATABASE}/manage_UndoForm", "transaction_info:list")
    return sum(info.split()[-1] == f"/{path}/pt_editAction" for info in offered)


def test_conflicts_are_retried(zopes):
    zopes[0].add_folder("", "counted")
    zopes[0]("counted/manage_addProperty", id="n", value="0", type="int")
    zopes[0].add_template("counted/", "increment", COUNTER)
    added = retried = 0
    stop = threading.Event()

    def increment(zope):
        """Until it works, as a patient user."""
        while not stop.is_set():
            try:
                return int(re.search(r"retried (\d+)", zope("counted/increment"))[1])
            except urllib.error.HTTPError as error:
                # All attempts of Zope met a conflict.
                assert error.code in (500, 503), error
        return 0

    with ThreadPoolExecutor(6) as pool:
        try:
            while retried == 0:
                results = list(pool.map(increment, zopes * 3))
                added += len(results)
                retried += sum(results)
        finally:
            stop.set()
    for zope in zopes:
        assert f'value="{added}"' in zope("counted/manage_propertiesForm")


def test_all_is_found_after_a_restart(cluster, zopes):
    one, two = zopes
    one.add_folder("", "kept")
    two.add_template("kept/", "page", "<p>kept</p>")
    for zope in zopes:
        zope.stop()
    cluster.stop()
    cluster.start()
    for zope in zopes:
        zope.start()
    for zope in zopes:
        assert "kept" in zope("kept/page")
    two.edit("kept/page", "<p>and changed</p>")
    assert "and changed" in one("kept/page")


def test_zope_waits_for_a_cluster_that_comes_back(cluster, zope):
    zope.add_template("", "waiting", "<p>before</p>")
    cluster.kill()
    cluster.start()
    assert "before" in zope("waiting")
    zope.edit("waiting", "<p>after</p>")
    assert "after" in zope("waiting")
