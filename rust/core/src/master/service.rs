//! Storages in operation: how they start, get ready, and leave (spec master.md 6.2, 8.2, 9.1-9.4).

use std::collections::{BTreeMap, BTreeSet};

use neo_wire::{ClusterState, NodeId, NodeState, NodeType, Packet, Partition, Ptid, Tid};
use tracing::{debug, error, info, warn};

use super::{Asker, Master, Phase, Question, STARTING, Turn, truncate};
use crate::io::{Now, Output};
use crate::nodes::NodeKey;
use crate::partition_table::TableError;

/// Which storages take part in transactions.
#[derive(Debug, Default)]
pub(super) struct Readiness {
    /// Storages that joined after RECOVERING and whose database is not known yet: nothing of the
    /// partition table is told to them. Whether a truncation is being waited for.
    joining: BTreeMap<NodeId, bool>,
    /// Storages that are told to start, or will be, and when they are given up.
    starting: BTreeMap<NodeId, u64>,
    /// Storages that are ready, since which number.
    ready: BTreeMap<NodeId, u64>,
    counter: u64,
}

impl Readiness {
    /// Whether no storage is expected to get ready.
    pub fn is_settled(&self) -> bool {
        self.starting.is_empty()
    }

    /// What a transaction that begins now remembers.
    pub const fn counter(&self) -> u64 {
        self.counter
    }

    /// Whether a storage gets whatever belongs to a transaction that began at this count.
    pub fn is_ready_since(&self, nid: NodeId, count: u64) -> bool {
        self.ready.get(&nid).is_some_and(|number| *number <= count)
    }

    pub fn is_ready(&self, nid: NodeId) -> bool {
        self.ready.contains_key(&nid)
    }

    pub fn ready(&self) -> impl Iterator<Item = NodeId> {
        self.ready.keys().copied()
    }

    pub fn is_joining(&self, nid: NodeId) -> bool {
        self.joining.contains_key(&nid)
    }

    fn remove(&mut self, nid: NodeId) {
        self.joining.remove(&nid);
        self.starting.remove(&nid);
        self.ready.remove(&nid);
    }

    fn set_ready(&mut self, nid: NodeId) -> bool {
        let was_starting = !self.is_joining(nid) && self.starting.remove(&nid).is_some();
        if was_starting {
            self.counter += 1;
            self.ready.insert(nid, self.counter);
        }
        was_starting
    }

    fn late(&self, now: Now) -> Vec<NodeId> {
        let late = |(_, deadline_ms): &(&NodeId, &u64)| **deadline_ms <= now.monotonic_ms;
        let storages = self.starting.iter().filter(late);
        storages.map(|(nid, _)| *nid).collect()
    }
}

impl Master {
    /// Storages begin to operate.
    pub(super) fn enter_service(&mut self, turn: &mut Turn<'_>) {
        self.phase = Phase::Service;
        // Orders without signature are what an aborted pack left, or were blocked by one: as
        // long as they stay so, no other pack is approved (spec master.md 14.2).
        self.packs.reject_unsigned();
        // What storages reported in VERIFYING: older orders are not kept.
        self.complete_packs(turn);
        self.set_cluster_state(turn, ClusterState::Running);
        for (key, nid, _) in self.storages() {
            let record = self.nodes.get(key);
            if record.is_some_and(|x| x.is_running()) && !self.readiness.is_joining(nid) {
                self.start_storage(turn, key);
            }
        }
    }

    /// What a storage that joins after RECOVERING gets first: it may have a truncation to execute,
    /// or belong to another history (8.2).
    pub(super) fn join_storage(&mut self, turn: &mut Turn<'_>, key: NodeKey) {
        let Some((nid, connection, is_running)) = self
            .nodes
            .get(key)
            .and_then(|record| Some((record.nid()?, record.connection()?, record.is_running())))
        else {
            return;
        };
        self.readiness.joining.insert(nid, false);
        if is_running {
            self.expect_ready(turn, nid);
        }
        self.ask(turn, connection, Packet::AskRecovery {}, Question::Recovery);
    }

    pub(super) fn on_late_recovery(
        &mut self,
        turn: &mut Turn<'_>,
        key: NodeKey,
        (ptid, truncate_tid): (Option<Ptid>, Option<Tid>),
    ) {
        let Some((nid, connection)) =
            self.nodes.get(key).and_then(|record| Some((record.nid()?, record.connection()?)))
        else {
            return;
        };
        if !self.readiness.is_joining(nid) {
            return;
        }
        if ptid > self.table.ptid() {
            warn!(%nid, ?ptid, "this storage knows a newer partition table: it is refused");
            return self.hang_up(turn, connection);
        }
        self.notify(turn, connection, self.table_packet());
        if truncate_tid.is_some() {
            info!(%nid, ?truncate_tid, "this storage executes a truncation that it missed");
            self.readiness.joining.insert(nid, true);
            return self.ask(turn, connection, Packet::AskLastIDs {}, Question::LastIds);
        }
        self.end_joining(turn, key, nid);
    }

