//! What systemd is told, if it asked (sd_notify(3), spec tools.md 20.3).

use std::env;
use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use tracing::debug;

/// Sends one message, or does nothing where nobody asked for it.
pub(crate) fn notify(message: &str) {
    if let Some(name) = env::var_os("NOTIFY_SOCKET")
        && let Err(error) = send(&name, message)
    {
        debug!(%error, "systemd is not told {message}");
    }
}

fn send(name: &OsStr, message: &str) -> io::Result<()> {
    let address = match name.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(name)?,
    };
    let socket = UnixDatagram::unbound()?;
    // The loop must not wait for who does not read.
    socket.set_nonblocking(true)?;
    socket.send_to_addr(message.as_bytes(), &address)?;
    Ok(())
}

/// How often to tell that the node lives, in milliseconds: twice as often as it is wanted.
pub(crate) fn watchdog_ms() -> Option<u64> {
    env::var_os("NOTIFY_SOCKET")?;
    let own = env::var("WATCHDOG_PID").ok().and_then(|pid| pid.parse().ok());
    if own.is_some_and(|pid: u32| pid != std::process::id()) {
        return None;
    }
    let period_us: u64 = env::var("WATCHDOG_USEC").ok()?.parse().ok()?;
    (period_us > 0).then(|| (period_us / 2000).max(1))
}
