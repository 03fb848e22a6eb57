//! Encodings that are valid but not the shortest, which a decoder must accept
//! (spec protocol.md 5.1).

use neo_wire::Value;

/// Takes one of `n` choices, 0 … n − 1.
pub type Choose<'a> = &'a mut dyn FnMut(usize) -> usize;

/// First byte of the forms of a length: in the first byte (with its limit), 8, 16 and 32 bits.
struct Forms {
    short: Option<(u8, usize)>,
    long: [Option<u8>; 3],
}

const BIN: Forms = Forms { short: None, long: [Some(0xc4), Some(0xc5), Some(0xc6)] };
const STR: Forms = Forms { short: Some((0xa0, 32)), long: [Some(0xd9), Some(0xda), Some(0xdb)] };
const ARRAY: Forms = Forms { short: Some((0x90, 16)), long: [None, Some(0xdc), Some(0xdd)] };
const MAP: Forms = Forms { short: Some((0x80, 16)), long: [None, Some(0xde), Some(0xdf)] };
const EXT: Forms = Forms { short: None, long: [Some(0xc7), Some(0xc8), Some(0xc9)] };

/// Appends one of the valid encodings of a value.
pub fn encode(value: &Value, choose: Choose<'_>, out: &mut Vec<u8>) {
    match value {
        Value::Nil => out.push(0xc0),
        Value::Bool(value) => out.push(0xc2 | u8::from(*value)),
        Value::Unsigned(number) => one_of(unsigned(*number), choose, out),
        Value::Negative(number) => one_of(negative(*number), choose, out),
        Value::Float(time) => {
            out.push(0xcb);
            out.extend(time.0.to_be_bytes());
        }
        Value::Bin(text) => {
            header(&BIN, text.as_bytes().len(), choose, out);
            out.extend(text.as_bytes());
        }
        Value::Str(text) => {
            header(&STR, text.len(), choose, out);
            out.extend(text.as_bytes());
        }
        Value::Array(items) => {
            header(&ARRAY, items.len(), choose, out);
            items.iter().for_each(|item| encode(item, choose, out));
        }
        Value::Map(entries) => {
            header(&MAP, entries.len(), choose, out);
            for (key, value) in entries {
                encode(key, choose, out);
                encode(value, choose, out);
            }
        }
        Value::CellState(state) => enumeration(0, *state as u8, choose, out),
        Value::ClusterState(state) => enumeration(1, *state as u8, choose, out),
        Value::ErrorCode(code) => enumeration(2, *code, choose, out),
        Value::NodeState(state) => enumeration(3, *state as u8, choose, out),
        Value::NodeType(node_type) => enumeration(4, *node_type as u8, choose, out),
    }
}

fn one_of(forms: Vec<Vec<u8>>, choose: Choose<'_>, out: &mut Vec<u8>) {
    out.extend(&forms[choose(forms.len())]);
}

fn form(first: u8, bytes: &[u8]) -> Vec<u8> {
    [&[first], bytes].concat()
}

/// Every form of a non-negative integer, the signed ones included.
fn unsigned(number: u64) -> Vec<Vec<u8>> {
    let mut forms = vec![form(0xcf, &number.to_be_bytes())];
    if let Ok(number) = u8::try_from(number) {
        forms.push(form(0xcc, &[number]));
        if number < 0x80 {
            forms.push(vec![number]);
        }
    }
    if let Ok(number) = u16::try_from(number) {
        forms.push(form(0xcd, &number.to_be_bytes()));
    }
    if let Ok(number) = u32::try_from(number) {
        forms.push(form(0xce, &number.to_be_bytes()));
    }
    if let Ok(number) = i64::try_from(number) {
        forms.extend(signed(number));
    }
    forms
}

fn negative(number: i64) -> Vec<Vec<u8>> {
    let mut forms = signed(number);
    if number >= -0x20 {
        forms.push(vec![number as u8]);
    }
    forms
}

fn signed(number: i64) -> Vec<Vec<u8>> {
    let mut forms = vec![form(0xd3, &number.to_be_bytes())];
    if let Ok(number) = i8::try_from(number) {
        forms.push(form(0xd0, &number.to_be_bytes()));
    }
    if let Ok(number) = i16::try_from(number) {
        forms.push(form(0xd1, &number.to_be_bytes()));
    }
    if let Ok(number) = i32::try_from(number) {
        forms.push(form(0xd2, &number.to_be_bytes()));
    }
    forms
}

fn header(forms: &Forms, length: usize, choose: Choose<'_>, out: &mut Vec<u8>) {
    let mut headers = Vec::new();
    if let Some((first, limit)) = forms.short
        && length < limit
    {
        headers.push(vec![first | length as u8]);
    }
    let [bits_8, bits_16, bits_32] = forms.long;
    if let (Some(first), Ok(length)) = (bits_8, u8::try_from(length)) {
        headers.push(form(first, &[length]));
    }
    if let (Some(first), Ok(length)) = (bits_16, u16::try_from(length)) {
        headers.push(form(first, &length.to_be_bytes()));
    }
    if let (Some(first), Ok(length)) = (bits_32, u32::try_from(length)) {
        headers.push(form(first, &length.to_be_bytes()));
    }
    one_of(headers, choose, out);
}

/// An ext whose payload is any form of the number.
fn enumeration(ext: u8, value: u8, choose: Choose<'_>, out: &mut Vec<u8>) {
    let mut payload = Vec::new();
    one_of(unsigned(value.into()), choose, &mut payload);
    let fixed = match payload.len() {
        1 => Some(0xd4),
        2 => Some(0xd5),
        _ => None,
    };
    match fixed {
        Some(first) if choose(2) == 0 => out.push(first),
        _ => header(&EXT, payload.len(), choose, out),
    }
    out.push(ext);
    out.extend(payload);
}
