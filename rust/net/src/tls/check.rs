//! A handshake of a node with itself, in memory.

use rustls::{ClientConnection, Connection, Error, ServerConnection};

use super::Tls;
use rustls::pki_types::ServerName;

/// No handshake takes more round trips.
const ROUNDS: usize = 10;

/// Shakes hands in both roles.
pub fn handshake(tls: &Tls) -> Result<(), Error> {
    let name = ServerName::from(std::net::IpAddr::from([127, 0, 0, 1]));
    let mut client: Connection = ClientConnection::new(tls.client(), name)?.into();
    let mut server: Connection = ServerConnection::new(tls.server())?.into();
    for _ in 0..ROUNDS {
        pass(&mut client, &mut server)?;
        pass(&mut server, &mut client)?;
        if !client.is_handshaking() && !server.is_handshaking() {
            return Ok(());
        }
    }
    Err(Error::General("the handshake does not end".into()))
}

fn pass(from: &mut Connection, to: &mut Connection) -> Result<(), Error> {
    let general = |error: std::io::Error| Error::General(error.to_string());
    let mut bytes = Vec::new();
    while from.wants_write() {
        from.write_tls(&mut bytes).map_err(general)?;
    }
    let mut rest = &bytes[..];
    while !rest.is_empty() {
        if to.read_tls(&mut rest).map_err(general)? == 0 {
            break;
        }
        to.process_new_packets()?;
    }
    Ok(())
}
