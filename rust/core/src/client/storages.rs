//! Links to storages: made when needed, lost without harm (spec client.md 3.6, 5.1).

use neo_wire::{Address, ErrorCode, Map, NodeId, NodeState, NodeType, Packet, Partition};
use tracing::{info, warn};

use super::{Asked, Client, Context};
use crate::io::{ConnectionId, Output, TimerId};

/// How long a node that could not be reached is avoided when there is a choice, in milliseconds.
const AVOID_MS: u64 = 600_000;

/// A link to one storage.
#[derive(Debug, Default)]
pub(super) struct StorageLink {
    connection: Option<ConnectionId>,
    /// Whether it accepted us.
    ready: bool,
    /// What is to be asked once it does.
    queue: Vec<(Packet, Asked)>,
    avoid_until_ms: Option<u64>,
    /// A timer waits for the moment of the next attempt.
    delayed: bool,
}

/// The timer of the next attempt to reach a storage.
fn timer(nid: NodeId) -> TimerId {
    TimerId(u64::from(nid.0.cast_unsigned()))
}

impl Client {
    /// The storage that has this NID, if the timer is one of its.
    pub(super) fn storage_timer(&mut self, timer: TimerId, cx: &mut Context<'_>) {
        let Ok(number) = u32::try_from(timer.0) else {
            return;
        };
        let nid = NodeId(number.cast_signed());
        if let Some(link) = self.storages.get_mut(&nid) {
            link.delayed = false;
            if link.connection.is_none() && !link.queue.is_empty() {
                self.connect_storage(nid, cx);
            }
        }
    }

    fn storage_address(&self, nid: NodeId) -> Option<Address> {
        let node = self.nodes.get(&nid)?;
        if node.state != NodeState::Running || self.table.is_empty() {
            return None;
        }
        node.address.clone()
    }

    /// Asks a storage, now or once connected. If it can not be reached, `asked` is lost.
    pub(super) fn ask_storage(
        &mut self,
        nid: NodeId,
        packet: Packet,
        asked: Asked,
        cx: &mut Context<'_>,
    ) {
        if self.storage_address(nid).is_none() {
            self.lost_requests.push_back(asked);
            return;
        }
        let link = self.storages.entry(nid).or_default();
        if let (Some(connection), true) = (link.connection, link.ready) {
            if let Err(asked) = self.links.request(connection, packet, asked, cx.out) {
                self.lost_requests.push_back(asked);
            }
            return;
        }
        link.queue.push((packet, asked));
        if link.connection.is_none() && !link.delayed {
            self.connect_storage(nid, cx);
        }
    }

    fn connect_storage(&mut self, nid: NodeId, cx: &mut Context<'_>) {
        let Some(address) = self.storage_address(nid) else {
            self.storage_failed(nid, cx);
            return;
        };
        let delay_ms = self.pacing.delay_ms(&address, cx.now);
        let link = self.storages.entry(nid).or_default();
        if delay_ms > 0 {
            link.delayed = true;
            cx.out.push(Output::SetTimer { timer: timer(nid), delay_ms });
            return;
        }
        self.pacing.attempt(&address, cx.now);
        link.connection = Some(self.links.connect(address, cx.out));
    }

    fn storage_of(&self, connection: ConnectionId) -> Option<NodeId> {
        let mut links = self.storages.iter();
        links.find(|(_, link)| link.connection == Some(connection)).map(|(nid, _)| *nid)
    }

    /// A connection to a storage exists: identify.
    pub(super) fn storage_connected(&mut self, connection: ConnectionId, cx: &mut Context<'_>) {
        let Some(nid) = self.storage_of(connection) else {
            return;
        };
        if let Some(address) = self.storage_address(nid) {
            self.pacing.reached(&address);
        }
        let packet = Packet::RequestIdentification {
            node_type: NodeType::Client,
            nid: self.identity.map(|identity| identity.nid),
            address: None,
            cluster: self.config.cluster.as_str().into(),
            id_timestamp: self.identity.and_then(|identity| identity.id_timestamp),
            extra: Map::default(),
        };
        if self.links.request(connection, packet, Asked::IdentifyStorage(nid), cx.out).is_err() {
            self.storage_failed(nid, cx);
        }
    }

    /// A storage answered our identification.
    pub(super) fn storage_identified(&mut self, nid: NodeId, packet: Packet, cx: &mut Context<'_>) {
        let own = self.identity.map(|identity| identity.nid);
        let accepted = match packet {
            Packet::AcceptIdentification { node_type, nid: peer, your_nid } => {
                node_type == NodeType::Storage
                    && peer == Some(nid)
                    && (your_nid.is_none() || your_nid == own)
            }
            Packet::Error { code, message } => {
                info!(%nid, ?code, %message, "not accepted by storage");
                false
            }
            _ => false,
        };
        let Some(link) = self.storages.get_mut(&nid) else {
            return;
        };
        let Some(connection) = link.connection else {
            return;
        };
        if !accepted {
            self.links.close(connection, cx.out);
            self.storage_failed(nid, cx);
            return;
        }
        link.ready = true;
        link.avoid_until_ms = None;
        for (packet, asked) in std::mem::take(&mut link.queue) {
            if let Err(asked) = self.links.request(connection, packet, asked, cx.out) {
                self.lost_requests.push_back(asked);
            }
        }
    }

