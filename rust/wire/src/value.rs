//! Values of any type, in `extra` of RequestIdentification and in NotifyMonitorInformation.

use bytes::BytesMut;
use rmp::Marker;

use crate::address::Text;
use crate::codec::{Codec, DecodeError, Reader, write_enum, write_map_header};
use crate::codec::{write_signed, write_str, write_unsigned};
use crate::collections::Map;
use crate::enums::{CellState, ClusterState, NodeState, NodeType};
use crate::ids::Timestamp;
use crate::reader::enum_number;

/// Any msgpack value that NEO may carry.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Value {
    /// nil
    Nil,
    /// bool
    Bool(bool),
    /// Integer, 0 … 2^64 − 1.
    Unsigned(u64),
    /// Negative integer.
    Negative(i64),
    /// Float.
    Float(Timestamp),
    /// bin: bytes or text.
    Bin(Text),
    /// str: never sent by NEO, kept as received.
    Str(String),
    /// Array.
    Array(Vec<Value>),
    /// Map.
    Map(Vec<(Value, Value)>),
    /// Enum values.
    CellState(CellState),
    /// Enum value.
    ClusterState(ClusterState),
    /// Enum value.
    NodeState(NodeState),
    /// Enum value.
    NodeType(NodeType),
    /// Value of the enumeration ErrorCodes as an ext, which NEO never sends (spec protocol.md 5.3).
    ErrorCode(u8),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Bin(text.into())
    }
}

impl Value {
    /// The unsigned integer it is.
    #[must_use]
    pub fn as_unsigned(&self) -> Option<u64> {
        if let Self::Unsigned(value) = self { Some(*value) } else { None }
    }

    /// The text it is.
    #[must_use]
    pub fn as_text(&self) -> Option<&Text> {
        if let Self::Bin(text) = self { Some(text) } else { None }
    }

    /// The array it is.
    #[must_use]
    pub fn as_array(&self) -> Option<&[Value]> {
        if let Self::Array(items) = self { Some(items) } else { None }
    }
}

impl Codec for Value {
    fn notation(out: &mut String) {
        out.push_str("any");
    }

    fn encode(&self, out: &mut BytesMut) {
        match self {
            Self::Nil => out.extend_from_slice(&[0xc0]),
            Self::Bool(value) => value.encode(out),
            Self::Unsigned(value) => write_unsigned(out, *value),
            Self::Negative(value) => write_signed(out, *value),
            Self::Float(value) => value.encode(out),
            Self::Bin(text) => text.encode(out),
            Self::Str(text) => write_str(out, text),
            Self::Array(items) => items.encode(out),
            Self::Map(entries) => {
                write_map_header(out, entries.len());
                for (key, value) in entries {
                    key.encode(out);
                    value.encode(out);
                }
            }
            Self::CellState(value) => value.encode(out),
            Self::ClusterState(value) => value.encode(out),
            Self::NodeState(value) => value.encode(out),
            Self::NodeType(value) => value.encode(out),
            Self::ErrorCode(value) => write_enum(out, 2, *value),
        }
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        reader.nested(decode_value)
    }
}

fn decode_str(reader: &mut Reader<'_>) -> Result<String, DecodeError> {
    let length = match reader.marker()? {
        Marker::FixStr(length) => length.into(),
        Marker::Str8 => reader.length(1)?,
        Marker::Str16 => reader.length(2)?,
        Marker::Str32 => reader.length(4)?,
        other => return Err(DecodeError::Type("a str", other.to_u8())),
    };
    std::str::from_utf8(reader.take(length)?).map(Into::into).map_err(|_| DecodeError::Utf8)
}

fn decode_value(reader: &mut Reader<'_>) -> Result<Value, DecodeError> {
    Ok(match Marker::from_u8(reader.peek()?) {
        Marker::Null => {
            reader.take(1)?;
            Value::Nil
        }
        Marker::False | Marker::True => Value::Bool(bool::decode(reader)?),
        Marker::F32 | Marker::F64 => Value::Float(Timestamp::decode(reader)?),
        Marker::Bin8 | Marker::Bin16 | Marker::Bin32 => Value::Bin(Text::decode(reader)?),
        Marker::FixStr(_) | Marker::Str8 | Marker::Str16 | Marker::Str32 => {
            Value::Str(decode_str(reader)?)
        }
        Marker::FixArray(_) | Marker::Array16 | Marker::Array32 => {
            Value::Array(Vec::decode(reader)?)
        }
        Marker::FixMap(_) | Marker::Map16 | Marker::Map32 => Value::Map(Map::decode(reader)?.0),
        Marker::FixExt1
        | Marker::FixExt2
        | Marker::FixExt4
        | Marker::FixExt8
        | Marker::FixExt16
        | Marker::Ext8
        | Marker::Ext16
        | Marker::Ext32 => decode_enum(reader)?,
        _ => {
            let number = reader.integer()?;
            match u64::try_from(number) {
                Ok(value) => Value::Unsigned(value),
                Err(_) => Value::Negative(
                    i64::try_from(number).map_err(|_| DecodeError::Range("integer"))?,
                ),
            }
        }
    })
}

fn decode_enum(reader: &mut Reader<'_>) -> Result<Value, DecodeError> {
    let (ext, payload) = reader.ext()?;
    let number = enum_number(payload)?;
    let unknown = DecodeError::Enum("ext", number);
    match ext {
        0 => CellState::from_number(number).map(Value::CellState),
        1 => ClusterState::from_number(number).map(Value::ClusterState),
        2 => u8::try_from(number).ok().filter(|code| *code < 14).map(Value::ErrorCode),
        3 => NodeState::from_number(number).map(Value::NodeState),
        4 => NodeType::from_number(number).map(Value::NodeType),
        _ => None,
    }
    .ok_or(unknown)
}
