//! Connections: bytes that arrive later, in pieces, or never.

use std::collections::{BTreeMap, VecDeque};

use bytes::{Bytes, BytesMut};
use neo_core::io::ConnectionId;
use neo_wire::{Framer, HANDSHAKE};

use crate::host::NodeIndex;
use crate::random::Random;
use crate::schedule::{Schedule, Time};
use crate::world::Event;

/// A vanished peer is noticed after this time (spec protocol.md 2.1).
pub const KEEP_ALIVE: Time = Time::s(90);
/// A connection that can not be made is given up after this time.
const CONNECT_TIMEOUT: Time = Time::s(20);

/// One end of a connection.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct EndRef {
    connection: u32,
    /// 0 opened it, 1 accepted it.
    side: u8,
}

impl EndRef {
    /// The other end.
    #[must_use]
    pub const fn peer(self) -> Self {
        Self { connection: self.connection, side: 1 - self.side }
    }

    /// A number for the trace.
    #[must_use]
    pub const fn number(self) -> u64 {
        ((self.connection as u64) << 1) | self.side as u64
    }
}

/// What travels to an end.
#[derive(Debug)]
pub enum Item {
    /// A connection is asked for.
    Syn,
    /// It is made.
    Established,
    /// Nobody listens there.
    Refused,
    /// A piece of the stream.
    Data(Bytes),
    /// The peer closed.
    Fin,
    /// The connection does not exist any more.
    Reset,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// Not accepted yet.
    Future,
    Connecting,
    Open,
    Closed,
}

#[derive(Debug)]
struct End {
    node: NodeIndex,
    id: ConnectionId,
    state: State,
    framer: Framer,
    /// Written in this turn.
    out: BytesMut,
    /// What travels to this end.
    incoming: VecDeque<Item>,
    last_arrival: Time,
    /// Arrivals that wait for the end of a partition.
    held: u32,
    /// The connection is reset after this many bytes more sent from here.
    fuse: Option<usize>,
}

impl End {
    fn new(node: NodeIndex, id: ConnectionId, state: State) -> Self {
        Self {
            node,
            id,
            state,
            framer: Framer::new(),
            out: BytesMut::new(),
            incoming: VecDeque::new(),
            last_arrival: Time::ZERO,
            held: 0,
            fuse: None,
        }
    }
}

/// How long things travel.
#[derive(Clone, Copy, Debug)]
pub struct Profile {
    /// At least.
    pub min: Time,
    /// At most, usually.
    pub max: Time,
    /// One in so many takes up to [`Profile::tail`].
    pub tail_one_in: u64,
    /// See above.
    pub tail: Time,
    /// One write in so many arrives in several pieces.
    pub cut_one_in: u64,
}

/// See the module.
pub struct Network {
    connections: Vec<[End; 2]>,
    profile: Profile,
    /// How many reasons there are for nothing to pass from a node to another one.
    blocked: BTreeMap<(NodeIndex, NodeIndex), u32>,
}

impl Network {
    /// Without any connection.
    #[must_use]
    pub fn new(profile: Profile) -> Self {
        Self { connections: Vec::new(), profile, blocked: BTreeMap::new() }
    }

    fn end(&self, end: EndRef) -> &End {
        &self.connections[end.connection as usize][usize::from(end.side)]
    }

    fn end_mut(&mut self, end: EndRef) -> &mut End {
        &mut self.connections[end.connection as usize][usize::from(end.side)]
    }

    /// The node at this end.
    #[must_use]
    pub fn node(&self, end: EndRef) -> NodeIndex {
        self.end(end).node
    }

    /// The connection, as the node at this end calls it.
    #[must_use]
    pub fn id(&self, end: EndRef) -> ConnectionId {
        self.end(end).id
    }

    /// Whether the node at this end can use it.
    #[must_use]
    pub fn is_open(&self, end: EndRef) -> bool {
        self.end(end).state == State::Open
    }

    /// Whether the node at this end holds it, established or not.
    #[must_use]
    pub fn is_alive(&self, end: EndRef) -> bool {
        matches!(self.end(end).state, State::Open | State::Connecting)
    }

    /// Cuts what this end received into messages.
    pub fn framer(&mut self, end: EndRef) -> &mut Framer {
        &mut self.end_mut(end).framer
    }

    /// Whether nothing passes from a node to another one.
    #[must_use]
    pub fn is_blocked(&self, from: NodeIndex, to: NodeIndex) -> bool {
        self.blocked.get(&(from, to)).is_some_and(|count| *count > 0)
    }

