//! TLS between the framer and the bytes of the socket.

use std::io::{BufRead, Write};

use bytes::{Buf, BytesMut};
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, Connection, ServerConnection};

use super::{LinkError, Queue, Side};
use crate::tls::Tls;

/// First byte of a TLS handshake (spec protocol.md 2.2).
const TLS_HANDSHAKE: u8 = 0x16;
/// Packets are encrypted together up to this size, in bytes.
const BATCH: usize = 64 * 1024;

/// The state of TLS on one connection.
#[derive(Debug)]
pub struct Session {
    tls: Connection,
    /// From the socket, not given to TLS yet.
    received: BytesMut,
    /// To be encrypted.
    clear: BytesMut,
    /// Whether the first byte of the peer was the one of TLS, or need not be.
    checked: bool,
    ended: bool,
    failed: bool,
}

impl Session {
    pub fn new(tls: &Tls, side: Side) -> Result<Self, LinkError> {
        let mut tls: Connection = match side {
            Side::Connecting => {
                // Names are not compared, and none is sent: that of an IP address is not.
                let name = ServerName::from(std::net::IpAddr::from([127, 0, 0, 1]));
                ClientConnection::new(tls.client(), name)?.into()
            }
            Side::Accepting => ServerConnection::new(tls.server())?.into(),
        };
        // Our own queue is what is bounded.
        tls.set_buffer_limit(None);
        Ok(Self {
            tls,
            received: BytesMut::new(),
            clear: BytesMut::new(),
            checked: side == Side::Connecting,
            ended: false,
            failed: false,
        })
    }

    /// Queues what TLS says first.
    pub fn start(&mut self, output: &mut Queue) {
        self.flush(output);
    }

    pub fn is_established(&self) -> bool {
        !self.tls.is_handshaking()
    }

    pub fn is_ended(&self) -> bool {
        self.ended
    }

    pub fn buffer(&mut self) -> &mut BytesMut {
        &mut self.received
    }

    /// Decrypts what was received, to the end of `clear`.
    pub fn received(&mut self, clear: &mut BytesMut, output: &mut Queue) -> Result<(), LinkError> {
        if let (false, Some(first)) = (self.checked, self.received.first()) {
            if *first != TLS_HANDSHAKE {
                // Nothing is sent (spec protocol.md 2.2).
                self.received.clear();
                output.clear();
                self.clear.clear();
                self.failed = true;
                return Err(LinkError::NotTls);
            }
            self.checked = true;
        }
        let result = self.decrypt(clear);
        if result.is_err() {
            // Nothing can be said any more but the alert that tells the peer why.
            self.clear.clear();
            self.failed = true;
        }
        self.flush(output);
        result
    }

    fn decrypt(&mut self, clear: &mut BytesMut) -> Result<(), LinkError> {
        while !self.received.is_empty() && !self.ended {
            let mut input = &self.received[..];
            let count = self.tls.read_tls(&mut input).unwrap_or_default();
            self.received.advance(count);
            let state = self.tls.process_new_packets().inspect_err(|_| {
                self.received.clear();
                self.ended = true;
            })?;
            let mut left = state.plaintext_bytes_to_read();
            let mut reader = self.tls.reader();
            while left > 0 {
                let Ok(chunk) = reader.fill_buf() else { break };
                let count = chunk.len();
                clear.extend_from_slice(chunk);
                reader.consume(count);
                left = left.saturating_sub(count.max(1));
            }
            // After a close_notify, TLS takes nothing any more.
            self.ended |= state.peer_has_closed() || count == 0;
        }
        Ok(())
    }

    /// Appends to what is to be encrypted.
    pub fn append(&mut self, write: impl FnOnce(&mut BytesMut), output: &mut Queue) {
        if self.failed {
            return;
        }
        write(&mut self.clear);
        if self.clear.len() >= BATCH {
            self.seal(output);
        }
    }

    pub fn unsealed(&self) -> usize {
        self.clear.len()
    }

    pub fn discard_unsealed(&mut self) {
        self.clear.clear();
    }

    /// Encrypts what was appended, once the handshake is done.
    pub fn seal(&mut self, output: &mut Queue) {
        if self.clear.is_empty() || self.tls.is_handshaking() {
            return;
        }
        // Writing to a buffer without limit can not fail.
        if self.tls.writer().write_all(&self.clear).is_ok() {
            self.clear.clear();
            if self.clear.capacity() > 4 * BATCH {
                self.clear = BytesMut::new();
            }
        }
        self.flush(output);
    }

    fn flush(&mut self, output: &mut Queue) {
        while self.tls.wants_write() && self.tls.write_tls(output).is_ok() {}
    }
}
