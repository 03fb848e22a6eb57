//! Recordings of `tests/data/vectors/streams`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use neo_wire::Message;
use serde_json::Value as Json;

/// What was seen on a connection.
#[derive(Clone, Debug)]
pub enum What {
    Open,
    /// This side stopped sending, or the connection was reset.
    End,
    /// Nobody listened on this side.
    Refused,
    Message(Message),
}

/// Something that one side did.
#[derive(Clone, Debug)]
pub struct Event {
    /// In seconds since the first record.
    pub time_s: f64,
    /// Number of the TCP connection.
    pub conn: i64,
    /// The side that did it.
    pub from: String,
    /// The place in the recording.
    pub order: i64,
    pub what: What,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/vectors/streams")
}

fn lines(file: &str) -> Vec<Json> {
    let path = folder().join(file);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path:?}: {e}"));
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = text.chars().map(|c| c.to_digit(16).unwrap()).collect();
    digits.chunks(2).map(|pair| u8::try_from(pair[0] * 16 + pair[1]).unwrap()).collect()
}

/// Every recording.
pub fn names() -> Vec<String> {
    let files = std::fs::read_dir(folder()).unwrap();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> =
        names.filter_map(|name| Some(name.strip_suffix(".decoded.jsonl")?.to_owned())).collect();
    names.sort();
    names
}

/// A whole recording, in the order it was made.
pub fn load(name: &str) -> Vec<Event> {
    let times: BTreeMap<i64, f64> = lines(&format!("{name}.jsonl"))
        .iter()
        .map(|line| (line["order"].as_i64().unwrap(), line["t"].as_f64().unwrap()))
        .collect();
    let mut events = Vec::new();
    for line in lines(&format!("{name}.decoded.jsonl")) {
        // Lines without order tell what the application does; handshakes are not messages.
        let Some(order) = line.get("order").and_then(Json::as_i64) else { continue };
        if line.get("name").and_then(Json::as_str) == Some("HANDSHAKE") {
            continue;
        }
        let what = match line.get("event").and_then(Json::as_str) {
            Some("open") => What::Open,
            Some("refused") => What::Refused,
            Some(_) => What::End,
            None => {
                let frame = Bytes::from(hex(line["hex"].as_str().unwrap()));
                What::Message(Message::decode(&frame).unwrap())
            }
        };
        let (from, _) = line["dir"].as_str().unwrap().split_once('>').unwrap();
        events.push(Event {
            time_s: times[&order],
            conn: line.get("conn").map_or(0, |conn| conn.as_i64().unwrap()),
            from: from.to_owned(),
            order,
            what,
        });
    }
    let refused: Vec<i64> = events
        .iter()
        .filter(|event| matches!(event.what, What::Refused))
        .map(|event: &Event| event.conn)
        .collect();
    // The proxy accepted what the other side then refused.
    events.retain(|event| !matches!(event.what, What::Open) || !refused.contains(&event.conn));
    events
}
