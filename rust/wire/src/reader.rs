//! Reading msgpack values (spec protocol.md 5.1).

use bytes::Bytes;
use rmp::Marker;

use crate::codec::DecodeError;

/// What the arrays and maps of a packet may take in memory whatever its size, in bytes.
pub const MEMORY_BASE: usize = 0x100_0000;
/// What they may take beside [`MEMORY_BASE`], in bytes for each byte of the packet. The types of
/// long arrays take less: an OID is 10 bytes on the wire and 8 in memory, an entry of
/// AskFetchObjects 21 and 40. What takes more (an empty row of a partition table: 1 and 24) is
/// not that long.
pub const MEMORY_FACTOR: usize = 4;

/// Reads values out of one packet.
///
/// A packet of `n` bytes takes at most `n` bytes for its texts and
/// `MEMORY_FACTOR * n + MEMORY_BASE` for its arrays and maps, which are allocated once, at their
/// announced length, provided that it is not greater than the number of bytes.
#[derive(Debug)]
pub struct Reader<'a> {
    frame: &'a Bytes,
    rest: &'a [u8],
    depth: u8,
    /// Values that may still be announced: each takes a byte, so there are no more than bytes.
    values: usize,
    /// Bytes that arrays and maps may still take in memory.
    memory: usize,
}

impl<'a> Reader<'a> {
    /// Reads from the start of `frame`.
    #[must_use]
    pub fn new(frame: &'a Bytes) -> Self {
        Self {
            frame,
            rest: frame,
            depth: 0,
            values: frame.len(),
            memory: frame.len().saturating_mul(MEMORY_FACTOR).saturating_add(MEMORY_BASE),
        }
    }

    /// Number of bytes not read yet.
    #[must_use]
    pub fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// The next byte, which stays.
    ///
    /// # Errors
    /// At the end.
    pub fn peek(&self) -> Result<u8, DecodeError> {
        self.rest.first().copied().ok_or(DecodeError::Truncated)
    }

