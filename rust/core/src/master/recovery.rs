//! RECOVERING: what storages have, and whose partition table is the newest (spec master.md 7.1-7.3,
//! 7.6).

use std::collections::{BTreeMap, BTreeSet};

use neo_wire::{Address, ClusterState, NodeId, NodeState, NodeType, Packet, Ptid, Tid};
use tracing::{info, warn};

use super::identification::Request;
use super::{Master, Phase, Question, Turn};
use crate::io::{ConnectionId, Now};
use crate::nodes::NodeKey;
use crate::partition_table::PartitionTable;

/// For how long an empty storage may come back with the NID that it must not use: it reconnects
/// within a second or so, and its address may later be that of the true owner.
const IMPOSTOR_MS: u64 = 60_000;

/// What a storage said about its database.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Answer {
    pub ptid: Option<Ptid>,
    pub backup_tid: Option<Tid>,
    pub truncate_tid: Option<Tid>,
}

/// Whether storages are to be truncated at the same TID before operation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Truncation {
    /// No.
    None,
    /// Yes: all of them get the order before any executes it.
    To(Tid),
    /// This storage contradicts others: an operator has to choose, by stopping one of them.
    Ambiguous(NodeKey),
}

/// What is known in one passage through RECOVERING.
#[derive(Debug, Default)]
pub(super) struct Recovery {
    /// The highest version reported so far.
    target: Option<Ptid>,
    /// Storages that have it; the first one was asked for its table. Empty once it is loaded.
    candidates: Vec<NodeKey>,
    loaded: bool,
    /// The storage whose table is loaded, as long as it is there.
    provider: Option<NodeKey>,
    answers: BTreeMap<NodeKey, Answer>,
    /// Storages that identified without NID, at this address, and so have no data.
    anonymous: BTreeMap<NodeKey, Address>,
    /// Until when the storage at an address must not get a NID that it asks for.
    impostors: BTreeMap<Address, (NodeId, u64)>,
    /// Why the cluster does not start was told: the log does not repeat it.
    told: Option<String>,
}

impl Recovery {
    /// A storage identified; `anonymous` is its address if it had no NID.
    pub fn identified(&mut self, key: NodeKey, anonymous: Option<Address>) {
        self.answers.remove(&key);
        if let Some(address) = anonymous {
            self.anonymous.insert(key, address);
        }
    }

    /// Whether the storage at this address was found to hold the NID of another one.
    pub fn is_impostor(&mut self, address: &Address, nid: NodeId, now: Now) -> bool {
        self.impostors
            .remove(address)
            .is_some_and(|(other, until_ms)| other == nid && now.monotonic_ms < until_ms)
    }

    pub fn answer(&self, key: NodeKey) -> Option<Answer> {
        self.answers.get(&key).copied()
    }

    /// The version of the newest table, if it is not loaded.
    pub fn missing_table(&self) -> Option<Ptid> {
        self.target.filter(|_| !self.loaded)
    }

    /// A new question was asked: the former answer does not count any more.
    pub fn asked_again(&mut self, key: NodeKey) {
        self.answers.remove(&key);
    }

    /// What a message of the log says now; none if it was already said.
    pub fn tell(&mut self, reason: String) -> Option<String> {
        if self.told.as_ref() == Some(&reason) {
            return None;
        }
        self.told = Some(reason.clone());
        Some(reason)
    }

    /// Notes an answer. Returns the storage to ask for its table.
    fn answered(&mut self, key: NodeKey, answer: Answer) -> Option<NodeKey> {
        self.answers.insert(key, answer);
        let ptid = answer.ptid?;
        if self.target == Some(ptid) {
            if self.loaded {
                return None;
            }
            self.candidates.push(key);
            return (self.candidates.len() == 1).then_some(key);
        }
        if self.target.is_some_and(|target| ptid < target) {
            return None;
        }
        self.target = Some(ptid);
        self.loaded = false;
        self.candidates = vec![key];
        Some(key)
    }

    /// A storage is lost. Returns the next one to ask for its table.
    fn lost(&mut self, key: NodeKey) -> Option<NodeKey> {
        self.answers.remove(&key);
        let was_asked = self.candidates.first() == Some(&key);
        self.candidates.retain(|candidate| *candidate != key);
        self.candidates.first().copied().filter(|_| was_asked)
    }
}

impl Master {
    /// Begins RECOVERING.
    pub(super) fn enter_recovery(&mut self, turn: &mut Turn<'_>) {
        self.phase = Phase::Recovering;
        self.epoch += 1;
        self.table = PartitionTable::new(self.config.partitions, self.config.replicas);
        let impostors = std::mem::take(&mut self.recovery.impostors);
        self.recovery = Recovery { impostors, ..Recovery::default() };
        self.set_cluster_state(turn, ClusterState::Recovering);
        for (_, _, connection) in self.storages() {
            self.ask(turn, connection, Packet::AskRecovery {}, Question::Recovery);
        }
        self.challenge_masters(turn);
    }

