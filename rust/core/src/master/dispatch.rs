//! Who handles what is received, by peer and phase (spec master.md 19, protocol.md 13).

use neo_wire::{NodeType, Packet, Tid};
use tracing::{debug, warn};

use super::identification::Request;
use super::{Asked, Asker, Effect, Master, Phase, Question, Turn};
use crate::io::{ConnectionId, Output};
use crate::links::Incoming;
use crate::nodes::NodeKey;

/// Our role on a connection, for errors.
fn role(node_type: NodeType, phase: Phase) -> &'static str {
    match (node_type, phase) {
        (NodeType::Storage, Phase::Recovering) => "master of storages, recovery",
        (NodeType::Storage, Phase::Verifying) => "master of storages, verification",
        (NodeType::Storage, _) => "master of storages, service",
        (NodeType::Client, _) => "master of clients",
        (NodeType::Admin, _) => "master of admins",
        (NodeType::Master, _) => "master of masters",
    }
}

impl Master {
    pub(super) fn on_connected(&mut self, turn: &mut Turn<'_>, connection: ConnectionId) {
        if !self.links.connected(connection) {
            return;
        }
        let Some((_, record)) = self.nodes.find_connection(connection) else {
            self.links.close(connection, turn.out);
            return;
        };
        if let Some(address) = record.address() {
            self.pacing.reached(address);
        }
        let id_timestamp = match self.phase {
            Phase::Recovering => Some(self.primary_timestamp),
            Phase::Secondary => None,
            _ => {
                self.cut(turn, connection);
                return;
            }
        };
        let request = Packet::RequestIdentification {
            node_type: NodeType::Master,
            nid: self.own_nid(),
            address: Some(self.config.address.clone()),
            cluster: self.config.cluster.clone(),
            id_timestamp,
            extra: Default::default(),
        };
        self.ask(turn, connection, request, Question::Identify);
    }

    pub(super) fn on_incoming(
        &mut self,
        turn: &mut Turn<'_>,
        connection: ConnectionId,
        incoming: Incoming<Asked>,
    ) {
        match incoming {
            Incoming::Nothing => {}
            Incoming::Answer { context, packet } => {
                self.on_answer(turn, connection, context, packet);
            }
            Incoming::Packet { msg_id, packet } => {
                let from = Asker { connection, msg_id };
                self.on_packet(turn, from, packet);
            }
        }
    }

    fn on_packet(&mut self, turn: &mut Turn<'_>, from: Asker, packet: Packet) {
        let node = self.nodes.find_connection(from.connection);
        let node = node.map(|(key, record)| (key, record.node_type(), record.identified));
        match packet {
            // We never are a client of anybody: there is no more use for the connection.
            Packet::CloseClient {} => self.hang_up(turn, from.connection),
            Packet::FlushLog {} => {
                turn.out.push(Output::Own(Effect::FlushLog));
                if matches!(node, Some((_, NodeType::Admin, true))) {
                    self.forward_flush(turn, from.connection);
                }
            }
            packet if self.phase == Phase::Secondary => {
                self.on_secondary_packet(turn, from, packet);
            }
            packet => match node {
                None => self.on_first_packet(turn, from, packet),
                Some((_, _, false)) => self.on_challenged(turn, from, packet),
                Some((key, node_type, true)) => {
                    if let Some(packet) = self.on_common(turn, from, packet) {
                        self.on_peer_packet(turn, from, (key, node_type), packet);
                    }
                }
            },
        }
    }

    fn on_first_packet(&mut self, turn: &mut Turn<'_>, from: Asker, packet: Packet) {
        if !matches!(packet, Packet::RequestIdentification { .. }) {
            self.unexpected(turn, from, "master, identification", &packet);
        } else if let Some(request) = Request::from_packet(packet) {
            if self.probing.is_held(from.connection) {
                return self.protocol_error(turn, from, "already identifying");
            }
            self.identify(turn, from, request, false);
        }
    }

    fn forward_flush(&mut self, turn: &mut Turn<'_>, from: ConnectionId) {
        let to: Vec<_> = self.nodes.identified().map(|(_, _, to)| to).collect();
        for connection in to.into_iter().filter(|to| *to != from) {
            self.notify(turn, connection, Packet::FlushLog {});
        }
    }

    /// What any identified node may ask. Gives back what is something else.
    fn on_common(&mut self, turn: &mut Turn<'_>, from: Asker, packet: Packet) -> Option<Packet> {
        let answer = match packet {
            Packet::AskClusterState {} => Packet::AnswerClusterState { state: self.cluster_state },
            Packet::AskRecovery {} => Packet::AnswerRecovery {
                ptid: self.table.ptid(),
                backup_tid: self.known_backup_tid(),
                truncate_tid: self.known_truncate_tid(),
            },
            Packet::AskLastIDs {} => Packet::AnswerLastIDs {
                last_tid: Some(self.transactions.floor()),
                last_oid: Some(self.transactions.last_oid()),
                first_tid: self.transactions.first_tid(),
            },
            Packet::AskLastTransaction {} => {
                Packet::AnswerLastTransaction { tid: self.transactions.last_tid() }
            }
            packet => return Some(packet),
        };
        self.answer(turn, from, answer);
        None
    }

