"""Writing again what another database has (spec client.md 8.6, 16.3)."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from ZODB.POSException import ReadOnlyError

from .app import Application
from .exception import NEOStorageError, NEOStorageNotFoundError

#: Bytes of a transaction that are read while the former one is being committed.
READ_AHEAD = 16 << 20


def restore(
    app: Application,
    oid: bytes,
    data: bytes | None,
    previous: bytes | None,
    transaction: Any,
) -> None:
    """Stores a record that was committed elsewhere: there is no conflict.

    `previous` is the transaction whose record holds the data too: where that record is here, and
    the same, it is pointed at, so that undo still knows about it.
    """
    if app.read_only:
        raise ReadOnlyError
    context = app.context(transaction)
    number = app.number(context)
    data_serial = None
    if previous:
        try:
            found = app.client.load_revision(oid, previous)[0]
        except NEOStorageNotFoundError:
            # Packed, or never copied.
            pass
        else:
            if data is None or data == found:
                data, data_serial = found, previous
    context.restored[oid] = data_serial
    # If it is not the current one, the storage tells, and it is stored again.
    base = app.restored.get(oid)
    conflict = app.client.store(number, oid, base, data, data_serial)
    if conflict:
        app.resolve(context, conflict)


def copy(source: Any, destination: Any) -> None:
    """Copies all transactions of a storage to another one, that only has the first of them.

    Begun again after it was interrupted, it goes on.
    """
    app: Application = destination.app
    last = app.last_tid
    with ThreadPoolExecutor(1, "NEO copy") as committer:
        former: Future[None] | None = None
        for transaction in source.iterator():
            if transaction.tid <= last:
                _compare(app, transaction)
                continue
            records, ahead = iter(transaction), []
            if former:
                ahead = _ahead(records, former)
                former.result()
            destination.tpc_begin(transaction, transaction.tid, transaction.status)
            try:
                for part in ahead, records:
                    for record in part:
                        restore(app, record.oid, record.data, record.data_txn, transaction)
            except BaseException:
                destination.tpc_abort(transaction)
                raise
            former = committer.submit(_commit, destination, transaction)
        if former:
            former.result()


def _compare(app: Application, transaction: Any) -> None:
    """What is not there can not be added before what is."""
    tid = transaction.tid
    try:
        app.client.transaction(tid)
    except NEOStorageNotFoundError:
        raise NEOStorageError(
            f"{tid.hex()} can not be copied before the last transaction, {app.last_tid.hex()}"
        ) from None


def _ahead(records: Iterator[Any], former: Future[None]) -> list[Any]:
    """The first records of a transaction, read as long as the former one is not committed."""
    ahead = []
    size = 0
    while size < READ_AHEAD and not former.done():
        record = next(records, None)
        if record is None:
            break
        ahead.append(record)
        size += len(record.data or b"")
    return ahead


def _commit(destination: Any, transaction: Any) -> None:
    try:
        if destination.tpc_vote(transaction):
            raise NEOStorageError(f"conflicts while {transaction.tid.hex()} was copied")
        if destination.tpc_finish(transaction) != transaction.tid:
            raise NEOStorageError(f"{transaction.tid.hex()} was copied with another TID")
    finally:
        destination.tpc_abort(transaction)
