//! What is shown of a packet.

use std::collections::HashMap;
use std::sync::LazyLock;

use bytes::Bytes;
use neo_core::dates;
use neo_wire::codec::{Codec as _, Reader};
use neo_wire::packet::code;
use neo_wire::{NodeInfo, Packet, PacketSchema, Value};
use serde_json::{Value as Json, json};

use super::values::{self, Argument};
use crate::config::log::PacketDetail;
use crate::logging::protocol::VERSION;

static SCHEMAS: LazyLock<HashMap<i64, PacketSchema>> = LazyLock::new(|| {
    Packet::schemas().into_iter().map(|schema| (schema.code.into(), schema)).collect()
});

/// A packet in the log.
pub struct Logged<'a> {
    pub msg_id: i64,
    pub code: i64,
    /// With the direction: `> S1 (host:port)`.
    pub peer: &'a str,
    pub body: Option<&'a [u8]>,
    /// None if the file does not say it.
    pub version: Option<u32>,
}

impl Logged<'_> {
    fn schema(&self) -> Option<&'static PacketSchema> {
        // Another version may mean something else by the same code.
        let is_known = self.version.is_none_or(|version| version == VERSION);
        if is_known { SCHEMAS.get(&self.code) } else { None }
    }

    fn name(&self) -> String {
        match self.schema() {
            Some(schema) => schema.name.to_owned(),
            None => format!("UnknownPacket[{}]", self.code),
        }
    }

    /// None if it is not kept, or cannot be decoded.
    fn arguments(&self) -> Option<Vec<Argument>> {
        let bytes = Bytes::copy_from_slice(self.body?);
        let mut reader = Reader::new(&bytes);
        let value = Value::decode(&mut reader).ok().filter(|_| reader.remaining() == 0)?;
        let Value::Array(values) = value else { return None };
        let schema = self.schema().filter(|schema| schema.arguments.len() == values.len());
        let names = schema.into_iter().flat_map(|schema| &schema.arguments);
        let names = names.map(|argument| Some(argument.name)).chain(std::iter::repeat(None));
        Some(names.zip(values).collect())
    }

    /// The lines, without their prefix.
    pub fn lines(&self, detail: PacketDetail) -> Vec<String> {
        let head = format!("#0x{:04x} {:<30} {}", self.msg_id, self.name(), self.peer);
        let own = self.schema().map(|schema| schema.code);
        let is_shown = matches!(own, Some(code::NotifyNodeInformation | code::Error));
        if self.body.is_none() || detail == PacketDetail::Header && !is_shown {
            return vec![head];
        }
        let Some(mut arguments) = self.arguments() else {
            return vec![head, "Can't decode packet".to_owned()];
        };
        let extra = extra_lines(own, &arguments);
        let mut lines = vec![head];
        if detail == PacketDetail::Decompressed {
            values::decompress(&mut arguments);
        }
        if let (Some(head), true) = (lines.first_mut(), detail != PacketDetail::Header) {
            head.push_str(" \t| ");
            head.push_str(&values::tuple(&arguments));
        }
        lines.extend(extra);
        lines
    }

    /// The same as one object.
    pub fn to_json(&self, detail: PacketDetail) -> Json {
        let (sent, peer) = match self.peer.split_once(' ') {
            Some((">", peer)) => (json!(true), peer),
            Some(("<", peer)) => (json!(false), peer),
            _ => (Json::Null, self.peer),
        };
        let mut object = json!({
            "packet": self.name(),
            "code": self.code,
            "msg_id": self.msg_id,
            "sent": sent,
            "peer": peer,
        });
        let is_error = self.schema().is_some_and(|schema| schema.code == code::Error);
        if detail != PacketDetail::Header || is_error {
            let mut arguments = self.arguments();
            if let (Some(arguments), PacketDetail::Decompressed) = (&mut arguments, detail) {
                values::decompress(arguments);
            }
            object["arguments"] = arguments.map_or(Json::Null, |x| values::to_json(&x));
        }
        object
    }
}

/// Lines for what is always worth being seen.
fn extra_lines(own: Option<u16>, arguments: &[Argument]) -> Vec<String> {
    match (own, arguments) {
        (Some(code::Error), [(_, Value::Unsigned(code)), (_, Value::Bin(message))]) => {
            format!("{code} ({message})").lines().map(str::to_owned).collect()
        }
        (Some(code::NotifyNodeInformation), [_, (_, Value::Array(nodes))]) => {
            let nodes: Option<Vec<_>> = nodes.iter().map(node_cells).collect();
            nodes.map(|nodes| node_table(&nodes)).unwrap_or_default()
        }
        _ => Vec::new(),
    }
}

fn node_cells(value: &Value) -> Option<[String; 5]> {
    let mut bytes = bytes::BytesMut::new();
    value.encode(&mut bytes);
    let info = NodeInfo::decode(&mut Reader::new(&bytes.freeze())).ok()?;
    Some([
        info.nid.map_or_else(|| "None".into(), |nid| nid.to_string()),
        info.node_type.to_string(),
        info.address.map(|address| address.to_string()).unwrap_or_default(),
        info.state.to_string(),
        info.id_timestamp.map_or_else(|| "None".into(), dates::format_timestamp),
    ])
}

fn node_table(rows: &[[String; 5]]) -> Vec<String> {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let [a, b, c, d] = [0, 1, 2, 3].map(|column| width(column).unwrap_or(0));
    let line = |[nid, kind, address, state, date]: &[String; 5]| {
        format!(" ! {nid:a$} | {kind:b$} | {address:c$} | {state:d$} | {date}")
    };
    rows.iter().map(line).collect()
}
