//! Writing msgpack values in their shortest form (spec protocol.md 5.1). Nothing is allocated but
//! the growth of the buffer.

use bytes::BytesMut;
use rmp::Marker;

/// Appends a marker and the big-endian bytes of a number.
macro_rules! write_number {
    ($out:ident, $marker:expr, $number:expr) => {{
        let number = ($number).to_be_bytes();
        let mut bytes = [0; 9];
        bytes[0] = ($marker).to_u8();
        bytes[1..=number.len()].copy_from_slice(&number);
        $out.extend_from_slice(&bytes[..=number.len()]);
    }};
}

/// Appends an array header.
pub fn write_array_header(out: &mut BytesMut, length: usize) {
    match length {
        0..16 => out.extend_from_slice(&[Marker::FixArray(length as u8).to_u8()]),
        16..0x1_0000 => write_number!(out, Marker::Array16, length as u16),
        _ => write_number!(out, Marker::Array32, length as u32),
    }
}

/// Appends a map header.
pub fn write_map_header(out: &mut BytesMut, length: usize) {
    match length {
        0..16 => out.extend_from_slice(&[Marker::FixMap(length as u8).to_u8()]),
        16..0x1_0000 => write_number!(out, Marker::Map16, length as u16),
        _ => write_number!(out, Marker::Map32, length as u32),
    }
}

/// Appends a bin.
pub fn write_bin(out: &mut BytesMut, bytes: &[u8]) {
    out.reserve(bytes.len() + 5);
    match bytes.len() {
        0..0x100 => write_number!(out, Marker::Bin8, bytes.len() as u8),
        0x100..0x1_0000 => write_number!(out, Marker::Bin16, bytes.len() as u16),
        _ => write_number!(out, Marker::Bin32, bytes.len() as u32),
    }
    out.extend_from_slice(bytes);
}

/// Appends a str, which NEO never sends but in its handshake.
pub fn write_str(out: &mut BytesMut, text: &str) {
    match text.len() {
        0..32 => out.extend_from_slice(&[Marker::FixStr(text.len() as u8).to_u8()]),
        32..0x100 => write_number!(out, Marker::Str8, text.len() as u8),
        0x100..0x1_0000 => write_number!(out, Marker::Str16, text.len() as u16),
        _ => write_number!(out, Marker::Str32, text.len() as u32),
    }
    out.extend_from_slice(text.as_bytes());
}

/// Appends an unsigned integer.
pub fn write_unsigned(out: &mut BytesMut, value: u64) {
    match value {
        0..0x80 => out.extend_from_slice(&[value as u8]),
        0x80..0x100 => write_number!(out, Marker::U8, value as u8),
        0x100..0x1_0000 => write_number!(out, Marker::U16, value as u16),
        0x1_0000..0x1_0000_0000 => write_number!(out, Marker::U32, value as u32),
        _ => write_number!(out, Marker::U64, value),
    }
}

/// Appends a signed integer.
pub fn write_signed(out: &mut BytesMut, value: i64) {
    match value {
        0.. => write_unsigned(out, value as u64),
        -0x20..0 => out.extend_from_slice(&[value as u8]),
        -0x80..-0x20 => write_number!(out, Marker::I8, value as i8),
        -0x8000..-0x80 => write_number!(out, Marker::I16, value as i16),
        -0x8000_0000..-0x8000 => write_number!(out, Marker::I32, value as i32),
        _ => write_number!(out, Marker::I64, value),
    }
}

/// Appends an enum value.
pub fn write_enum(out: &mut BytesMut, ext: i8, value: u8) {
    out.extend_from_slice(&[Marker::FixExt1.to_u8(), ext as u8, value]);
}
