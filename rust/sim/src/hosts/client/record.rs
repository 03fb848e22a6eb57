//! What the objects of the simulated application hold.

use bytes::{BufMut, Bytes, BytesMut};
use neo_wire::{Oid, Tid};

/// What an account holds when it is created.
pub const INITIAL_BALANCE: i64 = 100;

/// An account. Money is moved, never made, except at the creation of accounts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Record {
    /// The transaction that wrote it.
    pub label: u64,
    /// The account.
    pub oid: Oid,
    /// What is on it.
    pub balance: i64,
    /// The revision it was computed from.
    pub base: Tid,
}

const SIZE: usize = 32;

impl Record {
    /// Bytes to store, with something of an arbitrary length behind.
    #[must_use]
    pub fn encode(&self, padding: usize) -> Bytes {
        let mut bytes = BytesMut::with_capacity(SIZE + padding);
        bytes.put_u64(self.label);
        bytes.put_u64(self.oid.0);
        bytes.put_i64(self.balance);
        bytes.put_u64(self.base.0);
        bytes.put_bytes(self.label.to_le_bytes()[0], padding);
        bytes.freeze()
    }

    /// From what was stored.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (words, _) = bytes.get(..SIZE)?.as_chunks::<8>();
        let mut words = words.iter().map(|word| u64::from_be_bytes(*word));
        Some(Self {
            label: words.next()?,
            oid: Oid(words.next()?),
            balance: words.next()?.cast_signed(),
            base: Tid(words.next()?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_encoded_is_decoded() {
        let record = Record { label: 7, oid: Oid(3), balance: -5, base: Tid(9) };
        let bytes = record.encode(11);
        assert_eq!(bytes.len(), SIZE + 11);
        assert_eq!(Record::decode(&bytes), Some(record));
        assert_eq!(Record::decode(&bytes[..SIZE - 1]), None);
    }
}
