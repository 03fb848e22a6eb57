//! A socket and its link.

use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use bytes::BytesMut;
use neo_wire::Packet;
use tokio::io::{AsyncReadExt, AsyncWrite};
use tokio::net::TcpStream;

use crate::link::{Link, LinkError};
use crate::socket::shutdown;

/// Above this many bytes in its queue, what a peer asks waits.
pub const HIGH_WATER: usize = 8 * 1024 * 1024;
/// Bytes that are received before messages are handled.
const READ_AHEAD: usize = 1024 * 1024;
/// Less room than this in the receive buffer is not worth a call of the system.
const READ_MIN: usize = 4 * 1024;
/// A connection that is used much gets a bigger receive buffer, up to this size.
const READ_MAX: usize = 256 * 1024;

/// Why nothing more can be received.
#[derive(Debug, thiserror::Error)]
pub enum End {
    #[error("closed by the peer")]
    Peer,
    #[error("{0}")]
    Socket(#[from] io::Error),
    #[error("{0}")]
    Link(#[from] LinkError),
    #[error("the peer does not take what it is sent: {0} bytes wait")]
    QueueFull(usize),
    #[error("the peer sends without taking its answers: {0} bytes are not handled")]
    Backlog(usize),
    #[error("the peer has not said anything, and there are too many like it")]
    Silent,
}

/// How far a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// The node does not know, or knows only that it asked.
    Opening,
    /// Known to the node.
    Open,
    /// Forgotten by the node, what it sent is still to leave.
    Flushing {
        /// Since the last look at the clock.
        progress: bool,
    },
    /// Everything has left, and the peer was told that nothing follows. Closing before the peer
    /// does could destroy what it has not read yet.
    Lingering,
}

type Connecting = Pin<Box<dyn Future<Output = io::Result<TcpStream>>>>;

enum Socket {
    Connecting(Connecting),
    Open(TcpStream),
}

pub struct Connection {
    socket: Socket,
    waker: Waker,
    pub link: Link,
    pub state: State,
    /// For logs.
    pub peer: String,
    pub ended: Option<End>,
    /// The queue was above [`HIGH_WATER`] and has not drained yet.
    pub above: bool,
    /// What was received is to be handled before more is read.
    pub throttled: bool,
    /// Whether it is in the list of those that may have messages.
    pub busy: bool,
    /// Whether it is in the list of those that have something to write.
    pub dirty: bool,
    read_size: usize,
    write_error: Option<io::Error>,
}

impl Connection {
    pub fn connecting(socket: Connecting, link: Link, peer: String, waker: Waker) -> Self {
        Self::new(Socket::Connecting(socket), link, peer, waker)
    }

    pub fn accepted(socket: TcpStream, link: Link, peer: String, waker: Waker) -> Self {
        Self::new(Socket::Open(socket), link, peer, waker)
    }

    fn new(socket: Socket, link: Link, peer: String, waker: Waker) -> Self {
        Self {
            socket,
            waker,
            link,
            state: State::Opening,
            peer,
            ended: None,
            above: false,
            throttled: false,
            busy: false,
            dirty: false,
            read_size: READ_MIN,
            write_error: None,
        }
    }

    /// Whether packets can pass.
    pub fn is_established(&self) -> bool {
        matches!(self.socket, Socket::Open(_)) && self.link.is_established()
    }

    /// Whether the node has nothing to do with it any more.
    pub fn is_closing(&self) -> bool {
        matches!(self.state, State::Flushing { .. } | State::Lingering)
    }

    /// Whether writing failed.
    pub fn is_broken(&self) -> bool {
        self.write_error.is_some()
    }

    /// Does what the socket is ready for, writing aside.
    pub fn poll(&mut self, queue_limit: usize) {
        let waker = self.waker.clone();
        let mut context = Context::from_waker(&waker);
        if let Socket::Connecting(future) = &mut self.socket {
            match future.as_mut().poll(&mut context) {
                Poll::Pending => return,
                Poll::Ready(Ok(stream)) => self.socket = Socket::Open(stream),
                Poll::Ready(Err(error)) => {
                    self.ended.get_or_insert(End::Socket(error));
                    return;
                }
            }
        }
        if self.is_closing() {
            self.discard(&mut context);
        } else if !self.throttled && self.ended.is_none() {
            self.read(&mut context, queue_limit);
        }
    }

