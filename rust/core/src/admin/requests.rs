//! What `neoctl`, and admins of backup clusters, ask (spec protocol.md 7.8, 10.7).

use neo_wire::packet::Kind;
use neo_wire::{ErrorCode, NodeType, Packet, Text};

use super::{Admin, Asker, Effect, Request};
use crate::io::{ConnectionId, Now, Output, Outputs};

/// How many requests may wait for answers of the primary master: a peer that floods this node gets
/// no more memory of it.
const MAX_WAITING: usize = 10_000;
const TOO_MANY: (ErrorCode, &str) = (ErrorCode::ProtocolError, "too many requests are waiting");

/// Whether a request is for the primary master (spec protocol.md 10.7).
const fn is_forwarded(packet: &Packet) -> bool {
    matches!(
        packet,
        Packet::AddPendingNodes { .. }
            | Packet::AskLastIDs {}
            | Packet::AskLastTransaction {}
            | Packet::AskRecovery {}
            | Packet::CheckReplicas { .. }
            | Packet::Repair { .. }
            | Packet::SetClusterState { .. }
            | Packet::SetNodeState { .. }
            | Packet::SetNumReplicas { .. }
            | Packet::Truncate { .. }
            | Packet::TweakPartitionTable { .. }
    )
}

impl Admin {
    /// A packet of anybody but a master.
    pub(super) fn on_request(
        &mut self,
        now: Now,
        asker: Asker,
        packet: Packet,
        out: &mut Outputs<Effect>,
    ) {
        let Asker { connection, msg_id } = asker;
        if let Packet::FlushLog {} = packet {
            out.push(Output::Own(Effect::FlushLog));
            return match self.search.attached() {
                Some(primary) => self.links.notify(primary, packet, out),
                None => self.not_ready(now, asker, out),
            };
        }
        if self.monitor.is_backup(connection) {
            return match packet {
                Packet::NotifyMonitorInformation { info } => {
                    self.on_monitor_information(now, asker, &info.0, out);
                }
                packet => self.unexpected(now, (connection, msg_id), &packet, out),
            };
        }
        let Some(primary) = self.search.attached() else {
            return match packet.kind() {
                Kind::Request { .. } => self.not_ready(now, asker, out),
                _ => self.unexpected(now, (connection, msg_id), &packet, out),
            };
        };
        if is_forwarded(&packet) {
            return self.forward(now, primary, asker, packet, out);
        }
        let answer = match packet {
            Packet::RequestIdentification { node_type, cluster, .. } => {
                return self.identify(now, asker, (node_type, &cluster), out);
            }
            Packet::AskMonitorInformation {} if self.monitor.has_room(MAX_WAITING) => {
                return self.ask_monitor(now, asker, out);
            }
            Packet::AskMonitorInformation {} => return self.refuse(now, asker, TOO_MANY, out),
            Packet::AskClusterState {} => Packet::AnswerClusterState { state: self.view.state },
            Packet::AskNodeList { node_type } => {
                Packet::AnswerNodeList { nodes: self.node_list(node_type) }
            }
            Packet::AskPartitionList { min_offset, max_offset, .. } => self
                .view
                .partition_list(min_offset, max_offset)
                // The connection stays: this is about a table that may have changed meanwhile.
                .unwrap_or_else(|| {
                    Packet::error(ErrorCode::ProtocolError, "invalid partition table offset")
                }),
            Packet::AskPrimary {} => match self.view.primary {
                Some(nid) => Packet::AnswerPrimary { nid },
                None => return self.not_ready(now, asker, out),
            },
            packet => return self.unexpected(now, (connection, msg_id), &packet, out),
        };
        self.links.answer(connection, msg_id, answer, out);
    }

    fn forward(
        &mut self,
        now: Now,
        primary: ConnectionId,
        asker: Asker,
        packet: Packet,
        out: &mut Outputs<Effect>,
    ) {
        if self.is_full(primary) {
            return self.refuse(now, asker, TOO_MANY, out);
        }
        let context = Request::Forward(asker);
        if self.links.request(primary, packet, context, out).is_err() {
            self.not_ready(now, asker, out);
        }
    }

    fn is_full(&self, primary: ConnectionId) -> bool {
        self.links.pending(primary).count() >= MAX_WAITING
    }

    /// The master answered a forwarded request.
    pub(super) fn on_forwarded(
        &mut self,
        now: Now,
        asker: Asker,
        packet: Packet,
        out: &mut Outputs<Effect>,
    ) {
        let Asker { connection, msg_id } = asker;
        let ends = matches!(packet, Packet::Error { code: ErrorCode::ProtocolError, .. });
        self.links.answer(connection, msg_id, packet, out);
        if ends {
            let lost = self.links.abort(connection, out);
            self.ended(now, connection, lost, out);
        }
    }

    /// The admin of a cluster that backs ours up (spec protocol.md 7.8).
    fn identify(
        &mut self,
        now: Now,
        asker: Asker,
        (node_type, cluster): (NodeType, &Text),
        out: &mut Outputs<Effect>,
    ) {
        let Asker { connection, msg_id } = asker;
        let result = if node_type == NodeType::Admin {
            self.monitor.accept(connection, cluster)
        } else {
            Err("reject non-admin node".into())
        };
        if let Err(reason) = result {
            return self.refuse(now, asker, (ErrorCode::ProtocolError, &reason), out);
        }
        let answer =
            Packet::AcceptIdentification { node_type: NodeType::Admin, nid: None, your_nid: None };
        self.links.answer(connection, msg_id, answer, out);
    }
}
