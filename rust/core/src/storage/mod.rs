//! A storage node: every decision of it, without I/O (spec storage.md).
//!
//! Reads and writes of the database are [`Effect`]s with a ticket; what they give comes back as an
//! [`Event`]. A failed read or commit is not an event: the shell stops the node with one sentence.

mod cells;
mod identification;
mod initialization;
mod jobs;
mod lockless;
mod locks;
mod master_link;
mod pack;
mod queues;
mod reads;
mod repair;
mod stacks;
mod stores;
mod tpc;
mod transaction;
mod undo;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use neo_wire::{Address, ClusterState, NodeId, NodeInfo, Oid, Packet, Partition, Text, Tid};
use neo_wire::{Timestamp, Ttid, Value};

use self::identification::{Peer, WaitingPeer};
use self::jobs::{Job, Ticket};
use self::master_link::Phase;
use self::pack::Packer;
use self::queues::{DelayedRead, DelayedWrite, Requester};
use self::repair::Repair;
use self::transaction::Transaction;
use self::undo::UndoQuestion;
use crate::database::{self, CellRow, Configuration, JobResult, Query, WriteJob};
use crate::dump::Dump;
use crate::io::{ConnectionId, Exit, Input, Node, Now, Output, Outputs, TimerId};
use crate::links::{Incoming, Links};
use crate::primary_search::PrimarySearch;
use crate::table::Table;

pub use self::jobs::Ticket as JobTicket;

const SEARCH_TIMER: TimerId = TimerId(0);

/// How a storage is set up.
#[derive(Debug, Clone)]
pub struct Config {
    /// Name of the cluster.
    pub cluster: String,
    /// Known masters.
    pub masters: Vec<Address>,
    /// Where it listens; known to the cluster under this address.
    pub address: Address,
    /// Position in the hardware topology, the widest failure domain first.
    pub device_path: Vec<Text>,
    /// Forced NID (tests).
    pub nid: Option<NodeId>,
    /// Pack orders are ignored.
    pub disable_pack: bool,
    /// Bytes of stores that may stay in memory until their vote (spec storage.md 7.5).
    pub memory_limit: usize,
}

/// What only a storage gets.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The jobs of a ticket are committed.
    Written {
        /// Which.
        ticket: Ticket,
        /// One by job.
        results: Vec<JobResult>,
    },
    /// A query is answered.
    Answered {
        /// Which.
        ticket: Ticket,
        /// What was found.
        answer: database::Answer,
    },
}

/// What only a storage wants done.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Carry these out in one commit.
    Write {
        /// Given back by [`Event::Written`].
        ticket: Ticket,
        /// In order.
        jobs: Vec<WriteJob>,
    },
    /// Look something up.
    Read {
        /// Given back by [`Event::Answered`].
        ticket: Ticket,
        /// What.
        query: Query,
    },
    /// Remember these masters, if that is configured.
    SaveMasters(Vec<Address>),
}

/// What every step needs.
struct Context<'a> {
    now: Now,
    out: &'a mut Outputs<Effect>,
}

/// What we asked of a peer.
#[derive(Debug, Clone, PartialEq)]
enum Asked {
    Identification,
    /// The pack order that follows, in this period of operation.
    PackOrder {
        after: Tid,
        epoch: u64,
    },
}

/// What a storage of this version does not do yet: a master that knows this key of the
/// identification (others ignore it) denies what operators ask of it, with that reason.
pub const LACKS: &[&str] = &["check", "replicate"];

