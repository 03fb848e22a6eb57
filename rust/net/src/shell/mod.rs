//! Drives one node: gives it what happens, carries out what it wants.
//!
//! Everything is done by one thread, in turns: read what sockets have, let the node handle it,
//! then write to each connection once, whatever the number of packets. One call of the system
//! waits for sockets, timers, signals and other threads together.
//!
//! No reading is ever stopped because a queue is full, or two nodes that send much to each other
//! would wait for ever. When a peer does not drain what it gets, *handling* what it asks waits:
//! answers are not produced faster than they leave. What the node sends by itself is for the node
//! to bound, with [`Context::queued`] and [`Effects::drained`]; a peer that still drains nothing
//! at [`ShellConfig::queue_limit`] is closed.

mod clock;
mod connection;
mod driver;
mod effects;
mod sockets;
mod timers;
mod turn;
mod wake;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use neo_core::io::{Exit, Node};
use tracing::error;

pub use effects::{Context, Effects, NoEffects};
pub use wake::Handle;

use crate::packets::Identity;
use crate::socket::listen;
use crate::tls::Tls;
use driver::Driver;
use wake::Shared;

/// Why a node can not run.
#[derive(Debug, thiserror::Error)]
pub enum ShellError {
    /// Its address can not be listened to.
    #[error("can not listen to {address}: {source}")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The system refuses the event loop or the signals.
    #[error("can not start: {0}")]
    Start(#[from] io::Error),
}

/// What a shell is to do.
#[derive(Debug, Clone)]
pub struct ShellConfig {
    /// Where to accept connections; port 0 lets the system choose.
    pub listen: Option<SocketAddr>,
    /// Every connection then uses TLS, in both directions.
    pub tls: Option<Tls>,
    /// Whether SIGTERM and SIGINT ask the node to stop. A second one ends the process at once.
    pub stop_signals: bool,
    /// Numbers of signals that ask for a dump of the state to the log.
    pub dump_signals: Vec<i32>,
    /// How the log names the node.
    pub identity: Arc<Identity>,
    /// How often [`Effects::heartbeat`] is called, in milliseconds; none: never.
    pub heartbeat_ms: Option<u64>,
    /// A connection is closed when more bytes than this wait for it, or are received and not
    /// handled.
    pub queue_limit: usize,
    /// How many accepted connections may have sent nothing at a time: the oldest ones are closed.
    pub silent_limit: usize,
    /// When the node wants to exit, how long what it sent may take to leave, in milliseconds.
    pub exit_flush_ms: u64,
}

impl Default for ShellConfig {
    fn default() -> Self {
        Self {
            listen: None,
            tls: None,
            stop_signals: true,
            dump_signals: Vec::new(),
            identity: Arc::default(),
            heartbeat_ms: None,
            queue_limit: 256 * 1024 * 1024,
            silent_limit: 512,
            exit_flush_ms: 5000,
        }
    }
}

/// The shell of one node, whose events are `E`. It listens as soon as it exists, so the node can
/// be made with its real address.
#[derive(Debug)]
pub struct Shell<E> {
    config: ShellConfig,
    listener: Option<TcpListener>,
    address: Option<SocketAddr>,
    shared: Arc<Shared<E>>,
}

impl<E: Send + 'static> Shell<E> {
    /// Listens, if it is asked for.
    ///
    /// # Errors
    /// [`ShellError::Listen`]
    pub fn bind(config: ShellConfig) -> Result<Self, ShellError> {
        let listener = config.listen.map(listen).transpose()?;
        let (listener, address) = listener.unzip();
        Ok(Self { config, listener, address, shared: Arc::default() })
    }

    /// Where connections are accepted, with the real port.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// For other threads, to tell something to the node.
    #[must_use]
    pub fn handle(&self) -> Handle<E> {
        Handle::new(self.shared.clone())
    }

    /// Runs the node to its end on this thread. A broken invariant of the node ends the process
    /// with status 1: it would be unsafe to go on, and useless to wait.
    ///
    /// # Errors
    /// [`ShellError::Start`]
    pub fn run<N, X>(self, node: N, effects: X) -> Result<Exit, ShellError>
    where
        N: Node<Event = E>,
        X: Effects<N>,
    {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let _guard = runtime.enter();
        let mut driver = Driver::new(self.config, self.listener, self.shared, node, effects)?;
        let result = catch_unwind(AssertUnwindSafe(|| {
            driver.start();
            // The budget of tokio is for tasks that share a thread: ours is alone.
            runtime.block_on(tokio::task::coop::unconstrained(std::future::poll_fn(|context| {
                driver.turn(context)
            })))
        }));
        result.or_else(|panic| {
            let cause = panic
                .downcast_ref::<&str>()
                .copied()
                .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
                .unwrap_or("unknown");
            driver.broken(cause);
            error!(cause, "an invariant is broken: the process ends");
            std::process::exit(1)
        })
    }
}
