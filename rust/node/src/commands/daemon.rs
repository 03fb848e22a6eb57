//! What the commands that run a node have in common.

use std::fmt::Display;
use std::net::SocketAddr;

use neo_core::io::{ConnectionId, Exit, Node};
use neo_net::packets::Identity;
use neo_net::{Context, Effects, Shell, ShellConfig, Tls};
use neo_wire::Address;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::config::node::{LinkConfig, NodeConfig};
use crate::{RunError, logging, systemd};

/// A failure in one sentence.
pub(super) fn failed(error: impl Display) -> RunError {
    RunError::Failed(error.to_string())
}

/// TLS, if it is configured (spec tools.md 4.2).
pub(super) fn tls(link: &LinkConfig) -> Result<Option<Tls>, RunError> {
    let files = link.tls.as_ref();
    files.map(|files| Tls::open(&files.ca, &files.cert, &files.key)).transpose().map_err(failed)
}

/// Sets up the logs of a daemon.
pub(super) fn start_log(config: &NodeConfig) -> Result<(), RunError> {
    if config.discard_log {
        logging::file::discard_at_exit();
    }
    logging::init(config.link.logfile.as_deref())
}

/// A shell that listens: its address is known before there is a node.
pub(super) fn bind<E: Send + 'static>(config: &NodeConfig) -> Result<Shell<E>, RunError> {
    allow_many_files();
    let tls = tls(&config.link)?;
    if tls.is_some() {
        tracing::info!("TLS enabled for {}", config.bind);
    }
    let listen = Some(config.bind);
    let shell = ShellConfig {
        listen,
        tls,
        dump_signals: logging::dump_signals(),
        identity: Identity::new(&config.cluster),
        heartbeat_ms: systemd::watchdog_ms(),
        ..ShellConfig::default()
    };
    Shell::bind(shell).map_err(failed)
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

/// Runs a node to its end; the supervisor is told.
pub(super) fn run<N, X>(shell: Shell<N::Event>, node: N, effects: X) -> Result<Exit, RunError>
where
    N: Node,
    N::Event: Send + 'static,
    X: Effects<N>,
{
    systemd::notify("READY=1");
    let exit = shell.run(node, Supervised(effects));
    systemd::notify("STOPPING=1");
    exit.map_err(failed)
}

/// What every daemon does besides what its node wants.
struct Supervised<X>(X);

impl<N: Node, X: Effects<N>> Effects<N> for Supervised<X> {
    fn effect(&mut self, effect: N::Effect, context: &mut Context<'_, N::Event>) {
        self.0.effect(effect, context);
    }

    fn drained(&mut self, connection: ConnectionId, context: &mut Context<'_, N::Event>) {
        self.0.drained(connection, context);
    }

    fn end_of_turn(&mut self, context: &mut Context<'_, N::Event>) {
        self.0.end_of_turn(context);
    }

    fn heartbeat(&mut self) {
        systemd::notify("WATCHDOG=1");
    }

    fn stopping(&mut self) {
        systemd::notify("STOPPING=1");
    }

    fn broken(&mut self, cause: &str, state: &str) {
        logging::fatal(&format!("Pre-mortem data:\n{cause}\n{state}"));
    }
}

/// How a process ends.
pub(super) fn finish(exit: Exit) -> Result<(), RunError> {
    match exit {
        Exit::Success => Ok(()),
        Exit::Failure(reason) => Err(RunError::Failed(reason)),
    }
}
