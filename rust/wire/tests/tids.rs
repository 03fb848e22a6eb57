//! Every line of tids.jsonl but the allocation of TIDs, which is the master's
//! (spec protocol.md 5.4, 5.5, 6, 9).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test fails by panicking

mod common;

use std::collections::BTreeMap;
use std::io::Read;

use neo_wire::tid::TidFields;
use neo_wire::{Digest, HANDSHAKE, NodeId, Oid, Partition, Tid, Ttid};
use serde_json::Value as Json;

use common::{integer, lines, string, unhex};

fn tid(text: &str) -> Tid {
    assert_eq!(text.len(), 16);
    Tid(u64::from_str_radix(text, 16).unwrap())
}

fn float(line: &Json, field: &str) -> f64 {
    string(line, field).parse().unwrap()
}

fn small(line: &Json, field: &str) -> u32 {
    integer(line, field).try_into().unwrap()
}

/// The TID in `field`, or none if the line says that the operation fails.
fn outcome(line: &Json, field: &str) -> Option<Tid> {
    assert_ne!(line.get("error").is_some(), line.get(field).is_some());
    line.get(field).map(|text| tid(text.as_str().unwrap()))
}

fn check_tid_from_time(line: &Json) {
    let result = Tid::from_time(float(line, "unix_time"));
    assert_eq!(result, outcome(line, "tid"));
    assert_eq!(result.unwrap().0, line["tid_int"].as_u64().unwrap());
}

fn check_unpack_tid(line: &Json) {
    let tid = tid(string(line, "tid"));
    let fields = TidFields::unpack(tid);
    let TidFields { year, month, day, hour, minute, low } = fields;
    let expected = ["year", "month", "day", "hour", "minute", "low"].map(|f| small(line, f));
    assert_eq!([year, month, day, hour, minute, low], expected);
    assert_eq!(fields.pack(), Some(tid));
    if line.get("unix_time").is_none_or(Json::is_null) {
        assert_eq!(tid.to_time(), None);
        return;
    }
    assert_eq!(tid.to_time(), Some(float(line, "unix_time")));
    let (unix_time_s, microseconds) = tid.to_unix_microseconds().unwrap();
    let second = unix_time_s.rem_euclid(60);
    assert_eq!(
        format!(
            "{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}.{microseconds:06}"
        ),
        string(line, "utc")
    );
}

fn check_pack_tid(line: &Json) {
    let fields = TidFields {
        year: small(line, "year"),
        month: small(line, "month"),
        day: small(line, "day"),
        hour: small(line, "hour"),
        minute: small(line, "minute"),
        // Our type can not hold more.
        low: u32::try_from(integer(line, "low")).unwrap_or(u32::MAX),
    };
    assert_eq!(fields.pack(), outcome(line, "tid"));
}

fn check_print_nid(line: &Json) {
    // None has no number: what prints it is `Option`'s user.
    if let Some(nid) = line["nid"].as_i64() {
        let nid = NodeId(nid.try_into().unwrap());
        assert_eq!(nid.to_string(), string(line, "text"));
        if let (Some(node_type), 1..) = (nid.node_type(), nid.0 & 0xff_ffff) {
            assert_eq!(NodeId::new(node_type, nid.0 as u32 & 0xff_ffff), nid);
        }
    }
}

fn check_constant(line: &Json) {
    let bytes = || unhex(string(line, "hex"));
    match string(line, "name") {
        "INVALID_TID" => assert_eq!(bytes(), Tid::INVALID.to_bytes()),
        "INVALID_OID" => assert_eq!(bytes(), Oid::INVALID.to_bytes()),
        "ZERO_TID" => assert_eq!(bytes(), Tid::ZERO.to_bytes()),
        "ZERO_OID" => assert_eq!(bytes(), Oid::ZERO.to_bytes()),
        "MAX_TID" => assert_eq!(bytes(), Tid::MAX.to_bytes()),
        "ZERO_HASH" => assert_eq!(bytes(), Digest::ZERO.0),
        "HANDSHAKE_PACKET" => assert_eq!(bytes(), HANDSHAKE),
        "INVALID_PARTITION" => assert_eq!(small(line, "int"), Partition::INVALID.0),
        "PROTOCOL_VERSION" => assert_eq!(small(line, "int"), u32::from(HANDSHAKE[5])),
        name => panic!("unknown constant {name}"),
    }
}

