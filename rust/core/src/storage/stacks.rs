//! Transactions that write upon each other before any of them is committed.
//!
//! Someone who copies transactions knows their TIDs, which are imposed, before they are committed:
//! a store whose base is the TTID of the holder of the lock, from the same connection, need not
//! wait until that one is unlocked. Both then hold the object. The master commits imposed TIDs in
//! their order, and not those that follow one that was aborted; so do we refuse those that are left
//! without what they are based on, and those whose base gets another TID than its TTID.
//!
//! A Python NEO never asks for such a base; its storages let such a store wait.

use neo_wire::{Oid, Ttid};

use super::Storage;
use super::locks::Lock;
use super::queues::WriteRequest;

impl Storage {
    /// Whether a request may be carried out upon what is not committed: not one that needs a
    /// revision of the database, nor one that only looks whether its base is current, nor one that
    /// would overtake another one of the same transaction for the same object.
    pub(super) fn may_follow(&self, ttid: Ttid, request: &WriteRequest) -> bool {
        let first = self.write_queue.partition_point(|other| other.ttid < ttid);
        let mut own = self.write_queue.iter().skip(first).take_while(|other| other.ttid == ttid);
        if own.any(|other| other.request.oid() == request.oid()) {
            return false;
        }
        match request {
            WriteRequest::Store { data_serial, .. } => data_serial.is_none(),
            WriteRequest::Check { .. } => false,
            WriteRequest::Relock { oid, .. } => {
                let stores = self.transactions.get(&ttid).map(|transaction| &transaction.stores);
                let store = stores.and_then(|stores| stores.get(oid));
                store.is_some_and(|store| store.value_tid.is_none())
            }
        }
    }

    /// Takes the lock of an object over its holder, which keeps it below.
    pub(super) fn follow(&mut self, ttid: Ttid, oid: Oid, holder: Ttid) -> Lock {
        self.write_locks.insert(oid, ttid);
        self.stacks.entry(oid).or_insert_with(|| [holder].into()).push_back(ttid);
        Lock::Locked
    }

    /// A transaction does not hold an object any more, if it did. Returns those that wrote upon it.
    pub(super) fn unlock_object(&mut self, ttid: Ttid, oid: Oid) -> Vec<Ttid> {
        let Some(stack) = self.stacks.get_mut(&oid) else {
            // A lockless object can be locked by another transaction.
            if self.write_locks.get(&oid) == Some(&ttid) {
                self.write_locks.remove(&oid);
            }
            return Vec::new();
        };
        let Some(place) = stack.iter().position(|holder| *holder == ttid) else {
            return Vec::new();
        };
        stack.remove(place);
        let followers = stack.range(place..).copied().collect();
        if let Some(top) = stack.back() {
            self.write_locks.insert(oid, *top);
        }
        if stack.len() < 2 {
            self.stacks.remove(&oid);
        }
        followers
    }

    /// What these transactions are based on is aborted, or is not what they said.
    pub(super) fn orphan(&mut self, followers: &[Ttid]) {
        for ttid in followers {
            if let Some(transaction) = self.transactions.get_mut(ttid) {
                transaction.orphan = true;
            }
        }
    }
}
