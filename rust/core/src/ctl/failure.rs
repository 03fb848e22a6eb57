//! Why a command fails, for people and for programs.

use neo_wire::ErrorCode;
use serde_json::{Value, json};

/// Kinds of failures.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FailureKind {
    /// The words of the command.
    Usage,
    /// The cluster answered this error.
    Answered(ErrorCode),
    /// Refused here, before it was sent.
    Refused,
    /// Nobody listens at any address.
    NotConnected,
    /// The connection ended before the answer.
    Closed,
    /// It takes too long: it may be done all the same, later.
    TimedOut,
}

/// A failure, in one line for the operator.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure {
    /// For programs.
    pub kind: FailureKind,
    /// For people: what stderr gets.
    pub text: String,
}

impl Failure {
    /// What is wrong with the words of the command.
    #[must_use]
    pub fn usage(text: impl Into<String>) -> Self {
        Self { kind: FailureKind::Usage, text: text.into() }
    }

    pub(super) fn refused(text: impl Into<String>) -> Self {
        Self { kind: FailureKind::Refused, text: text.into() }
    }

    pub(super) fn not_connected() -> Self {
        Self { kind: FailureKind::NotConnected, text: "ERROR: not connected".into() }
    }

    pub(super) fn closed() -> Self {
        Self { kind: FailureKind::Closed, text: "ERROR: Connection closed".into() }
    }

    /// Name of the kind, for programs: as in the protocol if the cluster answered.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self.kind {
            FailureKind::Usage => "USAGE",
            FailureKind::Answered(ErrorCode::Denied) => "DENIED",
            FailureKind::Answered(ErrorCode::NotReady) => "NOT_READY",
            FailureKind::Answered(ErrorCode::ProtocolError) => "PROTOCOL_ERROR",
            FailureKind::Answered(_) => "ERROR",
            FailureKind::Refused => "REFUSED",
            FailureKind::NotConnected => "NOT_CONNECTED",
            FailureKind::Closed => "CONNECTION_CLOSED",
            FailureKind::TimedOut => "TIMED_OUT",
        }
    }

    /// Status of a process that tells kinds of failures apart: 1 refused, 2 usage, 3 unreachable, 4
    /// timed out.
    #[must_use]
    pub const fn status(&self) -> i32 {
        match self.kind {
            FailureKind::Usage => 2,
            FailureKind::Answered(ErrorCode::NotReady)
            | FailureKind::NotConnected
            | FailureKind::Closed => 3,
            FailureKind::TimedOut => 4,
            FailureKind::Answered(_) | FailureKind::Refused => 1,
        }
    }

    /// The object that a program gets, in one line without newline.
    #[must_use]
    pub fn to_json(&self) -> String {
        let object: Value = json!({"error": self.text, "code": self.code()});
        object.to_string()
    }
}