/// See the module.
#[derive(Debug)]
pub struct Storage {
    config: Config,
    links: Links<Asked>,
    search: PrimarySearch,
    phase: Phase,
    /// Incremented each time operation or initialization ends: late results are recognized.
    epoch: u64,
    nid: Option<NodeId>,
    /// What the master is asked for.
    asked_nid: Option<NodeId>,
    cluster_state: Option<ClusterState>,
    /// Time of the last NotifyNodeInformation.
    last_timestamp: Option<Timestamp>,
    fresh: bool,
    nodes: BTreeMap<NodeId, NodeInfo>,
    table: Table,
    /// Cells of this node, as recorded.
    own: BTreeMap<Partition, CellRow>,
    backup_tid: Option<Tid>,
    /// Decided and not done yet.
    truncate_tid: Option<Tid>,
    /// What was decided last is being done.
    truncating: bool,
    packs: Packer,
    repair: Option<Repair>,
    peers: BTreeMap<ConnectionId, Peer>,
    waiting_peers: Vec<WaitingPeer>,
    jobs: BTreeMap<Ticket, (u64, Job)>,
    next_ticket: u64,
    /// Tickets of writes that are not committed yet.
    writing: usize,
    /// What the master said before operation and that waits for them.
    held: VecDeque<(Requester, Packet)>,
    transactions: BTreeMap<Ttid, Transaction>,
    write_locks: BTreeMap<Oid, Ttid>,
    /// Objects that several transactions hold: see [`stacks`].
    stacks: BTreeMap<Oid, VecDeque<Ttid>>,
    read_locks: BTreeMap<Oid, Ttid>,
    /// OUT_OF_DATE cells that are not caught up.
    replicating: BTreeSet<Partition>,
    /// Cells caught up: the TID to announce, or none once announced.
    replicated: BTreeMap<Partition, Option<Tid>>,
    write_queue: Vec<DelayedWrite>,
    /// A lock was released: delayed requests are to be tried again before the step ends.
    released: bool,
    read_queue: VecDeque<DelayedRead>,
    undo_queue: Vec<UndoQuestion>,
    /// Last committed revision of objects, as far as it is known.
    last_serials: BTreeMap<Oid, Tid>,
    /// Bytes of stores that are in memory.
    stored_bytes: usize,
}

impl Storage {
    /// A node on a database whose settings and table were read.
    #[must_use]
    pub fn new(config: Config, settings: &Configuration, rows: Vec<CellRow>) -> Self {
        let search = PrimarySearch::new(config.masters.iter().cloned(), SEARCH_TIMER);
        let mut storage = Self {
            nid: settings.nid,
            asked_nid: config.nid.or(settings.nid),
            config,
            links: Links::default(),
            search,
            phase: Phase::Searching,
            epoch: 0,
            cluster_state: None,
            last_timestamp: None,
            fresh: false,
            nodes: BTreeMap::new(),
            table: Table::default(),
            own: BTreeMap::new(),
            backup_tid: settings.backup_tid,
            truncate_tid: settings.truncate_tid,
            truncating: false,
            packs: Packer::default(),
            repair: None,
            peers: BTreeMap::new(),
            waiting_peers: Vec::new(),
            jobs: BTreeMap::new(),
            next_ticket: 0,
            writing: 0,
            held: VecDeque::new(),
            transactions: BTreeMap::new(),
            write_locks: BTreeMap::new(),
            stacks: BTreeMap::new(),
            read_locks: BTreeMap::new(),
            replicating: BTreeSet::new(),
            replicated: BTreeMap::new(),
            write_queue: Vec::new(),
            released: false,
            read_queue: VecDeque::new(),
            undo_queue: Vec::new(),
            last_serials: BTreeMap::new(),
            stored_bytes: 0,
        };
        storage.load_table(settings, rows);
        storage
    }

    /// Its NID, once it has one.
    #[must_use]
    pub fn nid(&self) -> Option<NodeId> {
        self.nid
    }

    /// Whether it serves clients.
    #[must_use]
    pub fn is_operational(&self) -> bool {
        self.phase == Phase::Operating
    }

