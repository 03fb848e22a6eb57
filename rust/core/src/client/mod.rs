//! The client of a cluster: every decision of it, without I/O (spec client.md).
//!
//! The application's threads make [`Event::Call`]s, whose answers are [`Effect::Return`]s. What
//! must become visible in order is given out one by one with [`Effect::Publish`]. The record cache
//! is not here: see [`loads`].

pub mod api;
pub mod cache;
mod commit;
mod copies;
mod limits;
pub mod loads;
mod master_link;
mod publications;
mod reads;
mod storages;
mod transaction;
mod writes;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use neo_wire::{Address, NodeId, NodeInfo, Oid, Packet, Tid, Timestamp};

use self::api::{Answer, CallId, ClientError, Effect, Event, Identity, Request, TransactionKey};
use self::copies::Copies;
use self::master_link::Link;
use self::publications::Item;
use self::reads::{Read, ReadId};
use self::storages::StorageLink;

use self::transaction::Transaction;
use crate::dump::Dump;
use crate::io::{ConnectionId, Entropy, Input, Node, Now, Output, Outputs, TimerId};
use crate::links::{Incoming, Links};
use crate::pacing::Pacing;
use crate::primary_search::PrimarySearch;
use crate::table::Table;

/// The timer of the search of the primary; storages have theirs from 0 to 2^32.
const SEARCH_TIMER: TimerId = TimerId(1 << 32);

/// The timer of calls that wait for a primary.
const WAIT_TIMER: TimerId = TimerId((1 << 32) + 1);

/// How a client is set up.
#[derive(Debug, Clone)]
pub struct Config {
    /// Name of the cluster.
    pub cluster: String,
    /// Known masters.
    pub masters: Vec<Address>,
    /// Never writes.
    pub read_only: bool,
    /// Uncompressed bytes of a transaction that may wait for answers, and that may be kept for
    /// the cache (spec client.md 7.3).
    pub write_buffer: usize,
    /// Failed attempts to reach a primary before calls fail; none: never.
    pub max_reconnections: Option<u32>,
}

/// What we asked of a peer.
#[derive(Debug, Clone, PartialEq)]
enum Asked {
    IdentifyMaster,
    IdentifyStorage(NodeId),
    LastTransaction,
    Begin(TransactionKey),
    Write { transaction: TransactionKey, oid: Oid, nid: NodeId, attempt: u32 },
    Relock { transaction: TransactionKey, oid: Oid, nid: NodeId },
    Vote { transaction: TransactionKey, nid: NodeId },
    FailedVote(TransactionKey),
    Finish(TransactionKey),
    FinalTid(TransactionKey),
    Read(ReadId, NodeId),
    PingForRead(ReadId),
    Call(CallId, Box<Request>),
}

impl Asked {
    fn transaction(&self) -> Option<TransactionKey> {
        match self {
            Self::Write { transaction, .. }
            | Self::Relock { transaction, .. }
            | Self::Vote { transaction, .. } => Some(*transaction),
            _ => None,
        }
    }
}

/// Who waits for a read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Caller {
    Application(CallId),
    Recovery(TransactionKey),
}

/// What every step needs.
struct Context<'a> {
    now: Now,
    out: &'a mut Outputs<Effect>,
}