    pub(crate) fn take(&mut self, length: usize) -> Result<&'a [u8], DecodeError> {
        let (head, rest) = self.rest.split_at_checked(length).ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(head)
    }

    pub(crate) fn number<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        self.take(N)?.try_into().map_err(|_| DecodeError::Truncated)
    }

    pub(crate) fn marker(&mut self) -> Result<Marker, DecodeError> {
        Ok(Marker::from_u8(self.take(1)?[0]))
    }

    pub(crate) fn length(&mut self, width: u8) -> Result<usize, DecodeError> {
        Ok(match width {
            1 => usize::from(u8::from_be_bytes(self.number()?)),
            2 => usize::from(u16::from_be_bytes(self.number()?)),
            _ => u32::from_be_bytes(self.number()?) as usize,
        })
    }

    /// Enters a nested value; bounded, so that no input can overflow the stack.
    ///
    /// # Errors
    /// Too deep, or what `f` returns.
    pub fn nested<T>(
        &mut self,
        f: impl FnOnce(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<T, DecodeError> {
        if self.depth >= crate::scan::MAX_DEPTH {
            return Err(DecodeError::Depth);
        }
        self.depth += 1;
        let result = f(self);
        self.depth -= 1;
        result
    }

    /// An empty array with room for the announced number of items.
    ///
    /// # Errors
    /// More items than bytes in the packet, or too much memory.
    pub fn room<T>(&mut self, length: usize) -> Result<Vec<T>, DecodeError> {
        self.values = self.values.checked_sub(length).ok_or(DecodeError::Truncated)?;
        self.memory = length
            .checked_mul(size_of::<T>())
            .and_then(|bytes| self.memory.checked_sub(bytes))
            .ok_or(DecodeError::Memory)?;
        Ok(Vec::with_capacity(length))
    }

    /// An integer in any form.
    ///
    /// # Errors
    /// Not an integer.
    pub fn integer(&mut self) -> Result<i128, DecodeError> {
        Ok(match self.marker()? {
            Marker::FixPos(value) => value.into(),
            Marker::FixNeg(value) => value.into(),
            Marker::U8 => u8::from_be_bytes(self.number()?).into(),
            Marker::U16 => u16::from_be_bytes(self.number()?).into(),
            Marker::U32 => u32::from_be_bytes(self.number()?).into(),
            Marker::U64 => u64::from_be_bytes(self.number()?).into(),
            Marker::I8 => i8::from_be_bytes(self.number()?).into(),
            Marker::I16 => i16::from_be_bytes(self.number()?).into(),
            Marker::I32 => i32::from_be_bytes(self.number()?).into(),
            Marker::I64 => i64::from_be_bytes(self.number()?).into(),
            other => return Err(DecodeError::Type("an integer", other.to_u8())),
        })
    }

    /// A non-negative integer.
    ///
    /// # Errors
    /// Not an integer, or negative.
    pub fn uint(&mut self) -> Result<u64, DecodeError> {
        if let Some((&small @ 0..0x80, rest)) = self.rest.split_first() {
            self.rest = rest;
            return Ok(small.into());
        }
        u64::try_from(self.integer()?).map_err(|_| DecodeError::Range("integer"))
    }

    /// The bytes of a bin, borrowed from the packet.
    ///
    /// # Errors
    /// Not a bin (a str is not one: spec protocol.md 5.1).
    pub fn bin(&mut self) -> Result<&'a [u8], DecodeError> {
        let width = match self.marker()? {
            Marker::Bin8 => 1,
            Marker::Bin16 => 2,
            Marker::Bin32 => 4,
            other => return Err(DecodeError::Type("a bin", other.to_u8())),
        };
        let length = self.length(width)?;
        self.take(length)
    }

    /// The length of an array.
    ///
    /// # Errors
    /// Not an array.
    pub fn array(&mut self) -> Result<usize, DecodeError> {
        match self.marker()? {
            Marker::FixArray(length) => Ok(length.into()),
            Marker::Array16 => self.length(2),
            Marker::Array32 => self.length(4),
            other => Err(DecodeError::Type("an array", other.to_u8())),
        }
    }

    /// The header of an array of a fixed length.
    ///
    /// # Errors
    /// Not an array, or of another length.
    pub fn array_of(&mut self, length: usize) -> Result<(), DecodeError> {
        match self.array()? {
            found if found == length => Ok(()),
            found => Err(DecodeError::Items(length, found)),
        }
    }

    /// The number of entries of a map.
    ///
    /// # Errors
    /// Not a map.
    pub fn map(&mut self) -> Result<usize, DecodeError> {
        match self.marker()? {
            Marker::FixMap(length) => Ok(length.into()),
            Marker::Map16 => self.length(2),
            Marker::Map32 => self.length(4),
            other => Err(DecodeError::Type("a map", other.to_u8())),
        }
    }

    /// The type and the payload of an ext.
    pub(crate) fn ext(&mut self) -> Result<(i8, &'a [u8]), DecodeError> {
        let length = match self.marker()? {
            Marker::FixExt1 => 1,
            Marker::FixExt2 => 2,
            Marker::FixExt4 => 4,
            Marker::FixExt8 => 8,
            Marker::FixExt16 => 16,
            Marker::Ext8 => self.length(1)?,
            Marker::Ext16 => self.length(2)?,
            Marker::Ext32 => self.length(4)?,
            other => return Err(DecodeError::Type("an ext", other.to_u8())),
        };
        let ext = i8::from_be_bytes(self.number()?);
        Ok((ext, self.take(length)?))
    }

    /// The number of an enum value: the payload of the ext is itself a msgpack integer.
    ///
    /// # Errors
    /// Not an ext of this type.
    pub fn enumeration(&mut self, expected: i8) -> Result<u64, DecodeError> {
        let (ext, payload) = self.ext()?;
        if ext != expected {
            return Err(DecodeError::Range("ext type"));
        }
        enum_number(payload)
    }

    /// The bytes of a bin as a slice of the receive buffer: nothing is copied.
    ///
    /// # Errors
    /// Not a bin.
    pub fn shared_bin(&mut self) -> Result<Bytes, DecodeError> {
        let bytes = self.bin()?;
        Ok(if bytes.is_empty() { Bytes::new() } else { self.frame.slice_ref(bytes) })
    }

    /// Reads nil; false if it is something else, which stays.
    pub(crate) fn skip_nil(&mut self) -> bool {
        let nil = self.rest.first() == Some(&Marker::Null.to_u8());
        if nil {
            self.rest = &self.rest[1..];
        }
        nil
    }
}

/// The number in the payload of an ext.
pub(crate) fn enum_number(payload: &[u8]) -> Result<u64, DecodeError> {
    static NO_FRAME: Bytes = Bytes::new();
    let mut reader = Reader { rest: payload, ..Reader::new(&NO_FRAME) };
    let number = reader.uint()?;
    if reader.remaining() > 0 {
        return Err(DecodeError::Trailing);
    }
    Ok(number)
}
