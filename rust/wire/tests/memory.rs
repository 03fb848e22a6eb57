//! Memory follows what arrived: no announced length is believed, small values do not become large
//! ones, and no nesting overflows the stack.
//!
//! The bound, for `n` received bytes that make one packet: `8 * n + MEMORY_BASE`. Of the 8, 3 are
//! the receive buffer (the next one is twice as large, and the last one is there until it is
//! copied), 1 the texts and [`MEMORY_FACTOR`] = 4 the arrays and maps.

#![allow(clippy::unwrap_used, clippy::panic)] // a test fails by panicking

mod common;

use bytes::{BufMut, Bytes, BytesMut};
use neo_wire::codec::{Codec, DecodeError, MEMORY_BASE, MEMORY_FACTOR, write_array_header};
use neo_wire::codec::{write_bin, write_map_header};
use neo_wire::{FrameError, Framer, HANDSHAKE, Message, Packet, PacketSchema, Ptid};
use peak_alloc::PeakAlloc;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

const RECEIVED_FACTOR: usize = 3 + 1 + MEMORY_FACTOR;
/// What the test itself and its harness may take.
const SLACK: usize = 0x1_0000;
/// No item of an array takes more than this in memory.
const LARGEST_ITEM: usize = 128;

/// Result of `f`, and how much more memory than before was in use at some moment.
fn measure<T>(f: impl FnOnce() -> T) -> (T, usize) {
    let before = ALLOCATOR.current_usage();
    ALLOCATOR.reset_peak_usage();
    let result = f();
    (result, ALLOCATOR.peak_usage() - before)
}

/// A framer after the handshake.
fn framer() -> Framer {
    let mut framer = Framer::new();
    framer.buffer().extend_from_slice(&HANDSHAKE);
    assert_eq!(framer.next(), Ok(None));
    framer
}

/// Feeds blocks of the size that the Python NEO reads.
fn receive(bytes: &[u8]) -> Result<Option<Message>, FrameError> {
    let mut framer = framer();
    for block in bytes.chunks(0x1_0000) {
        framer.buffer().extend_from_slice(block);
        if let Some(message) = framer.next()? {
            return Ok(Some(message));
        }
    }
    Ok(None)
}

/// Start of a packet, up to the header of its arguments.
fn start(schema: &PacketSchema) -> BytesMut {
    let mut out = BytesMut::new();
    write_array_header(&mut out, 3);
    0_u32.encode(&mut out);
    u32::from(schema.code).encode(&mut out);
    write_array_header(&mut out, schema.arguments.len());
    out
}

fn schema(name: &str) -> PacketSchema {
    let mut schemas = Packet::schemas().into_iter();
    schemas.find(|schema| schema.name == name).unwrap()
}

/// A valid minimal value of a type, nil where it can be.
fn minimal(notation: &str, out: &mut BytesMut) {
    match notation.as_bytes()[0] {
        b'?' => out.put_u8(0xc0),
        b'[' => out.put_u8(0x90),
        b'{' => out.put_u8(0x80),
        b'(' => minimal_tuple(notation, out),
        _ => match notation {
            "oid" | "tid" | "ttid" => write_bin(out, &[0; 8]),
            "digest" => write_bin(out, &[0; 20]),
            "bin" => write_bin(out, b""),
            "bool" => out.put_u8(0xc2),
            "addr" => out.put_slice(b"\x92\xc4\x00\x00"),
            "CellStates" => out.put_slice(b"\xd4\x00\x00"),
            "ClusterStates" => out.put_slice(b"\xd4\x01\x00"),
            "NodeStates" => out.put_slice(b"\xd4\x03\x00"),
            "NodeTypes" => out.put_slice(b"\xd4\x04\x00"),
            _ => out.put_u8(0),
        },
    }
}

fn minimal_tuple(notation: &str, out: &mut BytesMut) {
    let items: Vec<&str> = notation[1..notation.len() - 1].split(", ").collect();
    write_array_header(out, items.len());
    items.iter().for_each(|item| minimal(item, out));
}

