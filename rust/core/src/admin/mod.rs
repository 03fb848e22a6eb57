//! The admin node: the only one that operators talk to (spec tools.md 7, protocol.md 10.7).
//!
//! It stays with the primary master ([`PrimarySearch`]), keeps what it is told about the cluster
//! ([`view`]), answers or forwards the requests of `neoctl` ([`requests`]), watches the health of
//! its cluster and of those that back it up ([`monitor`]) and tells people by mail ([`notices`]).

mod health;
mod mail;
mod monitor;
mod notices;
mod primary;
mod requests;
mod upstream;
mod view;

use neo_wire::{Address, ErrorCode, NodeId, NodeInfo, NodeState, NodeType, Packet, Text, Value};
use tracing::{error, info};

use crate::dump::Dump;
use crate::io::{ConnectionId, Exit, Input, Node, Now, Output, Outputs, TimerId};
use crate::links::{Incoming, Links, Lost};
use crate::primary_search::PrimarySearch;
use monitor::{Monitor, Source};
use notices::Notices;
use upstream::Upstream;
use view::View;

pub use health::Severity;
pub use mail::{Mail, MailConfig, base64};
pub use monitor::Report;

const SEARCH: TimerId = TimerId(0);
const MONITOR: TimerId = TimerId(1);
const UPSTREAM: TimerId = TimerId(2);
const NOTICE: TimerId = TimerId(3);

/// What every request gets until the primary master is found.
pub const NOT_CONNECTED: &str = "Not connected to a primary master.";

/// Settings of an admin (spec tools.md 4, 7).
#[derive(Clone, PartialEq, Debug)]
pub struct Config {
    /// Name of the cluster.
    pub cluster: Text,
    /// Where it listens, as told to the master.
    pub address: Option<Address>,
    /// Forced identifier.
    pub nid: Option<NodeId>,
    /// Known masters, the dynamic list included.
    pub masters: Vec<Address>,
    /// Names of the backup clusters that report here.
    pub backups: Vec<Text>,
    /// Tolerated lag of a backup, in seconds.
    pub max_lag_s: f64,
}

/// What only an admin does.
#[derive(Clone, PartialEq, Debug)]
pub enum Effect {
    /// Write the backlog of the log.
    FlushLog,
    /// The known masters changed: write the dynamic list.
    SaveMasters(Vec<Address>),
    /// The health of a cluster changed.
    Report(Report),
    /// Send this mail; [`Event::Mailed`] follows, and no other one is sent meanwhile.
    Mail(Mail),
}

/// What only happens to an admin.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// The mail was sent, or why not, in one line.
    Mailed(Result<(), String>),
}

/// A request of a peer, to be answered later.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Asker {
    connection: ConnectionId,
    msg_id: u32,
}

/// What this node asks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Request {
    /// RequestIdentification to a master.
    Identify,
    /// RequestIdentification to an admin of the upstream cluster.
    IdentifyUpstream,
    /// AskClusterState, once identified.
    ClusterState,
    /// A request of somebody else.
    Forward(Asker),
    /// AskRecovery or AskLastTransaction, for the health of a cluster.
    Ids(Source),
}

/// An admin node.
#[derive(Debug)]
pub struct Admin {
    config: Config,
    links: Links<Request>,
    search: PrimarySearch,
    view: View,
    monitor: Monitor,
    notices: Notices,
    upstream: Upstream,
}

