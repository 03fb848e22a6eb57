//! What operators ask, through admin nodes (spec master.md 16). Texts are for them.

use neo_wire::{ClusterState, ErrorCode, Packet};
use tracing::info;

use super::{Asker, Master, Phase, Turn};

pub(super) const NO_UPSTREAM: &str = "No upstream cluster to backup defined in configuration";

const STATE_CHANGED: &str = "Cluster state changed";
const NOT_TO_THIS: &str = "Can not switch to this state";

impl Master {
    /// Refuses what an operator asked.
    pub(super) fn deny(&self, turn: &mut Turn<'_>, to: Asker, text: &str) {
        info!(text, "denied");
        self.error(turn, to, ErrorCode::Denied, text);
    }

    /// Answers an operator: the text of a success, or why not.
    pub(super) fn reply(&self, turn: &mut Turn<'_>, to: Asker, result: Result<&str, String>) {
        match result {
            Ok(text) => self.ack(turn, to, text),
            Err(text) => self.deny(turn, to, &text),
        }
    }

    /// Handles what an admin says. Gives back what it may not say.
    pub(super) fn on_admin_packet(
        &mut self,
        turn: &mut Turn<'_>,
        from: Asker,
        packet: Packet,
    ) -> Option<Packet> {
        info!(packet = packet.name(), "asked by an operator");
        match packet {
            Packet::SetClusterState { state } => self.set_state(turn, from, state),
            Packet::SetNodeState { nid, state } => self.set_node(turn, from, nid, state),
            Packet::AddPendingNodes { nids } => self.add_nodes(turn, from, &nids),
            Packet::SetNumReplicas { num_replicas } => {
                self.set_replicas(turn, from, num_replicas);
            }
            Packet::TweakPartitionTable { dry_run, nids } => {
                self.tweak(turn, from, dry_run, nids);
            }
            Packet::Truncate { tid } => self.ask_truncation(turn, from, tid),
            Packet::CheckReplicas { partitions, min_tid, max_tid } => {
                let checked = self.check_replicas(turn, &partitions.0, (min_tid, max_tid));
                self.reply(turn, from, checked.map(|()| ""));
            }
            Packet::Repair { nids, dry_run } => {
                let repaired = self.repair(turn, &nids, dry_run);
                self.reply(turn, from, repaired.map(|()| ""));
            }
            packet => return Some(packet),
        }
        None
    }

    /// Why a request can not be handled now, unless the cluster operates.
    pub(super) fn check_operating(&self, request: &str) -> Result<(), String> {
        match self.cluster_state {
            // Backup states as well, once there are.
            Some(ClusterState::Running) => Ok(()),
            Some(state) => Err(format!("{request} RPC can not be used in {state} state")),
            None => Err(format!("{request} RPC can not be used now")),
        }
    }

    fn set_state(&mut self, turn: &mut Turn<'_>, from: Asker, state: ClusterState) {
        let allowed = match state {
            ClusterState::Verifying => self.allow_startup(),
            ClusterState::StartingBackup => self.check_backup(),
            ClusterState::StoppingBackup => Err(NOT_TO_THIS.into()),
            ClusterState::Stopping => Ok(()),
            ClusterState::Recovering | ClusterState::Running | ClusterState::BackingUp => {
                Err("Invalid state requested".into())
            }
        };
        let is_stopping = allowed.is_ok() && state == ClusterState::Stopping;
        self.reply(turn, from, allowed.map(|()| STATE_CHANGED));
        if is_stopping {
            self.stop_cluster(turn);
        }
    }

    fn allow_startup(&mut self) -> Result<(), String> {
        if self.phase != Phase::Recovering {
            return Err(NOT_TO_THIS.into());
        }
        let storages = self.storages();
        if storages.is_empty() {
            return Err("Cannot exit recovery without any storage node".into());
        }
        let mut storages = storages.into_iter();
        if let Some((key, ..)) = storages.find(|(_, _, to)| self.links.has_pending(*to)) {
            let name = self.name(key);
            return Err(format!("Cannot exit recovery now: node {name} is entering cluster"));
        }
        self.startup_allowed = true;
        self.least_ptid = None;
        self.commit_ptid = None;
        Ok(())
    }

    /// Backup mode can not be entered: no upstream cluster is part of the configuration yet.
    fn check_backup(&self) -> Result<(), String> {
        let state = ClusterState::StartingBackup;
        if self.cluster_state != Some(ClusterState::Running) {
            return Err(NOT_TO_THIS.into());
        }
        if !self.transactions.is_empty()
            || !self.connected(&[neo_wire::NodeType::Client]).is_empty()
        {
            return Err(format!(
                "Can not switch to {state} state with pending transactions or connected clients"
            ));
        }
        Err(NO_UPSTREAM.into())
    }
}
