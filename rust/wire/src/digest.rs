//! SHA-1 digests (spec protocol.md 9.3, 9.6).

use std::fmt;

use bytes::BytesMut;
use sha1::{Digest as _, Sha1};

use crate::codec::{Codec, DecodeError, Reader, write_bin};

/// A SHA-1 digest of 20 bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Digest(pub [u8; 20]);

impl Digest {
    /// Twenty zero bytes: with empty data, "no data".
    pub const ZERO: Self = Self([0; 20]);

    /// Checksum of object data as it travels (spec protocol.md 9.3).
    #[must_use]
    pub fn of(data: &[u8]) -> Self {
        Self(Sha1::digest(data).into())
    }

    /// Range digest: SHA-1 of the decimal numbers joined by commas (spec protocol.md 9.6);
    /// [`Digest::ZERO`] if there is none.
    #[must_use]
    pub fn of_range(values: impl IntoIterator<Item = u64>) -> Self {
        use std::fmt::Write as _;
        let mut hasher = Sha1::new();
        let mut text = String::new();
        let mut empty = true;
        for value in values {
            text.clear();
            // Writing to a String can not fail.
            let _ = if empty { write!(text, "{value}") } else { write!(text, ",{value}") };
            hasher.update(text.as_bytes());
            empty = false;
        }
        if empty { Self::ZERO } else { Self(hasher.finalize().into()) }
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Codec for Digest {
    fn notation(out: &mut String) {
        out.push_str("digest");
    }

    fn encode(&self, out: &mut BytesMut) {
        write_bin(out, &self.0);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let bytes = reader.bin()?.try_into().map_err(|_| DecodeError::Length("digest"))?;
        Ok(Self(bytes))
    }
}