impl Admin {
    /// An admin that knows nothing yet.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self {
            links: Links::default(),
            search: PrimarySearch::new(config.masters.iter().cloned(), SEARCH),
            view: View::default(),
            monitor: Monitor::new(&config.backups, config.max_lag_s),
            notices: Notices::default(),
            upstream: Upstream::new(UPSTREAM),
            config,
        }
    }

    /// One that tells people by mail.
    #[must_use]
    pub fn with_mail(mut self, config: Option<MailConfig>) -> Self {
        self.notices = Notices::new(config);
        self
    }

    fn received(
        &mut self,
        now: Now,
        connection: ConnectionId,
        incoming: Incoming<Request>,
        out: &mut Outputs<Effect>,
    ) {
        match incoming {
            Incoming::Nothing => {}
            Incoming::Answer { context, packet } => {
                self.on_answer(now, connection, context, packet, out);
            }
            Incoming::Packet { msg_id, packet } => match packet {
                Packet::CloseClient {} => {}
                packet if self.search.owns(connection) => {
                    self.on_primary_packet(now, (connection, msg_id), packet, out);
                }
                // Only a master means something by these.
                Packet::NotPrimaryMaster { .. } | Packet::NotifyNodeInformation { .. } => {}
                packet => {
                    let asker = Asker { connection, msg_id };
                    self.on_request(now, asker, packet, out);
                }
            },
        }
    }

    fn on_answer(
        &mut self,
        now: Now,
        connection: ConnectionId,
        context: Request,
        packet: Packet,
        out: &mut Outputs<Effect>,
    ) {
        match context {
            Request::Identify => self.on_identification(now, connection, packet, out),
            Request::IdentifyUpstream => self.on_upstream(now, connection, packet, out),
            Request::ClusterState => self.on_cluster_state(now, connection, packet, out),
            Request::Forward(asker) => self.on_forwarded(now, asker, packet, out),
            Request::Ids(source) => self.on_ids(now, (connection, source), packet, out),
        }
    }

    /// Refuses a packet and ends the connection it came by.
    fn unexpected(
        &mut self,
        now: Now,
        (connection, msg_id): (ConnectionId, u32),
        packet: &Packet,
        out: &mut Outputs<Effect>,
    ) {
        let lost = self.links.unexpected(connection, msg_id, "admin", packet, out);
        self.ended(now, connection, lost, out);
    }

    /// What follows the end of a connection, whoever ended it.
    fn ended(
        &mut self,
        now: Now,
        connection: ConnectionId,
        lost: Option<Lost<Request>>,
        out: &mut Outputs<Effect>,
    ) {
        let Some(lost) = lost else {
            return;
        };
        let established = lost.established;
        let attached = self.search.attached() == Some(connection);
        self.search.on_closed(connection, established, now, &mut self.links, out);
        self.left(now, attached, Some(lost), out);
        self.upstream.on_closed(connection, established, now, &mut self.links, out);
        if let Some(index) = self.monitor.disconnected(connection) {
            self.notices.backup_lost(index, now);
            self.health_changed(now, out);
        }
        self.refresh_progress(now, out);
    }

    /// What was waiting on a connection that ended, `attached` if it was that of the primary.
    fn left(
        &mut self,
        now: Now,
        attached: bool,
        lost: Option<Lost<Request>>,
        out: &mut Outputs<Effect>,
    ) {
        let Some(Lost { pending, .. }) = lost else {
            return;
        };
        for request in pending {
            match request {
                Request::Forward(asker) => {
                    let reason = (ErrorCode::ProtocolError, "connection to master lost");
                    self.refuse(now, asker, reason, out);
                }
                Request::Ids(source) => self.monitor.give_up(source),
                Request::Identify | Request::IdentifyUpstream | Request::ClusterState => {}
            }
        }
        if attached {
            self.primary_lost(now, out);
        }
    }

    /// The nodes of a type, or all; the upstream admin is one that no master gave an identifier.
    fn node_list(&self, node_type: Option<NodeType>) -> Vec<NodeInfo> {
        let mut nodes = self.view.node_list(node_type);
        if let Some(address) = self.upstream.address()
            && node_type.is_none_or(|wanted| wanted == NodeType::Admin)
        {
            nodes.push(NodeInfo {
                node_type: NodeType::Admin,
                address: Some(address.clone()),
                nid: None,
                state: NodeState::Down,
                id_timestamp: None,
            });
        }
        nodes
    }

    /// Refuses a request and ends the connection it came by.
    fn refuse(
        &mut self,
        now: Now,
        asker: Asker,
        (code, text): (ErrorCode, &str),
        out: &mut Outputs<Effect>,
    ) {
        let Asker { connection, msg_id } = asker;
        let lost = self.links.refuse(connection, msg_id, code, text, out);
        self.ended(now, connection, lost, out);
    }

    fn not_ready(&mut self, now: Now, asker: Asker, out: &mut Outputs<Effect>) {
        self.refuse(now, asker, (ErrorCode::NotReady, NOT_CONNECTED), out);
    }

    fn primary_lost(&mut self, now: Now, out: &mut Outputs<Effect>) {
        if self.view.is_stopping() {
            info!("the cluster is stopped");
            let exit = Exit::Success;
            out.push(Output::Exit { exit });
        } else {
            error!("primary master is down");
        }
        self.view = View::default();
        for asker in self.monitor.take_askers() {
            self.not_ready(now, asker, out);
        }
        self.health_changed(now, out);
    }

    fn identification(&self) -> Packet {
        let names = self.config.backups.iter().cloned();
        let names = names.map(Value::Bin).collect();
        Packet::RequestIdentification {
            node_type: NodeType::Admin,
            nid: self.config.nid,
            address: self.config.address.clone(),
            cluster: self.config.cluster.clone(),
            id_timestamp: None,
            extra: [("backup".into(), Value::Array(names))].into_iter().collect(),
        }
    }

    fn on_connected(&mut self, connection: ConnectionId, out: &mut Outputs<Effect>) {
        if !self.links.connected(connection) {
            return;
        }
        let request = self.identification();
        let links = &mut self.links;
        let context = Request::Identify;
        if !self.search.on_connected(connection, request, context, links, out) {
            let cluster = self.config.cluster.clone();
            self.upstream.on_connected(connection, cluster, &mut self.links, out);
        }
    }

    fn on_timer(&mut self, now: Now, timer: TimerId, out: &mut Outputs<Effect>) {
        match timer {
            MONITOR => {
                for connection in self.monitor.late() {
                    info!(?connection, "no answer about the health of a cluster");
                    let lost = self.links.close(connection, out);
                    self.ended(now, connection, lost, out);
                }
            }
            UPSTREAM => self.upstream.on_timer(now, &mut self.links, out),
            NOTICE => self.on_notice(now, out),
            timer => {
                self.search.on_timer(timer, now, &mut self.links, out);
            }
        }
    }
}

