//! Sockets and their options (spec protocol.md 2.1).

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::time::Duration;

use neo_wire::Address;
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpSocket, TcpStream};

use crate::shell::ShellError;

/// Connections that the system keeps while we are busy: all clients of a cluster come back at the
/// same time when a master restarts.
const BACKLOG: i32 = 1024;

pub(crate) fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), ShellError> {
    let open = || {
        let domain = Domain::for_address(address);
        let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        socket.set_nonblocking(true)?;
        let listener = TcpListener::from(socket);
        let address = listener.local_addr()?;
        Ok((listener, address))
    };
    open().map_err(|source| ShellError::Listen { address, source })
}

/// Sets the options that every connection has, on both sides: no delay, keep-alive.
///
/// # Errors
/// Those of the system.
pub fn set_options(stream: &impl AsFd) -> io::Result<()> {
    let socket = SockRef::from(stream);
    socket.set_tcp_nodelay(true)?;
    let keepalive = TcpKeepalive::new()
        .with_time(Duration::from_secs(60))
        .with_interval(Duration::from_secs(10))
        .with_retries(3);
    socket.set_tcp_keepalive(&keepalive)
}

/// On one machine, a port that nobody listens to can be given to ourselves as source port: the
/// socket is then connected to itself.
fn refuse_self(own: SocketAddr, peer: SocketAddr) -> io::Result<()> {
    if own == peer {
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    Ok(())
}

/// Opens a connection with a blocking socket.
///
/// # Errors
/// Those of the system.
pub fn connect_blocking(address: SocketAddr) -> io::Result<std::net::TcpStream> {
    let stream = std::net::TcpStream::connect(address)?;
    refuse_self(stream.local_addr()?, stream.peer_addr()?)?;
    set_options(&stream)?;
    Ok(stream)
}

/// Opens a connection; the host of `address` must be numeric.
pub(crate) async fn connect(address: Address) -> io::Result<TcpStream> {
    let socket = address.to_socket().ok_or_else(|| {
        io::Error::new(io::ErrorKind::InvalidInput, "the host is not a numeric address")
    })?;
    let stream = match socket {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }?
    .connect(socket)
    .await?;
    refuse_self(stream.local_addr()?, stream.peer_addr()?)?;
    set_options(&stream)?;
    Ok(stream)
}

/// Says that nothing more will be sent.
pub(crate) fn shutdown(stream: &TcpStream) -> io::Result<()> {
    SockRef::from(stream).shutdown(Shutdown::Write)
}
