//! Where does the packet end? Looks at the structure of msgpack values as bytes arrive, each byte
//! once, without building anything.

use rmp::Marker;

/// Values nested deeper than this are refused. NEO's own packets need less than ten levels.
pub const MAX_DEPTH: u8 = 32;
/// No array may announce more items (spec protocol.md 3.3).
pub const MAX_ARRAY: u64 = 0x400_0000;
/// No map may announce more entries (spec protocol.md 3.3).
pub const MAX_MAP: u64 = 0x200_0000;
/// No bin, str or ext may be longer: the buffer of the Python NEO (spec protocol.md 3.3).
pub const MAX_BIN: u64 = 0x400_0000;
/// No packet may be longer: twice the greatest item, so that whatever the Python NEO can receive
/// in one item passes with everything around it.
pub const MAX_PACKET: usize = 0x800_0000;

/// Why a stream can not go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ScanError {
    /// 0xc1 is not msgpack.
    #[error("not msgpack")]
    NotMsgpack,
    /// An announced length is above the limits.
    #[error("a length of {0} is above the limit")]
    TooLong(u64),
    /// Nested too deep.
    #[error("values nested too deep")]
    TooDeep,
    /// The packet is not an array of 3 items.
    #[error("not an array of 3 items")]
    NotAPacket,
}

/// Progress in the packet being received.
#[derive(Debug, Default)]
pub struct Scanner {
    /// Bytes looked at, maybe beyond what arrived (the payload of a bin).
    position: usize,
    /// Values still to come at each level; the last is the innermost.
    levels: Vec<u64>,
    started: bool,
}

impl Scanner {
    /// Goes on in `buffer`, which starts with the packet. Returns its length once complete; the
    /// scanner is then ready for the next packet.
    ///
    /// # Errors
    /// [`ScanError`]: the connection must be closed.
    pub fn scan(&mut self, buffer: &[u8]) -> Result<Option<usize>, ScanError> {
        loop {
            while self.levels.last() == Some(&0) {
                self.levels.pop();
            }
            if self.started && self.levels.is_empty() {
                return Ok(self.complete(buffer));
            }
            let Some(rest) = buffer.get(self.position..) else {
                return Ok(None);
            };
            if !self.value(rest)? {
                return Ok(None);
            }
            if self.position > MAX_PACKET {
                return Err(ScanError::TooLong(self.position as u64));
            }
        }
    }

    fn complete(&mut self, buffer: &[u8]) -> Option<usize> {
        let length = self.position;
        (length <= buffer.len()).then(|| {
            *self = Self { levels: std::mem::take(&mut self.levels), ..Self::default() };
            length
        })
    }

    /// Looks at one value (or the header of a container); false if its header has not arrived.
    fn value(&mut self, bytes: &[u8]) -> Result<bool, ScanError> {
        let Some(&first) = bytes.first() else {
            return Ok(false);
        };
        let marker = Marker::from_u8(first);
        let width = length_width(marker);
        let Some(length) = bytes.get(1..1 + width) else {
            return Ok(false);
        };
        let length = length.iter().fold(0, |value, byte| value << 8 | u64::from(*byte));
        let header = 1 + width;
        if !self.started {
            return self.first_value(marker, header, length);
        }
        if let Some(left) = self.levels.last_mut() {
            *left -= 1;
        }
        let (payload, children) = shape(marker, length)?;
        self.position += header + payload;
        if children > 0 {
            if self.levels.len() >= usize::from(MAX_DEPTH) {
                return Err(ScanError::TooDeep);
            }
            self.levels.push(children);
        }
        Ok(true)
    }

    fn first_value(
        &mut self,
        marker: Marker,
        header: usize,
        length: u64,
    ) -> Result<bool, ScanError> {
        let items = match marker {
            Marker::FixArray(items) => u64::from(items),
            Marker::Array16 | Marker::Array32 => length,
            Marker::Reserved => return Err(ScanError::NotMsgpack),
            _ => return Err(ScanError::NotAPacket),
        };
        if items != 3 {
            return Err(ScanError::NotAPacket);
        }
        self.started = true;
        self.position = header;
        self.levels.push(3);
        Ok(true)
    }
}

/// How many bytes after the first one hold a length.
fn length_width(marker: Marker) -> usize {
    match marker {
        Marker::Bin8 | Marker::Str8 | Marker::Ext8 => 1,
        Marker::Bin16 | Marker::Str16 | Marker::Ext16 | Marker::Array16 | Marker::Map16 => 2,
        Marker::Bin32 | Marker::Str32 | Marker::Ext32 | Marker::Array32 | Marker::Map32 => 4,
        _ => 0,
    }
}

/// Bytes that follow the header, and values that follow.
fn shape(marker: Marker, length: u64) -> Result<(usize, u64), ScanError> {
    let bounded = |limit: u64| {
        if length > limit { Err(ScanError::TooLong(length)) } else { Ok(length) }
    };
    Ok(match marker {
        Marker::Reserved => return Err(ScanError::NotMsgpack),
        Marker::FixPos(_) | Marker::FixNeg(_) | Marker::Null | Marker::True | Marker::False => {
            (0, 0)
        }
        Marker::U8 | Marker::I8 => (1, 0),
        Marker::U16 | Marker::I16 => (2, 0),
        Marker::U32 | Marker::I32 | Marker::F32 => (4, 0),
        Marker::U64 | Marker::I64 | Marker::F64 => (8, 0),
        Marker::FixStr(length) => (usize::from(length), 0),
        Marker::Bin8 | Marker::Bin16 | Marker::Bin32 => (bounded(MAX_BIN)? as usize, 0),
        Marker::Str8 | Marker::Str16 | Marker::Str32 => (bounded(MAX_BIN)? as usize, 0),
        Marker::Ext8 | Marker::Ext16 | Marker::Ext32 => (1 + bounded(MAX_BIN)? as usize, 0),
        Marker::FixExt1 => (2, 0),
        Marker::FixExt2 => (3, 0),
        Marker::FixExt4 => (5, 0),
        Marker::FixExt8 => (9, 0),
        Marker::FixExt16 => (17, 0),
        Marker::FixArray(items) => (0, u64::from(items)),
        Marker::FixMap(entries) => (0, 2 * u64::from(entries)),
        Marker::Array16 | Marker::Array32 => (0, bounded(MAX_ARRAY)?),
        Marker::Map16 | Marker::Map32 => (0, 2 * bounded(MAX_MAP)?),
    })
}
