//! Typed encoding and decoding of msgpack values (spec protocol.md 5.1).
//!
//! What we send is always in the canonical (shortest) form; any valid form is accepted. Nothing
//! read here panics or recurses without a bound, and nothing is allocated for an announced length
//! that has not arrived.

use bytes::{Bytes, BytesMut};
use rmp::Marker;
use rmp::encode::{ByteBuf, write_array_len, write_bin_len, write_ext_meta, write_map_len};
use rmp::encode::{write_sint, write_uint};

use crate::ids::{NodeId, Oid, Partition, Ptid, Tid, Timestamp, Ttid};

/// Why bytes are not the value they should be. The only remedy is to close the connection.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The value ends before its announced end.
    #[error("truncated value")]
    Truncated,
    /// Another msgpack type was expected.
    #[error("expected {0}, got msgpack byte 0x{1:02x}")]
    Type(&'static str, u8),
    /// An array of fixed length has another one.
    #[error("expected an array of {0} items, got {1}")]
    Items(usize, usize),
    /// A number does not fit.
    #[error("{0} out of range")]
    Range(&'static str),
    /// An identifier or digest does not have its fixed length.
    #[error("{0} of a wrong length")]
    Length(&'static str),
    /// No such value in the enumeration.
    #[error("{0} has no value {1}")]
    Enum(&'static str, u64),
    /// No packet has this code.
    #[error("unknown packet code 0x{0:04x}")]
    Code(u64),
    /// Values nested too deep.
    #[error("values nested too deep")]
    Depth,
    /// A str that is not UTF-8.
    #[error("str that is not UTF-8")]
    Utf8,
    /// Bytes are left after the value.
    #[error("bytes left after the value")]
    Trailing,
}

/// A type that travels as an argument of packets.
pub trait Codec: Sized {
    /// Appends the notation of the specification for this type (spec protocol.md 5.1).
    fn notation(out: &mut String);
    /// Appends the canonical encoding.
    fn encode(&self, out: &mut BytesMut);
    /// Reads a value.
    ///
    /// # Errors
    /// [`DecodeError`] if what comes next is not a value of this type.
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError>;
}

/// Appends with rmp's primitives; writing to memory can not fail.
fn write(out: &mut BytesMut, f: impl FnOnce(&mut ByteBuf)) {
    let mut header = ByteBuf::with_capacity(16);
    f(&mut header);
    out.extend_from_slice(header.as_slice());
}

/// Appends an array header.
pub fn write_array_header(out: &mut BytesMut, length: usize) {
    if length < 16 {
        out.extend_from_slice(&[0x90 | length as u8]);
    } else {
        write(out, |w| { let _ = write_array_len(w, length as u32); });
    }
}

/// Appends a map header.
pub fn write_map_header(out: &mut BytesMut, length: usize) {
    write(out, |w| { let _ = write_map_len(w, length as u32); });
}

/// Appends a bin.
pub fn write_bin(out: &mut BytesMut, bytes: &[u8]) {
    out.reserve(bytes.len() + 5);
    match u8::try_from(bytes.len()) {
        Ok(length) => out.extend_from_slice(&[0xc4, length]),
        Err(_) => write(out, |w| { let _ = write_bin_len(w, bytes.len() as u32); }),
    }
    out.extend_from_slice(bytes);
}

/// Appends an unsigned integer.
pub fn write_unsigned(out: &mut BytesMut, value: u64) {
    match u8::try_from(value) {
        Ok(value) if value < 128 => out.extend_from_slice(&[value]),
        _ => write(out, |w| { let _ = write_uint(w, value); }),
    }
}

/// Appends a signed integer.
pub fn write_signed(out: &mut BytesMut, value: i64) {
    write(out, |w| { let _ = write_sint(w, value); });
}

/// Appends an enum value.
pub fn write_enum(out: &mut BytesMut, ext: i8, value: u8) {
    write(out, |w| { let _ = write_ext_meta(w, 1, ext); });
    out.extend_from_slice(&[value]);
}

/// Reads values out of one packet.
#[derive(Debug)]
pub struct Reader<'a> {
    frame: &'a Bytes,
    rest: &'a [u8],
    depth: u8,
}

impl<'a> Reader<'a> {
    /// Reads from the start of `frame`.
    #[must_use]
    pub fn new(frame: &'a Bytes) -> Self {
        Self {
            frame,
            rest: frame,
            depth: 0,
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
        let (head, rest) = self
            .rest
            .split_at_checked(length)
            .ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(head)
    }

    fn number<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        self.take(N)?.try_into().map_err(|_| DecodeError::Truncated)
    }

    pub(crate) fn marker(&mut self) -> Result<Marker, DecodeError> {
        Ok(Marker::from_u8(self.take(1)?[0]))
    }

    fn length(&mut self, width: u8) -> Result<usize, DecodeError> {
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
        Ok(if bytes.is_empty() {
            Bytes::new()
        } else {
            self.frame.slice_ref(bytes)
        })
    }

    fn skip_nil(&mut self) -> bool {
        let nil = self.rest.first() == Some(&0xc0);
        if nil {
            self.rest = &self.rest[1..];
        }
        nil
    }
}

pub(crate) fn enum_number(payload: &[u8]) -> Result<u64, DecodeError> {
    let frame = Bytes::copy_from_slice(payload.get(..payload.len().min(9)).unwrap_or_default());
    let mut reader = Reader::new(&frame);
    let number = reader.uint()?;
    if reader.remaining() > 0 || payload.len() > 9 {
        return Err(DecodeError::Trailing);
    }
    Ok(number)
}

macro_rules! codec_identifier {
    ($($name:ident $notation:literal),*) => { $(
        impl Codec for $name {
            fn notation(out: &mut String) { out.push_str($notation); }
            fn encode(&self, out: &mut BytesMut) {
                let b = self.to_bytes();
                out.extend_from_slice(
                    &[0xc4, 8, b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]]);
            }
            fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
                let bytes = reader.bin()?.try_into().map_err(|_| DecodeError::Length($notation))?;
                Ok(Self::from_bytes(bytes))
            }
        }
    )* };
}
codec_identifier!(Oid "oid", Tid "tid", Ttid "ttid");