    fn read(&mut self, context: &mut Context<'_>, queue_limit: usize) {
        let mut total = 0;
        while self.ended.is_none() {
            if total > 0 && total.max(self.link.unread()) >= READ_AHEAD {
                self.throttled = true;
                return;
            }
            match self.read_once(context) {
                Ok(Some(count)) => total += count,
                Ok(None) => break,
                Err(end) => self.ended = Some(end),
            }
            if self.above && self.link.unread() > queue_limit {
                self.ended = Some(End::Backlog(self.link.unread()));
            }
        }
        // What the peer sent before it closed is received, so nothing is lost.
        if let (None, Some(error)) = (&self.ended, self.write_error.take()) {
            self.ended = Some(End::Socket(error));
        }
    }

    /// None if there is nothing to read now.
    fn read_once(&mut self, context: &mut Context<'_>) -> Result<Option<usize>, End> {
        let Socket::Open(stream) = &mut self.socket else {
            return Ok(None);
        };
        let buffer = self.link.buffer();
        if buffer.capacity() - buffer.len() < READ_MIN {
            buffer.reserve(self.read_size);
        }
        let room = buffer.capacity() - buffer.len();
        let count = match pin!(stream.read_buf(buffer)).poll(context) {
            Poll::Pending => return Ok(None),
            Poll::Ready(count) => count?,
        };
        if count == 0 {
            return Err(End::Peer);
        }
        if count == room {
            self.read_size = (self.read_size * 2).min(READ_MAX);
        }
        self.link.received()?;
        if self.link.is_ended() {
            return Err(End::Peer);
        }
        Ok(Some(count))
    }

    /// Receives and forgets, until the peer closes.
    fn discard(&mut self, context: &mut Context<'_>) {
        let Socket::Open(stream) = &mut self.socket else {
            return;
        };
        let mut scratch = BytesMut::with_capacity(READ_MAX);
        loop {
            scratch.clear();
            match pin!(stream.read_buf(&mut scratch)).poll(context) {
                Poll::Pending => return,
                Poll::Ready(Ok(count)) if count > 0 => {}
                Poll::Ready(_) => {
                    self.ended.get_or_insert(End::Peer);
                    return;
                }
            }
        }
    }

    /// Queues a packet; true if it is to be written.
    pub fn send(&mut self, msg_id: u32, packet: &Packet, queue_limit: usize) -> bool {
        if self.is_closing() || self.is_broken() || self.ended.is_some() {
            return false;
        }
        self.link.send(msg_id, packet);
        let queued = self.link.queued();
        self.above |= queued > HIGH_WATER;
        if queued > queue_limit {
            self.ended = Some(End::QueueFull(queued));
            self.link.discard_output();
        }
        true
    }

    /// Writes what can be written.
    pub fn write(&mut self) {
        let Socket::Open(stream) = &mut self.socket else {
            return;
        };
        let mut context = Context::from_waker(&self.waker);
        while self.link.has_output() {
            let (slices, used) = self.link.slices();
            let stream = Pin::new(&mut *stream);
            let result = match &slices[..used] {
                [slice] => stream.poll_write(&mut context, slice),
                slices => stream.poll_write_vectored(&mut context, slices),
            };
            match result {
                Poll::Pending => return,
                Poll::Ready(Ok(count)) => {
                    self.link.written(count);
                    if let State::Flushing { progress } = &mut self.state {
                        *progress = true;
                    }
                }
                Poll::Ready(Err(error)) => {
                    self.link.discard_output();
                    self.write_error = Some(error);
                }
            }
        }
        if matches!(self.state, State::Flushing { .. }) && self.link.queued() == 0 {
            self.state = State::Lingering;
            // Refused if the peer is gone, which is what is waited for.
            if self.write_error.is_some() || shutdown(stream).is_err() {
                self.ended.get_or_insert(End::Peer);
            }
        }
    }

    /// Whether the queue, after it was too long, is short again; said once.
    pub fn take_drained(&mut self) -> bool {
        let lives = self.ended.is_none() && !self.is_broken();
        let drained = self.above && lives && self.link.queued() < HIGH_WATER / 2;
        self.above &= !drained;
        drained
    }
}