    fn delay(&self, random: &mut Random) -> Time {
        let Profile { min, max, tail_one_in, tail, .. } = self.profile;
        if random.one_in(tail_one_in) { random.time(max, tail) } else { random.time(min, max) }
    }

    /// Something leaves for this end; what leaves later arrives later.
    fn travel(
        &mut self,
        to: EndRef,
        item: Item,
        schedule: &mut Schedule<Event>,
        random: &mut Random,
    ) {
        let arrival = schedule.now() + self.delay(random);
        let end = self.end_mut(to);
        end.last_arrival = end.last_arrival.max(arrival);
        end.incoming.push_back(item);
        schedule.at(end.last_arrival, Event::Deliver(to));
    }

    /// A node opens a connection to another one, or to nobody.
    pub fn connect(
        &mut self,
        (from, id): (NodeIndex, ConnectionId),
        to: Option<NodeIndex>,
        schedule: &mut Schedule<Event>,
        random: &mut Random,
    ) -> EndRef {
        let connection = self.connections.len() as u32;
        let opener = EndRef { connection, side: 0 };
        // Where nobody is, the opener is its own peer: only a refusal travels.
        let state = if to.is_some() { State::Future } else { State::Closed };
        let acceptor = End::new(to.unwrap_or(from), ConnectionId(0), state);
        self.connections.push([End::new(from, id, State::Connecting), acceptor]);
        match to {
            Some(_) => self.travel(opener.peer(), Item::Syn, schedule, random),
            None => self.travel(opener, Item::Refused, schedule, random),
        }
        schedule.after(CONNECT_TIMEOUT, Event::ConnectTimeout(opener));
        opener
    }

    /// Whether the opener still waits for its connection.
    #[must_use]
    pub fn is_connecting(&self, end: EndRef) -> bool {
        self.end(end).state == State::Connecting
    }

    /// What arrives now at this end, unless a partition keeps it.
    pub fn arrive(&mut self, to: EndRef) -> Option<Item> {
        let from = self.end(to.peer()).node;
        let blocked = self.is_blocked(from, self.end(to).node);
        let end = self.end_mut(to);
        if blocked {
            end.held += 1;
            return None;
        }
        end.incoming.pop_front()
    }

    /// The node at this end accepts: both can write from now on.
    pub fn accept(
        &mut self,
        end: EndRef,
        id: ConnectionId,
        schedule: &mut Schedule<Event>,
        random: &mut Random,
    ) {
        let accepted = self.end_mut(end);
        accepted.id = id;
        accepted.state = State::Open;
        accepted.out.extend_from_slice(&HANDSHAKE);
        self.travel(end.peer(), Item::Established, schedule, random);
    }

    /// The connection that this end asked for exists.
    pub fn establish(&mut self, end: EndRef) {
        let end = self.end_mut(end);
        end.state = State::Open;
        end.out.extend_from_slice(&HANDSHAKE);
    }

    /// Nobody accepts.
    pub fn refuse(&mut self, end: EndRef, schedule: &mut Schedule<Event>, random: &mut Random) {
        self.end_mut(end).state = State::Closed;
        self.travel(end.peer(), Item::Refused, schedule, random);
    }

    /// Where to write.
    pub fn out(&mut self, end: EndRef) -> &mut BytesMut {
        &mut self.end_mut(end).out
    }

    /// What was written in this turn leaves.
    pub fn flush(&mut self, end: EndRef, schedule: &mut Schedule<Event>, random: &mut Random) {
        let sender = self.end_mut(end);
        if sender.state != State::Open || sender.out.is_empty() {
            return;
        }
        let mut bytes = sender.out.split().freeze();
        let mut blown = false;
        if let Some(fuse) = &mut sender.fuse {
            blown = bytes.len() >= *fuse;
            bytes.truncate(*fuse);
            *fuse -= bytes.len();
        }
        let pieces = if random.one_in(self.profile.cut_one_in) { random.between(1, 3) } else { 0 };
        for _ in 0..pieces {
            if bytes.len() > 1 {
                let piece = bytes.split_to(1 + random.index(bytes.len() - 1));
                self.travel(end.peer(), Item::Data(piece), schedule, random);
            }
        }
        if !bytes.is_empty() {
            self.travel(end.peer(), Item::Data(bytes), schedule, random);
        }
        if blown {
            self.end_mut(end).fuse = None;
            self.travel(end.peer(), Item::Reset, schedule, random);
            schedule.after(self.delay(random), Event::Cut(end));
        }
    }

