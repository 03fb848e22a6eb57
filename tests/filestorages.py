"""FileStorages for tests: made with everything that they can hold, and compared."""

import random
from base64 import encodebytes

import transaction
import ZODB
from persistent.mapping import PersistentMapping
from ZODB.Connection import TransactionMetaData
from ZODB.FileStorage import FileStorage
from ZODB.POSException import ConflictError, MultipleUndoErrors, UndoError
from ZODB.serialize import referencesf
from ZODB.TimeStamp import TimeStamp
from ZODB.utils import p64, z64


def contents(path, status=True):
    """Every detail of the iteration of a FileStorage; without status `p` unless `status`."""
    storage = FileStorage(str(path), read_only=True)
    try:
        return describe(storage.iterator(), status)
    finally:
        storage.close()


def describe(iterator, status=True):
    """The same for any storage."""
    result = []
    for txn in iterator:
        records = [(r.oid, r.tid, r.data, r.data_txn) for r in txn]
        state = txn.status if status else txn.status.replace("p", " ")
        extension = txn.extension_bytes
        result.append((txn.tid, state, txn.user, txn.description, extension, records))
    return result


class Maker:
    """Makes random transactions on a FileStorage."""

    def __init__(self, path, seed):
        self.random = random.Random(seed)
        self.storage = FileStorage(str(path))
        self.serials = {}
        self.deleted = set()
        self.committed = []
        self.next_oid = 1

    def close(self):
        self.storage.close()

    def transaction(self):
        """A new one, with random metadata."""
        txn = TransactionMetaData(
            self.random.choice(["", "admin", "é\x00"]),
            "x" * self.random.randrange(40),
            self.random.choice([{}, {"k": [1, 2]}, {"é": "ü"}]),
        )
        self.storage.tpc_begin(txn)
        return txn

    def commit(self, txn):
        """Finishes it; what it stored or undid is looked up again."""
        self.storage.tpc_vote(txn)
        tid = self.storage.tpc_finish(txn)
        self.committed.append(tid)
        for record in next(iter(self.storage.iterator(tid, tid))):
            self.serials[record.oid] = tid
            (self.deleted.add if record.data is None else self.deleted.discard)(record.oid)

    def data(self):
        return self.random.choice([b"x", b"pickle " * 200, self.random.randbytes(500)]) + bytes(
            str(self.random.random()), "ascii"
        )

    def store(self):
        """New objects and new revisions."""
        txn = self.transaction()
        oids = set()
        for _ in range(self.random.randrange(4)):
            if self.random.random() < 0.5 and self.serials:
                oids.add(self.random.choice(sorted(self.serials)))
            else:
                oids.add(p64(self.next_oid))
                self.next_oid += 1
        for oid in self.random.sample(sorted(oids), len(oids)):
            self.storage.store(oid, self.serials.get(oid, z64), self.data(), "", txn)
        self.commit(txn)

    def delete(self):
        txn = self.transaction()
        oids = [oid for oid in sorted(self.serials) if oid not in self.deleted]
        if oids:
            oid = self.random.choice(oids)
            self.storage.deleteObject(oid, self.serials[oid], txn)
        self.commit(txn)

    def undo(self):
        """One or several transactions, of the last ones."""
        txn = self.transaction()
        try:
            for tid in self.random.sample(self.committed[-6:], self.random.choice([1, 1, 2])):
                self.storage.undo(self.undo_id(tid), txn)
        except UndoError:
            # Not undoable: nothing of it remains.
            self.storage.tpc_abort(txn)
            return
        self.commit(txn)

    def undo_id(self, tid):
        return encodebytes(tid).rstrip()

    def step(self):
        choice = self.random.random()
        if choice < 0.5 or not self.committed:
            self.store()
        elif choice < 0.6:
            self.delete()
        else:
            self.undo()


def make(path, seed, steps=60):
    """A FileStorage with stores, deletions, undos, undos of undos, of several transactions."""
    maker = Maker(path, seed)
    for _ in range(steps):
        maker.step()
    maker.close()
    return path


def make_packed(path, seed):
    """A FileStorage of objects that refer to each other, packed in the middle of its life, with
    undos after."""
    rnd = random.Random(seed)
    db = ZODB.DB(FileStorage(str(path)))
    with db.transaction() as connection:
        for i in range(5):
            connection.root()[i] = PersistentMapping()
    middle = None
    for step in range(30):
        manager = transaction.TransactionManager()
        connection = db.open(manager)
        root = connection.root()
        log = [e["id"] for e in db.undoLog(0, 4) if e["description"].startswith("step")]
        if rnd.random() < 0.4 and log:
            try:
                db.undo(rnd.choice(log), manager.get())
                manager.commit()
            except (UndoError, ConflictError, MultipleUndoErrors):
                manager.abort()
        else:
            root[rnd.randrange(5)] = PersistentMapping({"step": step, "pad": "x" * 300})
            root[rnd.randrange(5)]["other"] = PersistentMapping()
            manager.get().note(f"step {step}")
            manager.commit()
        connection.close()
        if step == 15:
            middle = db.lastTransaction()
    db.storage.pack(TimeStamp(middle).timeTime(), referencesf)
    db.close()
    return path
