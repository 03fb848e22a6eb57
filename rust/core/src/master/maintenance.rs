//! Checks, repairs and truncations that operators ask (spec master.md 15).

use std::collections::BTreeSet;

use neo_wire::{Address, ClusterState, NodeId, Packet, Partition, Text, Tid, Value};
use tracing::warn;

use super::{Asker, Master, Phase, Turn};

impl Master {
    /// Makes storages compare their copies of partitions (15.1).
    pub(super) fn check_replicas(
        &mut self,
        turn: &mut Turn<'_>,
        partitions: &[(Partition, Option<NodeId>)],
        (min_tid, max_tid): (Tid, Option<Tid>),
    ) -> Result<(), String> {
        if self.phase != Phase::Service {
            return self.check_operating("checkReplicas");
        }
        let mut sources = Vec::new();
        for (partition, source) in partitions {
            if partition.0 >= self.table.partitions() {
                return Err(format!("partition {partition} does not exist"));
            }
            sources.push((*partition, self.check_source(*source)?));
        }
        let max_tid = max_tid.unwrap_or(self.transactions.last_tid());
        if min_tid > max_tid {
            warn!(%min_tid, %max_tid, "there is nothing to check");
            return Ok(());
        }
        let mut checking = BTreeSet::new();
        let mut packets = Vec::new();
        for (partition, source) in sources {
            let copies: Vec<_> = self.table.readable(partition).collect();
            if copies.len() < 2 {
                continue;
            }
            // One storage checks as many partitions as possible: it has the connections.
            let chosen = copies.iter().find(|nid| checking.contains(*nid));
            let Some(nid) = chosen.or(copies.last()).copied() else {
                continue;
            };
            checking.insert(nid);
            self.check_able(nid, "check", "check replicas")?;
            if let Some(connection) = self.storage_connection(nid) {
                let source = (Text::default(), source);
                let packet = Packet::CheckPartition { partition, source, min_tid, max_tid };
                packets.push((connection, packet));
            }
        }
        for (connection, packet) in packets {
            self.notify(turn, connection, packet);
        }
        Ok(())
    }

    /// Why a storage can not be asked something, if it told so when it identified.
    pub(super) fn check_able(&self, nid: NodeId, what: &str, words: &str) -> Result<(), String> {
        let record = self.nodes.find_nid(nid).map(|(_, record)| record);
        let lacks = record.and_then(|record| record.extra.get(&Text::from("lacks")));
        match lacks {
            Some(Value::Array(names)) if names.contains(&Value::Bin(what.into())) => {
                Err(format!("{nid} can not {words} in this version of NEO: nothing was done"))
            }
            _ => Ok(()),
        }
    }

    /// The address of the storage that others are compared with.
    fn check_source(&self, source: Option<NodeId>) -> Result<Option<Address>, String> {
        let Some(nid) = source else {
            return Ok(None);
        };
        let invalid = || format!("invalid storage node {nid}");
        self.storage_connection(nid).ok_or_else(invalid)?;
        let (_, record) = self.nodes.find_nid(nid).ok_or_else(invalid)?;
        record.address().cloned().map(Some).ok_or_else(invalid)
    }

    /// Makes storages look for data that nothing refers to (15.2).
    pub(super) fn repair(
        &mut self,
        turn: &mut Turn<'_>,
        nids: &[NodeId],
        dry_run: bool,
    ) -> Result<(), String> {
        let mut connections = Vec::new();
        for nid in nids {
            let connection = self.storage_connection(*nid);
            let invalid = || format!("invalid storage node {nid}");
            connections.push(connection.ok_or_else(invalid)?);
        }
        for connection in connections {
            self.notify(turn, connection, Packet::NotifyRepair { dry_run });
        }
        Ok(())
    }

    /// Drops every transaction after a TID (15.3): the cluster leaves operation to do it.
    pub(super) fn ask_truncation(&mut self, turn: &mut Turn<'_>, from: Asker, tid: Tid) {
        let result = self.check_truncation(tid);
        let is_allowed = result.is_ok();
        self.reply(turn, from, result.map(|()| ""));
        if is_allowed {
            self.leaving = Some(Some(tid));
        }
    }

    fn check_truncation(&self, tid: Tid) -> Result<(), String> {
        if self.cluster_state != Some(ClusterState::Running) {
            let state = self.cluster_state.map_or("this", ClusterState::name);
            return Err(format!("truncate RPC can not be used in {state} state"));
        }
        if self.transactions.last_tid() <= tid {
            return Err("Truncating after last transaction does nothing".into());
        }
        // A storage of the Python NEO does not survive a truncation of everything.
        if self.transactions.first_tid() > tid || tid == Tid::ZERO {
            let text =
                "Truncating before first transaction is probably not what you intended to do";
            return Err(text.into());
        }
        if self.packs.is_needed_after(tid) {
            return Err("Can not truncate before an approved pack".into());
        }
        Ok(())
    }
}
