//! The link to the primary master: made when needed, and what it tells (spec client.md 3.3 - 3.5,
//! 3.7).

use neo_wire::{ErrorCode, Map, NodeInfo, NodeState, NodeType, Packet, Tid, Timestamp, Value};
use tracing::{info, warn};

use super::api::{Answer, CallId, ClientError, Identity, Request};
use super::reads::error_of;
use super::transaction::Stage;
use super::{Asked, Client, Context, Item, WAIT_TIMER};
use crate::io::{ConnectionId, Output};
use crate::primary_search::Identification;

/// How far the link is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Link {
    /// No link, or not accepted yet.
    None,
    /// Accepted; the last TID was asked.
    Identified,
    /// The last TID is known and is being published.
    Reconciling,
    /// It is published; an operational table is waited for.
    Reconciled,
    /// The application can use it.
    Ready,
}

impl Client {
    /// Whether requests can be sent to the master.
    pub(super) fn is_operational(&self) -> bool {
        self.link == Link::Ready
    }

    /// Starts looking for the primary, if it is not being done.
    pub(super) fn want_master(&mut self, cx: &mut Context<'_>) {
        if !self.search.is_started() {
            self.attempts = 0;
        }
        if let (Some(timeout), None) = (self.wait_timeout, self.wait_limit) {
            self.wait_limit = Some(cx.now.monotonic_ms.saturating_add(timeout));
            cx.out.push(Output::SetTimer { timer: WAIT_TIMER, delay_ms: timeout });
        }
        self.search.start(cx.now, &mut self.links, cx.out);
    }

    /// Asks the master something. Without a link, `asked` is lost.
    pub(super) fn ask_master(&mut self, packet: Packet, asked: Asked, cx: &mut Context<'_>) {
        let lost = match self.search.attached() {
            Some(connection) => self.links.request(connection, packet, asked, cx.out).err(),
            None => Some(asked),
        };
        self.lost_requests.extend(lost);
    }

    /// Tells the master something, if there is one.
    pub(super) fn notify_master(&mut self, packet: Packet, cx: &mut Context<'_>) {
        if let Some(connection) = self.search.attached() {
            self.links.notify(connection, packet, cx.out);
        }
    }

    /// A connection is established.
    pub(super) fn connected(&mut self, connection: ConnectionId, cx: &mut Context<'_>) {
        if !self.links.connected(connection) {
            return;
        }
        let mut extra = Map::default();
        if self.config.read_only {
            extra.0.push(("read_only".into(), Value::Bool(true)));
        }
        let request = Packet::RequestIdentification {
            node_type: NodeType::Client,
            nid: self.identity.map(|identity| identity.nid),
            address: None,
            cluster: self.config.cluster.as_str().into(),
            id_timestamp: None,
            extra,
        };
        let asked = Asked::IdentifyMaster;
        if !self.search.on_connected(connection, request, asked, &mut self.links, cx.out) {
            self.storage_connected(connection, cx);
        }
    }

    /// A master answered our identification.
    pub(super) fn master_identified(&mut self, packet: Packet, cx: &mut Context<'_>) {
        match self.search.on_identification(packet, cx.now, &mut self.links, cx.out) {
            Identification::Accepted { own, .. } => {
                info!(nid = %own, "connected to the primary master");
                self.identity = Some(Identity { nid: own, id_timestamp: None });
                // They know us under another identity.
                let storages: Vec<_> = self.storages.keys().copied().collect();
                storages.into_iter().for_each(|nid| self.drop_storage(nid, cx));
                self.link = Link::Identified;
                self.fresh = true;
                self.last_timestamp = None;
                self.ask_master(Packet::AskLastTransaction {}, Asked::LastTransaction, cx);
            }
            Identification::Refused { code: ErrorCode::NotReady, .. } | Identification::Broken => {
                self.attempt_failed(cx);
            }
            Identification::Refused { code, message } => {
                self.search.stop(&mut self.links, cx.out);
                self.fail_waiting(&error_of(code, message), cx);
            }
        }
    }