macro_rules! codec_uint {
    ($($name:ident),*) => { $(
        impl Codec for $name {
            fn notation(out: &mut String) { out.push_str("uint"); }
            fn encode(&self, out: &mut BytesMut) { write_unsigned(out, u64::from(*self)); }
            fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
                Self::try_from(reader.uint()?).map_err(|_| DecodeError::Range("integer"))
            }
        }
    )* };
}
codec_uint!(u32, u64);

macro_rules! codec_newtype {
    ($($name:ident),*) => { $(
        impl Codec for $name {
            fn notation(out: &mut String) { out.push_str("uint"); }
            fn encode(&self, out: &mut BytesMut) { self.0.encode(out); }
            fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
                Ok(Self(Codec::decode(reader)?))
            }
        }
    )* };
}
codec_newtype!(Partition, Ptid);

impl Codec for NodeId {
    fn notation(out: &mut String) {
        out.push_str("nid");
    }

    fn encode(&self, out: &mut BytesMut) {
        write_signed(out, self.0.into());
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        i32::try_from(reader.integer()?)
            .map(Self)
            .map_err(|_| DecodeError::Range("nid"))
    }
}

impl Codec for Timestamp {
    fn notation(out: &mut String) {
        out.push_str("f64");
    }

    fn encode(&self, out: &mut BytesMut) {
        out.extend_from_slice(&[0xcb]);
        out.extend_from_slice(&self.0.to_be_bytes());
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match reader.peek()? {
            0xca => {
                reader.take(1)?;
                Ok(Self(f32::from_be_bytes(reader.number()?).into()))
            }
            0xcb => {
                reader.take(1)?;
                Ok(Self(f64::from_be_bytes(reader.number()?)))
            }
            // An integer is accepted as the Python NEO does (spec protocol.md 5.8).
            _ => Ok(Self(reader.integer()? as f64)),
        }
    }
}

impl Codec for bool {
    fn notation(out: &mut String) {
        out.push_str("bool");
    }

    fn encode(&self, out: &mut BytesMut) {
        out.extend_from_slice(&[0xc2 | u8::from(*self)]);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match reader.marker()? {
            Marker::False => Ok(false),
            Marker::True => Ok(true),
            other => Err(DecodeError::Type("a bool", other.to_u8())),
        }
    }
}

impl Codec for Bytes {
    fn notation(out: &mut String) {
        out.push_str("bin");
    }

    fn encode(&self, out: &mut BytesMut) {
        write_bin(out, self);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        reader.shared_bin()
    }
}

impl<T: Codec> Codec for Option<T> {
    fn notation(out: &mut String) {
        out.push('?');
        T::notation(out);
    }

    fn encode(&self, out: &mut BytesMut) {
        match self {
            None => out.extend_from_slice(&[0xc0]),
            Some(value) => value.encode(out),
        }
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        if reader.skip_nil() {
            Ok(None)
        } else {
            T::decode(reader).map(Some)
        }
    }
}

impl<T: Codec> Codec for Vec<T> {
    fn notation(out: &mut String) {
        out.push('[');
        T::notation(out);
        out.push(']');
    }

    fn encode(&self, out: &mut BytesMut) {
        write_array_header(out, self.len());
        self.iter().for_each(|item| item.encode(out));
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let length = reader.array()?;
        // Each item is at least one byte: more is a lie, and memory follows what arrived.
        let room = reader.remaining() / std::mem::size_of::<T>().max(1) + 1;
        let mut items = Self::with_capacity(length.min(room));
        for _ in 0..length {
            items.push(T::decode(reader)?);
        }
        Ok(items)
    }
}

macro_rules! codec_tuple {
    ($count:literal: $($name:ident $index:tt),*) => {
        impl<$($name: Codec),*> Codec for ($($name,)*) {
            fn notation(out: &mut String) {
                out.push('(');
                $( if $index > 0 { out.push_str(", "); } $name::notation(out); )*
                out.push(')');
            }
            fn encode(&self, out: &mut BytesMut) {
                write_array_header(out, $count);
                $( self.$index.encode(out); )*
            }
            fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
                reader.array_of($count)?;
                Ok(($($name::decode(reader)?,)*))
            }
        }
    };
}
codec_tuple!(2: A 0, B 1);
codec_tuple!(3: A 0, B 1, C 2);
codec_tuple!(4: A 0, B 1, C 2, D 3);
codec_tuple!(5: A 0, B 1, C 2, D 3, E 4);
