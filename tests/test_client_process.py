"""A storage in the life of a process: forks, Ctrl-C, threads, logs, the end."""

import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
import traceback

import pytest
import transaction
import ZODB
from neo.client.exception import NEOStorageError
from ZODB.Connection import TransactionMetaData
from ZODB.POSException import StorageTransactionError
from ZODB.utils import z64

#: Seconds after which something is taken for stuck. No test waits for it.
PATIENCE = 30


def commit(storage, oid, serial, data):
    txn = TransactionMetaData()
    storage.tpc_begin(txn)
    storage.store(oid, serial, data, "", txn)
    storage.tpc_vote(txn)
    return storage.tpc_finish(txn)


def in_child(function):
    """Forks, calls `function` in the child, and raises here if it fails there."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(PATIENCE)
            function()
            status = 0
        except BaseException:  # noqa: BLE001 - whatever it is, the child ends here
            traceback.print_exc()
        finally:
            os._exit(status)
    assert os.waitpid(pid, 0)[1] == 0


def test_a_storage_is_used_on_both_sides_of_a_fork(client):
    storage = client()
    oid = storage.new_oid()
    serial = commit(storage, oid, z64, b"before")
    nid = storage.app.uuid

    def child():
        assert storage.app.uuid is None
        assert storage.lastTransaction() == serial
        assert storage.load(oid) == (b"before", serial)
        commit(storage, oid, serial, b"child")
        assert storage.app.uuid not in (None, nid)
        assert storage.new_oid() != oid

    in_child(child)
    storage.sync()
    data, serial = storage.load(oid)
    assert data == b"child"
    commit(storage, oid, serial, b"parent")
    assert storage.app.uuid == nid


def test_a_fork_before_anything_is_connected(client):
    storage = client()
    in_child(lambda: commit(storage, storage.new_oid(), z64, b"child"))
    assert storage.load(commit_new(storage))[0] == b"new"


def commit_new(storage):
    oid = storage.new_oid()
    commit(storage, oid, z64, b"new")
    return oid


def test_transactions_belong_to_the_parent(client):
    storage = client()
    oid = storage.new_oid()
    txn = TransactionMetaData()
    storage.tpc_begin(txn)
    storage.store(oid, z64, b"parent", "", txn)

    def child():
        with pytest.raises(StorageTransactionError):
            storage.tpc_vote(txn)
        storage.tpc_abort(txn)
        commit_new(storage)

    in_child(child)
    storage.tpc_vote(txn)
    storage.tpc_finish(txn)
    assert storage.load(oid)[0] == b"parent"


def test_forks_while_threads_are_busy(client):
    """Locks are free in the child, whatever the other threads were doing."""
    storage = client()
    stop = threading.Event()
    errors = []

    def work():
        try:
            oid = storage.new_oid()
            serial = z64
            while not stop.is_set():
                serial = commit(storage, oid, serial, b"x" * 1000)
                storage._cache.clear()
                assert storage.load(oid)[1] == serial
        except Exception as error:
            errors.append(error)
            raise

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(30):
            in_child(lambda: commit_new(storage))
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert not errors


def test_a_database_after_a_fork(client):
    """What ZODB caches is invalidated by what the parent commits, and the other way."""
    db = ZODB.DB(client())
    with db.transaction() as connection:
        connection.root.x = 0
    connection = db.open()
    assert connection.root.x == 0
    connection.close()

    def child():
        with db.transaction() as connection:
            connection.root.x += 1

    for i in range(1, 4):
        in_child(child)
        # The invalidation is on its way: a new transaction waits for it.
        with db.transaction() as connection:
            assert connection.root.x == 2 * i - 1
            connection.root.x += 1
    db.close()


def _in_pool(address):
    from neo.client.Storage import Storage

    storage = Storage(*address)
    try:
        return storage.load(z64)
    finally:
        storage.close()


def test_spawned_processes_open_their_own(cluster, client):
    with ZODB.DB(client()).transaction() as connection:
        connection.root.y = 1
    address = (cluster.master_nodes, cluster.name)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(_in_pool, (address,)) == client().load(z64)
    with pytest.raises(TypeError):
        import pickle

        pickle.dumps(client())


def interrupt(cluster, nodes, call):
    """Ctrl-C while `call` waits for stopped nodes."""
    for name in nodes:
        cluster[name].signal(signal.SIGSTOP)
    main = threading.main_thread().ident
    timer = threading.Timer(0.3, signal.pthread_kill, (main, signal.SIGINT))
    timer.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            call()
    finally:
        timer.join()
        for name in nodes:
            cluster[name].signal(signal.SIGCONT)


@pytest.mark.parametrize("name", ["load", "sync", "new_oid"])
def test_ctrl_c_ends_what_waits(name, cluster, client):
    storage = client()
    oid = storage.new_oid()
    serial = commit(storage, oid, z64, b"x")
    storage._cache.clear()
    calls = {
        "load": lambda: storage.load(oid),
        "sync": storage.sync,
        "new_oid": lambda: [storage.new_oid() for _ in range(101)],
    }
    interrupt(cluster, ("m1", "s1", "s2"), calls[name])
    calls[name]()
    assert storage.load(oid) == (b"x", serial)


def test_ctrl_c_during_a_vote(cluster, client):
    storage = client()
    oid = storage.new_oid()
    txn = TransactionMetaData()
    storage.tpc_begin(txn)
    storage.store(oid, z64, b"x", "", txn)
    interrupt(cluster, ("s1", "s2"), lambda: storage.tpc_vote(txn))
    storage.tpc_abort(txn)
    commit(storage, oid, z64, b"y")
    assert storage.load(oid)[0] == b"y"


def test_ctrl_c_during_a_commit_leaves_it_to_the_background(cluster, client):
    storage = client()
    db = ZODB.DB(storage)
    connection = db.open()
    connection.root.z = 1
    txn = transaction.get()
    finish = storage.tpc_finish

    def slow(*args):
        storage.tpc_finish = finish
        interrupt(cluster, ("s1", "s2"), lambda: finish(*args))
        raise KeyboardInterrupt

    storage.tpc_finish = slow
    with pytest.raises(KeyboardInterrupt):
        txn.commit()
    transaction.abort()
    # It becomes visible, here too.
    end = time.monotonic() + PATIENCE
    while True:
        connection.sync()
        if getattr(connection.root, "z", None) == 1:
            break
        assert time.monotonic() < end
    db.close()


def test_what_waits_fails_when_the_storage_is_closed(cluster, client):
    storage = client()
    oid = commit_new(storage)
    storage._cache.clear()
    errors = []

    def load():
        try:
            storage.load(oid)
        except NEOStorageError as error:
            errors.append(str(error))

    for name in "s1", "s2":
        cluster[name].signal(signal.SIGSTOP)
    thread = threading.Thread(target=load)
    try:
        thread.start()
        time.sleep(0.05)
        storage.close()
        thread.join(PATIENCE)
        assert errors == ["the storage is closed"]
    finally:
        for name in "s1", "s2":
            cluster[name].signal(signal.SIGCONT)
    storage.close()
    for call in (
        storage.sync,
        storage.new_oid,
        lambda: storage.load(z64),
        lambda: storage.load(oid),
        lambda: storage.tpc_begin(TransactionMetaData()),
    ):
        with pytest.raises(NEOStorageError, match="closed"):
            call()


AT_EXIT = """
import sys, threading
from neo.client.Storage import Storage
from ZODB import DB
storages = [Storage(*sys.argv[1:]) for _ in range(3)]
storages[0].sync()
db = DB(storages[1])
def wait():
    while True:
        storages[2].sync()
threading.Thread(target=wait, daemon=True).start()
db.open().root
print("ready")
"""


def test_the_end_of_a_process(cluster):
    """Nothing hangs or crashes with storages open and calls pending."""
    for _ in range(5):
        result = subprocess.run(
            [sys.executable, "-c", AT_EXIT, cluster.master_nodes, cluster.name],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        assert (result.returncode, result.stdout) == (0, "ready\n"), result.stderr


def test_logs_reach_the_handlers_of_python(client, caplog):
    with caplog.at_level(logging.INFO, "NEO"):
        storage = client()
        storage.sync()
        end = time.monotonic() + PATIENCE
        while not any("primary master" in record.message for record in caplog.records):
            assert time.monotonic() < end
            time.sleep(0.01)
    assert {record.name for record in caplog.records} == {"NEO"}
