//! Reads the golden data: JSON Lines under tests/data/vectors.

#![allow(dead_code)] // each test binary uses a part of it

use std::io::Read;
use std::path::PathBuf;

use bytes::{Bytes, BytesMut};
use neo_wire::codec::{Codec, Reader};
use neo_wire::{CellState, ClusterState, NodeState, NodeType, Text, Timestamp, Value};
use serde_json::Value as Json;

/// Path of a file of golden data.
pub fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/vectors").join(name)
}

/// The lines of a file, compressed if its name says so.
pub fn lines(name: &str) -> Vec<Json> {
    let bytes = std::fs::read(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    let text = if name.ends_with(".gz") {
        let mut text = String::new();
        flate2::read::GzDecoder::new(&bytes[..]).read_to_string(&mut text).unwrap();
        text
    } else {
        String::from_utf8(bytes).unwrap()
    };
    let lines: Vec<Json> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(!lines.is_empty());
    lines
}

/// Bytes of a hexadecimal text.
pub fn unhex(text: &str) -> Vec<u8> {
    assert!(text.len().is_multiple_of(2));
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
}

/// The bytes of the field `hex`.
pub fn hex(line: &Json) -> Bytes {
    unhex(string(line, "hex")).into()
}

/// A field that is a string.
pub fn string<'a>(line: &'a Json, field: &str) -> &'a str {
    line[field].as_str().unwrap_or_else(|| panic!("no {field} in {line}"))
}

/// A field that is an integer.
pub fn integer(line: &Json, field: &str) -> i64 {
    line[field].as_i64().unwrap_or_else(|| panic!("no {field} in {line}"))
}

/// The value that its JSON form stands for.
pub fn value(json: &Json) -> Value {
    match json {
        Json::Null => Value::Nil,
        Json::Bool(value) => Value::Bool(*value),
        Json::Number(number) => match number.as_u64() {
            Some(value) => Value::Unsigned(value),
            None => Value::Negative(number.as_i64().unwrap()),
        },
        Json::Array(items) => Value::Array(items.iter().map(value).collect()),
        Json::Object(object) => {
            let (key, content) = object.iter().next().unwrap();
            match key.as_str() {
                "float" => Value::Float(Timestamp(content.as_str().unwrap().parse().unwrap())),
                "hex" => Value::Bin(Text(unhex(content.as_str().unwrap()).into())),
                "str" => Value::Str(content.as_str().unwrap().into()),
                "map" => Value::Map(content.as_array().unwrap().iter().map(entry).collect()),
                "enum" => enumeration(content.as_str().unwrap(), string(json, "value")),
                _ => panic!("unknown form {json}"),
            }
        }
        Json::String(_) => panic!("unknown form {json}"),
    }
}

fn entry(pair: &Json) -> (Value, Value) {
    assert_eq!(pair.as_array().unwrap().len(), 2);
    (value(&pair[0]), value(&pair[1]))
}

fn enumeration(name: &str, text: &str) -> Value {
    match name {
        "CellStates" => CellState::from_name(text).map(Value::CellState),
        "ClusterStates" => ClusterState::from_name(text).map(Value::ClusterState),
        "NodeStates" => NodeState::from_name(text).map(Value::NodeState),
        "NodeTypes" => NodeType::from_name(text).map(Value::NodeType),
        _ => None,
    }
    .unwrap_or_else(|| panic!("{name}.{text}"))
}

/// The canonical encoding of a line of packets, made from its JSON form alone.
pub fn canonical(line: &Json) -> Bytes {
    let packet = Value::Array(["msg_id", "code", "args"].map(|name| value(&line[name])).into());
    encoded(&packet)
}

/// Encoding of a value.
pub fn encoded(value: &Value) -> Bytes {
    let mut out = BytesMut::new();
    value.encode(&mut out);
    out.freeze()
}

/// The only value in these bytes.
pub fn decoded(bytes: &Bytes) -> Value {
    let mut reader = Reader::new(bytes);
    let value = Value::decode(&mut reader).unwrap();
    assert_eq!(reader.remaining(), 0);
    value
}
