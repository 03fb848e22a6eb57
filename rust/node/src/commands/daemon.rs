//! What the commands that run a node have in common.

use std::fmt::Display;
use std::net::SocketAddr;

use neo_core::io::Exit;
use neo_net::{Shell, ShellConfig, Tls};
use neo_wire::Address;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::RunError;
use crate::config::node::{LinkConfig, NodeConfig};

/// A failure in one sentence.
pub(super) fn failed(error: impl Display) -> RunError {
    RunError::Failed(error.to_string())
}

/// TLS, if it is configured (spec tools.md 4.2).
pub(super) fn tls(link: &LinkConfig) -> Result<Option<Tls>, RunError> {
    let files = link.tls.as_ref();
    files.map(|files| Tls::open(&files.ca, &files.cert, &files.key)).transpose().map_err(failed)
}

/// A shell that listens: its address is known before there is a node.
pub(super) fn bind<E: Send + 'static>(config: &NodeConfig) -> Result<Shell<E>, RunError> {
    allow_many_files();
    let tls = tls(&config.link)?;
    if tls.is_some() {
        tracing::info!("TLS enabled for {}", config.bind);
    }
    let listen = Some(config.bind);
    Shell::bind(ShellConfig { listen, tls, ..ShellConfig::default() }).map_err(failed)
}

/// A node has a file per connection: it takes as many as the system allows without asking. What
/// most systems give by default (1024) is for programs that use `select`.
fn allow_many_files() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE).and_then(|(soft, hard)| {
        if soft < hard { setrlimit(Resource::RLIMIT_NOFILE, hard, hard) } else { Ok(()) }
    });
    if let Err(error) = raised {
        tracing::info!(%error, "the number of open files can not be raised");
    }
}

/// What is advertised to other nodes: the real port.
pub(super) fn advertised<E: Send + 'static>(shell: &Shell<E>, config: &NodeConfig) -> Address {
    Address::from_socket(shell.address().unwrap_or(config.bind))
}

/// Addresses as they travel.
pub(super) fn addresses(sockets: &[SocketAddr]) -> Vec<Address> {
    sockets.iter().copied().map(Address::from_socket).collect()
}

/// How a process ends.
pub(super) fn finish(exit: Exit) -> Result<(), RunError> {
    match exit {
        Exit::Success => Ok(()),
        Exit::Failure(reason) => Err(RunError::Failed(reason)),
    }
}