/// See the module.
#[derive(Debug)]
pub struct Client {
    config: Config,
    entropy: Entropy,
    links: Links<Asked>,
    search: PrimarySearch,
    pacing: Pacing,
    link: Link,
    /// The next NotifyNodeInformation is the full list.
    fresh: bool,
    attempts: u32,
    last_timestamp: Option<Timestamp>,
    identity: Option<Identity>,
    /// Storages, as the master told.
    nodes: BTreeMap<NodeId, NodeInfo>,
    table: Table,
    storages: BTreeMap<NodeId, StorageLink>,
    /// Calls not answered yet.
    calls: BTreeSet<CallId>,
    /// Calls to make once there is a primary.
    waiting: Vec<(CallId, Request)>,
    transactions: BTreeMap<TransactionKey, Transaction>,
    /// Transactions to look at again before the step ends.
    touched: BTreeSet<TransactionKey>,
    /// Transactions whose outcome is to be asked once there is a primary.
    recovering: BTreeSet<TransactionKey>,
    copies: Copies,
    /// Transactions to begin once there is a primary.
    beginning: BTreeSet<TransactionKey>,
    /// Milliseconds that a call may wait for a primary; none: for ever.
    wait_timeout: Option<u64>,
    /// When who waits for a primary is told that there is none.
    wait_limit: Option<u64>,
    reads: BTreeMap<ReadId, Read>,
    next_read: u64,
    /// Requests that will not be answered, to be dealt with before the step ends.
    lost_requests: VecDeque<Asked>,
    publications: VecDeque<Item>,
    publishing: bool,
    being_published: Option<Tid>,
    published: Option<Tid>,
    last_received: Option<Tid>,
    closed: bool,
}

impl Client {
    /// A client that is not connected: it will be at the first call that needs it.
    #[must_use]
    pub fn new(config: Config, entropy: Entropy) -> Self {
        let search = PrimarySearch::new(config.masters.iter().cloned(), SEARCH_TIMER);
        Self {
            config,
            entropy,
            links: Links::default(),
            search,
            pacing: Pacing::default(),
            link: Link::None,
            fresh: false,
            attempts: 0,
            last_timestamp: None,
            identity: None,
            nodes: BTreeMap::new(),
            table: Table::default(),
            storages: BTreeMap::new(),
            calls: BTreeSet::new(),
            waiting: Vec::new(),
            transactions: BTreeMap::new(),
            touched: BTreeSet::new(),
            recovering: BTreeSet::new(),
            copies: Copies::default(),
            beginning: BTreeSet::new(),
            wait_timeout: None,
            wait_limit: None,
            reads: BTreeMap::new(),
            next_read: 0,
            lost_requests: VecDeque::new(),
            publications: VecDeque::new(),
            publishing: false,
            being_published: None,
            published: None,
            last_received: None,
            closed: false,
        }
    }

    /// Its NID, given by the master.
    #[must_use]
    pub fn nid(&self) -> Option<NodeId> {
        self.identity.map(|identity| identity.nid)
    }

    /// Known masters.
    #[must_use]
    pub fn masters(&self) -> &[Address] {
        self.search.masters()
    }

    /// Number of partitions and of replicas, while there is a primary.
    #[must_use]
    pub fn geometry(&self) -> Option<(u32, u32)> {
        (!self.table.is_empty()).then(|| (self.table.partitions(), self.table.num_replicas()))
    }

    /// Failed attempts to reach a primary before calls fail; none: never.
    pub fn set_max_reconnections(&mut self, limit: Option<u32>) {
        self.config.max_reconnections = limit;
    }

    /// Milliseconds that a call may wait for a primary; none: for ever.
    pub fn set_wait_timeout(&mut self, timeout_ms: Option<u64>) {
        self.wait_timeout = timeout_ms;
    }

    fn answer(&mut self, call: CallId, result: Result<Answer, ClientError>, cx: &mut Context<'_>) {
        if self.calls.remove(&call) {
            cx.out.push(Output::Own(Effect::Return { call, result }));
        }
    }