/// Headers that announce as much as the limits allow.
const LIES: [&[u8]; 7] = [
    b"\xc6\x04\x00\x00\x00",
    b"\xdb\x04\x00\x00\x00",
    b"\xc9\x04\x00\x00\x00\x04",
    b"\xdd\x04\x00\x00\x00",
    b"\xdf\x02\x00\x00\x00",
    b"\xdd\x00\x0f\xff\xff",
    b"\xdf\x00\x07\xff\xff",
];

/// Lies in each argument of each packet, alone or before bytes that look like items.
fn check_announced_lengths_are_not_believed() {
    let mut count = 0;
    for schema in Packet::schemas() {
        for position in 0..schema.arguments.len() {
            for lie in LIES {
                for filler in [&[][..], &[0xc0; 1000], &[0x90; 1000], &[0xdd; 1000]] {
                    let mut bytes = start(&schema);
                    for argument in &schema.arguments[..position] {
                        minimal(&argument.notation, &mut bytes);
                    }
                    bytes.extend_from_slice(lie);
                    bytes.extend_from_slice(filler);
                    let bytes = bytes.freeze();
                    let (result, peak) = measure(|| Message::decode(&bytes));
                    assert!(result.is_err(), "{} {position}", schema.name);
                    assert!(peak <= LARGEST_ITEM * bytes.len() + SLACK, "{peak}");
                    let (result, peak) = measure(|| receive(&bytes));
                    assert_eq!(result.ok().flatten(), None);
                    assert!(peak <= LARGEST_ITEM * bytes.len() + SLACK, "{peak}");
                    count += 1;
                }
            }
        }
    }
    assert!(count > 6000, "{count}");
}

/// A packet that repeats an item in its argument at `position`, an array (or map).
fn repeated(name: &str, position: usize, size: usize, item: &[u8]) -> Bytes {
    let schema = schema(name);
    let mut bytes = start(&schema);
    for (i, argument) in schema.arguments.iter().enumerate() {
        if i != position {
            minimal(&argument.notation, &mut bytes);
            continue;
        }
        let count = size / item.len();
        if argument.notation.starts_with('{') {
            write_map_header(&mut bytes, count);
        } else {
            write_array_header(&mut bytes, count);
        }
        (0..count).for_each(|_| bytes.extend_from_slice(item));
    }
    bytes.freeze()
}

/// Packets made of the smallest items: those that would grow most.
fn check_small_items_do_not_become_large_ones() {
    let node = b"\x95\xd4\x04\x00\xc0\xc0\xd4\x03\x00\xc0";
    let oid = b"\xc4\x08\x00\x00\x00\x00\x00\x00\x00\x00";
    let deep = [&b"\xc4\x00\x91"[..], &[0x91; 20], b"\x90"].concat();
    let cases: [(&str, usize, &[u8]); 8] = [
        ("SendPartitionTable", 2, b"\x90"),
        ("SendPartitionTable", 2, b"\x91\x92\x00\xd4\x00\x00"),
        ("NotifyNodeInformation", 1, node),
        ("AskFinishTransaction", 1, oid),
        ("AskFinishTransaction", 2, b"\x00"),
        ("NotifyMonitorInformation", 0, b"\xc4\x00\xc0"),
        ("RequestIdentification", 5, &deep),
        ("AnswerMonitorInformation", 0, b"\xc4\x00"),
    ];
    let (mut accepted, mut refused) = (0, 0);
    for (name, position, item) in cases {
        for size in [1_000, 100_000, 1_000_000, 10_000_000] {
            let bytes = repeated(name, position, size, item);
            let (result, peak) = measure(|| receive(&bytes));
            match result {
                Ok(Some(_)) => accepted += 1,
                Err(FrameError::Decode(DecodeError::Memory)) => refused += 1,
                other => panic!("{other:?}"),
            }
            assert!(peak <= RECEIVED_FACTOR * bytes.len() + MEMORY_BASE + SLACK, "{name} {peak}");
            assert!(peak <= LARGEST_ITEM * bytes.len() + SLACK, "{name} {peak}");
            assert!(size > 100_000 || peak < MEMORY_BASE, "{name} {peak}");
        }
    }
    assert!(accepted > 20 && refused > 2, "{accepted} {refused}");
}