    pub(super) fn on_recovery(&mut self, turn: &mut Turn<'_>, key: NodeKey, packet: Packet) {
        let Packet::AnswerRecovery { ptid, backup_tid, truncate_tid } = packet else {
            return;
        };
        if self.phase != Phase::Recovering {
            return self.on_late_recovery(turn, key, (ptid, truncate_tid));
        }
        let answer = Answer { ptid, backup_tid, truncate_tid };
        let next = self.recovery.answered(key, answer);
        self.ask_table(turn, next);
        self.evict_impostors(turn);
    }

    fn ask_table(&mut self, turn: &mut Turn<'_>, from: Option<NodeKey>) {
        let connection = from.and_then(|key| self.nodes.get(key)?.identified_connection());
        if let Some(connection) = connection {
            self.ask(turn, connection, Packet::AskPartitionTable {}, Question::Table);
        }
    }

    pub(super) fn on_table(&mut self, turn: &mut Turn<'_>, key: NodeKey, packet: Packet) {
        let Packet::AnswerPartitionTable { ptid, num_replicas, rows } = packet else {
            return;
        };
        if self.phase != Phase::Recovering || Some(ptid) != self.recovery.target {
            return;
        }
        let mut table = PartitionTable::default();
        let is_storage = |nid: NodeId| nid.node_type() == Some(NodeType::Storage);
        let loaded = table.load(Some(ptid), num_replicas, &rows, is_storage);
        if loaded.is_err() || !table.is_complete() {
            warn!(?loaded, %ptid, "a storage has a malformed partition table");
            if let Some(connection) = self.nodes.get(key).and_then(|x| x.connection()) {
                self.hang_up(turn, connection);
            }
            return;
        }
        let (found, chosen) = (table.partitions(), self.config.partitions);
        info!(%ptid, partitions = found, "partition table loaded");
        if self.config.partitions_chosen && found != chosen {
            warn!(
                "the database has {found} partitions, which can not be changed: the option \
                 --partitions {chosen} has no effect"
            );
        }
        self.table = table;
        self.recovery.loaded = true;
        self.recovery.candidates.clear();
        self.recovery.provider = Some(key);
        self.evict_impostors(turn);
        let nids: Vec<_> = self.table.nids().collect();
        let unknown: Vec<_> =
            nids.into_iter().filter(|nid| self.nodes.by_nid(*nid).is_none()).collect();
        let created: Vec<_> = unknown.into_iter().map(|nid| self.nodes.storage_with(nid)).collect();
        self.introduce(turn, &created);
        let table = self.table_packet();
        for connection in self.admins() {
            self.notify(turn, connection, table.clone());
        }
    }

    /// Tells about the nodes that a table mentions, before the table itself is sent (spec master.md
    /// 3.6). Admins get a packet even if it is empty.
    fn introduce(&mut self, turn: &mut Turn<'_>, created: &[NodeKey]) {
        if !created.is_empty() {
            return self.tell_nodes(turn, created);
        }
        for connection in self.admins() {
            self.tell_one(turn, connection, Vec::new());
        }
    }

    /// Takes its NID back from an empty storage that got, before the table was known, the one of
    /// a storage that owns cells (spec master.md 3.3). It gets another one when it comes back.
    fn evict_impostors(&mut self, turn: &mut Turn<'_>) {
        if !self.recovery.loaded {
            return;
        }
        let is_impostor = |key: NodeKey, address: &Address| {
            let record = self.nodes.get(key)?;
            let nid = record.nid().filter(|nid| self.table.has_cells(*nid))?;
            let answer = self.recovery.answer(key)?;
            (answer.ptid.is_none() && record.address() == Some(address)).then_some(nid)
        };
        let impostors: Vec<_> = self
            .recovery
            .anonymous
            .iter()
            .filter_map(|(key, address)| Some((*key, is_impostor(*key, address)?)))
            .collect();
        for (key, nid) in impostors {
            self.evict(turn, key, nid);
        }
    }

    fn evict(&mut self, turn: &mut Turn<'_>, key: NodeKey, nid: NodeId) {
        let Some(address) = self.recovery.anonymous.remove(&key) else {
            return;
        };
        warn!(%nid, %address, "this storage is empty and must not be taken for the owner");
        let until_ms = turn.now.monotonic_ms + IMPOSTOR_MS;
        self.recovery.impostors.insert(address, (nid, until_ms));
        if let Some(connection) = self.nodes.get(key).and_then(|x| x.connection()) {
            self.hang_up(turn, connection);
        }
        // Its record becomes the one of the owner, of which nothing is known yet.
        self.nodes.set_address(key, None);
        if let Some(record) = self.nodes.get_mut(key) {
            record.id_timestamp = None;
        }
        self.tell_nodes(turn, &[key]);
    }