    /// The answer of a storage that executed the truncation that it missed.
    pub(super) fn on_late_last_ids(&mut self, turn: &mut Turn<'_>, key: NodeKey) {
        let nid = self.nodes.get(key).and_then(|record| record.nid());
        if let Some(nid) = nid.filter(|nid| self.readiness.joining.get(nid) == Some(&true)) {
            self.end_joining(turn, key, nid);
        }
    }

    fn end_joining(&mut self, turn: &mut Turn<'_>, key: NodeKey, nid: NodeId) {
        self.readiness.joining.remove(&nid);
        let record = self.nodes.get(key);
        if self.phase == Phase::Service && record.is_some_and(|x| x.is_running()) {
            self.start_storage(turn, key);
        }
    }

    /// Tells a storage to operate.
    pub(super) fn start_storage(&mut self, turn: &mut Turn<'_>, key: NodeKey) {
        let storage = self
            .nodes
            .get(key)
            .and_then(|record| Some((record.nid()?, record.identified_connection()?)));
        let Some((nid, connection)) = storage else {
            return;
        };
        self.expect_ready(turn, nid);
        if !self.readiness.is_joining(nid) {
            let backup = self.backup_tid.is_some();
            self.notify(turn, connection, Packet::StartOperation { backup });
        }
    }

    fn expect_ready(&mut self, turn: &mut Turn<'_>, nid: NodeId) {
        let deadline_ms = turn.now.monotonic_ms + self.config.limits.starting_ms;
        self.readiness.starting.insert(nid, deadline_ms);
        self.set_starting_timer(turn);
    }

    fn set_starting_timer(&self, turn: &mut Turn<'_>) {
        let timer = STARTING;
        let next = self.readiness.starting.values().min();
        turn.out.push(match next {
            Some(deadline_ms) => Output::SetTimer {
                timer,
                delay_ms: deadline_ms.saturating_sub(turn.now.monotonic_ms),
            },
            None => Output::CancelTimer { timer },
        });
    }

    /// Ends the connections of storages that do not get ready: no transaction begins meanwhile.
    pub(super) fn give_up_starting(&mut self, turn: &mut Turn<'_>) {
        for nid in self.readiness.late(turn.now) {
            warn!(%nid, "this storage does not get ready");
            self.readiness.starting.remove(&nid);
            if let Some(connection) = self.storage_connection(nid) {
                self.cut(turn, connection);
            }
        }
        self.set_starting_timer(turn);
        self.retry_delayed(turn);
    }

    /// Handles what a storage in operation says. Gives back what it may not say.
    pub(super) fn on_storage_packet(
        &mut self,
        turn: &mut Turn<'_>,
        from: Asker,
        key: NodeKey,
        packet: Packet,
    ) -> Option<Packet> {
        let Some(nid) = self.nodes.get(key).and_then(|record| record.nid()) else {
            return Some(packet);
        };
        match packet {
            Packet::NotifyReady {} => {
                if !self.readiness.set_ready(nid) {
                    return Some(packet);
                }
                self.set_starting_timer(turn);
                if let Some(signed) = self.packs.signed() {
                    self.notify(turn, from.connection, signed);
                }
                self.retry_delayed(turn);
            }
            Packet::AskUnfinishedTransactions { partitions } => {
                self.answer_unfinished(turn, from, nid, &partitions);
            }
            Packet::NotifyReplicationDone { partition, .. } => {
                self.on_replication_done(turn, nid, partition);
            }
            Packet::NotifyPackCompleted { tid } => self.on_pack_completed(turn, key, tid),
            Packet::AskPackOrders { min_id } => self.ask_orders(turn, from, true, min_id),
            Packet::NotifyPartitionCorrupted { partition, nids } => {
                tracing::error!("Partition {partition} corrupted in: {nids:?}");
            }
            packet => return Some(packet),
        }
        None
    }

    fn answer_unfinished(
        &mut self,
        turn: &mut Turn<'_>,
        from: Asker,
        nid: NodeId,
        partitions: &[Partition],
    ) {
        let ttids = self.transactions.register(nid);
        let max_tid = self.transactions.last_tid();
        let answer = Packet::AnswerUnfinishedTransactions { max_tid, ttids };
        self.answer(turn, from, answer);
        for partition in partitions {
            self.table.set_updatable(*partition, nid);
        }
    }

