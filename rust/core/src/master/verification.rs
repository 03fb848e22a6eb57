//! VERIFYING: what was being committed is completed or dropped, truncations are executed, and the
//! last identifiers are found (spec master.md 8).

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use neo_wire::{ClusterState, NodeId, Oid, Packet, Tid, Ttid};
use tracing::{error, info, warn};

use super::{Master, Phase, Question, Turn};
use crate::io::{ConnectionId, Exit};
use crate::nodes::NodeKey;

/// What is being asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Stage {
    /// Which transactions are voted or locked.
    #[default]
    Locked,
    /// Whether a transaction that is only voted was finished elsewhere.
    FinalTids,
    /// Last identifiers.
    LastIds,
    /// Pack orders that are not completed.
    PackOrders,
}

/// What is known in one passage through VERIFYING.
#[derive(Debug, Default)]
pub(super) struct Verification {
    stage: Stage,
    /// Who has not answered yet.
    waiting: BTreeSet<NodeKey>,
    /// Transactions whose final TID is known: these are committed.
    locked: BTreeMap<Ttid, Tid>,
    /// Who voted what.
    voted: BTreeMap<Ttid, BTreeSet<NodeKey>>,
    /// Whom to ask about which transaction, one at a time.
    questions: VecDeque<(Ttid, NodeKey)>,
    asked: Option<(Ttid, NodeKey)>,
    last_tid: Tid,
    last_oid: Oid,
    first_tid: Option<Tid>,
    /// Storages were told to complete transactions.
    validated: bool,
}

impl Verification {
    /// Whether a storage that is lost may be the only one that knows that a transaction is
    /// committed: it did not say it yet, or the others have not recorded it yet.
    fn is_deciding(&self) -> bool {
        match self.stage {
            Stage::Locked | Stage::FinalTids => true,
            // It is recorded when this is answered.
            Stage::LastIds => self.validated && !self.waiting.is_empty(),
            Stage::PackOrders => false,
        }
    }

    fn heard(&mut self, stage: Stage, key: NodeKey) -> bool {
        self.stage == stage && self.waiting.remove(&key)
    }

    /// A storage will not answer. What was being asked of it is not known: it is as if it had
    /// answered that it does not know.
    pub fn lost(&mut self, key: NodeKey) {
        self.waiting.remove(&key);
        self.questions.retain(|(_, asked)| *asked != key);
        if self.asked.is_some_and(|(_, asked)| asked == key) {
            self.asked = None;
        }
    }

    fn final_tid(&mut self, key: NodeKey, ttid: Ttid, tid: Option<Tid>) {
        if self.asked != Some((ttid, key)) {
            return;
        }
        self.asked = None;
        if let Some(tid) = tid {
            self.locked.insert(ttid, tid);
            self.questions.retain(|(asked, _)| *asked != ttid);
        }
    }
}

impl Master {
    /// Begins VERIFYING.
    pub(super) fn enter_verification(&mut self, turn: &mut Turn<'_>) {
        self.phase = Phase::Verifying;
        self.leaving = None;
        self.transactions.reset();
        self.packs.reset();
        self.set_cluster_state(turn, ClusterState::Verifying);
        let table = self.table_packet();
        for (_, _, connection) in self.storages() {
            self.notify(turn, connection, table.clone());
        }
        self.verification = Verification::default();
        if self.backup_tid.is_none() {
            let owners = self.readable_storages();
            self.ask_all(turn, owners, Packet::AskLockedTransactions {}, Question::Locked);
        } else {
            self.ask_last_ids(turn);
        }
    }

    /// The connected owners of readable cells.
    pub(super) fn readable_storages(&self) -> Vec<(NodeKey, ConnectionId)> {
        let nids = self.table.readable_nids();
        let storages = self.storages().into_iter();
        storages
            .filter(|(_, nid, _)| nids.contains(nid))
            .map(|(key, _, connection)| (key, connection))
            .collect()
    }

    fn ask_all(
        &mut self,
        turn: &mut Turn<'_>,
        storages: Vec<(NodeKey, ConnectionId)>,
        packet: Packet,
        question: Question,
    ) {
        self.verification.waiting = storages.iter().map(|(key, _)| *key).collect();
        for (_, connection) in storages {
            self.ask(turn, connection, packet.clone(), question);
        }
    }

    pub(super) fn on_locked_transactions(&mut self, key: NodeKey, packet: Packet) {
        let Packet::AnswerLockedTransactions { transactions } = packet else {
            return;
        };
        if !self.verification.heard(Stage::Locked, key) {
            return;
        }
        for (ttid, tid) in transactions.0 {
            self.verification.voted.entry(ttid).or_default().insert(key);
            if let Some(tid) = tid {
                self.verification.locked.insert(ttid, tid);
            }
        }
    }

    pub(super) fn on_final_tid(&mut self, key: NodeKey, ttid: Ttid, packet: Packet) {
        if let Packet::AnswerFinalTID { tid } = packet {
            self.verification.final_tid(key, ttid, tid);
        }
    }

    pub(super) fn on_last_ids(&mut self, turn: &mut Turn<'_>, key: NodeKey, packet: Packet) {
        let Packet::AnswerLastIDs { last_tid, last_oid, first_tid } = packet else {
            return;
        };
        if self.phase != Phase::Verifying || !self.verification.heard(Stage::LastIds, key) {
            return self.on_late_last_ids(turn, key);
        }
        let known = &mut self.verification;
        known.last_tid = known.last_tid.max(last_tid.unwrap_or_default());
        known.last_oid = known.last_oid.max(last_oid.unwrap_or_default());
        let first_tid = known.first_tid.map_or(first_tid, |tid| tid.min(first_tid));
        known.first_tid = Some(first_tid);
    }

