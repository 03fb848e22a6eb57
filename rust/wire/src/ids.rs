//! Identifiers, each a type of its own (spec protocol.md 5.2, 5.4, 5.5, 5.8, 5.9, 9.1).

use std::fmt;

use crate::enums::NodeType;

macro_rules! identifier_64 {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub u64);

        impl $name {
            /// Eight zero bytes.
            pub const ZERO: Self = Self(0);
            /// Eight `ff` bytes.
            pub const INVALID: Self = Self(u64::MAX);

            /// The 8 big-endian bytes that travel and that databases and pickles hold.
            #[must_use]
            pub const fn to_bytes(self) -> [u8; 8] {
                self.0.to_be_bytes()
            }

            /// The identifier whose big-endian bytes are given.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; 8]) -> Self {
                Self(u64::from_be_bytes(bytes))
            }

            /// The partition it belongs to: value mod `partitions` (spec protocol.md 9.1).
            /// A table without partition has a single answer, 0.
            #[must_use]
            pub const fn partition(self, partitions: u32) -> Partition {
                match self.0.checked_rem(partitions as u64) {
                    Some(rest) => Partition(rest as u32),
                    None => Partition(0),
                }
            }

            /// 64-bit addition; `None` outside of 0 … 2^64 − 1 (`add64` in spec protocol.md 6.3).
            #[must_use]
            pub const fn add64(self, offset: i64) -> Option<Self> {
                match self.0.checked_add_signed(offset) {
                    Some(value) => Some(Self(value)),
                    None => None,
                }
            }

            /// The next value, or the greatest one if there is none.
            #[must_use]
            pub const fn next(self) -> Self {
                Self(self.0.saturating_add(1))
            }

            /// The value before, or zero.
            #[must_use]
            pub const fn previous(self) -> Self {
                Self(self.0.saturating_sub(1))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:016x}", self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({:016x})"), self.0)
            }
        }
    };
}

identifier_64! {
    /// Object identifier.
    Oid
}
identifier_64! {
    /// Identifier and date of a committed transaction; the TID of an object's revision is its
    /// *serial*.
    Tid
}
identifier_64! {
    /// Identifier of a transaction being built; its TID is in the same partition.
    Ttid
}

impl Oid {
    /// The greatest OID that every backend can hold (spec storage.md 4).
    pub const MAX: Self = Self(0x7fff_ffff_ffff_ffff);
}

impl Tid {
    /// The greatest TID that every backend can hold (spec protocol.md 5.4).
    pub const MAX: Self = Self(0x7fff_ffff_ffff_ffff);
}

impl Ttid {
    /// The same number, seen as a date.
    #[must_use]
    pub const fn as_tid(self) -> Tid {
        Tid(self.0)
    }
}

impl Tid {
    /// The same number, seen as the identifier of a transaction being built.
    #[must_use]
    pub const fn as_ttid(self) -> Ttid {
        Ttid(self.0)
    }
}

/// Partition number: the offset of a row in the partition table.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct Partition(pub u32);

impl Partition {
    /// Stands for "all readable partitions" in AskTIDs (spec protocol.md 5.4).
    pub const INVALID: Self = Self(0xffff_ffff);

    /// Its place in an array of rows.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Version of the partition table, incremented at each change.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Ptid(pub u64);

impl fmt::Display for Ptid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Node identifier (spec protocol.md 5.5): a namespace in the high byte, a number in the rest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub i32);

impl NodeId {
    /// The NID of the given type and number (1 … 2^24 − 1).
    #[must_use]
    pub const fn new(node_type: NodeType, number: u32) -> Self {
        Self(Self::namespace(node_type) | (number & 0x00ff_ffff) as i32)
    }

    const fn namespace(node_type: NodeType) -> i32 {
        let high: i8 = match node_type {
            NodeType::Storage => 0,
            NodeType::Master => -0x10,
            NodeType::Client => -0x20,
            NodeType::Admin => -0x30,
        };
        (high as i32) << 24
    }

    /// A temporary NID is only valid while its node is connected to the primary master.
    #[must_use]
    pub const fn is_temporary(self) -> bool {
        self.0 < 0
    }

    /// The type its namespace stands for, if it is one of ours.
    #[must_use]
    pub const fn node_type(self) -> Option<NodeType> {
        match self.0 >> 24 {
            0 => Some(NodeType::Storage),
            -0x10 => Some(NodeType::Master),
            -0x20 => Some(NodeType::Client),
            -0x30 => Some(NodeType::Admin),
            _ => None,
        }
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str("0");
        }
        // Reserved bits are not looked at, so that any number prints as something.
        let letter = match (self.0 >> 24) & 0xf0 {
            0x00 => 'S',
            0xf0 => 'M',
            0xe0 => 'C',
            0xd0 => 'A',
            _ => '?',
        };
        write!(f, "{letter}{}", self.0 & 0x00ff_ffff)
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Seconds since 1970 (spec protocol.md 5.8). It is an identity, compared bit for bit.
#[derive(Clone, Copy, Default)]
pub struct Timestamp(pub f64);

impl PartialEq for Timestamp {
    fn eq(&self, other: &Self) -> bool {
        self.0.to_bits() == other.0.to_bits()
    }
}

impl Eq for Timestamp {}

impl PartialOrd for Timestamp {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Timestamp {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Timestamp({:?})", self.0)
    }
}
