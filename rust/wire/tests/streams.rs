//! Every recorded connection, chunk by chunk as it was received (spec protocol.md 15).

#![allow(clippy::unwrap_used, clippy::panic)] // a test fails by panicking

mod common;

use std::collections::BTreeMap;

use bytes::BytesMut;
use neo_wire::{Framer, HANDSHAKE, Message, Packet};
use serde_json::Value as Json;

use common::{decoded, hex, integer, lines, path, string, value};

/// One direction of one connection.
type Way = (i64, String);

fn way(line: &Json) -> Way {
    let connection = line.get("conn").map_or(0, |conn| conn.as_i64().unwrap());
    (connection, string(line, "dir").into())
}

#[derive(Default)]
struct Received {
    framer: Framer,
    bytes: BytesMut,
    /// The messages, encoded again.
    again: BytesMut,
    /// Each message with the order of the chunk that completed it.
    messages: Vec<(i64, Message)>,
}

impl Received {
    fn receive(&mut self, order: i64, chunk: &[u8]) {
        self.bytes.extend_from_slice(chunk);
        self.framer.buffer().extend_from_slice(chunk);
        while let Some(message) = self.framer.next().unwrap() {
            message.encode(&mut self.again);
            self.messages.push((order, message));
        }
    }
}

fn recordings() -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(path("streams"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter_map(|name| name.strip_suffix(".decoded.jsonl").map(Into::into))
        .collect();
    names.sort();
    names
}

fn replay(name: &str) -> BTreeMap<Way, Received> {
    let mut ways: BTreeMap<Way, Received> = BTreeMap::new();
    for line in lines(&format!("streams/{name}.jsonl")) {
        if line.get("hex").is_some() {
            let received = ways.entry(way(&line)).or_default();
            received.receive(integer(&line, "order"), &hex(&line));
        }
    }
    ways
}

#[test]
fn every_recording_decodes_and_encodes_to_the_same_bytes() {
    let names = recordings();
    assert_eq!(names.len(), 28);
    for name in names {
        for (way, mut received) in replay(&name) {
            let again = [&HANDSHAKE[..], &received.again].concat();
            assert_eq!(again, received.bytes, "{name} {way:?}");
            assert!(received.framer.buffer().is_empty(), "{name} {way:?}");
        }
    }
}

#[test]
fn every_recorded_packet_is_the_one_that_was_decoded_before() {
    let mut count = 0;
    let mut classes = std::collections::BTreeSet::new();
    for name in recordings() {
        let mut ways = replay(&name);
        for received in ways.values_mut() {
            received.messages.reverse();
        }
        for line in lines(&format!("streams/{name}.decoded.jsonl")) {
            if line.get("args").is_none() {
                continue;
            }
            let received = ways.get_mut(&way(&line)).unwrap();
            let (order, message) = received.messages.pop().unwrap();
            assert_eq!(order, integer(&line, "order"), "{name} {line}");
            assert_eq!(message.packet.name(), string(&line, "name"));
            assert_eq!(i64::from(message.packet.code()), integer(&line, "code"));
            assert_eq!(message.msg_id.map(u64::from), line["msg_id"].as_u64());
            let mut bytes = BytesMut::new();
            message.encode(&mut bytes);
            let bytes = bytes.freeze();
            assert_eq!(bytes, hex(&line));
            assert_eq!(decoded(&bytes).as_array().unwrap()[2], value(&line["args"]));
            classes.insert(message.packet.name());
            count += 1;
        }
        assert!(ways.values().all(|received| received.messages.is_empty()), "{name}");
    }
    assert_eq!(count, 1008);
    let never =
        ["AddPendingNodes", "CloseClient", "NotifyPartitionCorrupted", "ValidateTransaction"];
    for schema in Packet::schemas() {
        assert_ne!(classes.contains(schema.name), never.contains(&schema.name));
    }
}