    /// Whether nothing is locked, delayed or asked of the database: true at rest.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.transactions.is_empty()
            && self.write_locks.is_empty()
            && self.stacks.is_empty()
            && self.read_locks.is_empty()
            && self.write_queue.is_empty()
            && self.read_queue.is_empty()
            && self.undo_queue.is_empty()
            && self.jobs.is_empty()
    }

    fn partition(&self, key: u64) -> Partition {
        self.table.partition(key)
    }

    fn is_readable(&self, partition: Partition) -> bool {
        self.own.get(&partition).is_some_and(|cell| cell.state.is_readable())
    }

    fn readable(&self) -> Vec<Partition> {
        let cells = self.own.iter().filter(|(_, cell)| cell.state.is_readable());
        cells.map(|(partition, _)| *partition).collect()
    }

    fn stop_with(&mut self, exit: Exit, cx: &mut Context<'_>) {
        self.phase = Phase::Stopped;
        cx.out.push(Output::StopListening);
        let connections: Vec<ConnectionId> = self.links.ids().collect();
        for connection in connections {
            self.links.abort(connection, cx.out);
        }
        cx.out.push(Output::Exit { exit });
    }

    fn received(
        &mut self,
        connection: ConnectionId,
        incoming: Incoming<Asked>,
        cx: &mut Context<'_>,
    ) {
        match incoming {
            Incoming::Nothing => {}
            Incoming::Answer { context: Asked::Identification, packet } => {
                self.master_identified(packet, cx);
            }
            Incoming::Answer { context: Asked::PackOrder { after, epoch }, packet } => {
                self.pack_order_told((after, epoch), packet, cx);
            }
            Incoming::Packet { msg_id, packet } => {
                if self.search.owns(connection) {
                    self.master_packet(connection, msg_id, packet, cx);
                } else {
                    self.peer_packet(connection, msg_id, packet, cx);
                }
            }
        }
    }

    fn gone(&mut self, connection: ConnectionId, cx: &mut Context<'_>) {
        if self.search.owns(connection) {
            self.master_closed(connection, cx);
        } else {
            self.links.closed(connection);
            self.peer_closed(connection, cx);
        }
    }

    fn extra(&self) -> Vec<(Text, Value)> {
        let path = self.config.device_path.iter().cloned().map(Value::Bin).collect();
        let lacks = LACKS.iter().map(|name| Value::Bin((*name).into())).collect();
        vec![
            ("devpath".into(), Value::Array(path)),
            ("new_nid".into(), Value::Array(Vec::new())),
            ("lacks".into(), Value::Array(lacks)),
        ]
    }
}

impl Node for Storage {
    type Event = Event;
    type Effect = Effect;

    fn dump(&self) -> String {
        let mut dump = Dump::default();
        dump.value("phase", &(&self.phase, self.cluster_state));
        self.links.dump(&mut dump);
        dump.list("nodes", self.nodes.values());
        let states = self.nodes.iter().map(|(nid, node)| (*nid, node.state)).collect();
        let version = (self.table.ptid(), self.table.num_replicas());
        dump.table(version, self.table.rows(), &states);
        dump.list("transactions", &self.transactions);
        dump.list("read locks", &self.read_locks);
        dump.list("write locks", &self.write_locks);
        dump.list("delayed writes", &self.write_queue);
        dump.list("delayed reads", &self.read_queue);
        dump.value("database writes in progress", &self.writing);
        dump.finish()
    }

    fn handle(&mut self, now: Now, input: Input<Event>, out: &mut Outputs<Effect>) {
        let mut cx = Context { now, out };
        let cx = &mut cx;
        if self.phase == Phase::Stopped {
            return;
        }
        match input {
            Input::Start => self.search.start(now, &mut self.links, cx.out),
            Input::Accepted { connection } => self.links.accepted(connection),
            Input::Connected { connection } => self.connected(connection, cx),
            Input::Received { connection, message } => {
                let received = self.links.receive(connection, message, cx.out);
                if received.lost.is_some() {
                    self.gone(connection, cx);
                }
                self.received(connection, received.incoming, cx);
            }
            Input::Closed { connection } => self.gone(connection, cx),
            Input::Timer { timer } => {
                self.search.on_timer(timer, now, &mut self.links, cx.out);
            }
            // Nothing has to be cleaned up: what was promised is durable (spec storage.md 2).
            Input::Stop => self.stop_with(Exit::Success, cx),
            Input::Own(Event::Written { ticket, results }) => self.written(ticket, results, cx),
            Input::Own(Event::Answered { ticket, answer }) => self.answered(ticket, answer, cx),
        }
        if self.released {
            self.run_queues(cx);
        }
        if self.search.take_changed() {
            let masters = self.search.masters().to_vec();
            cx.out.push(Output::Own(Effect::SaveMasters(masters)));
        }
    }
}

#[cfg(test)]
mod tests;
