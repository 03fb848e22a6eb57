//! Arguments of packets as text and as JSON.

use std::fmt::Write as _;
use std::io::Read as _;

use flate2::read::ZlibDecoder;
use neo_wire::{NodeId, Value};
use serde_json::{Map, Value as Json, json};

/// Data of an object is not longer once decompressed, in bytes.
const LONGEST_DATA: u64 = 64 << 20;

/// An argument: its name if it is known, and its value.
pub type Argument = (Option<&'static str>, Value);

/// OIDs and TIDs are read as numbers; no text of the protocol starts like one.
fn is_identifier(bytes: &[u8]) -> bool {
    bytes.len() == 8 && bytes.first().is_some_and(|first| *first < 0x20 || *first == 0x7f)
}

fn is_nid(name: Option<&str>) -> bool {
    name.is_some_and(|name| name.ends_with("nid") || name.ends_with("nids"))
}

fn nid(value: &Value) -> Option<NodeId> {
    match value {
        Value::Unsigned(number) => i32::try_from(*number).ok().map(NodeId),
        Value::Negative(number) => i32::try_from(*number).ok().map(NodeId),
        _ => None,
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// `(oid=0000000000000001, data=b'...')`
pub fn tuple(arguments: &[Argument]) -> String {
    let mut text = String::from("(");
    for (index, (name, value)) in arguments.iter().enumerate() {
        if index > 0 {
            text.push_str(", ");
        }
        if let Some(name) = name {
            text.push_str(name);
            text.push('=');
        }
        show(value, is_nid(*name), &mut text);
    }
    text.push(')');
    text
}

fn sequence<'a>(
    items: impl Iterator<Item = &'a Value>,
    as_nid: bool,
    out: &mut String,
    [open, close]: [char; 2],
) {
    out.push(open);
    for (index, item) in items.enumerate() {
        if index > 0 {
            out.push_str(", ");
        }
        show(item, as_nid, out);
    }
    out.push(close);
}

fn show(value: &Value, as_nid: bool, out: &mut String) {
    if as_nid && let Some(nid) = nid(value) {
        let _ = write!(out, "{nid}");
        return;
    }
    let _ = match value {
        Value::Nil => write!(out, "None"),
        Value::Bool(true) => write!(out, "True"),
        Value::Bool(false) => write!(out, "False"),
        Value::Unsigned(number) => write!(out, "{number}"),
        Value::Negative(number) => write!(out, "{number}"),
        Value::Float(number) => write!(out, "{:?}", number.0),
        Value::Bin(bytes) if is_identifier(bytes.as_bytes()) => {
            write!(out, "{}", hexadecimal(bytes.as_bytes()))
        }
        Value::Bin(bytes) => write!(out, "b'{}'", bytes.as_bytes().escape_ascii()),
        Value::Str(text) => write!(out, "'{}'", text.escape_debug()),
        Value::CellState(state) => write!(out, "{state}"),
        Value::ClusterState(state) => write!(out, "{state}"),
        Value::NodeState(state) => write!(out, "{state}"),
        Value::NodeType(kind) => write!(out, "{kind}"),
        Value::ErrorCode(code) => write!(out, "{code}"),
        Value::Array(items) => {
            sequence(items.iter(), as_nid, out, ['[', ']']);
            Ok(())
        }
        Value::Map(entries) => {
            out.push('{');
            for (index, (key, value)) in entries.iter().enumerate() {
                if index > 0 {
                    out.push_str(", ");
                }
                show(key, false, out);
                out.push_str(": ");
                show(value, as_nid, out);
            }
            out.push('}');
            Ok(())
        }
    };
}

/// An object by name, or an array where names are not known.
pub fn to_json(arguments: &[Argument]) -> Json {
    let named = arguments.iter().map(|(name, value)| {
        name.map(|name| (name.to_owned(), json_value(value, is_nid(Some(name)))))
    });
    match named.collect::<Option<Map<_, _>>>() {
        Some(map) => Json::Object(map),
        None => arguments.iter().map(|(_, value)| json_value(value, false)).collect(),
    }
}

fn json_value(value: &Value, as_nid: bool) -> Json {
    if as_nid && let Some(nid) = nid(value) {
        return json!(nid.to_string());
    }
    match value {
        Value::Nil => Json::Null,
        Value::Bool(value) => json!(value),
        Value::Unsigned(number) => json!(number),
        Value::Negative(number) => json!(number),
        Value::Float(number) => json!(number.0),
        Value::Bin(bytes) if is_identifier(bytes.as_bytes()) => {
            json!(hexadecimal(bytes.as_bytes()))
        }
        Value::Bin(bytes) => match std::str::from_utf8(bytes.as_bytes()) {
            Ok(text) => json!(text),
            Err(_) => json!({ "hex": hexadecimal(bytes.as_bytes()) }),
        },
        Value::Str(text) => json!(text),
        Value::Array(items) => items.iter().map(|item| json_value(item, as_nid)).collect(),
        Value::Map(entries) => {
            let pair = |(key, value): &(Value, Value)| {
                let mut text = String::new();
                match key {
                    Value::Bin(bytes) if !is_identifier(bytes.as_bytes()) => {
                        text = bytes.to_string();
                    }
                    key => show(key, false, &mut text),
                }
                (text, json_value(value, as_nid))
            };
            Json::Object(entries.iter().map(pair).collect())
        }
        Value::CellState(state) => json!(state.name()),
        Value::ClusterState(state) => json!(state.name()),
        Value::NodeState(state) => json!(state.name()),
        Value::NodeType(kind) => json!(kind.name()),
        Value::ErrorCode(code) => json!(code),
    }
}

/// Replaces compression, checksum and data of an object by its length and its data: among the
/// arguments, or in the conflict that a storage answers (AnswerRelockObject).
pub fn decompress(arguments: &mut Vec<Argument>) {
    let is = |wanted| move |argument: &Argument| argument.0 == Some(wanted);
    if let Some((_, Value::Array(conflict))) = arguments.iter_mut().find(|x| is("conflict")(x))
        && let Some(Value::Array(stored)) = conflict.get_mut(2)
        && let [compression, Value::Bin(_), Value::Bin(data)] = stored.as_slice()
    {
        *stored = plain(compression, data.as_bytes()).into();
    }
    let Some(start) = arguments.iter().position(is("compression")) else { return };
    if !arguments.get(start + 2).is_some_and(is("data")) {
        return;
    }
    if let Some([(_, compression), _, (_, Value::Bin(data))]) = arguments.get(start..start + 3) {
        let [length, data] = plain(compression, data.as_bytes());
        let plain = [(Some("length"), length), (Some("data"), data)];
        arguments.splice(start..start + 3, plain);
    }
}

/// Length and data of an object. What cannot be decompressed is shown as it is.
fn plain(compression: &Value, data: &[u8]) -> [Value; 2] {
    let data = match compression {
        Value::Unsigned(1) => inflate(data),
        _ => None,
    }
    .unwrap_or_else(|| data.to_vec());
    [Value::Unsigned(data.len() as u64), Value::Bin(neo_wire::Text(data.into()))]
}

fn inflate(data: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    ZlibDecoder::new(data).take(LONGEST_DATA).read_to_end(&mut out).ok()?;
    Some(out)
}
