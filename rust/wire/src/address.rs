//! Addresses and texts (spec protocol.md 5.6, 5.11).

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use bytes::BytesMut;

use crate::codec::{Codec, DecodeError, Reader, write_bin};

/// A text of the protocol: UTF-8 by convention, any bytes in fact. It owns its bytes, so that what
/// lives long does not keep a receive buffer alive.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Text(pub Box<[u8]>);

impl Text {
    /// Its bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether it has no byte.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self(text.as_bytes().into())
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self(text.into_bytes().into())
    }
}

impl PartialEq<str> for Text {
    fn eq(&self, other: &str) -> bool {
        &*self.0 == other.as_bytes()
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&String::from_utf8_lossy(&self.0))
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", String::from_utf8_lossy(&self.0))
    }
}

impl Codec for Text {
    fn notation(out: &mut String) {
        out.push_str("bin");
    }

    fn encode(&self, out: &mut BytesMut) {
        write_bin(out, &self.0);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self(reader.bin()?.into()))
    }
}

/// Where a node listens. Compared byte for byte: the host is to be in canonical numeric form.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    /// Numeric IPv4 or IPv6 address, without brackets.
    pub host: Text,
    /// TCP port.
    pub port: u16,
}

impl Address {
    /// The address of a socket in its canonical form: flow and scope of IPv6 are dropped.
    #[must_use]
    pub fn from_socket(address: SocketAddr) -> Self {
        Self { host: address.ip().to_string().into(), port: address.port() }
    }

    /// The socket address to connect to; `None` if the host is not numeric.
    #[must_use]
    pub fn to_socket(&self) -> Option<SocketAddr> {
        let host: IpAddr = std::str::from_utf8(self.host.as_bytes()).ok()?.parse().ok()?;
        Some(SocketAddr::new(host, self.port))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.as_bytes().contains(&b':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Codec for Address {
    fn notation(out: &mut String) {
        out.push_str("addr");
    }

    fn encode(&self, out: &mut BytesMut) {
        crate::codec::write_array_header(out, 2);
        self.host.encode(out);
        u32::from(self.port).encode(out);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        reader.array_of(2)?;
        let host = Text::decode(reader)?;
        let port = u16::try_from(reader.uint()?).map_err(|_| DecodeError::Range("port"))?;
        Ok(Self { host, port })
    }
}
