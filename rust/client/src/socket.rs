//! One TCP connection of the client, never blocking.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use neo_net::link::Side;
use neo_net::packets::Tap;
use neo_net::{Link, LinkError, Tls};
use neo_wire::Message;
use socket2::{Domain, Protocol, SockRef, TcpKeepalive, Type};
use tracing::debug;

/// First size of a read; it grows while reads fill it.
const MIN_CHUNK: usize = 4 << 10;
const MAX_CHUNK: usize = 256 << 10;

/// See the module.
#[derive(Debug)]
pub struct Socket {
    stream: Arc<TcpStream>,
    link: Link,
    /// TCP is not connected yet.
    connecting: bool,
    /// The core knows that the connection exists.
    announced: bool,
    chunk: usize,
}

/// What came of a readable socket.
#[derive(Debug, Default)]
pub struct Reception {
    /// In order.
    pub messages: Vec<Message>,
    /// The connection ended, or must.
    pub ended: bool,
}

impl Socket {
    /// Starts connecting.
    ///
    /// # Errors
    /// Those of the system; the address is refused at once, or no socket can be made.
    pub fn connect(address: SocketAddr, tls: Option<&Tls>) -> io::Result<Self> {
        let socket =
            socket2::Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        let keepalive = TcpKeepalive::new()
            .with_time(Duration::from_secs(60))
            .with_interval(Duration::from_secs(10))
            .with_retries(3);
        socket.set_tcp_keepalive(&keepalive)?;
        let connecting = match socket.connect(&address.into()) {
            Ok(()) => false,
            Err(error) if error.raw_os_error() == Some(nix::errno::Errno::EINPROGRESS as i32) => {
                true
            }
            Err(error) => return Err(error),
        };
        let link = Link::new(tls, Side::Connecting).map_err(io::Error::other)?;
        Ok(Self {
            stream: Arc::new(socket.into()),
            link,
            connecting,
            announced: false,
            chunk: MIN_CHUNK,
        })
    }

    /// To wait for it without holding any lock.
    #[must_use]
    pub fn stream(&self) -> Arc<TcpStream> {
        self.stream.clone()
    }

    /// Shows what passes to the log.
    pub fn show(&mut self, tap: Option<Box<Tap>>) {
        self.link.show(tap);
    }

    /// Queues a packet; [`Socket::flush`] sends it.
    pub fn send(&mut self, msg_id: u32, packet: &neo_wire::Packet) {
        self.link.send(msg_id, packet);
    }

    /// Whether to wait until it can be written.
    pub fn wants_write(&mut self) -> bool {
        self.connecting || self.link.has_output()
    }

    /// Whether nothing waits to be written.
    pub fn is_flushed(&mut self) -> bool {
        !self.connecting && self.link.queued() == 0
    }

    /// The system says something about a connection being made. True once TCP is connected.
    ///
    /// # Errors
    /// The connection can not be made.
    pub fn check_connection(&mut self) -> io::Result<bool> {
        if self.connecting {
            if let Some(error) = SockRef::from(&*self.stream).take_error()? {
                return Err(error);
            }
            match self.stream.peer_addr() {
                Ok(_) => self.connecting = false,
                Err(error) if error.kind() == io::ErrorKind::NotConnected => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// True once: the connection exists (TLS included) and the core does not know yet.
    pub fn announce(&mut self) -> bool {
        if self.announced || self.connecting || !self.link.is_established() {
            return false;
        }
        self.announced = true;
        true
    }

    /// Writes what can be written now.
    ///
    /// # Errors
    /// The connection is broken.
    pub fn flush(&mut self) -> io::Result<()> {
        if self.connecting {
            return Ok(());
        }
        while self.link.has_output() {
            let (slices, used) = self.link.slices();
            match (&*self.stream).write_vectored(&slices[..used]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => self.link.written(count),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Reads what has arrived.
    pub fn receive(&mut self) -> Reception {
        let mut reception = Reception::default();
        reception.ended = match self.read(&mut reception.messages) {
            Ok(ended) => ended,
            Err(cause) => {
                debug!(%cause, "connection closed");
                true
            }
        };
        reception
    }

    /// True at the end of the stream.
    fn read(&mut self, messages: &mut Vec<Message>) -> Result<bool, Box<dyn std::error::Error>> {
        loop {
            let buffer = self.link.buffer();
            let length = buffer.len();
            buffer.resize(length + self.chunk, 0);
            let count = match (&*self.stream).read(&mut buffer[length..]) {
                Ok(count) => count,
                Err(error) => {
                    buffer.truncate(length);
                    match error.kind() {
                        io::ErrorKind::Interrupted => continue,
                        io::ErrorKind::WouldBlock => return Ok(false),
                        _ => return Err(error.into()),
                    }
                }
            };
            buffer.truncate(length + count);
            if count == 0 {
                return Ok(true);
            }
            let received: Result<(), LinkError> = self.link.received();
            while let Some(message) = self.link.next()? {
                messages.push(message);
            }
            received?;
            if self.link.is_ended() {
                return Ok(true);
            }
            if count < self.chunk {
                self.chunk = count.clamp(MIN_CHUNK, MAX_CHUNK);
                return Ok(false);
            }
            self.chunk = (self.chunk * 2).min(MAX_CHUNK);
        }
    }
}
