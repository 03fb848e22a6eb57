"""How a storage is configured: arguments, ZConfig, URIs. No cluster is needed for that."""

import io
import json
import socket

import pytest
import ZConfig
import ZODB.config
import zodburi
from neo.client import config
from neo.client.Storage import Storage
from neo.client.zodburi import resolve_uri

ADDRESS = "127.0.0.1:1"


def section(*lines):
    text = "%import neo.client\n<NEOStorage>\n{}\n</NEOStorage>\n"
    lines = (f"master_nodes {ADDRESS}", "name test", *lines)
    return ZODB.config.storageFromString(text.format("\n".join(lines)))


@pytest.fixture
def opened(monkeypatch):
    """What `Storage` is called with, instead of being made."""
    calls = []
    monkeypatch.setattr("neo.client.Storage.Storage", lambda **kw: calls.append(kw))
    return lambda: {key: value for key, value in calls[-1].items() if value is not None}


def test_the_class_is_found_where_others_look_for_it():
    assert f"{Storage.__module__}.{Storage.__name__}" == "neo.client.Storage.Storage"


def test_nothing_is_connected_before_it_is_used():
    """The cluster may be down."""
    storage = Storage(ADDRESS, "test")
    assert storage.getName() == storage.sortKey() == storage.__name__ == "NEOStorage(test)"
    assert storage
    assert not storage.isReadOnly()
    assert storage.app.nm.getMasterList()[0].getAddress() == ("127.0.0.1", 1)
    assert storage.app.ssl_credentials == (None, None, None)
    assert not storage.app.ssl
    storage.close()


@pytest.mark.parametrize(
    "nodes, masters",
    [
        ("127.0.0.1:10 \n 127.0.0.1:11\t127.0.0.1:10", [("127.0.0.1", 10), ("127.0.0.1", 11)]),
        ("[::1]:10", [("::1", 10)]),
        ("[0:0::1]:10", [("::1", 10)]),
        ("::1", [("::1", 0)]),
        ("127.0.0.1", [("127.0.0.1", 0)]),
        ("127.0.0.1:http", [("127.0.0.1", 80)]),
    ],
)
def test_addresses(nodes, masters):
    storage = Storage(nodes, "test")
    assert storage.app.client.masters == masters
    storage.close()


@pytest.mark.parametrize(
    "nodes, options, error",
    [
        ("", {}, ValueError),
        ("no.such.host.invalid:1", {}, socket.gaierror),
        (ADDRESS, {"ca": "ca.pem"}, ValueError),
        (ADDRESS, {"ca": "a", "cert": "b", "key": "no such file"}, ValueError),
        (ADDRESS, {"cache_size": -1}, ValueError),
        (ADDRESS, {"wait_timeout": -1}, ValueError),
        (ADDRESS, {"compress": "best"}, ValueError),
        (ADDRESS, {"compress": (1, 1)}, ValueError),
        (ADDRESS, {"no_such_option": 1}, TypeError),
    ],
)
def test_what_is_refused(nodes, options, error):
    with pytest.raises(error):
        Storage(nodes, "test", **options)


@pytest.mark.parametrize(
    "text, value",
    [
        ("true", True),
        ("off", False),
        ("zlib", (0, None)),
        ("zlib=1", (0, 1)),
        ("zlib=9", (0, 9)),
    ],
)
def test_compression(text, value, opened):
    section(f"compress {text}")
    assert opened()["compress"] == value
    assert config.compress(text) == value
    Storage(ADDRESS, "test", compress=value).close()


@pytest.mark.parametrize("text", ["9", "best", "zlib=0", "zlib=10", "zlib=100", "zlib=", "zlib=x"])
def test_bad_compression(text):
    with pytest.raises(ZConfig.ConfigurationError):
        section(f"compress {text}")


def test_all_keys(opened, tmp_path):
    for name in "ca", "cert", "key":
        (tmp_path / name).touch()
    section(
        "read-only yes",
        "cache-size 3MB",
        "ignore-wrong-checksum on",
        "pack-wait off",
        "wait-timeout 1.5",
        f"logfile {tmp_path}/log",
        f"dynamic_master_list {tmp_path}/masters",
        *(f"{name} {tmp_path}/{name}" for name in ("ca", "cert", "key")),
    )
    assert opened() == {
        "master_nodes": ADDRESS,
        "name": "test",
        "read_only": True,
        "cache_size": 3 << 20,
        "ignore_wrong_checksum": True,
        "pack_wait": False,
        "wait_timeout": 1.5,
        "logfile": f"{tmp_path}/log",
        "dynamic_master_list": f"{tmp_path}/masters",
        **{name: f"{tmp_path}/{name}" for name in ("ca", "cert", "key")},
    }


def test_keys_with_dashes_or_underscores(opened, tmp_path):
    text = (
        "%import neo.client\n<neostorage>\nmaster-nodes {}\nname test\nread_only yes\n"
        "cache_size 1KB\ndynamic-master-list {}/masters\n</neostorage>\n"
    )
    ZODB.config.storageFromString(text.format(ADDRESS, tmp_path))
    assert opened() == {
        "master_nodes": ADDRESS,
        "name": "test",
        "read_only": True,
        "cache_size": 1024,
        "dynamic_master_list": f"{tmp_path}/masters",
    }
    with pytest.raises(ValueError, match="read_only is given twice"):
        section("read-only yes", "read_only no")


