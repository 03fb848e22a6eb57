//! Commits are announced to each client in the order of their TIDs, and nothing that is committed
//! is announced after a greater last TID.
//!
//! A client makes a TID visible once it has handled what came before on the link to the master:
//! an invalidation that comes after a greater TID would leave stale records in snapshots that are
//! said to contain it (spec client.md 4.2).

use std::collections::BTreeMap;

use neo_wire::{Packet, Tid};

use crate::network::EndRef;

/// See the module.
#[derive(Default)]
pub struct Announcements {
    last: BTreeMap<EndRef, Tid>,
}

impl Announcements {
    /// A master sends something to a client.
    pub fn sent(&mut self, end: EndRef, packet: &Packet) -> Result<(), (&'static str, String)> {
        let (tid, again) = match packet {
            Packet::InvalidateObjects { tid, .. }
            | Packet::AnswerTransactionFinished { tid, .. } => (*tid, false),
            Packet::AnswerLastTransaction { tid } => (*tid, true),
            _ => return Ok(()),
        };
        let last = self.last.entry(end).or_default();
        if tid < *last || (tid == *last && !again) {
            let text = format!("{} of {tid} after {last}", packet.name());
            return Err(("commits are announced in order", text));
        }
        *last = tid;
        Ok(())
    }
}