    /// The end does not exist any more for its node, and nobody is told. True if it did.
    pub fn forget(&mut self, end: EndRef) -> bool {
        let end = self.end_mut(end);
        let alive = matches!(end.state, State::Open | State::Connecting);
        end.state = State::Closed;
        end.out = BytesMut::new();
        end.framer = Framer::new();
        alive
    }

    /// The end does not exist any more, and its peer will know: by `item`.
    pub fn leave(
        &mut self,
        end: EndRef,
        item: Item,
        schedule: &mut Schedule<Event>,
        random: &mut Random,
    ) {
        let established = self.is_open(end);
        if self.forget(end) && established {
            self.travel(end.peer(), item, schedule, random);
        }
    }

    /// Data arrived where nobody is any more: the sender is told.
    pub fn bounce(&mut self, end: EndRef, schedule: &mut Schedule<Event>, random: &mut Random) {
        if self.is_alive(end.peer()) {
            self.travel(end.peer(), Item::Reset, schedule, random);
        }
    }

    /// The connection will be reset once so many bytes more left from this end.
    pub fn light_fuse(&mut self, end: EndRef, bytes: usize) {
        self.end_mut(end).fuse = Some(bytes);
    }

    /// Nothing passes any more from a node to another one; what is sent waits.
    pub fn block(&mut self, from: NodeIndex, to: NodeIndex) {
        *self.blocked.entry((from, to)).or_default() += 1;
    }

    /// A reason for [`Network::block`] has ended; if it was the last one, what waited goes on.
    pub fn unblock(
        &mut self,
        from: NodeIndex,
        to: NodeIndex,
        schedule: &mut Schedule<Event>,
        random: &mut Random,
    ) {
        match self.blocked.get_mut(&(from, to)) {
            Some(count) if *count > 1 => {
                *count -= 1;
                return;
            }
            _ => self.blocked.remove(&(from, to)),
        };
        for connection in 0..self.connections.len() as u32 {
            for side in 0..2 {
                let end = EndRef { connection, side };
                if self.end(end).held == 0
                    || (self.end(end.peer()).node, self.end(end).node) != (from, to)
                {
                    continue;
                }
                let arrival = schedule.now() + self.delay(random);
                let end_mut = self.end_mut(end);
                end_mut.last_arrival = end_mut.last_arrival.max(arrival);
                for _ in 0..std::mem::take(&mut end_mut.held) {
                    // Before what is still to arrive: the order is that of the queue anyway.
                    schedule.at(arrival, Event::Deliver(end));
                }
            }
        }
    }

    /// Whether nothing is on its way, and both ends of every connection know the same.
    #[must_use]
    pub fn is_silent(&self) -> bool {
        let alive = |end: &End| matches!(end.state, State::Open | State::Connecting);
        let quiet = |end: &End| !alive(end) || end.incoming.is_empty();
        let mut connections = self.connections.iter();
        connections.all(|[one, other]| quiet(one) && quiet(other) && alive(one) == alive(other))
    }

    /// Directions in which nothing passes, each as often as there are reasons.
    #[must_use]
    pub fn blocks(&self) -> Vec<(NodeIndex, NodeIndex)> {
        let each = |(link, count): (&(NodeIndex, NodeIndex), &u32)| {
            std::iter::repeat_n(*link, *count as usize)
        };
        self.blocked.iter().flat_map(each).collect()
    }

    /// Ends whose peer does not exist any more.
    #[must_use]
    pub fn half_open(&self) -> Vec<EndRef> {
        let connections = 0..self.connections.len() as u32;
        let ends = connections.flat_map(|connection| {
            [EndRef { connection, side: 0 }, EndRef { connection, side: 1 }]
        });
        let is_gone = |end: EndRef| self.end(end).state == State::Closed;
        ends.filter(|end| self.is_open(*end) && is_gone(end.peer())).collect()
    }

    /// The ends that a node holds, oldest first.
    #[must_use]
    pub fn ends_of(&self, node: NodeIndex) -> Vec<EndRef> {
        let mut found = Vec::new();
        for connection in 0..self.connections.len() as u32 {
            for side in 0..2 {
                let end = EndRef { connection, side };
                if self.end(end).node == node && self.is_alive(end) {
                    found.push(end);
                }
            }
        }
        found
    }
}
