//! What clients ask (spec master.md 9.5-9.7, 10.3, 10.5, 10.7, 10.9).

use std::collections::BTreeSet;

use neo_wire::{ClusterState, ErrorCode, NodeId, Packet, Tid, Ttid};
use tracing::debug;

use super::transactions::{Delayed, Transaction};
use super::{Asker, Master, Question, Turn};
use crate::nodes::NodeKey;

/// No request of OIDs is answered above this number; clients ask for 100.
const MAX_OIDS: u32 = 0x10000;

const NO_OID: &str = "no OID is left: the cluster has one that is too close to 2^63 - 1, the \
    greatest that storages can hold";
const READ_ONLY: &str = "read-only access as requested by the client";

impl Master {
    /// Handles what a client says. Gives back what it may not say.
    pub(super) fn on_client_packet(
        &mut self,
        turn: &mut Turn<'_>,
        from: Asker,
        client: NodeKey,
        packet: Packet,
    ) -> Option<Packet> {
        match packet {
            Packet::AskPackOrders { min_id } => self.ask_orders(turn, from, false, min_id),
            Packet::WaitForPack { tid } => self.wait_for_pack(turn, from, tid),
            Packet::AskBeginTransaction { .. }
            | Packet::AskNewOIDs { .. }
            | Packet::AskFinishTransaction { .. }
            | Packet::AskFinalTID { .. }
            | Packet::AbortTransaction { .. }
                if self.transactions.is_reader(client) =>
            {
                self.error(turn, from, ErrorCode::ReadOnlyAccess, READ_ONLY);
            }
            Packet::FailedVote { .. } if self.transactions.is_reader(client) => {
                return Some(packet);
            }
            Packet::AskBeginTransaction { .. }
            | Packet::FailedVote { .. }
            | Packet::AskFinishTransaction { .. } => {
                let asker = from;
                self.try_delayed(turn, Delayed { client, asker, packet });
            }
            Packet::AskNewOIDs { count } => self.new_oids(turn, from, count),
            Packet::AskFinalTID { ttid } => self.final_tid(turn, from, ttid),
            Packet::AbortTransaction { ttid, nids } => {
                self.on_abort(turn, from, client, (ttid, &nids));
            }
            packet => return Some(packet),
        }
        None
    }

    fn new_oids(&mut self, turn: &mut Turn<'_>, from: Asker, count: u32) {
        if count > MAX_OIDS {
            return self.protocol_error(turn, from, "too many OIDs at once");
        }
        match self.transactions.new_oids(count) {
            Some(oids) => self.answer(turn, from, Packet::AnswerNewOIDs { oids }),
            None => self.protocol_error(turn, from, NO_OID),
        }
    }

    /// Handles a request that may have to wait; it does then.
    fn try_delayed(&mut self, turn: &mut Turn<'_>, delayed: Delayed) {
        let done = match &delayed.packet {
            Packet::AskBeginTransaction { tid } => self.begin(turn, &delayed, *tid),
            Packet::FailedVote { ttid, nids } => self.arbitrate(turn, &delayed, *ttid, nids),
            Packet::AskFinishTransaction { .. } => self.finish(turn, &delayed),
            _ => true,
        };
        if !done {
            self.transactions.delay(delayed);
        }
    }

    /// Handles again the requests that wait: a transaction ended, a storage is ready or lost.
    pub(super) fn retry_delayed(&mut self, turn: &mut Turn<'_>) {
        for delayed in self.transactions.take_delayed() {
            if self.links.contains(delayed.asker.connection) {
                self.try_delayed(turn, delayed);
            }
        }
    }

    /// Begins a transaction, if it can be (10.3).
    fn begin(&mut self, turn: &mut Turn<'_>, delayed: &Delayed, imposed: Option<Tid>) -> bool {
        // No transaction begins once the cluster stops: clients wait rather than try again.
        let is_stopping =
            self.cluster_state == Some(ClusterState::Stopping) || self.shutdown.is_exiting();
        if is_stopping || self.leaving.is_some() || !self.readiness.is_settled() {
            return false;
        }
        if imposed.is_some() && self.transactions.is_fading() {
            return false;
        }
        let readiness = self.readiness.counter();
        let wall_s = turn.now.wall_s;
        let begun = self.transactions.begin(delayed.client, imposed, readiness, wall_s);
        match begun {
            Ok(ttid) => {
                debug!(%ttid, "begin");
                let answer = Packet::AnswerBeginTransaction { ttid };
                self.answer(turn, delayed.asker, answer);
            }
            Err(text) => self.protocol_error(turn, delayed.asker, &text),
        }
        true
    }

    /// The transaction, if it is one of this client.
    pub(super) fn owned(&self, ttid: Ttid, client: NodeKey) -> Option<&Transaction> {
        let transaction = self.transactions.get(ttid)?;
        (transaction.owner == Some(client)).then_some(transaction)
    }

