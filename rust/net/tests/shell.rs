//! What a node sees of its sockets, and what its peers see of it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // these are tests

mod common;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Barrier};

use bytes::Bytes;
use common::{Effect, PATIENCE, Peer, Running, Seen, encoded, received, stops};
use neo_core::io::{ConnectionId, Exit, Input, Output, Outputs, TimerId};
use neo_net::{Context, ShellConfig, socket};
use neo_wire::{Address, Digest, ErrorCode, HANDSHAKE, Oid, Packet, Tid};
use proptest::prelude::*;

const FIRST: ConnectionId = ConnectionId(0);
const OPENED: ConnectionId = ConnectionId::opened(1);
const PING: Packet = Packet::Ping {};

/// Answers Ping.
fn echo(input: &Input<u32>, out: &mut Outputs<Effect>) {
    stops(input, out);
    if let Input::Received { connection, message } = input {
        out.push(send(*connection, message.msg_id.unwrap(), Packet::Pong {}));
    }
}

fn send(connection: ConnectionId, msg_id: u32, packet: Packet) -> Output<Effect> {
    Output::Send { connection, msg_id, packet }
}

fn object(size: usize) -> Packet {
    Packet::AddObject {
        oid: Oid(1),
        serial: Tid(2),
        compression: 0,
        checksum: Digest([0; 20]),
        data: Bytes::from(vec![7; size]),
        data_serial: None,
    }
}

fn config() -> ShellConfig {
    ShellConfig::default()
}

fn closed(connection: ConnectionId) -> Input<u32> {
    Input::Closed { connection }
}

fn accepted(connection: ConnectionId) -> Input<u32> {
    Input::Accepted { connection }
}