    /// Somebody may have waited for a primary long enough.
    pub(super) fn waited(&mut self, cx: &mut Context<'_>) {
        if self.wait_limit.is_none_or(|limit| cx.now.monotonic_ms < limit) {
            return;
        }
        self.wait_limit = None;
        let seconds = self.wait_timeout.unwrap_or_default() / 1000;
        let text = format!("no primary master after {seconds} s");
        self.fail_waiting(&ClientError::MasterLost(text), cx);
    }

    /// Counts a failed attempt; after the limit, who waits is told.
    pub(super) fn attempt_failed(&mut self, cx: &mut Context<'_>) {
        self.attempts += 1;
        if self.config.max_reconnections.is_some_and(|limit| self.attempts > limit) {
            self.search.stop(&mut self.links, cx.out);
            let text = "Too many connection failures to the primary master";
            self.fail_waiting(&ClientError::MasterLost(text.into()), cx);
        }
    }

    /// Nobody waits any more. What may be committed still is looked after, once there is a primary.
    fn fail_waiting(&mut self, error: &ClientError, cx: &mut Context<'_>) {
        for key in self.recovering.clone() {
            let transaction = self.transactions.get_mut(&key);
            if let Some(waiting) = transaction.and_then(|t| t.waiting.take()) {
                self.answer(waiting.call(), Err(error.clone()), cx);
            }
        }
        for (call, _) in std::mem::take(&mut self.waiting) {
            self.answer(call, Err(error.clone()), cx);
        }
        for key in std::mem::take(&mut self.beginning) {
            self.fail_begin(key, error.clone(), cx);
        }
    }

    /// The last TID of the cluster, as it was when the master accepted us.
    pub(super) fn last_transaction(&mut self, packet: Packet, cx: &mut Context<'_>) {
        let Packet::AnswerLastTransaction { tid } = packet else {
            warn!(packet = packet.name(), "the master does not tell the last transaction");
            if let Some(connection) = self.search.attached() {
                let lost = self.links.close(connection, cx.out);
                self.lost_requests.extend(lost.into_iter().flat_map(|lost| lost.pending));
                self.search.on_closed(connection, true, cx.now, &mut self.links, cx.out);
                self.link = Link::None;
                self.attempt_failed(cx);
            }
            return;
        };
        self.link = Link::Reconciling;
        self.last_received = Some(tid);
        self.publications.push_back(Item::Reset { last_tid: tid });
        self.publications.push_back(Item::Reconciled);
        self.publish(cx);
    }

    /// The last TID is published.
    pub(super) fn reconciled(&mut self, cx: &mut Context<'_>) {
        self.link = Link::Reconciled;
        self.reconsider(cx);
    }

    /// The application can go on, as soon as the table is operational.
    fn reconsider(&mut self, cx: &mut Context<'_>) {
        if self.link != Link::Reconciled || !self.is_table_operational() {
            return;
        }
        self.link = Link::Ready;
        for (call, request) in std::mem::take(&mut self.waiting) {
            self.call(call, request, cx);
        }
        self.wait_limit = None;
        for key in std::mem::take(&mut self.recovering) {
            self.recover(key, cx);
        }
        self.begin_again(cx);
    }

    fn is_table_operational(&self) -> bool {
        let running = |nid| self.nodes.get(nid).is_some_and(|n| n.state == NodeState::Running);
        self.table.is_operational(running)
    }

