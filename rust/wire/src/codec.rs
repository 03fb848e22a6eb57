//! Typed encoding and decoding of msgpack values (spec protocol.md 5.1).
//!
//! What we send is always in the canonical (shortest) form; any valid form is accepted. Nothing
//! read here panics or recurses without a bound, and memory follows what arrived: see [`Reader`].

use bytes::{Bytes, BytesMut};
use rmp::Marker;

use crate::ids::{NodeId, Oid, Partition, Ptid, Tid, Timestamp, Ttid};
pub use crate::reader::{MEMORY_BASE, MEMORY_FACTOR, Reader};
pub use crate::writer::{write_array_header, write_bin, write_enum, write_map_header};
pub use crate::writer::{write_signed, write_str, write_unsigned};

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
    /// Values that would take much more memory than they have bytes.
    #[error("values that take too much memory")]
    Memory,
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

macro_rules! codec_identifier {
    ($($name:ident $notation:literal),*) => { $(
        impl Codec for $name {
            fn notation(out: &mut String) { out.push_str($notation); }
            fn encode(&self, out: &mut BytesMut) {
                let b = self.to_bytes();
                out.extend_from_slice(&[
                    Marker::Bin8.to_u8(), 8, b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7],
                ]);
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

/// A number that operators give: peers do not look at its sign, and it must be refused with words.
impl Codec for i64 {
    fn notation(out: &mut String) {
        out.push_str("uint");
    }

    fn encode(&self, out: &mut BytesMut) {
        write_signed(out, *self);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Self::try_from(reader.integer()?).map_err(|_| DecodeError::Range("integer"))
    }
}

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
        i32::try_from(reader.integer()?).map(Self).map_err(|_| DecodeError::Range("nid"))
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
        if reader.skip_nil() { Ok(None) } else { T::decode(reader).map(Some) }
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
        let mut items = reader.room(length)?;
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
