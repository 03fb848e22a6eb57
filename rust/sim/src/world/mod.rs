//! The world: nodes, the network between them, and one heap of events.

mod faults;
mod lives;
mod turns;

use std::collections::BTreeMap;

use neo_core::io::{ConnectionId, Input, Nothing, Now, TimerId};
use neo_wire::Address;

use crate::bugs::Bugs;
use crate::host::{Host, Kind, NodeIndex, Wake};
use crate::network::{EndRef, Item, KEEP_ALIVE, Network, Profile};
use crate::oracle::Oracle;
use crate::random::Random;
use crate::schedule::{Schedule, Time};
use crate::trace::{Lines, Trace};

pub use self::faults::{Coverage, FaultKind, Moment, Trigger};

/// What the clocks say when the world begins: 2024-06-01, in seconds since 1970.
const WALL_START_S: f64 = 1_717_200_000.0;

/// Something that is to happen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// Something arrives at an end of a connection.
    Deliver(EndRef),
    /// The time to make a connection is over.
    ConnectTimeout(EndRef),
    /// An end of a connection vanishes, and its node notices.
    Cut(EndRef),
    /// A timer of a node.
    Timer {
        /// The node.
        node: NodeIndex,
        /// The life of its process.
        life: u32,
        /// Which.
        timer: TimerId,
        /// How often it had been set.
        generation: u64,
    },
    /// A reminder of a host.
    Wake {
        /// The node.
        node: NodeIndex,
        /// The life of its process.
        life: u32,
        /// Which.
        wake: Wake,
    },
    /// A process starts, if there is none.
    Boot(NodeIndex),
    /// A reason for nothing to pass has ended.
    Unblock(NodeIndex, NodeIndex),
    /// A reminder of who directs the simulation.
    Direct(u32),
}

/// A machine.
struct Slot {
    name: String,
    host: Box<dyn Host>,
    address: Address,
    running: bool,
    /// Whether the machine answers at all.
    powered: bool,
    /// Number of processes so far.
    life: u32,
    booted: Time,
    /// Seconds between its clock and the right time.
    wall_offset_s: f64,
    paused_until: Time,
    refuses_until: Time,
    listening: bool,
    timers: BTreeMap<TimerId, u64>,
    timers_set: u64,
    ends: BTreeMap<ConnectionId, EndRef>,
    accepted: u64,
    /// Code of the last packet it received.
    last_code: u16,
}

/// See the module.
pub struct World {
    /// What is to happen.
    pub schedule: Schedule<Event>,
    /// Every choice.
    pub random: Random,
    /// What happened.
    pub trace: Trace,
    /// Who judges.
    pub oracle: Oracle,
    /// Faults made so far.
    pub coverage: Coverage,
    network: Network,
    slots: Vec<Slot>,
    by_address: BTreeMap<Address, NodeIndex>,
    bugs: Bugs,
    triggers: Vec<Trigger>,
    /// Whether faults may still be made.
    disturbed: bool,
    events: u64,
    dirty: Vec<EndRef>,
}

impl World {
    /// Without nodes.
    #[must_use]
    pub fn new(random: Random, profile: Profile, bugs: Bugs, lines: Lines) -> Self {
        Self {
            schedule: Schedule::default(),
            random,
            trace: Trace::new(lines),
            oracle: Oracle::default(),
            coverage: Coverage::default(),
            network: Network::new(profile),
            slots: Vec::new(),
            by_address: BTreeMap::new(),
            bugs,
            triggers: Vec::new(),
            disturbed: true,
            events: 0,
            dirty: Vec::new(),
        }
    }

    /// Adds a machine that is not started.
    pub fn add(&mut self, name: &str, address: Address, host: Box<dyn Host>) -> NodeIndex {
        let node = NodeIndex(self.slots.len());
        self.by_address.insert(address.clone(), node);
        self.slots.push(Slot {
            name: name.to_owned(),
            host,
            address,
            running: false,
            powered: true,
            life: 0,
            booted: Time::ZERO,
            wall_offset_s: 0.0,
            paused_until: Time::ZERO,
            refuses_until: Time::ZERO,
            listening: true,
            timers: BTreeMap::new(),
            timers_set: 0,
            ends: BTreeMap::new(),
            accepted: 0,
            last_code: 0,
        });
        node
    }

    /// Every machine.
    pub fn nodes(&self) -> impl Iterator<Item = NodeIndex> + use<> {
        (0..self.slots.len()).map(NodeIndex)
    }

