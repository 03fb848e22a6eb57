"""Signals, exit statuses and supervisors (spec tools.md 10 and 16.1)."""

import os
import signal
import socket

import pytest
from cluster import Cluster

NODES = ("m1", "s1", "admin")


@pytest.fixture
def cluster(tmp_path):
    with Cluster(tmp_path / "cluster") as cluster:
        yield cluster


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_term_and_int_are_clean_stops(cluster, number):
    cluster.start()
    for name in NODES:
        cluster[name].signal(number)
        assert cluster[name].wait() == 0, cluster[name].tail()
        assert "panic" not in cluster[name].tail() and "Traceback" not in cluster[name].tail()
    # Everything is in one file.
    (database,) = cluster.databases
    assert [path.name for path in database.parent.glob(database.name + "*")] == [database.name]


def test_signals_of_logs_kill_nobody_even_without_log(cluster):
    cluster.start()
    for name in NODES:
        for number in range(4):
            cluster[name].signal(signal.SIGRTMIN + number)
    assert cluster.state == "RUNNING"
    cluster.check()


@pytest.mark.parametrize("name", NODES)
def test_death_by_other_signals(cluster, name):
    cluster.start()
    cluster[name].signal(signal.SIGHUP)
    assert cluster[name].wait() == -signal.SIGHUP


def test_a_cluster_that_stops_ends_its_nodes_with_0(cluster):
    cluster.start()
    cluster.neoctl("set", "cluster", "STOPPING")
    assert [cluster[name].wait() for name in NODES] == [0, 0, 0]


def test_statuses_of_failures(cmd, cluster, tmp_path):
    assert cmd("neomaster", "--help").code == 0
    assert cmd("neomaster", "--wrong").code == 2
    assert cmd("neomaster", "-c", "test", "-f", tmp_path / "missing").code == 1
    cluster.start()
    result = cmd("neomaster", "-c", "test", "-b", cluster.masters[0])
    assert result.code == 1 and "can not listen" in result.err
    (database,) = cluster.databases
    result = cmd("neostorage", "-c", "test", "-a", "SQLite", "-d", database)
    assert result.code == 1 and result.err.count("\n") == 1


def test_reset_ends_with_0(cmd, tmp_path):
    args = ("-c", "test", "-a", "SQLite", "-d", tmp_path / "s1.sqlite", "--reset")
    assert cmd("neostorage", *args).code == 0


def test_the_system_manager_is_told(cluster, tmp_path, monkeypatch):
    """sd_notify(3)."""
    path = tmp_path / "notify"
    monkeypatch.setenv("NOTIFY_SOCKET", str(path))
    monkeypatch.setenv("WATCHDOG_USEC", "400000")
    for name in NODES:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.settimeout(60)
            sock.bind(str(path))
            cluster.start_node(name)
            said = [sock.recv(100)]
            assert said == [b"READY=1"]
            said += [sock.recv(100) for _ in range(3)]
            assert said[1:] == [b"WATCHDOG=1"] * 3
            cluster[name].signal(signal.SIGTERM)
            while said[-1] != b"STOPPING=1":
                said.append(sock.recv(100))
            assert cluster[name].wait() == 0
        os.unlink(path)
