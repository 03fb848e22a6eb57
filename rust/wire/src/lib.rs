//! Vocabulary and bytes of the NEO protocol, version 5 (spec protocol.md).
//!
//! Everything two nodes say to each other is here: identifiers ([`ids`]), enumerations ([`enums`]),
//! dates ([`tid`]), the one table of packets ([`packet`]), their encoding ([`codec`]) and the
//! cutting of a byte stream into packets ([`framer`]). Nothing here does I/O.

pub mod address;
pub mod codec;
pub mod collections;
pub mod digest;
pub mod enums;
pub mod framer;
pub mod ids;
mod macros;
pub mod packet;
mod reader;
pub mod scan;
mod table;
pub mod tid;
pub mod value;
mod writer;

pub use address::{Address, Text};
pub use codec::DecodeError;
pub use collections::{Map, OidList};
pub use digest::Digest;
pub use enums::{CellState, ClusterState, ErrorCode, NodeState, NodeType};
pub use framer::{FrameError, Framer, HANDSHAKE, Message, encode_body, encode_message};
pub use ids::{NodeId, Oid, Partition, Ptid, Tid, Timestamp, Ttid};
pub use packet::{ArgumentSchema, Kind, Packet, PacketSchema};
pub use packet::{PackRecord, RelockConflict, StoredData};
pub use table::{Cell, CellChange, NodeInfo, PackOrder, PackRequest, RowList};
pub use value::Value;