    /// Decides between transactions that could not write to different storages (10.5). Returns
    /// false if another one has to end before.
    fn arbitrate(
        &mut self,
        turn: &mut Turn<'_>,
        delayed: &Delayed,
        ttid: Ttid,
        nids: &[NodeId],
    ) -> bool {
        let asker = delayed.asker;
        let Some(transaction) = self.owned(ttid, delayed.client) else {
            self.protocol_error(turn, asker, &format!("unknown ttid {ttid}"));
            return true;
        };
        if transaction.is_asked() {
            let text = format!("commit already requested for ttid {ttid}");
            self.protocol_error(turn, asker, &text);
            return true;
        }
        let readiness = transaction.readiness;
        let is_expected = |nid: &NodeId| self.readiness.is_ready_since(*nid, readiness);
        let failed: BTreeSet<_> = nids.iter().copied().filter(is_expected).collect();
        if !failed.is_empty() {
            let excluded: Vec<_> = failed.iter().copied().collect();
            if !self.is_operational(&excluded) {
                let code = ErrorCode::IncompleteTransaction;
                self.error(turn, asker, code, "");
                return true;
            }
            let all: Vec<_> = failed.iter().copied().chain(self.transactions.failed()).collect();
            if !self.is_operational(&all) {
                return false;
            }
            if let Some(transaction) = self.transactions.get_mut(ttid) {
                transaction.failed = failed;
            }
        }
        self.ack(turn, asker, "");
        true
    }

    /// What became of a transaction whose end the client did not see (10.9).
    fn final_tid(&mut self, turn: &mut Turn<'_>, from: Asker, ttid: Ttid) {
        if let Some(transaction) = self.transactions.get_mut(ttid) {
            transaction.waiting.push(from);
            return;
        }
        let is_new = self.transactions.floor() < ttid.as_tid();
        let tid = (!is_new).then_some(Tid::MAX);
        self.answer(turn, from, Packet::AnswerFinalTID { tid });
    }

    /// A storage has handled the abort of an imposed TID.
    pub(super) fn on_aborted(&mut self, turn: &mut Turn<'_>, key: NodeKey, ttid: Ttid) {
        if let Some(nid) = self.nodes.get(key).and_then(|record| record.nid()) {
            self.transactions.faded(ttid, nid);
            self.retry_delayed(turn);
        }
    }

    fn on_abort(
        &mut self,
        turn: &mut Turn<'_>,
        from: Asker,
        client: NodeKey,
        (ttid, nids): (Ttid, &[NodeId]),
    ) {
        match self.owned(ttid, client) {
            // It may cross the removal of the transaction.
            None => debug!(%ttid, "abort of an unknown transaction"),
            Some(transaction) if transaction.is_asked() => {
                let text = format!("commit already requested for ttid {ttid}");
                self.protocol_error(turn, from, &text);
            }
            Some(_) => {
                self.abort_transaction(turn, ttid, nids.iter().copied());
                self.retry_delayed(turn);
            }
        }
    }

    /// Ends a transaction that is not committed, and tells the storages that may know it (10.7).
    pub(super) fn abort_transaction(
        &mut self,
        turn: &mut Turn<'_>,
        ttid: Ttid,
        nids: impl Iterator<Item = NodeId>,
    ) {
        let Some(transaction) = self.transactions.remove(ttid) else {
            return;
        };
        debug!(%ttid, "abort");
        let mut to: BTreeSet<_> = nids.chain(transaction.registered).collect();
        to.retain(|nid| self.readiness.is_ready(*nid));
        for nid in to {
            if let Some(connection) = self.storage_connection(nid) {
                let nids = Vec::new();
                self.notify(turn, connection, Packet::AbortTransaction { ttid, nids });
                if transaction.is_imposed {
                    // The TID may be imposed again at once.
                    self.transactions.fade(ttid, nid);
                    self.ask(turn, connection, Packet::Ping {}, Question::Aborted(ttid));
                }
            }
        }
        for asker in transaction.waiting {
            self.answer(turn, asker, Packet::AnswerFinalTID { tid: None });
        }
        if let Some(asker) = transaction.held {
            self.error(turn, asker, ErrorCode::IncompleteTransaction, "");
        }
        // It may have been the head of the queue.
        self.commit_locked(turn);
    }

    /// The loss of a client (9.6).
    pub(super) fn on_client_lost(&mut self, turn: &mut Turn<'_>, client: NodeKey) {
        let links = &self.links;
        let is_gone = |asker: &Asker| !links.contains(asker.connection);
        let aborted = self.transactions.lose_client(client, is_gone);
        self.packs.forget_askers(is_gone);
        for ttid in aborted {
            self.abort_transaction(turn, ttid, std::iter::empty());
        }
        self.forget_node(turn, client);
        self.retry_delayed(turn);
    }
}