    fn call(&mut self, call: CallId, request: Request, cx: &mut Context<'_>) {
        if self.closed {
            self.answer(call, Err(ClientError::Closed), cx);
            return;
        }
        match request {
            Request::Write { transaction, write } => self.write(call, transaction, write, cx),
            Request::Vote { transaction, metadata } => self.vote(call, transaction, metadata, cx),
            Request::Finish { transaction } => self.finish(call, transaction, cx),
            Request::Ttid { transaction } => self.ttid(call, transaction, cx),
            Request::Flush { transaction } => self.flush(call, transaction, cx),
            Request::Pack { transaction, pack } => {
                let result = self.set_pack(transaction, pack).map(|()| Answer::Done);
                self.answer(call, result, cx);
            }
            Request::Stored { transaction, oid } => {
                let result = match self.transactions.get(&transaction) {
                    Some(transaction) => Ok(Answer::Stored(transaction.stored(oid))),
                    None => Err(ClientError::UnknownTransaction),
                };
                self.answer(call, result, cx);
            }
            request if !self.is_operational() => self.wait_for_master(call, request, cx),
            Request::Connect => self.answer(call, Ok(Answer::Done), cx),
            Request::Begin { transaction, tid } => self.begin(call, transaction, tid, cx),
            Request::Copy(copy) => self.copy(call, copy, cx),
            Request::Read { key, packet, except } => {
                self.start_read(Caller::Application(call), key, packet, except, cx);
            }
            Request::TransactionRead { transaction, key, packet } => {
                self.transaction_read(call, transaction, (key, packet), cx);
            }
            Request::Master { ref packet } => {
                let packet = packet.clone();
                self.ask_master(packet, Asked::Call(call, Box::new(request)), cx);
            }
            Request::Sync => {
                self.ask_master(Packet::Ping {}, Asked::Call(call, Box::new(request)), cx);
            }
        }
    }

    fn own(&mut self, event: Event, cx: &mut Context<'_>) {
        match event {
            Event::Call { call, request } => {
                self.calls.insert(call);
                self.call(call, *request, cx);
            }
            Event::Cancel { call } => {
                self.calls.remove(&call);
                self.cancel_copy(call, cx);
                self.waiting.retain(|(waiting, _)| *waiting != call);
                self.cancel_read(Caller::Application(call));
                for transaction in self.transactions.values_mut() {
                    // A commit goes on, and is published by somebody else.
                    let waits = transaction.waiting.as_ref().map(transaction::Waiting::call);
                    if waits == Some(call) {
                        transaction.waiting = None;
                    }
                }
            }
            Event::Abort { transaction } => self.abort(transaction, cx),
            Event::Published => self.published(cx),
            Event::Close => self.close(cx),
            Event::Forked => self.forked(),
        }
    }

    fn close(&mut self, cx: &mut Context<'_>) {
        self.closed = true;
        let connections: Vec<ConnectionId> = self.links.ids().collect();
        for connection in connections {
            self.links.abort(connection, cx.out);
        }
        self.search.stop(&mut self.links, cx.out);
        for call in std::mem::take(&mut self.calls) {
            cx.out.push(Output::Own(Effect::Return { call, result: Err(ClientError::Closed) }));
        }
        self.forget_everything();
    }

    /// The links belong to the parent: they are forgotten, not closed.
    fn forked(&mut self) {
        self.calls.clear();
        self.forget_everything();
        self.links = Links::default();
        self.identity = None;
        let masters = self.search.masters().to_vec();
        self.search = PrimarySearch::new(masters, SEARCH_TIMER);
    }

    fn forget_everything(&mut self) {
        self.link = Link::None;
        self.table.clear();
        self.storages.clear();
        self.waiting.clear();
        self.transactions.clear();
        self.forget_copies();
        self.recovering.clear();
        self.beginning.clear();
        self.wait_limit = None;
        self.reads.clear();
        self.lost_requests.clear();
        self.touched.clear();
        self.publications.clear();
        self.publishing = false;
        self.being_published = None;
    }

    fn received(
        &mut self,
        connection: ConnectionId,
        incoming: Incoming<Asked>,
        cx: &mut Context<'_>,
    ) {
        match incoming {
            Incoming::Nothing => {}
            Incoming::Packet { msg_id, packet } => {
                if self.search.owns(connection) {
                    self.master_packet(connection, msg_id, packet, cx);
                } else {
                    self.storage_packet(connection, msg_id, packet, cx);
                }
            }
            Incoming::Answer { context, packet } => self.answered(context, packet, cx),
        }
    }

