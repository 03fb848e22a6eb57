//! When and how RECOVERING is left (spec master.md 7.4, 7.5).

use std::collections::BTreeSet;

use neo_wire::{NodeId, NodeState, NodeType, Packet, Partition, Ptid, Tid};
use tracing::{error, info, warn};

use super::recovery::Truncation;
use super::{Master, Question, Turn, truncate};
use crate::io::Exit;
use crate::nodes::NodeKey;
use crate::partition_table::device_path;

/// With whom the cluster starts.
struct Start {
    required: BTreeSet<NodeKey>,
    truncation: Option<Tid>,
}

impl Master {
    /// Leaves RECOVERING if it can be; whether something was done.
    pub(super) fn advance_recovery(&mut self, turn: &mut Turn<'_>) -> bool {
        let start = match self.find_start() {
            Ok(start) => start,
            Err(reason) => {
                if let Some(reason) = self.recovery.tell(reason) {
                    info!("the cluster does not start: {reason}");
                }
                return false;
            }
        };
        if start.truncation.is_some_and(|tid| self.propagate_truncation(turn, tid)) {
            return true;
        }
        self.leave_recovery(turn, start);
        true
    }

    /// Whom to start with, or why not to.
    fn find_start(&self) -> Result<Start, String> {
        let present: BTreeSet<_> = self
            .storages()
            .into_iter()
            .filter(|(key, ..)| {
                let record = self.nodes.get(*key);
                record.is_some_and(|record| record.state == NodeState::Pending)
            })
            .map(|(key, ..)| key)
            .collect();
        if present.is_empty() {
            return Err("no storage is there".into());
        }
        let truncation = match self.pending_truncation() {
            Truncation::None => None,
            Truncation::To(tid) => Some(tid),
            Truncation::Ambiguous(key) => {
                let name = self.name(key);
                return Err(format!("{name} is to be truncated, but others say otherwise"));
            }
        };
        if let Some(ptid) = self.recovery.missing_table() {
            // No older table, and even less a new one, may take its place.
            return Err(format!("partition table {ptid} is not loaded"));
        }
        // Having none at all is worse: empty storages would begin another history.
        if self.table.ptid() < self.least_ptid {
            return Err("storages that have the last commits are missing".into());
        }
        let required = if self.table.ptid().is_some() {
            self.required_owners(&present, truncation.is_some())?
        } else if self.startup_allowed {
            present.clone()
        } else if self.config.autostart == 0 {
            return Err("there is no database yet".into());
        } else if (present.len() as u64) < u64::from(self.config.autostart) {
            return Err(format!("{} storages are there", present.len()));
        } else {
            present.clone()
        };
        // All that are there must have spoken: one may know of a newer table, or of a truncation.
        if let Some(key) = present.iter().find(|key| self.recovery.answer(**key).is_none()) {
            return Err(format!("{} is entering the cluster", self.name(*key)));
        }
        if let Some(key) = required.iter().find(|key| self.has_pending(**key)) {
            return Err(format!("{} has not answered yet", self.name(*key)));
        }
        Ok(Start { required, truncation })
    }

    /// The owners of cells to start with, when a table is loaded.
    fn required_owners(
        &self,
        present: &BTreeSet<NodeKey>,
        is_truncating: bool,
    ) -> Result<BTreeSet<NodeKey>, String> {
        let owner = |nid: NodeId| self.nodes.by_nid(nid).filter(|key| present.contains(key));
        let serving = |nid: NodeId| owner(nid).is_some_and(|key| self.is_trusted(key));
        for partition in (0..self.table.partitions()).map(Partition) {
            if !self.table.readable(partition).any(serving) {
                return Err(format!("no storage with partition {partition} is there"));
            }
        }
        let nids: Vec<_> = if is_truncating && !self.is_partial_start_allowed() {
            self.table.nids().collect()
        } else {
            self.table.readable_nids().into_iter().collect()
        };
        let missing = nids.iter().find(|nid| !serving(**nid));
        if let (Some(nid), false) = (missing, self.is_partial_start_allowed()) {
            return Err(format!("{nid} is missing"));
        }
        Ok(nids.into_iter().filter_map(owner).collect())
    }