@pytest.mark.parametrize("missing", ["master_nodes", "name"])
def test_what_is_required(missing):
    lines = {"master_nodes": ADDRESS, "name": "test"}
    del lines[missing]
    text = "\n".join(map(" ".join, lines.items()))
    with pytest.raises((ValueError, ZConfig.ConfigurationError), match=missing):
        ZODB.config.storageFromString(f"%import neo.client\n<NEOStorage>\n{text}\n</NEOStorage>")


def test_a_database_of_zope():
    text = "%import neo.client\n<zodb main>\n<NEOStorage>\nmaster_nodes {}\nname test\n{}\n"
    text += "</NEOStorage>\n</zodb>\n"
    schema = ZODB.config.getDbSchema()
    conf, _ = ZConfig.loadConfigFile(schema, io.StringIO(text.format(ADDRESS, "read-only yes")))
    storage = conf.database[0].config.storage.open()
    assert type(storage) is Storage
    assert storage.isReadOnly() is True
    storage.close()


def test_masters_are_remembered(tmp_path):
    path = tmp_path / "masters.json"
    Storage(ADDRESS, "test", dynamic_master_list=str(path)).close()
    assert json.loads(path.read_text()) == [["127.0.0.1", 1]]
    storage = Storage("127.0.0.1:2", "test", dynamic_master_list=str(path))
    assert storage.app.client.masters == [("127.0.0.1", 2), ("127.0.0.1", 1)]
    storage.close()
    with pytest.raises(OSError):
        Storage(ADDRESS, "test", dynamic_master_list=str(tmp_path / "none" / "masters.json"))


@pytest.mark.parametrize(
    "uri",
    [
        "http://db@master:1",
        "neo://db@master:1/path",
        "neo://db@master:1#fragment",
        "neo://db",
        "neo://master:1",
        "neo://@master:1",
        "neo://db@master:1?master_nodes=x",
        "neo://db@master:1?name=x",
        "neos://db@master:1?ca=x&cert=y",
    ],
)
def test_bad_uris(uri, monkeypatch):
    for name in "NEO_CA", "NEO_CERT", "NEO_KEY":
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ValueError):
        resolve_uri(uri)


def test_uri(opened):
    factory, database = zodburi.resolve_uri(
        "neo://a%20db@127.0.0.1:10,[::1]:11?read_only=true&cache_size=5MB&compress=zlib%3D9"
        "&connection_cache_size=100&database_name=x"
    )
    assert (database["cache_size"], database["database_name"]) == (100, "x")
    factory()
    assert opened() == {
        "master_nodes": "127.0.0.1:10 [::1]:11",
        "name": "a db",
        "read_only": True,
        "cache_size": 5 << 20,
        "compress": (0, 9),
    }


def test_unknown_options_are_for_the_database():
    _, database = resolve_uri("neo://db@127.0.0.1:1?alpha=1&beta=2&compress=no&empty=")
    assert database == {"alpha": "1", "beta": "2"}


def test_credentials_of_the_environment(opened, monkeypatch, tmp_path):
    for name in "ca", "cert", "key", "other":
        (tmp_path / name).touch()
        monkeypatch.setenv(f"NEO_{name.upper()}", str(tmp_path / name))
    factory, _ = resolve_uri(f"neos://db@127.0.0.1:1?cert={tmp_path}/other")
    factory()
    paths = {"ca": "ca", "cert": "other", "key": "key"}
    assert {key: opened()[key] for key in paths} == {
        key: str(tmp_path / name) for key, name in paths.items()
    }
    # Without TLS, the environment is not looked at.
    resolve_uri("neo://db@127.0.0.1:1")[0]()
    assert "ca" not in opened()


def test_waiting_for_packs_is_the_default():
    for options, wait in ({}, True), ({"pack_wait": None}, True), ({"pack_wait": False}, False):
        storage = Storage(ADDRESS, "test", **options)
        assert storage.app.wait_for_pack is wait
        storage.close()


def test_import_has_no_side_effect():
    """No handler is installed, and it can be done by any thread."""
    import subprocess
    import sys

    code = (
        "import logging, os, signal, threading\n"
        "fork, handlers = os.fork, [signal.getsignal(n) for n in signal.valid_signals()]\n"
        "def load():\n"
        "    import neo.client.Storage, neo.client.app, neo.client.config\n"
        "    import neo.client.exception, neo.client.zodburi\n"
        "    print('imported')\n"
        "thread = threading.Thread(target=load); thread.start(); thread.join()\n"
        "assert not logging.getLogger().handlers and not logging.getLogger('NEO').handlers\n"
        "assert os.fork is fork and threading.active_count() == 1\n"
        "assert handlers == [signal.getsignal(n) for n in signal.valid_signals()]\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "imported\n", "")