    /// A packet that the master sends of itself.
    pub(super) fn master_packet(
        &mut self,
        connection: ConnectionId,
        msg_id: u32,
        packet: Packet,
        cx: &mut Context<'_>,
    ) {
        let attached = self.search.attached() == Some(connection);
        match packet {
            Packet::NotPrimaryMaster { primary, known_masters } => {
                let told = (primary, known_masters);
                let lost =
                    self.search.on_not_primary(connection, told, cx.now, &mut self.links, cx.out);
                if let Some(lost) = lost {
                    self.lost_requests.extend(lost.pending);
                    if attached {
                        self.master_lost(cx);
                    }
                }
            }
            Packet::CloseClient {} | Packet::FlushLog {} => {}
            // The link still is silent: what it answers is an error of ours, already logged.
            Packet::Error { .. } => {}
            other if !attached => {
                warn!(packet = other.name(), "a master talks before it accepts us");
                self.break_master_link(connection, msg_id, cx);
            }
            Packet::NotifyNodeInformation { timestamp, nodes } => {
                if self.node_information(timestamp, nodes, cx).is_err() {
                    warn!("the master repeats itself: node information is not newer");
                    self.break_master_link(connection, msg_id, cx);
                }
                self.reconsider(cx);
            }
            Packet::SendPartitionTable { ptid, num_replicas, rows } => {
                self.table.load(ptid, num_replicas, rows);
                self.reconsider(cx);
            }
            Packet::NotifyPartitionChanges { ptid, num_replicas, cells } => {
                self.table.change(ptid, num_replicas, &cells);
                self.reconsider(cx);
            }
            Packet::InvalidateObjects { tid, oids } => {
                // Before the last TID is known, nothing can be compared (spec client.md 3.3).
                if !matches!(self.link, Link::None | Link::Identified) {
                    self.last_received = Some(tid);
                    self.publications.push_back(Item::Foreign { tid, oids });
                    self.publish(cx);
                }
            }
            Packet::NotifyClusterInformation { state } => info!(%state, "cluster"),
            Packet::StopOperation {} => warn!("the master stops operation"),
            other => {
                warn!(packet = other.name(), "unexpected packet from the master");
                self.break_master_link(connection, msg_id, cx);
            }
        }
    }

    fn break_master_link(&mut self, connection: ConnectionId, msg_id: u32, cx: &mut Context<'_>) {
        let text = "unexpected packet: no handler found in master link";
        let code = ErrorCode::ProtocolError;
        if let Some(lost) = self.links.refuse(connection, msg_id, code, text, cx.out) {
            self.lost_requests.extend(lost.pending);
            self.left_master(connection, true, cx);
        }
    }

    /// The connection to a master ended, whoever ended it.
    fn left_master(&mut self, connection: ConnectionId, established: bool, cx: &mut Context<'_>) {
        if self.search.attached() == Some(connection) {
            // Searched again only if somebody needs it.
            self.search.stop(&mut self.links, cx.out);
            self.master_lost(cx);
        } else {
            self.search.on_closed(connection, established, cx.now, &mut self.links, cx.out);
            self.attempt_failed(cx);
        }
    }

    fn node_information(
        &mut self,
        timestamp: Timestamp,
        nodes: Vec<NodeInfo>,
        cx: &mut Context<'_>,
    ) -> Result<(), ()> {
        if self.last_timestamp.is_some_and(|last| timestamp <= last) {
            return Err(());
        }
        self.last_timestamp = Some(timestamp);
        if std::mem::take(&mut self.fresh) {
            // The first list is complete: what is not in it is forgotten.
            let listed = |nid| nodes.iter().any(|node| node.nid == Some(nid));
            self.nodes.retain(|nid, _| listed(*nid));
            let masters: Vec<_> = nodes
                .iter()
                .filter(|node| node.node_type == NodeType::Master)
                .filter_map(|node| node.address.clone())
                .collect();
            self.search.replace(&masters);
        }
        for node in nodes {
            self.node_changed(node, cx);
        }
        Ok(())
    }

    fn node_changed(&mut self, node: NodeInfo, cx: &mut Context<'_>) {
        let Some(nid) = node.nid else { return };
        if let Some(identity) = self.identity.as_mut().filter(|identity| identity.nid == nid) {
            identity.id_timestamp = node.id_timestamp;
            return;
        }
        match (node.node_type, node.address.clone()) {
            (NodeType::Master, Some(address)) => self.search.learn(address),
            (NodeType::Storage, _) if node.state == NodeState::Unknown => {
                self.nodes.remove(&nid);
                self.drop_storage(nid, cx);
            }
            (NodeType::Storage, _) => {
                if node.state != NodeState::Running {
                    self.drop_storage(nid, cx);
                }
                self.nodes.insert(nid, node);
            }
            _ => {}
        }
    }