impl Node for Admin {
    type Event = Event;
    type Effect = Effect;

    fn dump(&self) -> String {
        let mut dump = Dump::default();
        dump.value("cluster", &self.view.state);
        self.links.dump(&mut dump);
        self.view.dump(&mut dump);
        dump.finish()
    }

    fn handle(&mut self, now: Now, input: Input<Event>, out: &mut Outputs<Effect>) {
        match input {
            Input::Start => self.search.start(now, &mut self.links, out),
            Input::Accepted { connection } => self.links.accepted(connection),
            Input::Connected { connection } => self.on_connected(connection, out),
            Input::Received { connection, message } => {
                let received = self.links.receive(connection, message, out);
                self.received(now, connection, received.incoming, out);
                self.ended(now, connection, received.lost, out);
            }
            Input::Closed { connection } => {
                let lost = self.links.closed(connection);
                self.ended(now, connection, lost, out);
            }
            Input::Timer { timer } => self.on_timer(now, timer, out),
            Input::Stop => out.push(Output::Exit { exit: Exit::Success }),
            Input::Own(Event::Mailed(result)) => self.on_mailed(now, result, out),
        }
        if self.search.take_changed() {
            let masters = self.search.masters().to_vec();
            out.push(Output::Own(Effect::SaveMasters(masters)));
        }
    }
}

#[cfg(test)]
mod tests;
