use bytes::Bytes;
use neo_wire::{Digest, ErrorCode, Oid, Tid};
use proptest::prelude::*;

use super::*;
use crate::tls::tests::node;

fn packet(size: usize) -> Packet {
    match size % 3 {
        0 => Packet::Ping {},
        1 => Packet::error(ErrorCode::NotReady, "x".repeat(size % 300)),
        _ => Packet::AddObject {
            oid: Oid(1),
            serial: Tid(2),
            compression: 0,
            checksum: Digest([7; 20]),
            data: Bytes::from((0..size).map(|n| (n % 253) as u8).collect::<Vec<_>>()),
            data_serial: None,
        },
    }
}

/// Two links and the bytes between them.
struct Pair {
    links: [Link; 2],
    /// Received by each side.
    messages: [Vec<Message>; 2],
}

impl Pair {
    fn new(tls: Option<&Tls>) -> Self {
        let sides = [Side::Connecting, Side::Accepting];
        Self {
            links: sides.map(|side| Link::new(tls, side).unwrap()),
            messages: [Vec::new(), Vec::new()],
        }
    }

    /// Moves at most `size` bytes from one side to the other; false if there was none.
    fn pass(&mut self, from: usize, size: usize) -> bool {
        let bytes: BytesMut = {
            let (slices, used) = self.links[from].slices();
            let bytes = slices[..used].iter().flat_map(|slice| slice.iter());
            bytes.take(size).copied().collect()
        };
        self.links[from].written(bytes.len());
        let moved = !bytes.is_empty();
        self.give(1 - from, bytes).unwrap();
        moved
    }

    fn give(&mut self, to: usize, bytes: BytesMut) -> Result<(), LinkError> {
        let link = &mut self.links[to];
        link.receive(bytes)?;
        while let Some(message) = link.next()? {
            self.messages[to].push(message);
        }
        Ok(())
    }

    fn exchange(&mut self, sizes: &[usize]) {
        let mut sizes = sizes.iter().cycle();
        let mut size = || *sizes.next().unwrap();
        while self.pass(0, size()) | self.pass(1, size()) {}
    }
}

fn expected(sizes: &[usize]) -> Vec<Message> {
    (0..)
        .zip(sizes)
        .map(|(msg_id, size)| Message { msg_id: Some(msg_id), packet: packet(*size) })
        .collect()
}

fn send(link: &mut Link, sizes: &[usize]) {
    for (msg_id, size) in (0..).zip(sizes) {
        link.send(msg_id, &packet(*size));
    }
}

fn sizes() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(prop_oneof![0_usize..1000, 0_usize..200_000], 0..12)
}

fn chunks() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(prop_oneof![1_usize..20, 1_usize..100_000], 1..20)
}

