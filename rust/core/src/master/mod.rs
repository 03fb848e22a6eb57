//! The master node: the only authority for membership, identifiers, the partition table and the
//! order of commits (spec master.md).
//!
//! One file per phase or role. A primary goes through [`recovery`], [`verification`] and
//! [`service`], again and again; a [`secondary`] waits for the primary to fail. Handlers only
//! change what they must; what follows from a state (leaving a phase, asking the next question) is
//! looked for once the input is handled, by [`Master::settle`].

mod administration;
mod broadcast;
mod clients;
mod config;
mod dispatch;
mod election;
mod identification;
mod maintenance;
mod membership;
mod old_packs;
mod packs;
mod probing;
mod recovery;
mod secondary;
mod service;
mod shutdown;
mod start;
mod transactions;
mod two_phase_commit;
mod verification;

use neo_wire::{Address, ClusterState, NodeState, NodeType, Packet, Ptid, Tid, Timestamp, Ttid};
use tracing::info;

use crate::dump::Dump;
use crate::io::{ConnectionId, Entropy, Exit, Input, Node, Nothing, Now, Output, Outputs, TimerId};
use crate::links::Links;
use crate::nodes::{MonotonicClock, NodeDirectory, NodeKey};
use crate::pacing::Pacing;
use crate::partition_table::PartitionTable;
use packs::Packs;
use probing::Probing;
use recovery::Recovery;
use secondary::Secondary;
use service::Readiness;
use shutdown::Shutdown;
use transactions::Transactions;
use verification::Verification;

pub use config::{Limits, MasterConfig};

/// When to try masters again.
const MASTERS: TimerId = TimerId(0);
/// When to give up storages that do not get ready.
const STARTING: TimerId = TimerId(1);
/// When to stop waiting for transactions.
const STOPPING: TimerId = TimerId(2);
/// When to give up connections that do not show that they are alive.
const PROBING: TimerId = TimerId(3);

/// What only a master does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Effect {
    /// The known masters changed: write the dynamic list (spec master.md 2.3). A failure is only
    /// to be logged.
    SaveMasters(Vec<Address>),
    /// Write the backlog of the log.
    FlushLog,
}

/// What decides how an input is handled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// Not started yet.
    Idle,
    /// Another master is the primary.
    Secondary,
    /// RECOVERING.
    Recovering,
    /// VERIFYING.
    Verifying,
    /// Storages operate: RUNNING, and STOPPING as long as transactions are waited for. Backup
    /// states will be here too.
    Service,
    /// The process ends.
    Ended,
}

/// What this node asks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Question {
    /// RequestIdentification to a master.
    Identify,
    /// Ping: is it alive?
    Probe,
    /// AskRecovery.
    Recovery,
    /// AskPartitionTable.
    Table,
    /// AskLockedTransactions.
    Locked,
    /// AskFinalTID.
    FinalTid(Ttid),
    /// AskLastIDs.
    LastIds,
    /// AskPackOrders, to know those that are not completed.
    PackOrders,
    /// AskPackOrders, for somebody who wants completed ones. With the number of the search.
    OldPackOrders(u64),
    /// AskLockInformation.
    Lock(Ttid),
    /// Ping, after AbortTransaction: is it done?
    Aborted(Ttid),
}

/// A request of ours, and the period of operation in which it was sent: answers of former periods
/// are ignored (spec master.md 6.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Asked {
    epoch: u64,
    question: Question,
}

/// A request of a peer, to be answered later.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Asker {
    connection: ConnectionId,
    msg_id: u32,
}

/// The time of the input being handled, and where outputs go.
struct Turn<'a> {
    now: Now,
    out: &'a mut Outputs<Effect>,
}

