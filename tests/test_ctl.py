"""neoctl, the admin and the master, as an operator meets them."""

import signal
import socket
import subprocess
import threading
from pathlib import Path

import pytest
from cluster import Cluster, argv, free_port

NOT_READY = "ERROR: Not connected to a primary master.\n"

TLS = tuple(Path(__file__).parent / "data" / "tls" / x for x in ("ca.crt", "node.crt", "node.key"))


@pytest.fixture(scope="module")
def recovering(tmp_path_factory):
    """A master and an admin, without any storage."""
    with Cluster(tmp_path_factory.mktemp("recovering"), storages=0, partitions=12) as cluster:
        cluster.start(wait="RECOVERING")
        yield cluster


@pytest.fixture
def ctl(cmd):
    """Function that runs neoctl on a cluster: (status, stdout, stderr)."""

    def run(cluster, *args):
        return tuple(cmd("neoctl", "-a", cluster.admin_address, *args))

    return run


# Without anybody to talk to


@pytest.mark.parametrize("words", [(), ("help",)])
def test_no_command_lists_them(cmd, words):
    code, out, err = cmd("neoctl", *words)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "Available commands:"
    commands = [x.split()[0] for x in lines[1:] if not x.startswith(" ") and x]
    assert commands[:-2] == [
        "print",
        "set",
        "check",
        "start",
        "add",
        "tweak",
        "drop",
        "kill",
        "prune_orphan",
        "truncate",
        "flush_log",
        "wait",
    ]
    assert "tid:<integer>" in lines[-2]


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("foo bar", "invalid command: foo bar"),
        ("print conf", "invalid command: print conf"),
        ("set node S1 DOWN", "invalid command: set node S1 DOWN"),
        ("set replicas -1", "invalid number of replicas"),
    ],
)
def test_invalid_commands(cmd, words, reason):
    assert cmd("neoctl", *words.split()) == (1, "", reason + "\n")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("print", "usage: print "),
        ("set replicas", "usage: set replicas <number>"),
        ("print node FOO", "unknown node type 'FOO'"),
        ("set cluster FOO", "unknown cluster state 'FOO'"),
        ("kill 1", "invalid node '1'"),
        ("truncate yesterday", "invalid TID 'yesterday'"),
        ("check", "usage: check "),
        ("add", "usage: add "),
    ],
)
def test_mistakes_get_one_line(cmd, words, expected):
    code, out, err = cmd("neoctl", *words.split())
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert err.startswith(expected)


def test_nobody_listens(cmd):
    address = f"127.0.0.1:{free_port()}"
    result = cmd("neoctl", "-a", address, "print", "cluster")
    assert result == (1, "", "ERROR: not connected\n")


def test_who_listens_hangs_up(cmd):
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=lambda: server.accept()[0].close())
        thread.start()
        result = cmd("neoctl", "-a", f"127.0.0.1:{server.getsockname()[1]}", "start")
        thread.join()
    assert result == (1, "", "ERROR: Connection closed\n")


def test_who_listens_says_nothing(cmd):
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        result = cmd("neoctl", "-a", address, "--timeout", "0.1", "print", "cluster")
    assert result == (1, "", "ERROR: timed out\n")


# An admin without master


def test_an_admin_that_is_not_ready_refuses_everything(tmp_path, ctl):
    with Cluster(tmp_path, storages=0) as cluster:
        cluster.start_node("admin")
        closed = (1, "", "ERROR: not connected\n")
        cluster.wait_for(lambda: ctl(cluster, "print", "cluster") != closed, "the admin listens")
        for command in ("print cluster", "print summary", "print ids", "start", "flush_log"):
            assert ctl(cluster, *command.split()) == (1, "", NOT_READY)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_daemons_stop_in_order(tmp_path, number):
    with Cluster(tmp_path, storages=0) as cluster:
        cluster.start(wait="RECOVERING")
        for name in ("admin", "m1"):
            cluster[name].signal(number)
            assert cluster[name].wait() == 0, cluster[name].tail()


def test_an_address_that_is_taken_is_one_sentence(cmd):
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        code, out, err = cmd("neoadmin", "-c", "test", "-b", address)
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert err.startswith("neoadmin: error: ")
    assert address in err


def test_the_dynamic_list_of_masters_finds_the_cluster(tmp_path):
    with Cluster(tmp_path, storages=0) as cluster:
        cluster.start_node("m1")
        host, port = cluster.masters[0].split(":")
        path = tmp_path / "masters.json"
        path.write_text(f'[["{host}", {port}]]')
        command = argv("neoadmin", "-c", "test", "-b", cluster.admin_address, "-D", path)
        # Nobody is at the address of the command line.
        nobody = ("-m", f"127.0.0.1:{free_port()}")
        with subprocess.Popen([*command, *nobody]) as admin:
            try:
                cluster.wait_for(lambda: cluster.state == "RECOVERING", "the master is found")
            finally:
                admin.terminate()
        assert admin.returncode == 0


# A cluster in recovery


def test_print_cluster(recovering, ctl):
    assert ctl(recovering, "print", "cluster") == (0, "RECOVERING\n", "")


def test_print_primary(recovering, ctl):
    assert ctl(recovering, "print", "primary") == (0, "M1\n", "")