fn everything_passes(tls: Option<&Tls>, sent: &[Vec<usize>; 2], chunks: &[usize]) {
    let mut pair = Pair::new(tls);
    // Some are sent before the connection exists, some after.
    let (early, late) = sent[0].split_at(sent[0].len() / 2);
    send(&mut pair.links[0], early);
    pair.exchange(chunks);
    assert!(pair.links.iter().all(Link::is_established));
    assert_eq!(pair.messages[1], expected(early));
    pair.messages[1].clear();
    send(&mut pair.links[0], late);
    send(&mut pair.links[1], &sent[1]);
    pair.exchange(chunks);
    assert_eq!(pair.messages, [expected(&sent[1]), expected(late)]);
    assert!(pair.links.iter().all(|link| link.queued() == 0));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn messages_pass_whatever_the_chunks(a in sizes(), b in sizes(), chunks in chunks()) {
        everything_passes(None, &[a, b], &chunks);
    }

    #[test]
    fn messages_pass_with_tls_whatever_the_chunks(a in sizes(), b in sizes(), chunks in chunks()) {
        everything_passes(Some(&node()), &[a, b], &chunks);
    }

    /// What arrived before the cut is received in order, nothing is invented.
    #[test]
    fn a_stream_cut_anywhere_gives_its_first_messages(
        sent in sizes(),
        tls in any::<bool>(),
        cut in any::<prop::sample::Index>(),
    ) {
        let tls = tls.then(node);
        let mut pair = Pair::new(tls.as_ref());
        pair.exchange(&[usize::MAX]);
        send(&mut pair.links[0], &sent);
        let total = pair.links[0].queued() + usize::from(pair.links[0].has_output());
        let mut left = cut.index(total + 1);
        while left > 0 {
            let size = left.min(5000);
            if !pair.pass(0, size) {
                break;
            }
            left -= size;
        }
        let received = &pair.messages[1];
        prop_assert_eq!(&received[..], &expected(&sent)[..received.len()]);
        prop_assert_eq!(pair.links[1].next().unwrap(), None);
    }

    /// A peer that sends anything ends the connection or waits; what it sent well is received.
    #[test]
    fn noise_never_panics(
        noise in prop::collection::vec(any::<u8>(), 0..300),
        tls in any::<bool>(),
        established in any::<bool>(),
        side in 0_usize..2,
    ) {
        let tls = tls.then(node);
        let mut pair = Pair::new(tls.as_ref());
        if established {
            pair.exchange(&[usize::MAX]);
        }
        // Either is right: an error, or nothing more yet.
        let _ = pair.give(side, BytesMut::from(&noise[..]));
        prop_assert!(pair.messages[side].len() <= noise.len());
    }
}

#[test]
fn a_plain_peer_gets_no_byte_of_a_tls_node() {
    let tls = node();
    let mut link = Link::new(Some(&tls), Side::Accepting).unwrap();
    link.send(0, &Packet::Ping {});
    let error = link.receive(BytesMut::from(&HANDSHAKE[..])).unwrap_err();
    assert!(matches!(error, LinkError::NotTls));
    assert!(!link.has_output());
}

#[test]
fn a_tls_peer_is_not_neo_for_a_plain_node() {
    let tls = node();
    let mut client = Link::new(Some(&tls), Side::Connecting).unwrap();
    let mut hello = Vec::new();
    client.write_to(&mut hello).unwrap();
    assert_eq!(hello[0], 0x16);
    let mut link = Link::plain();
    link.receive(BytesMut::from(&hello[..])).unwrap();
    assert!(matches!(link.next(), Err(LinkError::Frame(FrameError::NotNeo))));
    // And the node that uses TLS fails on the clear handshake of the other.
    let mut clear = Vec::new();
    link.write_to(&mut clear).unwrap();
    assert_eq!(clear, HANDSHAKE);
    let error = client.receive(BytesMut::from(&clear[..])).unwrap_err();
    assert!(matches!(error, LinkError::Tls(_)));
    assert!(!client.is_established());
}

#[test]
fn nodes_of_different_authorities_say_why_with_an_alert() {
    let [ours, other] = [node(), node()];
    let mut client = Link::new(Some(&ours), Side::Connecting).unwrap();
    let mut server = Link::new(Some(&other), Side::Accepting).unwrap();
    let mut bytes = Vec::new();
    client.write_to(&mut bytes).unwrap();
    server.receive(BytesMut::from(&bytes[..])).unwrap();
    bytes.clear();
    server.write_to(&mut bytes).unwrap();
    let error = client.receive(BytesMut::from(&bytes[..])).unwrap_err();
    assert_eq!(error.to_string(), "TLS: invalid peer certificate: UnknownIssuer");
    bytes.clear();
    client.write_to(&mut bytes).unwrap();
    assert!(!bytes.is_empty());
    let error = server.receive(BytesMut::from(&bytes[..])).unwrap_err();
    assert!(matches!(
        error,
        LinkError::Tls(rustls::Error::AlertReceived(rustls::AlertDescription::UnknownCA))
    ));
    assert_eq!([client.queued(), server.queued()], [0, 0]);
}
