//! Nodes that operators kill, drop and add, and cells that they move (spec master.md 12, 16, 16.1).

use std::collections::BTreeSet;

use neo_wire::{CellChange, CellState, NodeId, NodeState, NodeType, Packet};
use tracing::info;

use super::{Asker, Master, Phase, Turn};
use crate::nodes::NodeKey;
use crate::partition_table::device_path;

impl Master {
    pub(super) fn set_node(
        &mut self,
        turn: &mut Turn<'_>,
        from: Asker,
        nid: NodeId,
        state: NodeState,
    ) {
        let node = self.nodes.find_nid(nid);
        let Some((key, node_type)) = node.map(|(key, record)| (key, record.node_type())) else {
            return self.deny(turn, from, "unknown node");
        };
        match (node_type, state) {
            (NodeType::Master, NodeState::Down) if key == self.own => {
                self.deny(turn, from, "can not kill primary master node");
            }
            (NodeType::Master, NodeState::Down) => self.kill_master(turn, from, key),
            (NodeType::Storage, NodeState::Down) => self.kill_storage(turn, from, (key, nid)),
            (NodeType::Storage, NodeState::Unknown) => self.drop_storage(turn, from, (key, nid)),
            _ => {
                let text = format!("can not switch node to {state} state");
                self.deny(turn, from, &text);
            }
        }
    }

    fn kill_master(&mut self, turn: &mut Turn<'_>, from: Asker, key: NodeKey) {
        let changed = self.set_node_state(key, NodeState::Down);
        self.dismiss(turn, key);
        self.reply_state(turn, from, changed, NodeState::Down);
        if changed {
            self.tell_nodes(turn, &[key]);
        }
    }

    fn reply_state(&self, turn: &mut Turn<'_>, from: Asker, changed: bool, state: NodeState) {
        if changed {
            self.ack(turn, from, "state changed");
        } else {
            self.ack(turn, from, &format!("node already in {state} state"));
        }
    }

    /// Tells a node what became of it, and ends the connection: it exits.
    fn dismiss(&mut self, turn: &mut Turn<'_>, key: NodeKey) {
        let Some(record) = self.nodes.get(key) else {
            return;
        };
        let (info, identified) = (record.info(), record.identified);
        let Some(connection) = record.connection() else {
            return;
        };
        if identified {
            self.tell_one(turn, connection, vec![info]);
        }
        self.nodes.set_connection(key, None);
        self.probing.forget(connection);
        self.links.abort(connection, turn.out);
    }

    /// Stops a storage. In RECOVERING no table is touched: nothing is RUNNING then, so that all
    /// cells would be found out of date.
    fn kill_storage(&mut self, turn: &mut Turn<'_>, from: Asker, (key, nid): (NodeKey, NodeId)) {
        let is_recovering = self.phase == Phase::Recovering;
        if !is_recovering && let Err(error) = self.table.check_drop(&BTreeSet::from([nid])) {
            return self.deny(turn, from, &error.to_string());
        }
        let changed = self.set_node_state(key, NodeState::Down);
        info!(%nid, changed, "killed");
        self.dismiss(turn, key);
        if !is_recovering {
            let changes = self.table.outdate(Some(nid), |nid| self.nodes.is_running(nid));
            self.tell_changes(turn, changes);
        }
        self.reply_state(turn, from, changed, NodeState::Down);
        if changed {
            self.tell_nodes(turn, &[key]);
        }
        if is_recovering {
            self.on_candidate_lost(turn, key);
        } else {
            self.forget_participant(turn, key, nid);
        }
    }

    /// Forgets a storage for ever. If it is connected, it erases its database.
    fn drop_storage(&mut self, turn: &mut Turn<'_>, from: Asker, (key, nid): (NodeKey, NodeId)) {
        let record = self.nodes.get(key);
        if record.is_some_and(|record| record.is_running()) {
            let text = "a running node must be stopped before removal";
            return self.deny(turn, from, text);
        }
        if self.phase == Phase::Recovering {
            // Storages have other tables than this one, if it is loaded at all; and the owners
            // of all data are PENDING.
            let text = "a node can not be removed in RECOVERING state";
            return self.deny(turn, from, text);
        }
        let had_cells = self.table.has_cells(nid);
        let changes = match self.table.drop_nodes(&BTreeSet::from([nid])) {
            Ok(changes) => changes,
            Err(error) => return self.deny(turn, from, &error.to_string()),
        };
        info!(%nid, had_cells, "dropped");
        self.set_node_state(key, NodeState::Unknown);
        self.dismiss(turn, key);
        self.tell_changes(turn, changes);
        let text = if had_cells { "node permanently removed" } else { "state changed" };
        self.ack(turn, from, text);
        self.forget_node(turn, key);
        self.forget_participant(turn, key, nid);
    }