#[test]
fn a_peer_is_greeted_at_once_and_answered() {
    let node = Running::new(config(), echo);
    let mut stream = TcpStream::connect(node.address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut bytes = HANDSHAKE;
    stream.read_exact(&mut bytes).unwrap();
    assert_eq!(bytes, HANDSHAKE);
    drop(stream);
    node.expect([Input::Start, accepted(FIRST), closed(FIRST)]);
    let mut peer = Peer::new(node.address);
    for msg_id in 0..3 {
        peer.send(msg_id, &PING);
        peer.expect(msg_id, Packet::Pong {});
    }
    node.handle.stop();
    assert_eq!(peer.next(), None);
    assert_eq!(node.exit(), Exit::Success);
}

#[test]
fn who_does_not_speak_neo_5_is_closed_without_an_error() {
    let node = Running::new(config(), echo);
    node.expect([Input::Start]);
    for (n, hello) in [&b"GET / HTTP/1.0\r\n\r\n"[..], b"\x92\xa3NEO\x04", b"\x16\x03\x01"]
        .into_iter()
        .enumerate()
    {
        let mut stream = TcpStream::connect(node.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(hello).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        assert!(answer == HANDSHAKE || answer.is_empty(), "{answer:?}");
        let id = ConnectionId(n as u64);
        node.expect([accepted(id), closed(id)]);
    }
    node.handle.stop();
    node.exit();
}

#[test]
fn what_was_sent_before_the_end_of_the_stream_is_received_first() {
    let node = Running::new(config(), stops);
    let mut peer = Peer::new(node.address);
    let packets = [object(3_000_000), PING, object(10)];
    for (msg_id, packet) in (0..).zip(&packets) {
        peer.send(msg_id, packet);
    }
    drop(peer);
    node.expect([Input::Start, accepted(FIRST)]);
    for (msg_id, packet) in (0..).zip(packets) {
        node.expect([received(FIRST, msg_id, packet)]);
    }
    node.expect([closed(FIRST)]);
    node.handle.stop();
    node.exit();
}

/// The peer gets the reason although it has sent more than the node reads.
#[test]
fn an_aborted_connection_says_why_and_ignores_the_rest() {
    let node = Running::new(config(), |input, out| {
        stops(input, out);
        if let Input::Received { connection, .. } = input {
            out.push(send(*connection, 1, object(5_000_000)));
            out.push(send(*connection, 0, Packet::error(ErrorCode::NotReady, "no")));
            out.push(Output::Abort { connection: *connection });
        }
    });
    let mut peer = Peer::new(node.address);
    for msg_id in 0..1000 {
        peer.send(msg_id, &object(1000));
    }
    peer.expect(1, object(5_000_000));
    peer.expect(0, Packet::error(ErrorCode::NotReady, "no"));
    assert_eq!(peer.next(), None);
    drop(peer);
    node.handle.stop();
    node.expect([Input::Start, accepted(FIRST), received(FIRST, 0, object(1000))]);
    node.expect([Input::Stop]);
    node.exit();
}

#[test]
fn a_connection_is_opened_or_said_to_be_closed() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let good = Address::from_socket(listener.local_addr().unwrap());
    // Nobody listens there, and nobody else can.
    let bound = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    bound.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let dead = bound.local_addr().unwrap().as_socket().unwrap();
    let dead = Address::from_socket(dead);
    let named = Address { host: "localhost".into(), port: 1 };
    let mut addresses = vec![named, dead, good].into_iter().zip(1..);
    let node = Running::new(config(), move |input, out| {
        stops(input, out);
        if matches!(input, Input::Start | Input::Closed { .. }) {
            out.extend(addresses.next().map(|(address, n)| Output::Connect {
                connection: ConnectionId::opened(n),
                address,
            }));
        }
        if let Input::Connected { connection } = input {
            out.push(send(*connection, 0, PING));
        }
    });
    let (mut stream, _) = listener.accept().unwrap();
    let mut bytes = [0; 10];
    stream.read_exact(&mut bytes).unwrap();
    assert_eq!(bytes, *b"\x92\xa3NEO\x05\x93\x00\x02\x90");
    let third = ConnectionId::opened(3);
    node.expect([Input::Start, closed(OPENED), closed(ConnectionId::opened(2))]);
    node.expect([Input::Connected { connection: third }]);
    drop(stream);
    node.expect([closed(third)]);
    node.handle.stop();
    node.exit();
}

#[test]
fn an_effect_answers_before_any_other_input() {
    let node = Running::new(config(), |input, out| {
        stops(input, out);
        if let Input::Received { connection, .. } = input {
            out.push(Output::Own(Effect::Answer(1)));
            out.push(send(*connection, 0, PING));
            out.push(Output::Own(Effect::Answer(2)));
        }
    });
    let mut peer = Peer::new(node.address);
    let both = [encoded(0, &PING), encoded(1, &PING)].concat();
    peer.write(&both);
    node.expect([Input::Start, accepted(FIRST)]);
    for msg_id in 0..2 {
        node.expect([received(FIRST, msg_id, PING), Input::Own(1), Input::Own(2)]);
    }
    node.handle.stop();
    node.exit();
}

#[test]
fn threads_wake_the_node_and_their_events_keep_their_order() {
    let node = Running::new(config(), stops);
    let threads: Vec<_> = (0..4)
        .map(|thread| {
            let handle = node.handle.clone();
            std::thread::spawn(move || {
                for n in 0..1000 {
                    handle.send(thread * 1000 + n);
                }
            })
        })
        .collect();
    node.expect([Input::Start]);
    let mut next = [0, 1000, 2000, 3000];
    for _ in 0..4000 {
        let Seen::Input(Input::Own(event)) = node.next() else {
            panic!("not an event");
        };
        let next = &mut next[event as usize / 1000];
        assert_eq!(event, *next);
        *next += 1;
    }
    for thread in threads {
        thread.join().unwrap();
    }
    node.handle.send_all([7, 8]);
    node.expect([Input::Own(7), Input::Own(8)]);
    node.handle.stop();
    node.exit();
}

#[test]
fn timers_fire_in_their_order() {
    let [a, b, c, d] = [1, 2, 3, 4].map(TimerId);
    let node = Running::new(config(), move |input, out| {
        stops(input, out);
        let set = |timer, delay_ms| Output::SetTimer { timer, delay_ms };
        match input {
            Input::Start => out.extend([
                set(a, 40),
                set(b, 1),
                set(c, 20),
                set(d, 30),
                set(b, 60),
                Output::CancelTimer { timer: c },
                set(TimerId(9), u64::MAX),
            ]),
            Input::Timer { timer } if *timer == b => out.push(set(c, 0)),
            _ => {}
        }
    });
    node.expect([Input::Start]);
    node.expect([d, a, b, c].map(|timer| Input::Timer { timer }));
    node.handle.stop();
    node.exit();
}

#[test]
fn a_node_that_stops_listening_keeps_its_connections() {
    let node = Running::new(config(), |input, out| {
        echo(input, out);
        if let Input::Own(_) = input {
            out.push(Output::StopListening);
        }
    });
    let mut peer = Peer::new(node.address);
    peer.send(0, &PING);
    peer.expect(0, Packet::Pong {});
    node.handle.send(0);
    node.expect([Input::Start, accepted(FIRST), received(FIRST, 0, PING), Input::Own(0)]);
    peer.send(1, &PING);
    peer.expect(1, Packet::Pong {});
    // Refused, or accepted by somebody else who got the port meanwhile.
    drop(TcpStream::connect(node.address));
    peer.send(2, &PING);
    peer.expect(2, Packet::Pong {});
    node.expect([received(FIRST, 1, PING), received(FIRST, 2, PING)]);
    node.handle.stop();
    node.exit();
}

#[test]
fn everything_sent_leaves_before_the_end() {
    let node = Running::new(config(), |input, out| {
        if let Input::Received { connection, .. } = input {
            out.extend((0..6).map(|n| send(*connection, n, object(5_000_000))));
            out.push(Output::Exit { exit: Exit::Failure("why".into()) });
        }
    });
    let mut peer = Peer::new(node.address);
    peer.send(0, &PING);
    for n in 0..6 {
        peer.expect(n, object(5_000_000));
    }
    assert_eq!(peer.next(), None);
    drop(peer);
    assert_eq!(node.exit(), Exit::Failure("why".into()));
}

/// Answers are not produced faster than the peer takes them, and none is lost.
#[test]
fn a_peer_that_asks_much_waits_for_its_own_answers() {
    const REQUESTS: u32 = 400;
    const SIZE: usize = 100_000;
    let node = Running::new(config(), |input, out| {
        stops(input, out);
        if let Input::Received { connection, message } = input {
            let msg_id = message.msg_id.unwrap();
            out.push(send(*connection, msg_id, object(SIZE)));
            out.push(Output::Own(Effect::Measure(*connection)));
        }
    });
    let mut peer = Peer::new(node.address);
    let requests: Vec<u8> = (0..REQUESTS).flat_map(|n| encoded(n, &PING)).collect();
    peer.write(&requests);
    // Nothing is read from the socket until the node waits.
    let limit = Context::<u32>::HIGH_WATER + 2 * SIZE;
    let mut handled = 0;
    let mut drained = 0;
    let mut look = |seen| match seen {
        Seen::Queued(queued) => {
            assert!(queued < limit, "{queued}");
            handled += 1;
            queued > Context::<u32>::HIGH_WATER
        }
        Seen::Drained(connection) => {
            assert_eq!(connection, FIRST);
            drained += 1;
            false
        }
        Seen::Input(_) => false,
    };
    while !look(node.next()) {}
    // Others are served meanwhile.
    let mut other = Peer::new(node.address);
    other.send(0, &PING);
    other.expect(0, object(SIZE));
    for n in 0..REQUESTS {
        peer.expect(n, object(SIZE));
    }
    node.handle.stop();
    while let Ok(seen) = node.seen.recv_timeout(PATIENCE) {
        look(seen);
    }
    assert_eq!(handled, REQUESTS + 1);
    assert!(drained > 0);
    node.exit();
}

#[test]
fn a_peer_that_takes_nothing_is_closed_at_the_limit() {
    let config = ShellConfig { queue_limit: 20_000_000, ..config() };
    let node = Running::new(config, |input, out| {
        stops(input, out);
        if let Input::Received { connection, .. } = input {
            out.extend((0..30).map(|n| send(*connection, n, object(1_000_000))));
        }
    });
    let mut peer = Peer::new(node.address);
    peer.send(0, &PING);
    node.expect([Input::Start, accepted(FIRST), received(FIRST, 0, PING), closed(FIRST)]);
    node.handle.stop();
    node.exit();
}

#[test]
fn the_oldest_of_too_many_silent_peers_is_closed() {
    let config = ShellConfig { silent_limit: 2, ..config() };
    let node = Running::new(config, echo);
    let mut talks = Peer::new(node.address);
    talks.send(0, &PING);
    talks.expect(0, Packet::Pong {});
    let silent: Vec<_> = (0..3).map(|_| TcpStream::connect(node.address).unwrap()).collect();
    let mut end = Vec::new();
    (&silent[0]).read_to_end(&mut end).unwrap();
    // The others may still speak, and those that did stay.
    let mut late = Peer::on(silent.into_iter().next_back().unwrap());
    for peer in [&mut late, &mut talks] {
        peer.send(1, &PING);
        peer.expect(1, Packet::Pong {});
    }
    node.handle.stop();
    node.exit();
}

#[test]
fn sockets_have_the_options_of_neo() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let stream = socket::connect_blocking(listener.local_addr().unwrap()).unwrap();
    let socket = socket2::SockRef::from(&stream);
    assert!(socket.tcp_nodelay().unwrap());
    assert!(socket.keepalive().unwrap());
    assert_eq!(socket.tcp_keepalive_time().unwrap().as_secs(), 60);
    assert_eq!(socket.tcp_keepalive_interval().unwrap().as_secs(), 10);
    assert_eq!(socket.tcp_keepalive_retries().unwrap(), 3);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// Whatever the pieces and the end (orderly or reset), the node sees the first messages in
    /// order, then that the connection is closed, once; and goes on.
    #[test]
    fn a_peer_may_vanish_at_any_byte(
        sizes in prop::collection::vec(0_usize..40_000, 1..8),
        cut in any::<prop::sample::Index>(),
        pieces in prop::collection::vec(1_usize..30_000, 1..5),
        reset in any::<bool>(),
    ) {
        let node = Running::new(config(), echo);
        let packets: Vec<_> = (0..).zip(sizes.into_iter().map(object)).collect();
        let mut bytes = HANDSHAKE.to_vec();
        for (msg_id, packet) in &packets {
            bytes.extend_from_slice(&encoded(*msg_id, packet));
        }
        let mut rest = &bytes[..cut.index(bytes.len() + 1)];
        let complete = rest.len() == bytes.len();
        let mut stream = TcpStream::connect(node.address).unwrap();
        // Or closing would always be a reset.
        stream.read_exact(&mut [0; HANDSHAKE.len()]).unwrap();
        for piece in pieces.into_iter().cycle() {
            let (now, later) = rest.split_at(piece.min(rest.len()));
            stream.write_all(now).unwrap();
            rest = later;
            if rest.is_empty() {
                break;
            }
        }
        if reset {
            socket2::SockRef::from(&stream).set_linger(Some(std::time::Duration::ZERO)).unwrap();
        }
        drop(stream);
        node.expect([Input::Start]);
        let mut next = node.next();
        let mut count = 0;
        if next == Seen::Input(accepted(FIRST)) {
            for (msg_id, packet) in &packets {
                next = node.next();
                if next != Seen::Input(received(FIRST, *msg_id, packet.clone())) {
                    break;
                }
                count += 1;
            }
            if count == packets.len() {
                next = node.next();
            }
            prop_assert!(next == Seen::Input(closed(FIRST)));
        }
        // Without a reset, nothing that arrived is lost.
        prop_assert!(reset || !complete || count == packets.len());
        let mut peer = Peer::new(node.address);
        peer.send(5, &PING);
        peer.expect(5, Packet::Pong {});
        node.handle.stop();
        prop_assert_eq!(node.exit(), Exit::Success);
    }
}

