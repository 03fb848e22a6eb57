//! Packets: their kinds, their schema as data, and shorthands.

use crate::address::Text;
use crate::enums::ErrorCode;

pub use crate::table::{PackRecord, RelockConflict, StoredData};
pub use crate::table::{Packet, code};

/// Bit of the code that marks answers.
pub const ANSWER_BIT: u16 = 0x8000;

/// What a packet expects (spec protocol.md 4.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Expects exactly one answer.
    Request {
        /// Code of the answer; [`code::Error`] if only Error answers.
        answer: u16,
    },
    /// Repeats the msg_id of a request.
    Answer,
    /// Expects nothing.
    Notification,
    /// Answers any request, or reports.
    Error,
}

/// A line of the table of packets.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PacketSchema {
    /// Name in the protocol.
    pub name: &'static str,
    /// Code on the wire.
    pub code: u16,
    /// Request, answer, notification or error.
    pub kind: Kind,
    /// See [`Packet::ignored_when_closed`].
    pub ignored_when_closed: bool,
    /// Who sends it to whom, in the words of the specification.
    pub directions: &'static str,
    /// Arguments in order.
    pub arguments: Vec<ArgumentSchema>,
}

/// An argument of a packet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ArgumentSchema {
    /// Name.
    pub name: &'static str,
    /// Type, in the notation of spec protocol.md 5.1.
    pub notation: String,
}

impl Packet {
    /// An Error packet.
    pub fn error(code: ErrorCode, message: impl Into<Text>) -> Self {
        Self::Error { code, message: message.into() }
    }

    /// Success of a request that has no answer packet of its own.
    pub fn ack(message: impl Into<Text>) -> Self {
        Self::error(ErrorCode::Ack, message)
    }

    /// Whether it answers a request.
    #[must_use]
    pub const fn is_answer(&self) -> bool {
        self.code() & ANSWER_BIT != 0
    }

    /// Code of the answer it expects, if it is a request.
    #[must_use]
    pub const fn expected_answer(&self) -> Option<u16> {
        match self.kind() {
            Kind::Request { answer } => Some(answer),
            _ => None,
        }
    }
}