    pub(super) fn on_pack_orders(&mut self, key: NodeKey, packet: Packet) {
        let Packet::AnswerPackOrders { orders } = packet else {
            return;
        };
        if self.verification.heard(Stage::PackOrders, key) {
            self.packs.merge(orders);
        }
    }

    /// Asks the next question if the answers to the former ones are there; whether it did.
    pub(super) fn advance_verification(&mut self, turn: &mut Turn<'_>) -> bool {
        if !self.verification.waiting.is_empty() || self.verification.asked.is_some() {
            return false;
        }
        match self.verification.stage {
            Stage::Locked => {
                self.plan_final_tids();
                self.verification.stage = Stage::FinalTids;
            }
            Stage::FinalTids => match self.verification.questions.pop_front() {
                Some((ttid, key)) => self.ask_final_tid(turn, ttid, key),
                None => {
                    self.validate_transactions(turn);
                    self.ask_last_ids(turn);
                }
            },
            Stage::LastIds => {
                let known = &self.verification;
                let first_tid = known.first_tid.unwrap_or(Tid::MAX);
                let (last_tid, last_oid) = (known.last_tid, known.last_oid);
                info!(%last_tid, %last_oid, %first_tid, "last identifiers");
                self.transactions.start(last_tid, last_oid, first_tid);
                if last_tid > Tid::ZERO {
                    self.transactions.leave_gap(turn.now.wall_s, &mut self.entropy);
                }
                self.truncate_tid = None;
                self.ask_pack_orders(turn);
            }
            Stage::PackOrders => self.leave_verification(turn),
        }
        true
    }

    /// Transactions that are voted and not known to be locked may have been finished, and
    /// forgotten, by other owners of their metadata (8.1).
    fn plan_final_tids(&mut self) {
        let partitions = self.table.partitions();
        let mut questions = VecDeque::new();
        for (ttid, voters) in &self.verification.voted {
            if self.verification.locked.contains_key(ttid) {
                continue;
            }
            let others = self
                .table
                .readable(ttid.partition(partitions))
                .filter_map(|nid| self.nodes.by_nid(nid))
                .filter(|key| !voters.contains(key));
            questions.extend(others.map(|key| (*ttid, key)));
        }
        self.verification.questions = questions;
    }

    fn ask_final_tid(&mut self, turn: &mut Turn<'_>, ttid: Ttid, key: NodeKey) {
        let connection = self.nodes.get(key).and_then(|x| x.identified_connection());
        if let Some(connection) = connection {
            self.verification.asked = Some((ttid, key));
            let question = Question::FinalTid(ttid);
            self.ask(turn, connection, Packet::AskFinalTID { ttid }, question);
        }
    }

    /// Commits what was locked. Storages drop the rest when they start operation.
    fn validate_transactions(&mut self, turn: &mut Turn<'_>) {
        let locked = std::mem::take(&mut self.verification.locked);
        let mut voted = std::mem::take(&mut self.verification.voted);
        self.verification.validated = !locked.is_empty();
        for (ttid, tid) in locked {
            info!(%ttid, %tid, "committing an interrupted transaction");
            for key in voted.remove(&ttid).unwrap_or_default() {
                let connection = self.nodes.get(key).and_then(|x| x.identified_connection());
                if let Some(connection) = connection {
                    self.notify(turn, connection, Packet::ValidateTransaction { ttid, tid });
                }
            }
        }
        for ttid in voted.into_keys() {
            info!(%ttid, "an interrupted transaction is dropped");
        }
    }

    /// Storages execute a pending truncation when they are asked this: all of them are.
    fn ask_last_ids(&mut self, turn: &mut Turn<'_>) {
        self.verification.stage = Stage::LastIds;
        let storages = self.storages().into_iter();
        // Those that join are asked on their own, once they have the table.
        let storages = storages
            .filter(|(_, nid, _)| !self.readiness.is_joining(*nid))
            .map(|(key, _, to)| (key, to))
            .collect();
        self.ask_all(turn, storages, Packet::AskLastIDs {}, Question::LastIds);
    }

    fn ask_pack_orders(&mut self, turn: &mut Turn<'_>) {
        self.verification.stage = Stage::PackOrders;
        let nids: BTreeSet<NodeId> = self.table.readable_nids();
        let min_id = match self.packs.least_completed(&nids) {
            Some(tid) => tid.next(),
            None => Tid::ZERO,
        };
        let owners = self.readable_storages();
        let packet = Packet::AskPackOrders { min_id };
        self.ask_all(turn, owners, packet, Question::PackOrders);
    }

    fn leave_verification(&mut self, turn: &mut Turn<'_>) {
        if self.backup_tid.is_some() {
            let reason = super::administration::NO_UPSTREAM;
            error!("{reason}");
            return self.exit(turn, Exit::Failure(reason.into()));
        }
        self.enter_service(turn);
    }

    /// Whether the loss of a storage may drop a transaction that was committed.
    pub(super) fn is_deciding(&self) -> bool {
        self.phase == Phase::Verifying
            && self.backup_tid.is_none()
            && self.verification.is_deciding()
    }

    /// The loss of a storage in VERIFYING, besides what is common (8.2). Returns whether its cells
    /// stay what they are: it is waited for instead of being out of date.
    pub(super) fn on_verified_lost(&mut self, key: NodeKey, nid: NodeId) -> bool {
        self.verification.lost(key);
        if self.truncate_tid.is_some() {
            // All must execute it, or none.
            self.leaving.get_or_insert(None);
        }
        let is_needed = self.is_deciding() && self.table.readable_nids().contains(&nid);
        if is_needed {
            warn!(%nid, "this storage may be the only one that knows of a commit: waiting for it");
            self.leaving.get_or_insert(None);
        }
        is_needed
    }
}