    /// The shell says that a connection is gone. True if it was to a storage.
    pub(super) fn storage_closed(
        &mut self,
        connection: ConnectionId,
        cx: &mut Context<'_>,
    ) -> bool {
        let Some(nid) = self.storage_of(connection) else {
            return false;
        };
        if self.links.closed(connection).is_some_and(|lost| {
            let established = lost.established;
            self.lost_requests.extend(lost.pending);
            !established
        }) && let Some(address) = self.storage_address(nid)
        {
            self.pacing.failed(&address);
        }
        self.storage_failed(nid, cx);
        true
    }

    /// What waited for this storage has to do without it.
    fn storage_failed(&mut self, nid: NodeId, cx: &mut Context<'_>) {
        warn!(%nid, "no connection to storage");
        let Some(link) = self.storages.get_mut(&nid) else {
            return;
        };
        link.connection = None;
        link.ready = false;
        link.avoid_until_ms = Some(cx.now.monotonic_ms + AVOID_MS);
        self.lost_requests.extend(link.queue.drain(..).map(|(_, asked)| asked));
        self.lose_node(nid);
    }

    /// Closes the link to a storage that is not RUNNING any more, or all if the master is lost.
    pub(super) fn drop_storage(&mut self, nid: NodeId, cx: &mut Context<'_>) {
        let Some(link) = self.storages.remove(&nid) else {
            return;
        };
        cx.out.push(Output::CancelTimer { timer: timer(nid) });
        self.lost_requests.extend(link.queue.into_iter().map(|(_, asked)| asked));
        if let Some(lost) = link.connection.and_then(|id| self.links.close(id, cx.out)) {
            self.lost_requests.extend(lost.pending);
        }
        self.lose_node(nid);
    }

    /// The master is lost: a link that is in use goes on until the storage ends it, since it can
    /// still answer; one that is not made yet has no meaning any more.
    pub(super) fn storage_of_lost_master(&mut self, nid: NodeId, cx: &mut Context<'_>) {
        let busy = self.storages.get(&nid).is_some_and(|link| {
            link.ready && link.connection.is_some_and(|id| self.links.has_pending(id))
        });
        if !busy {
            self.drop_storage(nid, cx);
        }
    }

    /// Sends a notification to a storage that is connected.
    pub(super) fn notify_storage(&mut self, nid: NodeId, packet: Packet, cx: &mut Context<'_>) {
        if let Some(StorageLink { connection: Some(connection), ready: true, .. }) =
            self.storages.get(&nid)
        {
            self.links.notify(*connection, packet, cx.out);
        }
    }

    /// Forgets what a transaction that is given up still has to ask.
    pub(super) fn unqueue(&mut self, given_up: impl Fn(&Asked) -> bool) {
        for link in self.storages.values_mut() {
            link.queue.retain(|(_, asked)| !given_up(asked));
        }
    }

    /// The cells of a partition that can be read, those to prefer first (spec client.md 5.1).
    pub(super) fn readable_cells(&mut self, partition: Partition, now_ms: u64) -> Vec<NodeId> {
        let mut cells: Vec<((u64, u64), NodeId)> = Vec::new();
        for cell in self.table.row(partition) {
            let running =
                self.nodes.get(&cell.nid).is_some_and(|node| node.state == NodeState::Running);
            if !cell.state.is_readable() || !running {
                continue;
            }
            let link = self.storages.get(&cell.nid);
            let avoid_ms = link.and_then(|link| link.avoid_until_ms).filter(|ms| *ms > now_ms);
            cells.push(((avoid_ms.unwrap_or(0), self.entropy.next_u64()), cell.nid));
        }
        cells.sort_unstable();
        cells.into_iter().map(|(_, nid)| nid).collect()
    }

    /// A packet that a storage sends of itself.
    pub(super) fn storage_packet(
        &mut self,
        connection: ConnectionId,
        msg_id: u32,
        packet: Packet,
        cx: &mut Context<'_>,
    ) {
        let Some(nid) = self.storage_of(connection) else {
            return;
        };
        match packet {
            Packet::NotifyDeadlock { ttid, oid } => self.deadlock(nid, ttid, oid, cx),
            Packet::CloseClient {} | Packet::FlushLog {} => {}
            Packet::Error { code: ErrorCode::Ack, .. } => {}
            other => {
                let lost =
                    self.links.unexpected(connection, msg_id, "storage link", &other, cx.out);
                if let Some(lost) = lost {
                    self.lost_requests.extend(lost.pending);
                    self.storage_failed(nid, cx);
                }
            }
        }
    }
}
