//! What is there of an import is a prefix.
//!
//! A client that imposes TIDs sends transaction after transaction without waiting. When anything
//! crashes, it continues after the last TID that is there: one that is missing below it could never
//! be inserted any more.

use std::collections::BTreeMap;

use neo_wire::{Packet, Tid};

use super::Found;
use super::history::History;
use super::journal::Journal;
use crate::network::EndRef;

/// A transaction that began while one with a lower imposed TID was pending.
struct Follower {
    before: Tid,
    tid: Tid,
    label: u64,
}

/// See the module.
#[derive(Default)]
pub struct Trains {
    pending: BTreeMap<EndRef, Vec<Tid>>,
    followers: Vec<Follower>,
}

impl Trains {
    /// A master sends something to a client.
    pub fn sent(&mut self, end: EndRef, packet: &Packet, journal: &Journal) {
        let pending = self.pending.entry(end).or_default();
        match packet {
            Packet::AnswerBeginTransaction { ttid } => {
                let tid = ttid.as_tid();
                let Some(label) = journal.imposed(tid) else { return };
                if let Some(before) = pending.last().copied() {
                    self.followers.push(Follower { before, tid, label });
                }
                pending.push(tid);
            }
            Packet::AnswerTransactionFinished { tid, .. } => pending.retain(|known| known != tid),
            // It may have refused one of them.
            Packet::Error { .. } => pending.clear(),
            _ => {}
        }
    }

    /// A client gives a transaction up.
    pub fn aborted(&mut self, end: EndRef, tid: Tid) {
        if let Some(pending) = self.pending.get_mut(&end) {
            pending.retain(|known| *known != tid);
        }
    }

    /// Looks for what is missing.
    pub fn check(&self, history: &History) -> Found {
        let is_there = |follower: &&Follower| {
            let transaction = history.transactions.get(&follower.tid);
            transaction.is_some_and(|transaction| transaction.label == follower.label)
        };
        let there = self.followers.iter().filter(is_there);
        let holes = there.filter(|x| !history.transactions.contains_key(&x.before));
        let text = |x: &Follower| format!("{} is there without {}", x.tid, x.before);
        holes.map(|x| ("an import is a prefix", text(x))).collect()
    }
}
