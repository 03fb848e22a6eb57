//! The shell that runs a NEO core: sockets, TLS, timers.
//!
//! [`link`] turns bytes into messages and back, over TLS or not, without any socket. [`tls`] reads
//! certificates. [`shell`] drives one [`neo_core::io::Node`]: it gives it what happens, carries
//! out what it wants, and is all the I/O a server does, its database aside. [`socket`] has what
//! both this shell and a blocking client need of sockets.

pub mod link;
pub mod packets;
pub mod shell;
pub mod socket;
pub mod tls;

pub use link::{Link, LinkError};
pub use shell::{Context, Effects, Handle, NoEffects, Shell, ShellConfig, ShellError};
pub use tls::{Tls, TlsError};