/// A master node.
#[derive(Debug)]
pub struct Master {
    config: MasterConfig,
    entropy: Entropy,
    links: Links<Asked>,
    nodes: NodeDirectory,
    clock: MonotonicClock,
    pacing: Pacing,
    probing: Probing,
    /// The record of this master.
    own: NodeKey,
    phase: Phase,
    /// None before the first RECOVERING, and for a secondary.
    cluster_state: Option<ClusterState>,
    /// When the primary role began: the key of elections.
    primary_timestamp: Timestamp,
    /// Leaving RECOVERING needs neither autostart nor the presence of everybody (7.4).
    startup_allowed: bool,
    /// The version of the partition table that this primary role began with, or that storages had
    /// recorded when they locked the last commit: an older one may ignore that a storage missed
    /// commits. Forgotten if an operator insists.
    least_ptid: Option<Ptid>,
    /// The version at the last commit of this primary role, maybe not recorded by anybody yet.
    commit_ptid: Option<Ptid>,
    /// The highest version in this primary role: it is never given again to another table.
    highest_ptid: Option<Ptid>,
    /// The truncation in progress, as storages say.
    truncate_tid: Option<Tid>,
    /// In backup mode, what storages say to have. There is no service of this mode yet.
    backup_tid: Option<Tid>,
    table: PartitionTable,
    /// Incremented at each entry in RECOVERING.
    epoch: u64,
    /// Operation is to be left, maybe with a truncation.
    leaving: Option<Option<Tid>>,
    masters_changed: bool,
    recovery: Recovery,
    verification: Verification,
    readiness: Readiness,
    transactions: Transactions,
    packs: Packs,
    shutdown: Shutdown,
    secondary: Secondary,
}

impl Master {
    /// A master that has done nothing yet.
    #[must_use]
    pub fn new(config: MasterConfig, entropy: Entropy) -> Self {
        let mut nodes = NodeDirectory::default();
        for address in &config.masters {
            nodes.master_at(address);
        }
        let own = nodes.master_at(&config.address);
        nodes.set_nid(own, config.nid);
        Self {
            table: PartitionTable::new(config.partitions, config.replicas),
            entropy,
            links: Links::default(),
            nodes,
            clock: MonotonicClock::default(),
            pacing: Pacing::default(),
            probing: Probing::default(),
            own,
            phase: Phase::Idle,
            cluster_state: None,
            primary_timestamp: Timestamp::default(),
            startup_allowed: false,
            least_ptid: None,
            commit_ptid: None,
            highest_ptid: None,
            truncate_tid: None,
            backup_tid: None,
            epoch: 0,
            leaving: None,
            // The file is written at start: a problem of permission is seen at once.
            masters_changed: true,
            recovery: Recovery::default(),
            verification: Verification::default(),
            readiness: Readiness::default(),
            transactions: Transactions::default(),
            packs: Packs::default(),
            shutdown: Shutdown::default(),
            secondary: Secondary::new(own),
            config,
        }
    }

    /// The state of the cluster as this master decides it; none if it is not the primary.
    #[must_use]
    pub const fn cluster_state(&self) -> Option<ClusterState> {
        self.cluster_state
    }

    /// The nodes that this master knows, itself included.
    #[must_use]
    pub const fn nodes(&self) -> &NodeDirectory {
        &self.nodes
    }

    /// The partition table as this master decides it; without identifier if none is loaded.
    #[must_use]
    pub const fn partition_table(&self) -> &PartitionTable {
        &self.table
    }

    /// The last transaction committed, as far as this master knows.
    #[must_use]
    pub const fn last_tid(&self) -> Tid {
        self.transactions.last_tid()
    }

    /// Whether something is left that only lasts while a transaction, an identification or a
    /// transition is in progress: a cluster at rest has none.
    #[must_use]
    pub fn is_at_rest(&self) -> bool {
        self.transactions.is_idle() && self.readiness.is_settled() && self.probing.is_empty()
    }

    /// Begins the primary role (spec master.md 5.2).
    fn start_primary_role(&mut self, turn: &mut Turn<'_>) {
        self.close_everything(turn, None);
        if self.nodes.get(self.own).is_some_and(|own| own.nid().is_none()) {
            let address = &self.config.address;
            let nid = self.nodes.first_nid(NodeType::Master, Some(address), |_| false);
            self.nodes.set_nid(self.own, nid);
        }
        if let Some(own) = self.nodes.get_mut(self.own) {
            own.state = NodeState::Running;
            own.id_timestamp = None;
        }
        self.primary_timestamp = self.clock.next(turn.now.wall_s);
        self.startup_allowed = false;
        self.least_ptid = None;
        self.commit_ptid = None;
        self.highest_ptid = None;
        self.truncate_tid = None;
        self.backup_tid = None;
        info!(timestamp = self.primary_timestamp.0, "this master begins as primary");
        self.enter_recovery(turn);
    }