    /// Whether a storage can be what the table says that it is. One that has no table at all may
    /// have got its NID in error; but a first table that did not reach it yet is no error.
    fn is_trusted(&self, key: NodeKey) -> bool {
        let is_empty = self.recovery.answer(key).is_some_and(|answer| answer.ptid.is_none());
        !is_empty || self.is_partial_start_allowed() || self.table.ptid() == Some(Ptid(1))
    }

    /// Whether owners of readable cells may be missing. Not with a table that is older than the
    /// last commit: one of them may be the only one that locked it.
    fn is_partial_start_allowed(&self) -> bool {
        self.startup_allowed && self.table.ptid() >= self.commit_ptid
    }

    fn has_pending(&self, key: NodeKey) -> bool {
        let connection = self.nodes.get(key).and_then(|record| record.connection());
        connection.is_some_and(|connection| self.links.has_pending(connection))
    }

    pub(super) fn name(&self, key: NodeKey) -> String {
        match self.nodes.get(key) {
            Some(record) => record.to_string(),
            None => "an unknown node".into(),
        }
    }

    /// Gives the order to truncate to those that do not have it; whether there was one.
    fn propagate_truncation(&mut self, turn: &mut Turn<'_>, tid: Tid) -> bool {
        let mut sent = false;
        for (key, _, connection) in self.storages() {
            let answer = self.recovery.answer(key);
            let has_order = |order: Tid| order <= tid;
            if answer.is_none_or(|x| x.truncate_tid.is_some_and(has_order)) {
                continue;
            }
            let Some(order) = truncate(tid) else {
                return false;
            };
            self.notify(turn, connection, order);
            self.recovery.asked_again(key);
            self.ask(turn, connection, Packet::AskRecovery {}, Question::Recovery);
            sent = true;
        }
        sent
    }

    fn leave_recovery(&mut self, turn: &mut Turn<'_>, start: Start) {
        let running: BTreeSet<_> = if self.table.ptid().is_some() {
            let storages = self.storages().into_iter();
            storages.filter(|(_, nid, _)| self.table.has_cells(*nid)).map(|(key, ..)| key).collect()
        } else {
            start.required
        };
        let mut changed: Vec<_> = running
            .iter()
            .copied()
            .filter(|key| self.set_node_state(*key, NodeState::Running))
            .collect();
        changed.extend(self.end_election(turn));
        self.tell_nodes(turn, &changed);
        self.truncate_tid = start.truncation;
        self.backup_tid = self.reported_backup_tid().filter(|_| start.truncation.is_none());
        if self.table.ptid().is_some() {
            // A former primary may have committed with this table as with any.
            self.least_ptid = self.least_ptid.max(self.table.ptid());
            self.raise_ptid();
            let changes = self.table.outdate(None, |nid| self.nodes.is_running(nid));
            if !changes.is_empty() {
                warn!(?changes, "the cluster starts without all storages");
            }
            // Storages get the whole table.
            self.tell_changes_to(turn, &[NodeType::Admin], changes);
        } else if let Err(error) = self.create_table(&running) {
            error!("no partition table can be made: {error}");
            let reason = format!("No partition table can be made: {error}");
            return self.exit(turn, Exit::Failure(reason));
        } else {
            info!(partitions = self.table.partitions(), "new database");
            let table = self.table_packet();
            for connection in self.admins() {
                self.notify(turn, connection, table.clone());
            }
        }
        self.enter_verification(turn);
    }

    /// Numbers the table after those that this master has already told: a storage that comes back
    /// may have them.
    fn raise_ptid(&mut self) {
        if self.table.ptid() < self.highest_ptid {
            let (num_replicas, rows) = (self.table.num_replicas(), self.table.rows());
            // It is the table that was loaded.
            let raised = self.table.load(self.highest_ptid, num_replicas, &rows, |_| true);
            debug_assert!(raised.is_ok());
        }
    }

    fn create_table(
        &mut self,
        running: &BTreeSet<NodeKey>,
    ) -> Result<(), crate::partition_table::TableError> {
        let nid = |key: &NodeKey| self.nodes.get(*key)?.nid();
        let nids = running.iter().filter_map(nid).collect();
        let nodes = &self.nodes;
        self.table.create(&nids, |nid| {
            let storage = nodes.find_nid(nid);
            storage.map(|(_, record)| device_path(record)).unwrap_or_default()
        })
    }
}
