//! Taking a write lock (spec storage.md 11.2).

use neo_wire::{Oid, Packet, Tid, Ttid};
use tracing::{error, info};

use super::transaction::Voted;
use super::{Context, Storage};

/// What comes of a request to lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lock {
    /// The transaction has the lock and its base is current.
    Locked,
    /// Accepted without check: the cell is being replicated.
    Lockless,
    /// Somebody goes first: ask again when something ends.
    Delay,
    /// Somebody committed this revision.
    Conflict(Tid),
    /// Not ours to lock.
    NonReadable,
    /// The transaction has the lock; the last revision must be looked up before it can be said
    /// whether its base is current. See [`Storage::compare`].
    LookUp,
}

impl Storage {
    /// `lock(ttid, serial, oid)` of the specification. The transaction exists.
    ///
    /// `follows` tells whether what is locked may go upon what another transaction of the same
    /// connection stores: see [`Storage::follow`].
    pub(super) fn lock(
        &mut self,
        ttid: Ttid,
        (oid, serial): (Oid, Tid),
        follows: bool,
        cx: &mut Context<'_>,
    ) -> Lock {
        let partition = self.partition(oid.0);
        let Some(transaction) = self.transactions.get_mut(&ttid) else {
            return Lock::NonReadable;
        };
        if self.replicating.contains(&partition) {
            transaction.lockless.insert(oid);
            return Lock::Lockless;
        }
        let (lockless, connection) = (transaction.lockless.contains(&oid), transaction.connection);
        let holder = match self.write_locks.get(&oid).copied() {
            Some(holder) if !self.transactions.contains_key(&holder) => {
                error!(%oid, %holder, "this lock outlived its transaction: it is dropped");
                self.write_locks.remove(&oid);
                self.stacks.remove(&oid);
                None
            }
            holder => holder,
        };
        let Some(holder) = holder else {
            if !self.is_readable(partition) && !self.replicated.contains_key(&partition) {
                return Lock::NonReadable;
            }
            return self.take(ttid, serial, oid);
        };
        let follows = follows && !lockless && holder < ttid && holder.as_tid() == serial;
        let Some(other) = self.transactions.get_mut(&holder) else {
            return Lock::NonReadable;
        };
        if follows && other.connection == connection && other.can_be_followed(oid) {
            return self.follow(ttid, oid, holder);
        }
        if holder < ttid || other.voted != Voted::No {
            return Lock::Delay;
        }
        if lockless {
            return Lock::Lockless;
        }
        if holder == ttid {
            return self.lock_again(ttid, serial, oid);
        }
        if other.checking.contains(&oid) {
            // Its client does not know yet that it has the lock, so it can not give it back.
            return Lock::Delay;
        }
        if other.lockless.contains(&oid) {
            if let Some(transaction) = self.transactions.get_mut(&ttid) {
                transaction.lockless.insert(oid);
            }
            return Lock::Lockless;
        }
        if other.deadlock.insert(oid) {
            let connection = other.connection;
            info!(%oid, older = %ttid, younger = %holder, "possible deadlock");
            self.links.notify(connection, Packet::NotifyDeadlock { ttid: holder, oid }, cx.out);
        }
        Lock::Delay
    }

    /// The object is free: takes the lock first, then compares, so that nothing comes between.
    fn take(&mut self, ttid: Ttid, serial: Tid, oid: Oid) -> Lock {
        self.write_locks.insert(oid, ttid);
        match self.last_serials.get(&oid) {
            Some(last) => {
                let last = Some(*last);
                self.compare(serial, oid, last)
            }
            None => {
                if let Some(transaction) = self.transactions.get_mut(&ttid) {
                    transaction.checking.insert(oid);
                }
                Lock::LookUp
            }
        }
    }

    /// Compares a base with the last revision; on conflict the lock is released.
    pub(super) fn compare(&mut self, serial: Tid, oid: Oid, last: Option<Tid>) -> Lock {
        match last {
            Some(last) if last != serial => {
                self.write_locks.remove(&oid);
                Lock::Conflict(last)
            }
            _ => Lock::Locked,
        }
    }

    /// The object is already locked by the same transaction.
    fn lock_again(&mut self, ttid: Ttid, serial: Tid, oid: Oid) -> Lock {
        let Some(transaction) = self.transactions.get(&ttid) else {
            return Lock::NonReadable;
        };
        if transaction.checking.contains(&oid) {
            return Lock::Delay;
        }
        match transaction.stores.get(&oid).and_then(|store| store.value_tid) {
            Some(base) if base != serial => Lock::Conflict(base),
            _ => Lock::Locked,
        }
    }
}
