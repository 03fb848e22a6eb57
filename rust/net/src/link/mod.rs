//! One connection without its socket: bytes in, messages out; messages in, bytes out.
//!
//! Who owns the socket appends what it reads to [`Link::buffer`], calls [`Link::received`], then
//! [`Link::next`] until there is no message; and writes what [`Link::slices`] gives, telling
//! [`Link::written`]. The same code serves the event loop of servers and the thread of a client.

mod queue;
mod session;

use std::io::{self, IoSlice, Write};

use bytes::BytesMut;
use neo_wire::{FrameError, Framer, HANDSHAKE, Message, Packet, encode_message};

pub use queue::{Queue, SLICES};

use crate::packets::Tap;
use crate::tls::Tls;
use session::Session;

/// Why a link can not go on. What is still queued (a TLS alert) should be sent, then the socket
/// closed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LinkError {
    /// The peer speaks something else, or a malformed NEO.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// We use TLS, the peer that connected does not.
    #[error("the peer does not use TLS, we do")]
    NotTls,
    /// The TLS handshake failed, or TLS is broken later.
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
}

/// Who opened the connection: it makes a difference to TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// We connected.
    Connecting,
    /// The peer connected to us.
    Accepting,
}

/// A connection, its socket aside.
#[derive(Debug)]
pub struct Link {
    framer: Framer,
    output: Queue,
    tls: Option<Box<Session>>,
    tap: Option<Box<Tap>>,
}

impl Link {
    /// For a new connection, with TLS if `tls` is given. The handshake of NEO is queued at once
    /// (spec protocol.md 3.1).
    ///
    /// # Errors
    /// [`LinkError::Tls`] if TLS can not start (its random source fails).
    pub fn new(tls: Option<&Tls>, side: Side) -> Result<Self, LinkError> {
        match tls {
            Some(tls) => Ok(Self::start(Some(Session::new(tls, side)?))),
            None => Ok(Self::plain()),
        }
    }

    /// For a new connection without TLS.
    #[must_use]
    pub fn plain() -> Self {
        Self::start(None)
    }

    fn start(session: Option<Session>) -> Self {
        let mut link = Self {
            framer: Framer::new(),
            output: Queue::default(),
            tls: session.map(Box::new),
            tap: None,
        };
        link.append(|out| out.extend_from_slice(&HANDSHAKE));
        if let Some(session) = &mut link.tls {
            session.start(&mut link.output);
        }
        link
    }

    /// Shows what passes to the log, if there is one.
    pub fn show(&mut self, tap: Option<Box<Tap>>) {
        self.tap = tap;
    }

    /// Whether the connection exists for the upper layers: at once without TLS, after its
    /// handshake else (spec protocol.md 8.1).
    #[must_use]
    pub fn is_established(&self) -> bool {
        self.tls.as_ref().is_none_or(|tls| tls.is_established())
    }

    /// Whether the peer said (by TLS) that nothing more comes. Without TLS only the socket tells.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.is_ended())
    }

    /// Where to append what the socket gives; then call [`Link::received`]. Never remove any.
    pub fn buffer(&mut self) -> &mut BytesMut {
        match &mut self.tls {
            Some(session) => session.buffer(),
            None => self.framer.buffer(),
        }
    }

    /// Deals with what was appended to [`Link::buffer`].
    ///
    /// # Errors
    /// The connection must be closed, once the messages that [`Link::next`] still gives are
    /// handled.
    pub fn received(&mut self) -> Result<(), LinkError> {
        match &mut self.tls {
            Some(session) => session.received(self.framer.buffer(), &mut self.output),
            None => Ok(()),
        }
    }

    /// Like [`Link::buffer`] and [`Link::received`] in one, for who reads without having the link
    /// at hand. Nothing is copied when everything received before is consumed.
    ///
    /// # Errors
    /// As [`Link::received`].
    pub fn receive(&mut self, bytes: BytesMut) -> Result<(), LinkError> {
        self.buffer().unsplit(bytes);
        self.received()
    }

    /// The next message, if it is complete. Its data share the receive buffer.
    ///
    /// # Errors
    /// The connection must be closed; the same error is returned for ever.
    #[allow(clippy::should_implement_trait)] // an iterator would end where this one waits
    pub fn next(&mut self) -> Result<Option<Message>, LinkError> {
        let message = self.framer.next()?;
        if let (Some(tap), Some(message)) = (&mut self.tap, &message) {
            tap.received(message.msg_id, &message.packet);
        }
        Ok(message)
    }

    /// How many bytes are received that [`Link::next`] has not given.
    pub fn unread(&mut self) -> usize {
        self.framer.buffer().len()
    }

    /// Queues a packet.
    pub fn send(&mut self, msg_id: u32, packet: &Packet) {
        if let Some(tap) = &mut self.tap {
            tap.sent(msg_id, packet);
        }
        self.append(|out| encode_message(msg_id, packet, out));
    }

    fn append(&mut self, write: impl FnOnce(&mut BytesMut)) {
        match &mut self.tls {
            Some(session) => session.append(write, &mut self.output),
            None => self.output.append(write),
        }
    }

    /// How many bytes wait to be written.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.output.len() + self.tls.as_ref().map_or(0, |tls| tls.unsealed())
    }

    /// Whether something can be written now. While TLS shakes hands, packets wait for it.
    pub fn has_output(&mut self) -> bool {
        self.seal();
        !self.output.is_empty()
    }

    /// What to write first, and how many of the slices are used; none if there is nothing to write
    /// now.
    pub fn slices(&mut self) -> ([IoSlice<'_>; SLICES], usize) {
        self.seal();
        self.output.slices()
    }

    /// Forgets the first bytes of [`Link::slices`]: they were written.
    pub fn written(&mut self, count: usize) {
        self.output.written(count);
    }

    /// Drops what waits to be written.
    pub fn discard_output(&mut self) {
        self.output.clear();
        if let Some(session) = &mut self.tls {
            session.discard_unsealed();
        }
    }

    /// Writes to a blocking socket until nothing can be written any more.
    ///
    /// # Errors
    /// Those of the socket.
    pub fn write_to(&mut self, socket: &mut impl Write) -> io::Result<()> {
        while self.has_output() {
            let (slices, used) = self.slices();
            match socket.write_vectored(&slices[..used]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => self.written(count),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn seal(&mut self) {
        if let Some(session) = &mut self.tls {
            session.seal(&mut self.output);
        }
    }
}

#[cfg(test)]
mod tests;