    /// Machines of one kind.
    #[must_use]
    pub fn nodes_of(&self, kind: Kind) -> Vec<NodeIndex> {
        self.nodes().filter(|node| self.host(*node).kind() == kind).collect()
    }

    /// The host of a machine.
    #[must_use]
    pub fn host(&self, node: NodeIndex) -> &dyn Host {
        &*self.slots[node.0].host
    }

    /// The host of a machine.
    pub fn host_mut(&mut self, node: NodeIndex) -> &mut dyn Host {
        &mut *self.slots[node.0].host
    }

    /// The name of a machine.
    #[must_use]
    pub fn name(&self, node: NodeIndex) -> &str {
        &self.slots[node.0].name
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self, node: NodeIndex) -> &Address {
        &self.slots[node.0].address
    }

    /// Whether there is a process on it.
    #[must_use]
    pub fn is_running(&self, node: NodeIndex) -> bool {
        self.slots[node.0].running
    }

    /// Whether no message is on its way.
    #[must_use]
    pub fn is_silent(&self) -> bool {
        self.network.is_silent()
    }

    /// Whether nothing passes from a node to another one.
    #[must_use]
    pub fn is_blocked(&self, from: NodeIndex, to: NodeIndex) -> bool {
        self.network.is_blocked(from, to)
    }

