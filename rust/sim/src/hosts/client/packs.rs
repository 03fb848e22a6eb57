//! Packs of everything, or of some objects, up to some transaction.

use neo_core::client::api::Request;
use neo_wire::{Oid, PackRequest};

use super::ClientHost;
use super::threads::Step;
use crate::host::Turn;

impl ClientHost {
    /// The transaction of the thread has begun: it becomes a pack order.
    pub(super) fn pack(&mut self, i: usize, turn: &mut Turn<'_>) {
        let snapshot = self.threads[i].snapshot;
        let recent = turn.oracle.journal.recent();
        let index = turn.random.index(recent.len() + 1);
        let pack_tid = recent.get(index).copied().unwrap_or(snapshot).min(snapshot);
        let objects = 1..=self.workload.objects;
        let oids = if turn.random.one_in(2) {
            Some(objects.filter(|_| turn.random.one_in(2)).map(Oid).collect())
        } else {
            None
        };
        let transaction = self.threads[i].transaction();
        let pack = PackRequest { oids, pack_tid };
        self.threads[i].step = Step::Writing;
        self.call(i, Request::Pack { transaction, pack }, turn);
    }
}