    fn on_replication_done(&mut self, turn: &mut Turn<'_>, nid: NodeId, partition: Partition) {
        match self.table.set_up_to_date(nid, partition) {
            Ok(changes) => self.tell_changes(turn, changes),
            // The cell was removed meanwhile: the storage will know soon (9.4).
            Err(TableError::NoCell { .. }) => debug!(%nid, %partition, "late: ignored"),
            Err(error) => warn!(%nid, %error, "replication"),
        }
    }

    /// The loss of the connection with a storage (9.2).
    pub(super) fn on_storage_lost(&mut self, turn: &mut Turn<'_>, key: NodeKey) {
        if self.phase == Phase::Recovering {
            return self.on_candidate_lost(turn, key);
        }
        let Some((nid, state)) =
            self.nodes.get(key).and_then(|record| Some((record.nid()?, record.state)))
        else {
            return;
        };
        match state {
            NodeState::Down => {}
            // Peers do not accept that a node with cells is forgotten.
            NodeState::Pending if !self.table.has_cells(nid) => self.forget_node(turn, key),
            _ => {
                self.set_node_state(key, NodeState::Down);
                self.tell_nodes(turn, &[key]);
            }
        }
        let is_needed = self.phase == Phase::Verifying && self.on_verified_lost(key, nid);
        if state != NodeState::Down && !is_needed {
            let changes = self.table.outdate(Some(nid), |nid| self.nodes.is_running(nid));
            self.tell_changes(turn, changes);
        }
        self.leave_transactions(turn, key, nid);
    }

    /// What follows once a storage is out and the partition table says so (9.2, 6 to 8).
    pub(super) fn leave_transactions(&mut self, turn: &mut Turn<'_>, key: NodeKey, nid: NodeId) {
        self.readiness.remove(nid);
        self.set_starting_timer(turn);
        if !self.is_operational(&[]) {
            error!("No longer operational");
            self.leaving.get_or_insert(None);
        }
        if self.leaving.is_some() || self.phase != Phase::Service {
            self.packs.forget_node(nid);
            return;
        }
        self.on_participant_lost(turn, nid);
        self.on_packer_lost(turn, key, nid);
        self.retry_delayed(turn);
    }

    /// Leaves VERIFYING or service for RECOVERING (6.2).
    pub(super) fn leave_operation(&mut self, turn: &mut Turn<'_>, truncation: Option<Tid>) {
        if self.cluster_state == Some(ClusterState::Stopping) {
            // There is nothing to wait for any more.
            return self.close_cluster(turn);
        }
        info!(?truncation, "leaving operation");
        self.highest_ptid = self.highest_ptid.max(self.table.ptid());
        // A storage that is away may have recorded that others miss commits: alone with a master
        // that knows nothing, another one or this one once it was restarted, it would begin another
        // history, without what they commit in the meantime.
        self.commit_ptid = self.commit_ptid.max(self.table.ptid());
        // A new database that nothing was committed to may be on some storages, or on none: it is
        // not made again with less of them than were asked for.
        let is_known = self.least_ptid.is_some();
        let is_truncating = truncation.is_some() || self.truncate_tid.is_some();
        self.startup_allowed = is_known && !is_truncating && !self.is_deciding();
        self.truncate_tid = truncation;
        self.packs.reset();
        self.readiness = Readiness::default();
        self.set_starting_timer(turn);
        self.transactions.abandon();
        let order = truncation.and_then(truncate);
        for (_, _, connection) in self.storages() {
            self.notify(turn, connection, Packet::StopOperation {});
            if let Some(order) = &order {
                self.notify(turn, connection, order.clone());
            }
        }
        let clients = self.connected(&[NodeType::Client]);
        for (key, connection) in &clients {
            self.notify(turn, *connection, Packet::StopOperation {});
            self.nodes.set_connection(*key, None);
            self.probing.forget(*connection);
            self.links.abort(*connection, turn.out);
        }
        let pending: Vec<_> = self
            .storages()
            .into_iter()
            .map(|(key, ..)| key)
            .filter(|key| self.nodes.get(*key).is_some_and(|x| x.is_running()))
            .collect();
        for key in &pending {
            self.set_node_state(*key, NodeState::Pending);
        }
        self.tell_nodes(turn, &pending);
        self.enter_recovery(turn);
        self.forget_clients(turn, clients.into_iter().map(|(key, _)| key).collect());
    }

    /// Tells in one packet that clients are gone.
    fn forget_clients(&mut self, turn: &mut Turn<'_>, clients: BTreeSet<NodeKey>) {
        for key in &clients {
            self.set_node_state(*key, NodeState::Unknown);
        }
        let clients: Vec<_> = clients.into_iter().collect();
        self.tell_nodes(turn, &clients);
        for key in clients {
            self.nodes.remove(key);
        }
    }
}
