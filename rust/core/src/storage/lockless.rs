//! Writes that were accepted without lock, when their cell is caught up (spec storage.md 11.8).

use std::collections::BTreeSet;

use neo_wire::{Oid, Packet, Partition, Ttid};

use super::locks::Lock;
use super::{Context, Storage};

impl Storage {
    /// Announces the cells that are caught up and on which every object has at most one lockless
    /// write left: these become regular locks.
    pub(super) fn notify_replicated(&mut self, cx: &mut Context<'_>) {
        let mut candidates: BTreeSet<Partition> = self
            .replicated
            .iter()
            .filter(|(_, tid)| tid.is_some())
            .map(|(partition, _)| *partition)
            .collect();
        if candidates.is_empty() {
            return;
        }
        let caught_up = candidates.clone();
        let lockless: Vec<(Ttid, Oid)> = self
            .transactions
            .iter()
            .flat_map(|(ttid, t)| t.lockless.iter().map(move |oid| (*ttid, *oid)))
            .collect();
        for (ttid, oid) in lockless {
            let partition = self.partition(oid.0);
            if caught_up.contains(&partition) {
                self.stacks.remove(&oid);
                let holder = self.write_locks.insert(oid, ttid);
                if holder.is_some_and(|holder| holder != ttid) {
                    candidates.remove(&partition);
                }
            }
        }
        for partition in &candidates {
            if let Some(Some(tid)) = self.replicated.insert(*partition, None) {
                self.tell_master(Packet::NotifyReplicationDone { partition: *partition, tid }, cx);
            }
        }
        self.lock_normally(&candidates, cx);
    }

    fn lock_normally(&mut self, announced: &BTreeSet<Partition>, cx: &mut Context<'_>) {
        let locks: Vec<(Oid, Ttid)> = self
            .write_locks
            .iter()
            .filter(|(oid, _)| announced.contains(&self.partition(oid.0)))
            .map(|(oid, ttid)| (*oid, *ttid))
            .collect();
        for (oid, ttid) in locks {
            let Some(transaction) = self.transactions.get_mut(&ttid) else {
                continue;
            };
            if !transaction.lockless.remove(&oid) {
                continue;
            }
            let serial = transaction.serials.get(&oid).copied();
            self.write_locks.remove(&oid);
            let Some(serial) = serial else { continue };
            match self.lock(ttid, (oid, serial), false, cx) {
                // Forgotten without a word: another cell reports the conflict.
                Lock::Conflict(_) => self.forget_object(ttid, oid, cx),
                Lock::LookUp => {
                    let job = super::jobs::Job::LocklessSerial(ttid, oid);
                    self.ask_read(crate::database::Query::LastSerial(oid), job, cx);
                }
                _ => {}
            }
        }
    }

    /// The last revision of an object with a lockless write is known.
    pub(super) fn lockless_looked_up(
        &mut self,
        ttid: Ttid,
        oid: Oid,
        last: Option<neo_wire::Tid>,
        cx: &mut Context<'_>,
    ) {
        if self.write_locks.get(&oid) != Some(&ttid) {
            return;
        }
        let Some(transaction) = self.transactions.get_mut(&ttid) else {
            return;
        };
        transaction.checking.remove(&oid);
        let Some(serial) = transaction.serials.get(&oid).copied() else {
            return;
        };
        if let Some(last) = last {
            self.remember_serial(oid, last);
        }
        if let Lock::Conflict(_) = self.compare(serial, oid, last) {
            self.forget_object(ttid, oid, cx);
        }
        self.released = true;
    }

    /// Takes an object out of a transaction.
    pub(super) fn forget_object(&mut self, ttid: Ttid, oid: Oid, cx: &mut Context<'_>) {
        self.forget_store(ttid, oid, cx);
        if let Some(transaction) = self.transactions.get_mut(&ttid) {
            transaction.serials.remove(&oid);
            transaction.lockless.remove(&oid);
            transaction.deadlock.remove(&oid);
            transaction.checking.remove(&oid);
        }
    }
}