    fn known_truncate_tid(&self) -> Option<Tid> {
        match self.phase {
            Phase::Recovering => self.reported_markers().1,
            _ => self.truncate_tid,
        }
    }

    fn known_backup_tid(&self) -> Option<Tid> {
        match self.phase {
            Phase::Recovering => self.reported_markers().0,
            _ => self.backup_tid,
        }
    }

    fn on_peer_packet(
        &mut self,
        turn: &mut Turn<'_>,
        from: Asker,
        (key, node_type): (NodeKey, NodeType),
        packet: Packet,
    ) {
        let refused = match (node_type, self.phase) {
            (NodeType::Storage, Phase::Service) => self.on_storage_packet(turn, from, key, packet),
            (NodeType::Storage, _) => self.on_early_packet(turn, from, key, packet),
            (NodeType::Client, _) => self.on_client_packet(turn, from, key, packet),
            (NodeType::Admin, _) => self.on_admin_packet(turn, from, packet),
            (NodeType::Master, _) => Some(packet),
        };
        if let Some(packet) = refused {
            self.unexpected(turn, from, role(node_type, self.phase), &packet);
        }
    }

    /// What a storage says before operation, besides answers (spec master.md 6.3). Gives back what
    /// it may not say.
    fn on_early_packet(
        &mut self,
        turn: &mut Turn<'_>,
        from: Asker,
        key: NodeKey,
        packet: Packet,
    ) -> Option<Packet> {
        match packet {
            Packet::NotifyPackCompleted { tid } => self.on_pack_completed(turn, key, tid),
            // They crossed the end of operation.
            Packet::NotifyReady {}
            | Packet::NotifyReplicationDone { .. }
            | Packet::NotifyPartitionCorrupted { .. } => {
                debug!(connection = ?from.connection, packet = packet.name(), "late: ignored");
            }
            packet => return Some(packet),
        }
        None
    }

    fn on_answer(
        &mut self,
        turn: &mut Turn<'_>,
        connection: ConnectionId,
        asked: Asked,
        packet: Packet,
    ) {
        match asked.question {
            Question::Identify if self.phase == Phase::Secondary => {
                return self.on_primary_answer(turn, connection, packet);
            }
            Question::Identify => return self.on_challenge_answer(turn, connection, packet),
            Question::Probe => return self.probing.answered(connection),
            _ => {}
        }
        if let Packet::Error { code, message } = &packet {
            warn!(?connection, ?asked, ?code, %message, "a storage can not answer");
            return self.hang_up(turn, connection);
        }
        if asked.epoch != self.epoch {
            debug!(?connection, packet = packet.name(), "late answer: ignored");
            return;
        }
        let Some(key) = self.nodes.by_connection(connection) else {
            return;
        };
        match asked.question {
            Question::Recovery => self.on_recovery(turn, key, packet),
            Question::Table => self.on_table(turn, key, packet),
            Question::Locked => self.on_locked_transactions(key, packet),
            Question::FinalTid(ttid) => self.on_final_tid(key, ttid, packet),
            Question::LastIds => self.on_last_ids(turn, key, packet),
            Question::PackOrders => self.on_pack_orders(key, packet),
            Question::OldPackOrders(search) => self.on_old_orders(turn, search, key, packet),
            Question::Lock(ttid) => self.on_locked(turn, key, ttid, packet),
            Question::Aborted(ttid) => self.on_aborted(turn, key, ttid),
            Question::Identify | Question::Probe => {}
        }
    }

    /// What follows the end of a connection, whoever ended it.
    pub(super) fn connection_lost(
        &mut self,
        turn: &mut Turn<'_>,
        connection: ConnectionId,
        established: bool,
    ) {
        self.probing.forget(connection);
        match self.phase {
            Phase::Idle | Phase::Ended => return,
            Phase::Secondary => return self.on_secondary_lost(turn, connection, established),
            Phase::Recovering | Phase::Verifying | Phase::Service => {}
        }
        let Some((key, record)) = self.nodes.find_connection(connection) else {
            return;
        };
        debug!(node = %record, established, "connection lost");
        let node_type = record.node_type();
        self.nodes.disconnect(connection);
        match node_type {
            NodeType::Master => self.on_master_lost(turn, key, established),
            NodeType::Storage => self.on_storage_lost(turn, key),
            NodeType::Client => self.on_client_lost(turn, key),
            // Nobody is told (spec master.md 3.5).
            NodeType::Admin => {
                self.nodes.remove(key);
            }
        }
    }
}
