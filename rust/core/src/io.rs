//! What goes into a node and what comes out: the whole surface between decisions and I/O.
//!
//! A node is a plain struct that implements [`Node`]. A shell (sockets and clocks in `neo-net`, a
//! heap of events in `neo-sim`) gives it inputs one by one and carries out its outputs in order.
//! A node never looks at a clock, a socket, a thread or a random source: see [`Now`] and
//! [`Entropy`].

use neo_wire::{Address, Message, Packet};

/// A connection, for as long as the process lives: numbers are never used twice.
///
/// The shell numbers those it accepts, the node those it opens ([`ConnectionId::opened`]).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ConnectionId(pub u64);

impl ConnectionId {
    const OPENED: u64 = 1 << 63;

    /// The nth connection that the node opens.
    #[must_use]
    pub const fn opened(number: u64) -> Self {
        Self(Self::OPENED | number)
    }

    /// Whether the node opened it; else it was accepted.
    #[must_use]
    pub const fn is_opened(self) -> bool {
        self.0 & Self::OPENED != 0
    }
}

/// A timer of a node; each kind of node numbers its own.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TimerId(pub u64);

/// The time at which an input is handled.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Now {
    /// Never goes back: for delays. Milliseconds from an arbitrary origin.
    pub monotonic_ms: u64,
    /// What the system's clock says, which may jump: seconds since 1970.
    pub wall_s: f64,
}

/// What happens to a node. `E` is what only this kind of node gets (a database job that is done,
/// a call of the application).
#[derive(Clone, PartialEq, Debug)]
pub enum Input<E> {
    /// The process starts; given once, first.
    Start,
    /// A peer connected to us.
    Accepted {
        /// The new connection.
        connection: ConnectionId,
    },
    /// A connection that we asked for exists.
    Connected {
        /// Given by [`Output::Connect`].
        connection: ConnectionId,
    },
    /// A message arrived. Messages of one connection come in the order they were sent.
    Received {
        /// By this connection.
        connection: ConnectionId,
        /// What was received.
        message: Message,
    },
    /// A connection ended or could not be made: by the peer, by the network or because what it
    /// sent is malformed. Not given for a connection that the node closed or aborted itself.
    Closed {
        /// This one.
        connection: ConnectionId,
    },
    /// A timer fired.
    Timer {
        /// Given by [`Output::SetTimer`].
        timer: TimerId,
    },
    /// The process was asked to stop (SIGTERM, SIGINT): finish in order, then [`Output::Exit`].
    Stop,
    /// Something of this kind of node.
    Own(E),
}

/// What a node wants done. `F` is what only this kind of node wants.
#[derive(Clone, PartialEq, Debug)]
pub enum Output<F> {
    /// Open a connection; [`Input::Connected`] or [`Input::Closed`] follows.
    Connect {
        /// Its number, made by the node.
        connection: ConnectionId,
        /// Where to.
        address: Address,
    },
    /// Send a packet, after those already sent on this connection.
    Send {
        /// By this connection.
        connection: ConnectionId,
        /// Given by the node.
        msg_id: u32,
        /// What to send.
        packet: Packet,
    },
    /// Send what is waiting, then close; nothing is received any more (spec protocol.md 8.1).
    Abort {
        /// This one.
        connection: ConnectionId,
    },
    /// Close at once; what is waiting to be sent is lost.
    Close {
        /// This one.
        connection: ConnectionId,
    },
    /// Fire a timer later; setting it again moves it.
    SetTimer {
        /// Which.
        timer: TimerId,
        /// Milliseconds from now.
        delay_ms: u64,
    },
    /// Forget a timer, set or not.
    CancelTimer {
        /// Which.
        timer: TimerId,
    },
    /// Accept no connection any more.
    StopListening,
    /// End the process once what is waiting to be sent has left.
    Exit {
        /// Why and how.
        exit: Exit,
    },
    /// Something of this kind of node.
    Own(F),
}

/// How a process ends.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Exit {
    /// As it was asked to: status 0.
    Success,
    /// With one sentence for the operator, and a status that is not 0.
    Failure(String),
}

/// Where a node appends its outputs.
pub type Outputs<F> = Vec<Output<F>>;

/// A node: every decision, no I/O.
pub trait Node {
    /// Inputs of this kind of node only.
    type Event;
    /// Outputs of this kind of node only.
    type Effect;

    /// Handles one input completely. No input makes it panic, save a broken invariant of ours.
    fn handle(&mut self, now: Now, input: Input<Self::Event>, out: &mut Outputs<Self::Effect>);

    /// What it knows and does, in lines of text for who looks for what is wrong (spec tools.md 10).
    fn dump(&self) -> String {
        String::new()
    }
}

/// For nodes without events or effects of their own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Nothing {}

/// A repeatable source of choices, seeded by the shell (SplitMix64).
#[derive(Clone, Debug)]
pub struct Entropy(u64);

impl Entropy {
    /// From a seed: of the system in a process, of the scenario in a simulation.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// 64 bits.
    pub const fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut value = self.0;
        value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        value ^ (value >> 31)
    }

    /// A number below `bound`; 0 if `bound` is 0.
    pub const fn below(&mut self, bound: u64) -> u64 {
        match self.next_u64().checked_rem(bound) {
            Some(value) => value,
            None => 0,
        }
    }

    /// One of the items.
    pub fn choose<'a, T>(&mut self, items: &'a [T]) -> Option<&'a T> {
        let index = usize::try_from(self.below(items.len() as u64)).ok()?;
        items.get(index)
    }
}
