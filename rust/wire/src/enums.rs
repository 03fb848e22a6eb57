//! Enumerations: msgpack ext values of one byte (spec protocol.md 5.3).

use std::fmt;

use bytes::BytesMut;

use crate::codec::{Codec, DecodeError, Reader, write_enum};

macro_rules! enumeration {
    ($(#[$doc:meta])* $name:ident, $schema:literal, $ext:literal,
     { $($(#[$vdoc:meta])* $variant:ident = $value:literal $text:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum $name { $($(#[$vdoc])* $variant = $value),* }

        impl $name {
            /// Every value, in the order of their numbers.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The value with this number.
            #[must_use]
            pub const fn from_number(number: u64) -> Option<Self> {
                match number { $($value => Some(Self::$variant),)* _ => None }
            }

            /// Its name as operators see it and type it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $text),* }
            }

            /// The value with this name.
            #[must_use]
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $($text => Some(Self::$variant),)* _ => None }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.name())
            }
        }

        impl Codec for $name {
            fn notation(out: &mut String) { out.push_str($schema); }
            fn encode(&self, out: &mut BytesMut) { write_enum(out, $ext, *self as u8); }
            fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
                let number = reader.enumeration($ext)?;
                Self::from_number(number).ok_or(DecodeError::Enum($schema, number))
            }
        }
    };
}

enumeration! {
    /// State of a cell: one partition on one storage.
    CellState, "CellStates", 0, {
        /// Written, not readable.
        OutOfDate = 0 "OUT_OF_DATE",
        /// Readable and written.
        UpToDate = 1 "UP_TO_DATE",
        /// Readable and written until its replacement is up to date.
        Feeding = 2 "FEEDING",
        /// Neither readable nor written.
        Corrupted = 3 "CORRUPTED",
        /// Not a state: tells to remove the cell.
        Discarded = 4 "DISCARDED",
    }
}

impl CellState {
    /// UP_TO_DATE or FEEDING.
    #[must_use]
    pub const fn is_readable(self) -> bool {
        matches!(self, Self::UpToDate | Self::Feeding)
    }

    /// Readable or OUT_OF_DATE.
    #[must_use]
    pub const fn is_writable(self) -> bool {
        matches!(self, Self::UpToDate | Self::Feeding | Self::OutOfDate)
    }
}

enumeration! {
    /// State of the cluster, decided by the primary master.
    ClusterState, "ClusterStates", 1, {
        /// Looking for storages that can start the cluster.
        Recovering = 0 "RECOVERING",
        /// Deciding about unfinished transactions.
        Verifying = 1 "VERIFYING",
        /// In service.
        Running = 2 "RUNNING",
        /// Being stopped.
        Stopping = 3 "STOPPING",
        /// On the way to backup mode.
        StartingBackup = 4 "STARTING_BACKUP",
        /// Following an upstream cluster.
        BackingUp = 5 "BACKINGUP",
        /// Leaving backup mode.
        StoppingBackup = 6 "STOPPING_BACKUP",
    }
}

/// Codes of the Error packet (spec protocol.md 10.5), sent as a plain integer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum ErrorCode {
    /// Success of a request without answer packet of its own.
    Ack = 0,
    /// The master refuses an administration request.
    Denied = 1,
    /// Try again later.
    NotReady = 2,
    /// The object exists, but no record of it matches.
    OidNotFound = 3,
    /// No such transaction.
    TidNotFound = 4,
    /// No record at all for the object.
    OidDoesNotExist = 5,
    /// The peer broke the rules; the connection ends.
    ProtocolError = 6,
    /// The source of a replication can not serve it.
    ReplicationError = 7,
    /// A check of replicas can not be served.
    CheckingError = 8,
    /// The backend has no such function.
    BackendNotImplemented = 9,
    /// Use another cell.
    NonReadableCell = 10,
    /// A write was asked of a read-only service.
    ReadOnlyAccess = 11,
    /// The transaction can not be finished.
    IncompleteTransaction = 12,
    /// A record that an undo needs was packed.
    UndoPackError = 13,
}

impl ErrorCode {
    /// Every code, in the order of their numbers.
    pub const ALL: &'static [Self] = &[
        Self::Ack,
        Self::Denied,
        Self::NotReady,
        Self::OidNotFound,
        Self::TidNotFound,
        Self::OidDoesNotExist,
        Self::ProtocolError,
        Self::ReplicationError,
        Self::CheckingError,
        Self::BackendNotImplemented,
        Self::NonReadableCell,
        Self::ReadOnlyAccess,
        Self::IncompleteTransaction,
        Self::UndoPackError,
    ];
}

impl Codec for ErrorCode {
    fn notation(out: &mut String) {
        out.push_str("uint");
    }

    fn encode(&self, out: &mut BytesMut) {
        (*self as u64).encode(out);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let number = reader.uint()?;
        usize::try_from(number)
            .ok()
            .and_then(|index| Self::ALL.get(index).copied())
            .ok_or(DecodeError::Enum("ErrorCodes", number))
    }
}

enumeration! {
    /// State of a node.
    NodeState, "NodeStates", 3, {
        /// "Forget this node".
        Unknown = 0 "UNKNOWN",
        /// Known but absent, or asked to stop.
        Down = 1 "DOWN",
        /// In service.
        Running = 2 "RUNNING",
        /// Connected but not part of the cluster yet.
        Pending = 3 "PENDING",
    }
}

enumeration! {
    /// Kind of a node.
    NodeType, "NodeTypes", 4, {
        /// Allocates identifiers, decides on membership and commits.
        Master = 0 "MASTER",
        /// Holds data.
        Storage = 1 "STORAGE",
        /// A ZODB storage in an application.
        Client = 2 "CLIENT",
        /// Relays operators' commands.
        Admin = 3 "ADMIN",
    }
}
