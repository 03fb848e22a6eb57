//! From a stream of bytes to packets and back (spec protocol.md 3 and 4.1).

use bytes::{Buf, Bytes, BytesMut};

use crate::codec::{Codec, DecodeError, Reader, write_array_header, write_unsigned};
use crate::packet::{Kind, Packet};
use crate::scan::{ScanError, Scanner};

/// First bytes of each direction: msgpack array of the str "NEO" and the version.
pub const HANDSHAKE: [u8; 6] = *b"\x92\xa3NEO\x05";
/// How much of [`HANDSHAKE`] tells NEO from anything else; the rest is the version.
const MAGIC: usize = 5;

/// A packet with its message identifier.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Message {
    /// Repeated by answers. None only in an Error that answers nothing (spec protocol.md 4.3).
    pub msg_id: Option<u32>,
    /// The packet.
    pub packet: Packet,
}

/// Why a connection must be closed, without a word to the peer (spec protocol.md 3.2 and 10.4).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The peer speaks NEO, in another version.
    #[error("protocol version mismatch: the peer speaks another version of NEO than 5")]
    Version,
    /// The peer does not speak NEO.
    #[error("the peer does not speak the NEO protocol")]
    NotNeo,
    /// Not a packet.
    #[error("malformed packet: {0}")]
    Scan(#[from] ScanError),
    /// Not one of the packets of the table.
    #[error("malformed packet: {0}")]
    Decode(#[from] DecodeError),
}

/// Cuts what is received into messages. Fill [`Framer::buffer`], then call [`Framer::next`] until
/// it returns none.
#[derive(Debug, Default)]
pub struct Framer {
    buffer: BytesMut,
    scanner: Scanner,
    greeted: bool,
    failed: Option<FrameError>,
}

impl Framer {
    /// For a new connection: the handshake is still to come.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Where to append received bytes. Never remove any.
    pub fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// Whether the handshake of the peer was received.
    #[must_use]
    pub fn is_greeted(&self) -> bool {
        self.greeted
    }

    /// The next complete message, if it has arrived. Bytes of object data in it share the receive
    /// buffer.
    ///
    /// # Errors
    /// [`FrameError`]: the connection must be closed. Nothing can be read any more: the same error
    /// is returned for ever.
    #[allow(clippy::should_implement_trait)] // an iterator would end where this one waits
    pub fn next(&mut self) -> Result<Option<Message>, FrameError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        self.read().inspect_err(|error| self.failed = Some(error.clone()))
    }

    fn read(&mut self) -> Result<Option<Message>, FrameError> {
        if !self.greeted && !self.handshake()? {
            return Ok(None);
        }
        let Some(length) = self.scanner.scan(&self.buffer)? else {
            return Ok(None);
        };
        let frame = self.buffer.split_to(length).freeze();
        Ok(Some(Message::decode(&frame)?))
    }

    fn handshake(&mut self) -> Result<bool, FrameError> {
        let received = &self.buffer[..self.buffer.len().min(HANDSHAKE.len())];
        if received != &HANDSHAKE[..received.len()] {
            let neo = received.len() > MAGIC && received[..MAGIC] == HANDSHAKE[..MAGIC];
            return Err(if neo { FrameError::Version } else { FrameError::NotNeo });
        }
        self.greeted = received.len() == HANDSHAKE.len();
        if self.greeted {
            self.buffer.advance(HANDSHAKE.len());
        }
        Ok(self.greeted)
    }
}

impl Message {
    /// Decodes exactly one packet.
    ///
    /// # Errors
    /// [`DecodeError`] if it is not one of the table with valid arguments, and nothing after it.
    pub fn decode(frame: &Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(frame);
        reader.array_of(3)?;
        let msg_id = Option::<u32>::decode(&mut reader)?;
        let code = reader.uint()?;
        let packet = Packet::decode_arguments(code, &mut reader)?;
        if reader.remaining() > 0 {
            return Err(DecodeError::Trailing);
        }
        if msg_id.is_none() && packet.kind() != Kind::Error {
            return Err(DecodeError::Range("msg_id"));
        }
        Ok(Self { msg_id, packet })
    }

    /// Appends its canonical encoding.
    pub fn encode(&self, out: &mut BytesMut) {
        write_array_header(out, 3);
        self.msg_id.encode(out);
        write_unsigned(out, self.packet.code().into());
        self.packet.encode_arguments(out);
    }
}

/// Appends the arguments of a packet alone, as an array: what logs keep (spec tools.md 11.4).
pub fn encode_body(packet: &Packet, out: &mut BytesMut) {
    packet.encode_arguments(out);
}

/// Appends a packet with its message identifier.
pub fn encode_message(msg_id: u32, packet: &Packet, out: &mut BytesMut) {
    write_array_header(out, 3);
    write_unsigned(out, msg_id.into());
    write_unsigned(out, packet.code().into());
    packet.encode_arguments(out);
}
