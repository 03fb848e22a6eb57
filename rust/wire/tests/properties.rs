//! What holds for every packet and every stream, on random ones.

#![allow(clippy::unwrap_used, clippy::panic)] // a test fails by panicking

#[path = "common/arbitrary.rs"]
mod arbitrary;
#[path = "common/sloppy.rs"]
mod sloppy;

use bytes::{Bytes, BytesMut};
use neo_wire::codec::{Codec, DecodeError, Reader};
use neo_wire::{FrameError, Framer, HANDSHAKE, Message, Value};
use proptest::collection::vec;
use proptest::prelude::*;

fn encode(value: &impl Codec) -> Bytes {
    let mut out = BytesMut::new();
    value.encode(&mut out);
    out.freeze()
}

fn encode_message(message: &Message) -> Bytes {
    let mut out = BytesMut::new();
    message.encode(&mut out);
    out.freeze()
}

/// Reads a stream cut at the given places, as a connection would.
fn receive(stream: &[u8], cuts: &[prop::sample::Index]) -> Result<Vec<Message>, FrameError> {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
    cuts.extend([0, stream.len()]);
    cuts.sort_unstable();
    let (mut framer, mut messages) = (Framer::new(), Vec::new());
    for pair in cuts.windows(2) {
        framer.buffer().extend_from_slice(&stream[pair[0]..pair[1]]);
        while let Some(message) = framer.next()? {
            messages.push(message);
        }
    }
    Ok(messages)
}

#[derive(Debug, Clone)]
enum Mutation {
    Set(prop::sample::Index, u8),
    Insert(prop::sample::Index, u8),
    Remove(prop::sample::Index),
    Truncate(prop::sample::Index),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        4 => (index(), any::<u8>()).prop_map(|(at, byte)| Mutation::Set(at, byte)),
        2 => (index(), any::<u8>()).prop_map(|(at, byte)| Mutation::Insert(at, byte)),
        2 => index().prop_map(Mutation::Remove),
        1 => index().prop_map(Mutation::Truncate),
    ]
}

fn mutate(bytes: &mut Vec<u8>, mutation: &Mutation) {
    match mutation {
        Mutation::Insert(at, byte) => bytes.insert(at.index(bytes.len() + 1), *byte),
        _ if bytes.is_empty() => {}
        Mutation::Set(at, byte) => {
            let at = at.index(bytes.len());
            bytes[at] = *byte;
        }
        Mutation::Remove(at) => drop(bytes.remove(at.index(bytes.len()))),
        Mutation::Truncate(at) => bytes.truncate(at.index(bytes.len())),
    }
}

/// Whatever the bytes, an error or messages that encode to what decodes to them again.
fn check_any_bytes(bytes: &[u8], cuts: &[prop::sample::Index]) {
    let whole = receive(bytes, &[]);
    assert_eq!(receive(bytes, cuts), whole);
    for message in whole.into_iter().flatten() {
        assert_eq!(Message::decode(&encode_message(&message)), Ok(message));
    }
    let _ = Message::decode(&Bytes::copy_from_slice(bytes));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_packet_round_trips(packet in arbitrary::packet()) {
        let bytes = encode(&packet);
        let message = Message::decode(&bytes).unwrap();
        prop_assert_eq!(&encode_message(&message), &bytes);
        prop_assert_eq!(Message::decode(&bytes), Ok(message));
    }

    #[test]
    fn any_value_round_trips(value in arbitrary::anything()) {
        let bytes = encode(&value);
        let mut reader = Reader::new(&bytes);
        prop_assert_eq!(Value::decode(&mut reader), Ok(value));
        prop_assert_eq!(reader.remaining(), 0);
    }

    #[test]
    fn any_valid_encoding_is_the_same_packet(
        packet in arbitrary::packet(),
        choices in vec(any::<prop::sample::Index>(), 1..30),
    ) {
        let mut choices = choices.iter().cycle();
        let mut bytes = Vec::new();
        sloppy::encode(&packet, &mut |n| choices.next().unwrap().index(n), &mut bytes);
        let message = Message::decode(&bytes.into()).unwrap();
        prop_assert_eq!(encode_message(&message), encode(&packet));
    }

    #[test]
    fn cuts_make_no_difference(
        packets in vec(arbitrary::packet(), 0..8),
        cuts in vec(any::<prop::sample::Index>(), 0..40),
    ) {
        let frames: Vec<Bytes> = packets.iter().map(encode).collect();
        let stream = [&HANDSHAKE[..], &frames.concat()].concat();
        let messages: Vec<Message> =
            frames.iter().map(|frame| Message::decode(frame).unwrap()).collect();
        prop_assert_eq!(receive(&stream, &cuts), Ok(messages));
    }

    #[test]
    fn a_packet_without_its_end_is_an_error_that_panics_nobody(
        packet in arbitrary::packet(),
        end in any::<prop::sample::Index>(),
    ) {
        let bytes = encode(&packet);
        let bytes = bytes.slice(..end.index(bytes.len()));
        prop_assert_eq!(Message::decode(&bytes), Err(DecodeError::Truncated));
        prop_assert_eq!(receive(&[&HANDSHAKE[..], &bytes].concat(), &[]), Ok(vec![]));
    }

    #[test]
    fn random_bytes_panic_nobody(
        bytes in vec(any::<u8>(), 0..300),
        cuts in vec(any::<prop::sample::Index>(), 0..5),
    ) {
        check_any_bytes(&bytes, &cuts);
        check_any_bytes(&[&HANDSHAKE[..], &bytes].concat(), &cuts);
        check_any_bytes(&[&HANDSHAKE[..], b"\x93\x00", &bytes].concat(), &cuts);
    }

    #[test]
    fn mutated_packets_panic_nobody(
        packet in arbitrary::packet(),
        mutations in vec(mutation(), 1..6),
        cuts in vec(any::<prop::sample::Index>(), 0..5),
    ) {
        let mut bytes = encode(&packet).to_vec();
        for mutation in &mutations {
            mutate(&mut bytes, mutation);
        }
        let _ = Message::decode(&Bytes::copy_from_slice(&bytes));
        check_any_bytes(&[&HANDSHAKE[..], &bytes].concat(), &cuts);
    }
}
