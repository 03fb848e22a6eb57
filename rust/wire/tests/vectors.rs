//! Every packet of the golden data, byte for byte (spec protocol.md 15).

#![allow(clippy::unwrap_used, clippy::panic)] // a test fails by panicking

mod common;

use bytes::{Bytes, BytesMut};
use neo_wire::packet::Kind;
use neo_wire::{FrameError, Framer, HANDSHAKE, Message, Packet};
use serde_json::Value as Json;

use common::{canonical, decoded, hex, integer, lines, string, value};

const PACKETS: &str = "packets.jsonl.gz";
const SPECIAL: [&str; 3] = ["HANDSHAKE", "HANDSHAKE_BAD", "MALFORMED"];

fn is_packet(line: &Json) -> bool {
    !SPECIAL.contains(&string(line, "name"))
}

fn encode(message: &Message) -> Bytes {
    let mut out = BytesMut::new();
    message.encode(&mut out);
    out.freeze()
}

/// What comes out of a framer for the bytes of a line, the connection being new or not.
fn receive(handshake: &[u8], bytes: &[u8]) -> Result<Option<Message>, FrameError> {
    let mut framer = Framer::new();
    framer.buffer().extend_from_slice(handshake);
    framer.buffer().extend_from_slice(bytes);
    framer.next()
}

#[test]
fn every_packet_has_the_canonical_bytes_of_its_arguments() {
    let mut count = 0;
    for line in lines(PACKETS).iter().filter(|line| is_packet(line)) {
        let bytes = hex(line);
        let message = Message::decode(&bytes).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert_eq!(message.packet.name(), string(line, "name"));
        assert_eq!(i64::from(message.packet.code()), integer(line, "code"));
        assert_eq!(message.msg_id.map(u64::from), line["msg_id"].as_u64());
        assert_eq!(encode(&message), canonical(line), "{line}");
        if line["decode_only"] == true {
            assert_ne!(bytes, canonical(line));
        } else {
            assert_eq!(bytes, canonical(line));
        }
        let mut items = vec![value(&line["msg_id"]), value(&line["code"])];
        items.push(value(&line["args"]));
        assert_eq!(decoded(&bytes).as_array().unwrap(), items);
        assert_eq!(receive(&HANDSHAKE, &bytes), Ok(Some(message)));
        count += 1;
    }
    assert_eq!(count, 383);
}

#[test]
fn every_class_of_packet_is_there() {
    let lines = lines(PACKETS);
    for schema in Packet::schemas() {
        let named = |line: &&Json| string(line, "name") == schema.name;
        assert!(lines.iter().filter(named).count() >= 2, "{}", schema.name);
    }
}

#[test]
fn malformed_packets_are_refused() {
    let mut count = 0;
    for line in lines(PACKETS).iter().filter(|line| string(line, "name") == "MALFORMED") {
        match receive(&HANDSHAKE, &hex(line)) {
            Err(FrameError::Scan(_) | FrameError::Decode(_)) => count += 1,
            other => panic!("{other:?} for {line}"),
        }
    }
    assert_eq!(count, 19);
}

#[test]
fn only_the_right_handshake_is_accepted() {
    let mut count = 0;
    for line in &lines(PACKETS) {
        let bytes = hex(line);
        match string(line, "name") {
            "HANDSHAKE" => {
                assert_eq!(bytes, HANDSHAKE[..]);
                let mut framer = Framer::new();
                framer.buffer().extend_from_slice(&bytes);
                assert_eq!(framer.next(), Ok(None));
                assert!(framer.is_greeted());
            }
            "HANDSHAKE_BAD" => {
                let version = bytes.starts_with(&HANDSHAKE[..5]);
                let expected = if version { FrameError::Version } else { FrameError::NotNeo };
                assert_eq!(receive(&[], &bytes), Err(expected), "{line}");
            }
            _ => continue,
        }
        count += 1;
    }
    assert_eq!(count, 7);
}

#[test]
fn a_handshake_is_refused_at_its_first_wrong_byte() {
    for length in 0..HANDSHAKE.len() {
        let mut bytes = HANDSHAKE[..length].to_vec();
        assert_eq!(receive(&[], &bytes), Ok(None), "{length}");
        bytes.push(b'G');
        assert!(receive(&[], &bytes).is_err(), "{length}");
    }
}

#[test]
fn the_table_of_packets_is_that_of_the_specification() {
    let expected = lines("schema.jsonl");
    let schemas = Packet::schemas();
    assert_eq!(schemas.len(), expected.len());
    assert_eq!(schemas.len(), 111);
    let by_code = |code: u16| schemas.iter().find(|schema| schema.code == code).unwrap();
    for line in &expected {
        let schema = by_code(integer(line, "code").try_into().unwrap());
        assert_eq!(schema.name, string(line, "name"));
        let (kind, answer) = match schema.kind {
            Kind::Request { answer } => ("request", Json::from(by_code(answer).name)),
            Kind::Answer => ("answer", Json::Null),
            Kind::Notification => ("notification", Json::Null),
            Kind::Error => ("error", Json::Null),
        };
        assert_eq!(kind, string(line, "kind"), "{}", schema.name);
        assert_eq!(answer, line["answer"], "{}", schema.name);
        assert_eq!(schema.ignored_when_closed, line["ignore_when_closed"], "{}", schema.name);
        assert_eq!(schema.directions, line["directions"], "{}", schema.name);
        let arguments: Vec<Json> = schema
            .arguments
            .iter()
            .map(|argument| serde_json::json!({"name": argument.name, "type": argument.notation}))
            .collect();
        assert_eq!(Json::from(arguments), line["args"], "{}", schema.name);
    }
}
