//! A node made of a closure, run by a shell on a thread, and a peer made of a socket.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bytes::BytesMut;
use neo_core::io::{ConnectionId, Exit, Input, Node, Now, Output, Outputs};
use neo_net::{Context, Effects, Handle, Shell, ShellConfig};
use neo_wire::{Framer, HANDSHAKE, Message, Packet, encode_message};

/// Longer than anything takes: who waits that long is stuck.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// What happened to the node, for the test to look at.
#[derive(Debug, PartialEq)]
pub enum Seen {
    Input(Input<u32>),
    Queued(usize),
    Drained(ConnectionId),
}

type Script = Box<dyn FnMut(&Input<u32>, &mut Outputs<Effect>) + Send>;

/// What a scripted node can want beside what all nodes can.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Effect {
    /// Gives an event at once.
    Answer(u32),
    /// Tells how much waits in a queue.
    Measure(ConnectionId),
}

struct Scripted {
    script: Script,
    seen: Sender<Seen>,
}

impl Node for Scripted {
    type Event = u32;
    type Effect = Effect;

    fn handle(&mut self, _now: Now, input: Input<u32>, out: &mut Outputs<Effect>) {
        (self.script)(&input, out);
        // Tests that do not look have dropped the other end.
        let _ = self.seen.send(Seen::Input(input));
    }
}

struct Recorder(Sender<Seen>);

impl Effects<Scripted> for Recorder {
    fn effect(&mut self, effect: Effect, context: &mut Context<'_, u32>) {
        match effect {
            Effect::Answer(event) => context.answer(event),
            Effect::Measure(connection) => {
                let _ = self.0.send(Seen::Queued(context.queued(connection)));
            }
        }
    }

    fn drained(&mut self, connection: ConnectionId, _context: &mut Context<'_, u32>) {
        let _ = self.0.send(Seen::Drained(connection));
    }
}

/// A node that runs.
pub struct Running {
    pub address: SocketAddr,
    pub handle: Handle<u32>,
    pub seen: Receiver<Seen>,
    thread: JoinHandle<Exit>,
}

impl Running {
    /// Listens on a port of the system.
    pub fn new(
        config: ShellConfig,
        script: impl FnMut(&Input<u32>, &mut Outputs<Effect>) + Send + 'static,
    ) -> Self {
        let config = ShellConfig {
            listen: Some(SocketAddr::from(([127, 0, 0, 1], 0))),
            stop_signals: false,
            ..config
        };
        let shell = Shell::bind(config).unwrap();
        let address = shell.address().unwrap();
        let handle = shell.handle();
        let (sender, seen) = channel();
        let node = Scripted { script: Box::new(script), seen: sender.clone() };
        let thread = thread::spawn(move || shell.run(node, Recorder(sender)).unwrap());
        Self { address, handle, seen, thread }
    }

    /// The next thing that happened.
    pub fn next(&self) -> Seen {
        self.seen.recv_timeout(PATIENCE).unwrap()
    }

    /// The next inputs are these.
    pub fn expect(&self, inputs: impl IntoIterator<Item = Input<u32>>) {
        for input in inputs {
            let seen = self.next();
            let input = Seen::Input(input);
            assert!(seen == input, "{} instead of {}", short(&seen), short(&input));
        }
    }

    /// Waits for the end of the node.
    pub fn exit(self) -> Exit {
        self.thread.join().unwrap()
    }
}

/// Stops when it is asked to.
pub fn stops(input: &Input<u32>, out: &mut Outputs<Effect>) {
    if *input == Input::Stop {
        out.push(Output::Exit { exit: Exit::Success });
    }
}

pub fn received(connection: ConnectionId, msg_id: u32, packet: Packet) -> Input<u32> {
    Input::Received { connection, message: Message { msg_id: Some(msg_id), packet } }
}

/// The other side.
pub struct Peer {
    pub stream: TcpStream,
    framer: Framer,
}

impl Peer {
    /// Connects, and greets. The greeting of the node is read: closing a socket that holds unread
    /// bytes would reset the connection, and what was sent be lost.
    pub fn new(address: SocketAddr) -> Self {
        Self::on(TcpStream::connect(address).unwrap())
    }

    /// The same on a socket that is connected.
    pub fn on(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut peer = Self { stream, framer: Framer::new() };
        peer.write(&HANDSHAKE);
        let mut greeting = HANDSHAKE;
        peer.stream.read_exact(&mut greeting).unwrap();
        peer.framer.buffer().extend_from_slice(&greeting);
        peer
    }

    pub fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    pub fn send(&mut self, msg_id: u32, packet: &Packet) {
        self.write(&encoded(msg_id, packet));
    }

    /// The next message, or none at the end of the stream.
    pub fn next(&mut self) -> Option<Message> {
        let mut chunk = vec![0; 64 * 1024];
        loop {
            if let Some(message) = self.framer.next().unwrap() {
                return Some(message);
            }
            let count = self.stream.read(&mut chunk).unwrap();
            if count == 0 {
                return None;
            }
            self.framer.buffer().extend_from_slice(&chunk[..count]);
        }
    }

    /// The next message is this packet.
    pub fn expect(&mut self, msg_id: u32, packet: Packet) {
        let message = self.next();
        let expected = Some(Message { msg_id: Some(msg_id), packet });
        assert!(message == expected, "{} instead of {}", short(&message), short(&expected));
    }
}

pub fn encoded(msg_id: u32, packet: &Packet) -> BytesMut {
    let mut bytes = BytesMut::new();
    encode_message(msg_id, packet, &mut bytes);
    bytes
}

/// Objects are big.
fn short(value: &impl std::fmt::Debug) -> String {
    format!("{value:?}").chars().take(300).collect()
}