/// What a cluster really has, at its greatest, passes: 2^21 objects, large tables.
fn check_large_packets_pass() {
    let rows = Packet::SendPartitionTable {
        ptid: Some(Ptid(1)),
        num_replicas: 0,
        rows: vec![vec![]; 500_000],
    };
    let oids = b"\xc4\x08\x00\x00\x00\x00\x00\x00\x00\x00";
    let mut bytes = BytesMut::new();
    neo_wire::encode_message(0, &rows, &mut bytes);
    assert!(receive(&bytes).unwrap().is_some());
    let transaction = repeated("AskFinishTransaction", 1, 10 << 21, oids);
    assert!(receive(&transaction).unwrap().is_some());
}

/// The longest data that a node may send (spec protocol.md 3.3): shared with the receive buffer,
/// the price is that of the buffer alone.
fn check_the_longest_data_passes_without_a_copy() {
    let length = 0x400_0000 - 0x1_0000;
    let mut bytes = start(&schema("AnswerObject"));
    for argument in &schema("AnswerObject").arguments {
        if argument.name == "data" {
            write_bin(&mut bytes, &vec![7; length]);
        } else {
            minimal(&argument.notation, &mut bytes);
        }
    }
    let (message, peak) = measure(|| receive(&bytes).unwrap().unwrap());
    assert!(matches!(message.packet, Packet::AnswerObject { data, .. } if data.len() == length));
    assert!(peak <= 3 * bytes.len() + SLACK, "{peak}");
}

/// Values nested as deep as they may, and far deeper, on a small stack.
fn check_nesting_does_not_overflow_the_stack() {
    let thread = std::thread::Builder::new().stack_size(0x4_0000).spawn(|| {
        for marker in [&b"\x91"[..], b"\x81\x00", b"\xdd\x00\x00\x00\x01", b"\x81"] {
            for depth in [10, 31, 32, 33, 1000, 1_000_000] {
                let mut bytes = start(&schema("RequestIdentification"));
                bytes.extend_from_slice(b"\xd4\x04\x00\xc0\xc0\xc4\x00\xc0\x81\xc4\x00");
                (0..depth).for_each(|_| bytes.extend_from_slice(marker));
                bytes.extend_from_slice(&vec![0xc0; depth + 1]);
                let bytes = bytes.freeze();
                let direct = Message::decode(&bytes);
                let received = receive(&bytes);
                if depth > 32 {
                    assert_eq!(direct, Err(DecodeError::Depth));
                    assert!(received.is_err());
                } else if depth == 10 && marker != b"\x81" {
                    assert_eq!(direct, Err(DecodeError::Trailing));
                    assert!(received.unwrap().is_some());
                }
            }
        }
    });
    thread.unwrap().join().unwrap();
}

/// The messages of recorded packets, with one byte of each changed in every way.
fn check_changed_packets_stay_within_the_bound() {
    for line in common::lines("packets.jsonl.gz") {
        let bytes = common::hex(&line);
        if bytes.len() > 200 {
            continue;
        }
        for position in 0..bytes.len() {
            for byte in [0x90, 0xc0, 0xc6, 0xdc, 0xdd, 0xde, 0xdf, 0xff] {
                let mut changed = bytes.to_vec();
                changed[position] = byte;
                let changed = Bytes::from(changed);
                let (_, peak) = measure(|| Message::decode(&changed));
                assert!(peak <= LARGEST_ITEM * changed.len() + 1000, "{line} {peak}");
            }
        }
    }
}

/// One test, as the counters are those of the whole process.
#[test]
fn memory_follows_what_arrived() {
    check_announced_lengths_are_not_believed();
    check_small_items_do_not_become_large_ones();
    check_large_packets_pass();
    check_the_longest_data_passes_without_a_copy();
    check_nesting_does_not_overflow_the_stack();
    check_changed_packets_stay_within_the_bound();
}