    /// A connection is gone. True if it was the one to the master.
    pub(super) fn master_closed(&mut self, connection: ConnectionId, cx: &mut Context<'_>) -> bool {
        if !self.search.owns(connection) {
            return false;
        }
        let lost = self.links.closed(connection);
        let established = lost.as_ref().is_none_or(|lost| lost.established);
        self.lost_requests.extend(lost.into_iter().flat_map(|lost| lost.pending));
        self.left_master(connection, established, cx);
        true
    }

    /// The link to the primary is lost: nothing of the cluster is known any more.
    pub(super) fn master_lost(&mut self, cx: &mut Context<'_>) {
        warn!("the link to the primary master is lost");
        self.link = Link::None;
        self.table.clear();
        // The next link has its own last TID to publish.
        self.publications.retain(|item| !matches!(item, Item::Reconciled));
        let storages: Vec<_> = self.storages.keys().copied().collect();
        for (key, transaction) in &mut self.transactions {
            let is_being_begun = transaction.ttid.is_none() && !transaction.imposed;
            // The master forgets what it was not asked to commit.
            if !is_being_begun && !matches!(transaction.stage, Stage::Finishing | Stage::Recovering)
            {
                let text = "the link to the primary master was lost during the transaction";
                transaction.error.get_or_insert(ClientError::Disconnected(text.into()));
            }
            self.touched.insert(*key);
        }
        storages.into_iter().for_each(|nid| self.storage_of_lost_master(nid, cx));
        let nobody_waits = self.waiting.is_empty()
            && self.recovering.is_empty()
            // Their begin is not a request that is lost again.
            && self.beginning.is_empty();
        if !nobody_waits {
            self.want_master(cx);
        }
    }

    /// A request to the master that was lost, and what is to be done about it.
    pub(super) fn master_request_lost(&mut self, asked: Asked, cx: &mut Context<'_>) {
        match asked {
            Asked::Begin(key) => self.begin_lost(key, cx),
            Asked::FailedVote(key) => {
                let Some(transaction) = self.transactions.get_mut(&key) else {
                    return;
                };
                let text = "the link to the primary master was lost while voting";
                transaction.error.get_or_insert(ClientError::Disconnected(text.into()));
                transaction.stage = Stage::Voted;
                self.progress(key, cx);
            }
            Asked::Finish(key) => self.finish_lost(key, cx),
            Asked::FinalTid(key) => self.recover(key, cx),
            Asked::Call(call, request) => self.wait_for_master(call, *request, cx),
            Asked::PingForRead(id) => self.read_sync_lost(id, cx),
            _ => {}
        }
    }

    /// Keeps a call until there is a primary.
    pub(super) fn wait_for_master(&mut self, call: CallId, request: Request, cx: &mut Context<'_>) {
        if self.calls.contains(&call) {
            self.waiting.push((call, request));
            self.want_master(cx);
        }
    }

    /// The master answered a call.
    pub(super) fn call_answered(
        &mut self,
        call: CallId,
        request: &Request,
        packet: Packet,
        cx: &mut Context<'_>,
    ) {
        let result = match packet {
            Packet::Pong {} if *request == Request::Sync => {
                self.publications.push_back(Item::Barrier(call));
                self.publish(cx);
                return;
            }
            Packet::Error { code, message } => Err(error_of(code, message.to_string())),
            packet => {
                let from = self.identity.map(|identity| identity.nid);
                match from {
                    Some(from) => Ok(Answer::Packet { from, packet }),
                    None => Err(ClientError::MasterLost("not connected".into())),
                }
            }
        };
        self.answer(call, result, cx);
    }

    /// The last TID that the master told, published or not.
    #[must_use]
    pub fn last_received(&self) -> Option<Tid> {
        self.last_received
    }
}