    /// Forgets every connection but one, and every node but masters, which are DOWN.
    fn close_everything(&mut self, turn: &mut Turn<'_>, kept: Option<ConnectionId>) {
        let connections: Vec<_> = self.links.ids().filter(|id| Some(*id) != kept).collect();
        for connection in connections {
            self.links.close(connection, turn.out);
        }
        self.probing = Probing::default();
        let nodes: Vec<_> = self
            .nodes
            .iter()
            .filter(|(key, _)| *key != self.own)
            .map(|(key, record)| (key, record.node_type(), record.connection()))
            .collect();
        for (key, node_type, connection) in nodes {
            if node_type != NodeType::Master {
                self.nodes.remove(key);
                continue;
            }
            if connection.is_none() || connection != kept {
                self.nodes.set_connection(key, None);
            }
            if let Some(record) = self.nodes.get_mut(key) {
                record.state = NodeState::Down;
            }
        }
    }

    /// Ends the process.
    fn exit(&mut self, turn: &mut Turn<'_>, exit: Exit) {
        self.phase = Phase::Ended;
        for timer in [MASTERS, STARTING, STOPPING, PROBING] {
            turn.out.push(Output::CancelTimer { timer });
        }
        turn.out.push(Output::Exit { exit });
    }

    /// What follows from the state once an input is handled.
    fn settle(&mut self, turn: &mut Turn<'_>) {
        while self.step(turn) {}
        if std::mem::take(&mut self.masters_changed) {
            let masters = self.known_masters();
            turn.out.push(Output::Own(Effect::SaveMasters(masters)));
        }
    }

    /// Does one thing that follows from the state; returns whether there was one.
    fn step(&mut self, turn: &mut Turn<'_>) -> bool {
        if self.phase == Phase::Ended {
            return false;
        }
        if let Some(truncation) = self.leaving.take() {
            self.leave_operation(turn, truncation);
            return true;
        }
        if self.answer_held(turn) || self.advance_shutdown(turn) {
            return true;
        }
        match self.phase {
            Phase::Recovering => self.advance_recovery(turn),
            Phase::Verifying => self.advance_verification(turn),
            _ => false,
        }
    }

    fn on_timer(&mut self, turn: &mut Turn<'_>, timer: TimerId) {
        match timer {
            MASTERS if self.phase == Phase::Secondary => self.connect_to_primary(turn),
            MASTERS => self.challenge_masters(turn),
            STARTING => self.give_up_starting(turn),
            STOPPING => self.stop_waiting(turn),
            PROBING => self.give_up_silent(turn),
            _ => {}
        }
    }
}

impl Node for Master {
    type Event = Nothing;
    type Effect = Effect;

    fn dump(&self) -> String {
        let mut dump = Dump::default();
        dump.value("phase", &(self.phase, self.cluster_state));
        self.links.dump(&mut dump);
        dump.list("nodes", self.nodes.iter().map(|(_, record)| record.info()));
        let storages = self.nodes.of_type(NodeType::Storage);
        let states = storages.filter_map(|(_, node)| Some((node.nid()?, node.info().state)));
        let version = (self.table.ptid(), self.table.num_replicas());
        dump.table(version, &self.table.rows(), &states.collect());
        self.transactions.dump(&mut dump);
        dump.finish()
    }

    fn handle(&mut self, now: Now, input: Input<Nothing>, out: &mut Outputs<Effect>) {
        if self.phase == Phase::Ended {
            return;
        }
        let turn = &mut Turn { now, out };
        match input {
            Input::Start => self.start_primary_role(turn),
            Input::Accepted { connection } => self.links.accepted(connection),
            Input::Connected { connection } => self.on_connected(turn, connection),
            Input::Received { connection, message } => {
                let received = self.links.receive(connection, message, turn.out);
                self.on_incoming(turn, connection, received.incoming);
                if let Some(lost) = received.lost {
                    self.connection_lost(turn, connection, lost.established);
                }
            }
            Input::Closed { connection } => {
                if let Some(lost) = self.links.closed(connection) {
                    self.connection_lost(turn, connection, lost.established);
                }
            }
            Input::Timer { timer } => self.on_timer(turn, timer),
            Input::Stop => self.on_stop(turn),
            Input::Own(never) => match never {},
        }
        self.settle(turn);
    }
}

/// A Truncate that never makes a storage of the Python NEO unusable (spec master.md 13.6).
fn truncate(tid: Tid) -> Option<Packet> {
    (tid != Tid::ZERO).then_some(Packet::Truncate { tid })
}

#[cfg(test)]
mod tests;