def test_print_node(recovering, ctl):
    code, out, err = ctl(recovering, "print", "node")
    assert (code, err) == (0, "")
    admin, master = (line.split(" | ") for line in out.splitlines())
    address = recovering.admin_address
    assert admin[:4] == ["A1", "ADMIN ", address, "RUNNING"]
    assert admin[4][:2] == "20"
    assert master == ["M1", "MASTER", recovering.masters[0], "RUNNING", "None"]
    assert ctl(recovering, "print", "node", "storage") == (0, "Empty list!\n", "")
    code, out, err = ctl(recovering, "print", "node", "MASTER")
    assert out == f"M1 | MASTER | {recovering.masters[0]} | RUNNING | None\n"


def test_print_table_before_there_is_one(recovering, ctl):
    header = "# ptid: None, replicas: 0\n"
    assert ctl(recovering, "print", "pt") == (0, header + "\n", "")


def test_print_summary(recovering, ctl):
    text = '# {"problem": [null]}\nRECOVERING\n'
    assert ctl(recovering, "print", "summary") == (0, text, "")


def test_print_ids(recovering, ctl):
    code, out, err = ctl(recovering, "print", "ids")
    assert (code, err) == (0, "")
    names = [line.split(" = ")[0] for line in out.splitlines()]
    assert names == ["last_oid", "last_tid", "last_ptid"]
    assert out.endswith("last_ptid = None\n")


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("start", "Cannot exit recovery without any storage node"),
        ("set cluster verifying", "Cannot exit recovery without any storage node"),
        ("set cluster running", "Invalid state requested"),
        ("set cluster starting_backup", "Can not switch to this state"),
        ("set cluster stopping_backup", "Can not switch to this state"),
        ("set replicas 1", "setNumReplicas RPC can not be used in RECOVERING state"),
        ("tweak", "tweakPartitionTable RPC can not be used in RECOVERING state"),
        ("add S1", "addPendingNodes RPC can not be used in RECOVERING state"),
        ("truncate 1325421296", "truncate RPC can not be used in RECOVERING state"),
        ("prune_orphan 1 S3", "invalid storage node S3"),
        ("drop S3", "unknown node"),
        ("kill S3", "kill is refused in RECOVERING state: stop the process instead"),
        ("check 99:", "unknown partition 99: the cluster has 12 of them"),
        ("check :S9", "unknown storage S9: it has no cell"),
    ],
)
def test_refusals(recovering, ctl, words, reason):
    assert ctl(recovering, *words.split()) == (1, "", reason + "\n")
    assert recovering.state == "RECOVERING"


def test_flush_log(recovering, ctl):
    assert ctl(recovering, "flush_log") == (0, "", "")
    recovering.check()


def test_a_master_is_not_an_admin(recovering, cmd):
    recovering.expects("unexpected packet .*AskClusterState")
    address = recovering.masters[0]
    result = cmd("neoctl", "-a", address, "print", "cluster")
    assert result == (1, "", f"{address} is not an admin node\n")


# The life of an admin


def test_an_admin_survives_its_master(tmp_path, ctl):
    with Cluster(tmp_path, storages=0) as cluster:
        cluster.start(wait="RECOVERING")
        cluster.kill("m1")
        cluster.wait_for(
            lambda: ctl(cluster, "print", "cluster") == (1, "", NOT_READY),
            "the loss of the master is seen",
        )
        cluster.start_node("m1")
        cluster.wait_state("RECOVERING")


def test_stopping_ends_masters_and_admins(tmp_path, ctl):
    with Cluster(tmp_path, storages=0) as cluster:
        cluster.start(wait="RECOVERING")
        result = ctl(cluster, "set", "cluster", "stopping")
        assert result == (0, "Cluster state changed\n", "")
        assert [cluster[name].wait() for name in ("m1", "admin")] == [0, 0]


def test_several_masters_and_the_dynamic_list(tmp_path, ctl):
    """An admin that only knows one master finds the primary, and remembers all."""
    with Cluster(tmp_path, storages=0, masters=3, admin=False) as cluster:
        cluster.start(wait=None)
        path = tmp_path / "masters.json"
        for master in cluster.masters:
            path.unlink(missing_ok=True)
            command = ("-c", "test", "-m", master, "-b", cluster.admin_address, "-D", path)
            with subprocess.Popen(argv("neoadmin", *command)) as admin:
                try:
                    cluster.wait_for(
                        lambda: ctl(cluster, "print", "node", "master")[1].count("RUNNING") == 3,
                        "three masters are there",
                    )
                finally:
                    admin.terminate()
            assert all(
                f'"127.0.0.1",{x.split(":")[1]}' in path.read_text() for x in cluster.masters
            )


# TLS


def test_tls(tmp_path, cmd):
    with Cluster(tmp_path, storages=0, tls=TLS) as cluster:
        cluster.start(wait="RECOVERING")
        assert cluster.neoctl("print", "primary") == "M1\n"
        code, out, err = cmd("neoctl", "-a", cluster.admin_address, "print", "cluster")
        assert (code, out, err) == (1, "", "ERROR: Connection closed\n")
        assert cluster.state == "RECOVERING"


def test_tls_where_there_is_none(recovering, cmd):
    options = [x for pair in zip(("--ca", "--cert", "--key"), TLS, strict=True) for x in pair]
    code, out, err = cmd("neoctl", "-a", recovering.admin_address, *options, "print", "cluster")
    assert (code, out) == (1, "")
    assert err in ("ERROR: not connected\n", "ERROR: Connection closed\n")