fn check_store_data(line: &Json) {
    let data = unhex(string(&line["data"], "hex"));
    let stored = unhex(string(&line["stored"], "hex"));
    assert_eq!(Digest::of(&stored).to_string(), string(line, "checksum"));
    if integer(line, "compression") == 0 {
        assert_eq!(stored, data);
        return;
    }
    assert!(stored.len() < data.len());
    let mut raw = Vec::new();
    flate2::read::ZlibDecoder::new(&stored[..]).read_to_end(&mut raw).unwrap();
    assert_eq!(raw, data);
}

fn check_range_digest(line: &Json) {
    let values: Vec<u64> = line["values"]
        .as_array()
        .unwrap()
        .iter()
        .map(|value| tid(value.as_str().unwrap()).0)
        .collect();
    let digest = Digest::of_range(values.iter().copied());
    assert_eq!(digest.to_string(), string(line, "digest"));
    if !values.is_empty() {
        assert_eq!(digest, Digest::of(string(line, "text").as_bytes()));
    }
}

#[test]
fn every_operation_gives_the_expected_result() {
    let mut counts = BTreeMap::new();
    for line in &lines("tids.jsonl") {
        let op = string(line, "op");
        println!("{line}"); // shown by a failure
        match op {
            "tid_from_time" => check_tid_from_time(line),
            "unpack_tid" => check_unpack_tid(line),
            "pack_tid" => check_pack_tid(line),
            "add_tid" => {
                let sum = tid(string(line, "tid")).add_tid(integer(line, "offset"));
                assert_eq!(sum, outcome(line, "result"));
            }
            "add64" => {
                let (value, offset) = (tid(string(line, "value")), integer(line, "offset"));
                assert_eq!(value.add64(offset), outcome(line, "result"));
                let oid = Oid(value.0).add64(offset).map(|oid| Tid(oid.0));
                assert_eq!(oid, outcome(line, "result"));
            }
            "partition" => {
                let (value, partitions) = (tid(string(line, "value")), small(line, "partitions"));
                let expected = Partition(small(line, "result"));
                assert_eq!(value.partition(partitions), expected);
                assert_eq!(Oid(value.0).partition(partitions), expected);
                assert_eq!(Ttid(value.0).partition(partitions), expected);
            }
            "print_nid" => check_print_nid(line),
            "constant" => check_constant(line),
            "store_data" => check_store_data(line),
            "range_digest" => check_range_digest(line),
            "master_next_tid" => {}
            _ => panic!("unknown operation {op}"),
        }
        *counts.entry(op.to_owned()).or_insert(0) += 1;
    }
    assert_eq!(counts.len(), 11, "{counts:?}");
    assert!(counts.values().all(|count| *count > 1), "{counts:?}");
}

#[test]
fn a_date_that_does_not_exist_has_no_time() {
    let fields = TidFields { year: 2023, month: 2, day: 31, hour: 0, minute: 0, low: 0 };
    let tid = fields.pack().unwrap();
    assert_eq!(tid.to_time(), None);
    assert_eq!(tid.to_unix_microseconds(), None);
    assert_eq!(tid.add_tid(1 << 32), None);
    assert_eq!(tid.add_tid(1).map(|next| next.0), Some(tid.0 + 1));
}

#[test]
fn no_time_and_no_addition_overflows() {
    for time in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MAX, f64::MIN, -3e9, 3e11] {
        assert_eq!(Tid::from_time(time), None, "{time}");
    }
    assert_eq!(Tid::INVALID.add_tid(i64::MAX), None);
    assert_eq!(Tid::ZERO.add_tid(i64::MIN), None);
    assert_eq!(Tid::ZERO.add_tid(-1), None);
}