/// Two nodes that send each other more than their queues take both get everything.
#[test]
fn two_nodes_that_send_much_to_each_other_do_not_wait_for_ever() {
    const COUNT: u32 = 300;
    const SIZE: usize = 100_000;
    let done = Arc::new(Barrier::new(3));
    let script = |done: Arc<Barrier>, connect: Option<Address>| {
        let mut left = COUNT;
        move |input: &Input<u32>, out: &mut Outputs<Effect>| {
            stops(input, out);
            match input {
                Input::Start => out.extend(
                    connect.clone().map(|address| Output::Connect { connection: OPENED, address }),
                ),
                Input::Accepted { connection } | Input::Connected { connection } => {
                    out.extend((0..COUNT).map(|n| send(*connection, n, object(SIZE))));
                }
                Input::Received { .. } => {
                    left -= 1;
                    if left == 0 {
                        let done = done.clone();
                        std::thread::spawn(move || done.wait());
                    }
                }
                _ => {}
            }
        }
    };
    let first = Running::new(config(), script(done.clone(), None));
    let address = Address::from_socket(first.address);
    let second = Running::new(config(), script(done.clone(), Some(address)));
    done.wait();
    for node in [first, second] {
        node.handle.stop();
        assert_eq!(node.exit(), Exit::Success);
    }
}