    /// Takes its NID back from an empty storage that just got it, if another one comes with this
    /// NID in its database. Returns whether it did.
    pub(super) fn evict_for(
        &mut self,
        turn: &mut Turn<'_>,
        request: &Request,
        other: ConnectionId,
    ) -> bool {
        if self.phase != Phase::Recovering || request.node_type != NodeType::Storage {
            return false;
        }
        let Some((key, record)) = self.nodes.find_connection(other) else {
            return false;
        };
        let is_empty = self.recovery.answer(key).is_some_and(|x| x.ptid.is_none());
        let address = self.recovery.anonymous.get(&key);
        let is_elsewhere = address.is_some() && address != request.address.as_ref();
        let nid = record.nid().filter(|nid| request.nid == Some(*nid));
        match nid {
            Some(nid) if is_empty && is_elsewhere => {
                self.evict(turn, key, nid);
                true
            }
            _ => false,
        }
    }

    /// Whether there may be cells whose owners are not known, so that any small NID may be taken:
    /// a storage that is not empty, or may be so, was seen. With none, this is a new database for
    /// all we know, whose storages are S1, S2...
    pub(super) fn may_have_cells_unknown(&self) -> bool {
        if self.phase != Phase::Recovering || self.recovery.loaded {
            return false;
        }
        if self.recovery.target.is_some() {
            return true;
        }
        let mut storages = self.nodes.of_type(NodeType::Storage);
        storages.any(|(key, _)| {
            let answer = self.recovery.answer(key);
            !self.recovery.anonymous.contains_key(&key)
                && answer.is_none_or(|answer| answer.ptid.is_some())
        })
    }

    /// The loss of a storage in RECOVERING (7.3).
    pub(super) fn on_candidate_lost(&mut self, turn: &mut Turn<'_>, key: NodeKey) {
        let next = self.recovery.lost(key);
        self.ask_table(turn, next);
        if self.set_node_state(key, NodeState::Down) {
            self.tell_nodes(turn, &[key]);
        }
    }

    /// The backup TID and the truncation that the storage of the loaded table reported, for
    /// operators who ask in RECOVERING.
    pub(super) fn reported_markers(&self) -> (Option<Tid>, Option<Tid>) {
        let answer = self.recovery.provider;
        let answer = answer.and_then(|key| self.recovery.answer(key));
        let truncation = match self.pending_truncation() {
            Truncation::To(tid) => Some(tid),
            _ => None,
        };
        (answer.and_then(|answer| answer.backup_tid), truncation)
    }

    /// Whether an order to truncate was given that was not executed everywhere (7.6).
    pub(super) fn pending_truncation(&self) -> Truncation {
        if !self.recovery.loaded {
            return Truncation::None;
        }
        let readable = self.table.readable_nids();
        let mut newest: Option<(NodeKey, Tid)> = None;
        let mut stale = None;
        for (key, answer) in &self.recovery.answers {
            let Some(tid) = answer.truncate_tid else {
                continue;
            };
            if answer.ptid == self.recovery.target {
                match newest {
                    Some((_, other)) if other != tid => return Truncation::Ambiguous(*key),
                    _ => newest = Some((*key, tid)),
                }
            } else if self
                .nodes
                .get(*key)
                .and_then(|record| record.nid())
                .is_some_and(|nid| readable.contains(&nid))
            {
                stale = Some(*key);
            }
        }
        match (newest, stale) {
            (Some((_, tid)), _) => Truncation::To(tid),
            (None, Some(key)) => Truncation::Ambiguous(key),
            // Those that missed the end of an old truncation execute it for themselves when they
            // are asked for their last identifiers, then replicate.
            (None, None) => Truncation::None,
        }
    }

    /// What the storages with readable cells say of backup mode: its TID, or none. Those that
    /// report nothing missed the switch to this mode, and are taken to have everything (7.6).
    pub(super) fn reported_backup_tid(&self) -> Option<Tid> {
        let readable: BTreeSet<_> = self
            .table
            .readable_nids()
            .into_iter()
            .filter_map(|nid| self.nodes.by_nid(nid))
            .collect();
        let answers = self.recovery.answers.iter();
        answers
            .filter(|(key, _)| readable.contains(key))
            .filter_map(|(_, answer)| answer.backup_tid)
            .min()
    }
}