    fn answered(&mut self, asked: Asked, packet: Packet, cx: &mut Context<'_>) {
        match asked {
            Asked::IdentifyMaster => self.master_identified(packet, cx),
            Asked::IdentifyStorage(nid) => self.storage_identified(nid, packet, cx),
            Asked::LastTransaction => self.last_transaction(packet, cx),
            Asked::Begin(key) => self.begun(key, packet, cx),
            Asked::Write { transaction, oid, nid, attempt } => {
                self.written(transaction, oid, nid, attempt, packet, cx);
            }
            Asked::Relock { transaction, oid, .. } => self.relocked(transaction, oid, packet, cx),
            Asked::Vote { transaction, nid } => self.vote_answered(transaction, nid, packet, cx),
            Asked::FailedVote(key) => self.arbitrated(key, packet, cx),
            Asked::Finish(key) => self.finished(key, packet, cx),
            Asked::FinalTid(key) => self.master_final_tid(key, packet, cx),
            Asked::Read(id, nid) => self.read_answered(id, nid, packet, cx),
            Asked::PingForRead(id) => self.read_synced(id, cx),
            Asked::Call(call, request) => self.call_answered(call, &request, packet, cx),
        }
    }

    /// Deals with the requests that will not be answered.
    fn lose_requests(&mut self, cx: &mut Context<'_>) {
        while let Some(asked) = self.lost_requests.pop_front() {
            match asked {
                Asked::Write { transaction, nid, .. } | Asked::Vote { transaction, nid } => {
                    self.write_lost(transaction, nid, cx);
                }
                Asked::Relock { transaction, nid, .. } => {
                    if let Some(transaction) = self.transactions.get_mut(&transaction) {
                        transaction.relocks = transaction.relocks.saturating_sub(1);
                    }
                    self.write_lost(transaction, nid, cx);
                }
                Asked::Read(id, _) => self.read_lost(id, cx),
                Asked::IdentifyStorage(_) | Asked::IdentifyMaster | Asked::LastTransaction => {}
                other => self.master_request_lost(other, cx),
            }
        }
    }

    /// Ends a step: what was lost is dealt with, and calls that can be answered are.
    fn settle_step(&mut self, cx: &mut Context<'_>) {
        loop {
            self.lose_requests(cx);
            let Some(key) = self.touched.pop_first() else {
                return;
            };
            self.progress(key, cx);
        }
    }
}

impl Node for Client {
    type Event = Event;
    type Effect = Effect;

    fn dump(&self) -> String {
        let mut dump = Dump::default();
        dump.value("identity", &self.identity);
        self.links.dump(&mut dump);
        dump.list("nodes", self.nodes.values());
        let states = self.nodes.iter().map(|(nid, node)| (*nid, node.state)).collect();
        let version = (self.table.ptid(), self.table.num_replicas());
        dump.table(version, self.table.rows(), &states);
        dump.list("calls", &self.calls);
        dump.list("transactions", &self.transactions);
        dump.finish()
    }

    fn handle(&mut self, now: Now, input: Input<Event>, out: &mut Outputs<Effect>) {
        let mut cx = Context { now, out };
        let cx = &mut cx;
        match input {
            Input::Start | Input::Accepted { .. } => {}
            Input::Connected { connection } => self.connected(connection, cx),
            Input::Received { connection, message } => {
                let received = self.links.receive(connection, message, cx.out);
                if let Some(lost) = received.lost {
                    self.lost_requests.extend(lost.pending);
                    self.gone(connection, cx);
                }
                self.received(connection, received.incoming, cx);
            }
            Input::Closed { connection } => self.gone(connection, cx),
            Input::Timer { timer } => {
                if timer == WAIT_TIMER {
                    self.waited(cx);
                } else if !self.search.on_timer(timer, now, &mut self.links, cx.out) {
                    self.storage_timer(timer, cx);
                }
            }
            Input::Stop => self.close(cx),
            Input::Own(event) => self.own(event, cx),
        }
        self.settle_step(cx);
    }
}

impl Client {
    fn gone(&mut self, connection: ConnectionId, cx: &mut Context<'_>) {
        if !self.master_closed(connection, cx) {
            self.storage_closed(connection, cx);
        }
    }
}

#[cfg(test)]
mod tests;