    /// Events handled so far.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.events
    }

    /// The present.
    #[must_use]
    pub fn now(&self) -> Time {
        self.schedule.now()
    }

    fn node_now(&self, node: NodeIndex) -> Now {
        let slot = &self.slots[node.0];
        let now = self.now();
        Now {
            monotonic_ms: (now - slot.booted).0 / 1_000,
            wall_s: WALL_START_S + now.0 as f64 / 1e6 + slot.wall_offset_s,
        }
    }

    /// The node that an event is for, if it can be made to wait.
    fn target(&self, event: &Event) -> Option<NodeIndex> {
        match event {
            Event::Deliver(end) | Event::ConnectTimeout(end) | Event::Cut(end) => {
                Some(self.network.node(*end))
            }
            Event::Timer { node, .. } | Event::Wake { node, .. } => Some(*node),
            Event::Boot(_) | Event::Unblock(..) | Event::Direct(_) => None,
        }
    }

    /// Makes the next thing happen. Returns what the director asked to be reminded of.
    pub fn step(&mut self) -> Option<u32> {
        let event = self.schedule.pop()?;
        if let Some(node) = self.target(&event) {
            let until = self.slots[node.0].paused_until;
            if until > self.now() {
                self.schedule.at(until, event);
                return None;
            }
        }
        self.trace.mix(self.schedule.now().0);
        match event {
            Event::Deliver(end) => self.deliver(end),
            Event::ConnectTimeout(end) => {
                if self.network.is_connecting(end) {
                    self.cut(end);
                }
            }
            Event::Cut(end) => self.cut(end),
            Event::Timer { node, life, timer, generation } => {
                let slot = &mut self.slots[node.0];
                let is_set = slot.timers.get(&timer) == Some(&generation);
                if slot.running && slot.life == life && is_set {
                    slot.timers.remove(&timer);
                    self.note(node, format_args!("timer {}", timer.0));
                    self.trace.mix(timer.0);
                    self.input(node, Input::Timer { timer });
                }
            }
            Event::Wake { node, life, wake } => {
                let slot = &self.slots[node.0];
                if slot.running && slot.life == life {
                    self.trace.mix(wake.0);
                    self.wake(node, wake);
                }
            }
            Event::Boot(node) => self.boot(node),
            Event::Unblock(from, to) => {
                self.network.unblock(from, to, &mut self.schedule, &mut self.random);
            }
            Event::Direct(what) => return Some(what),
        }
        None
    }

    /// Adds a line about a node to the trace.
    fn note(&mut self, node: NodeIndex, text: std::fmt::Arguments<'_>) {
        if self.trace.is_verbose() {
            let (now, name) = (self.schedule.now(), &self.slots[node.0].name);
            self.trace.line(format_args!("{now} {name:4} {text}"));
        }
    }

    /// An end vanishes, and its node notices.
    fn cut(&mut self, end: EndRef) {
        if self.network.forget(end) {
            let node = self.network.node(end);
            let id = self.network.id(end);
            self.closed(node, id);
        }
    }

    fn closed(&mut self, node: NodeIndex, connection: ConnectionId) {
        if self.slots[node.0].ends.remove(&connection).is_some() {
            self.note(node, format_args!("closed {connection:?}"));
            self.input(node, Input::Closed { connection });
        }
    }

    fn deliver(&mut self, end: EndRef) {
        let Some(item) = self.network.arrive(end) else {
            return;
        };
        self.trace.mix(end.number());
        let node = self.network.node(end);
        match item {
            Item::Syn => self.syn(node, end),
            Item::Established => {
                if self.network.is_connecting(end) {
                    self.network.establish(end);
                    self.dirty.push(end);
                    let connection = self.network.id(end);
                    self.note(node, format_args!("connected {connection:?}"));
                    self.input(node, Input::Connected { connection });
                } else {
                    self.bounce(node, end);
                }
            }
            Item::Refused | Item::Fin | Item::Reset => {
                self.trace.mix(1);
                self.cut(end);
            }
            Item::Data(bytes) => {
                if self.network.is_open(end) {
                    self.trace.mix_bytes(&bytes);
                    self.network.framer(end).buffer().extend_from_slice(&bytes);
                    self.receive(node, end);
                } else {
                    self.bounce(node, end);
                }
            }
        }
    }

    fn bounce(&mut self, node: NodeIndex, end: EndRef) {
        if self.slots[node.0].powered {
            self.network.bounce(end, &mut self.schedule, &mut self.random);
        } else {
            // A machine without power does not even say that it knows nothing.
            self.schedule.after(KEEP_ALIVE, Event::Cut(end.peer()));
        }
    }

    fn syn(&mut self, node: NodeIndex, end: EndRef) {
        let now = self.now();
        let slot = &mut self.slots[node.0];
        if !slot.powered {
            return;
        }
        if !slot.running || !slot.listening || slot.refuses_until > now {
            self.network.refuse(end, &mut self.schedule, &mut self.random);
            return;
        }
        slot.accepted += 1;
        let connection = ConnectionId(slot.accepted);
        slot.ends.insert(connection, end);
        self.network.accept(end, connection, &mut self.schedule, &mut self.random);
        self.dirty.push(end);
        self.note(node, format_args!("accepted {connection:?}"));
        self.input(node, Input::Accepted { connection });
    }

    /// Messages that are complete now.
    fn receive(&mut self, node: NodeIndex, end: EndRef) {
        let connection = self.network.id(end);
        let life = self.slots[node.0].life;
        loop {
            // What one message does may end the connection, or the process.
            if !self.network.is_open(end) || self.slots[node.0].life != life {
                break;
            }
            let message = match self.network.framer(end).next() {
                Ok(Some(message)) => message,
                Ok(None) => break,
                Err(error) => {
                    let name = self.name(self.network.node(end.peer()));
                    let text = format!("{name} sent something that is not a packet: {error}");
                    self.oracle.violation("bytes", text);
                    break;
                }
            };
            let code = message.packet.code();
            self.slots[node.0].last_code = code;
            if self.trace.is_verbose() {
                let text = format!("{:?} <- {:?} {:?}", connection, message.msg_id, message.packet);
                self.note(node, format_args!("{text}"));
            }
            let trigger = self.pull_trigger(node, code);
            if trigger.is_some_and(|trigger| trigger.moment == Moment::Before) {
                self.fire(trigger, node, end);
                if self.slots[node.0].life != life {
                    break;
                }
            }
            let limit = trigger.and_then(|trigger| match trigger.moment {
                Moment::Between(outputs) => Some(outputs),
                _ => None,
            });
            let input = Input::Received { connection, message };
            self.events += 1;
            self.give(node, limit, input);
            if trigger.is_some_and(|trigger| trigger.moment != Moment::Before) {
                self.flush();
                self.fire(trigger, node, end);
            }
        }
        self.flush();
    }

    fn input(&mut self, node: NodeIndex, input: Input<Nothing>) {
        self.events += 1;
        self.give(node, None, input);
        self.flush();
    }

    fn give(&mut self, node: NodeIndex, limit: Option<usize>, input: Input<Nothing>) {
        let result = self.turn_with(node, limit, |host, turn| host.handle(turn, input));
        if let Err(sentence) = result {
            self.exited(node, Err(sentence));
        }
    }

    fn wake(&mut self, node: NodeIndex, wake: Wake) {
        self.events += 1;
        let result = self.turn_with(node, None, |host, turn| host.wake(turn, wake));
        self.flush();
        if let Err(sentence) = result {
            self.exited(node, Err(sentence));
        }
    }
}