    /// What follows the end of a storage that the table does not count on any more.
    fn forget_participant(&mut self, turn: &mut Turn<'_>, key: NodeKey, nid: NodeId) {
        if self.phase == Phase::Verifying {
            // It was killed: its cells are out of date already.
            self.on_verified_lost(key, nid);
        }
        self.leave_transactions(turn, key, nid);
    }

    pub(super) fn add_nodes(&mut self, turn: &mut Turn<'_>, from: Asker, nids: &[NodeId]) {
        if let Err(text) = self.check_operating("addPendingNodes") {
            return self.deny(turn, from, &text);
        }
        let nids: BTreeSet<_> = nids.iter().copied().collect();
        let storages = self.storages().into_iter();
        let added: Vec<_> = storages
            .filter(|(key, nid, _)| {
                let record = self.nodes.get(*key);
                let is_pending = record.is_some_and(|x| x.state == NodeState::Pending);
                is_pending && nids.contains(nid)
            })
            .map(|(key, nid, _)| (key, nid))
            .collect();
        for (key, nid) in &added {
            self.table.add_member(*nid);
            self.set_node_state(*key, NodeState::Running);
            self.start_storage(turn, *key);
        }
        let keys: Vec<_> = added.iter().map(|(key, _)| *key).collect();
        self.tell_nodes(turn, &keys);
        if added.is_empty() {
            return self.ack(turn, from, "No node added");
        }
        let names: Vec<_> = added.iter().map(|(_, nid)| nid.to_string()).collect();
        self.ack(turn, from, &format!("Nodes added: {}", names.join(", ")));
    }

    pub(super) fn set_replicas(&mut self, turn: &mut Turn<'_>, from: Asker, num_replicas: i64) {
        if let Err(text) = self.check_operating("setNumReplicas") {
            return self.deny(turn, from, &text);
        }
        let Ok(num_replicas) = u32::try_from(num_replicas) else {
            let text = format!("invalid number of replicas: {num_replicas}");
            return self.deny(turn, from, &text);
        };
        self.table.set_num_replicas(num_replicas);
        let types = [NodeType::Storage, NodeType::Client, NodeType::Admin];
        self.tell_version_to(turn, &types, Vec::new());
        self.ack(turn, from, "");
    }

    /// Why a new cell would never be filled: its storage, or all those that have its data, can not.
    fn check_replicable(&self, cell: &CellChange) -> Result<(), String> {
        let able = |nid| self.check_able(nid, "replicate", "replicate");
        able(cell.nid)?;
        let mut sources = self.table.readable(cell.partition).map(able).peekable();
        let first = sources.peek().cloned().unwrap_or(Ok(()));
        if sources.any(|source| source.is_ok()) { Ok(()) } else { first }
    }

    pub(super) fn tweak(
        &mut self,
        turn: &mut Turn<'_>,
        from: Asker,
        dry_run: bool,
        nids: Vec<NodeId>,
    ) {
        if let Err(text) = self.check_operating("tweakPartitionTable") {
            return self.deny(turn, from, &text);
        }
        let mut ignored: BTreeSet<_> = nids.into_iter().collect();
        for (_, record) in self.nodes.of_type(NodeType::Storage) {
            let Some(nid) = record.nid() else {
                continue;
            };
            match record.state {
                NodeState::Pending => {
                    ignored.insert(nid);
                }
                NodeState::Running => {}
                _ if ignored.contains(&nid) => {}
                _ => return self.deny(turn, from, "tweak: down nodes must be listed explicitly"),
            }
        }
        let mut table = self.table.clone();
        let nodes = &self.nodes;
        let tweaked = table.tweak(&ignored, |nid| {
            let storage = nodes.find_nid(nid);
            storage.map(|(_, record)| device_path(record)).unwrap_or_default()
        });
        let changes = match tweaked {
            Ok(changes) => changes,
            Err(error) => return self.deny(turn, from, &error.to_string()),
        };
        let answer =
            Packet::AnswerTweakPartitionTable { changed: !changes.is_empty(), rows: table.rows() };
        if !dry_run {
            let copied = changes.iter().filter(|cell| cell.state == CellState::OutOfDate);
            for cell in copied {
                if let Err(text) = self.check_replicable(cell) {
                    return self.deny(turn, from, &text);
                }
            }
            self.table = table;
            self.tell_changes(turn, changes);
        }
        self.answer(turn, from, answer);
    }
}
