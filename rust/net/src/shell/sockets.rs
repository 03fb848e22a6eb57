//! Every connection, and who is to be served next.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write as _;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use neo_core::io::{ConnectionId, Input};
use neo_wire::{Address, Packet};
use tokio::net::{TcpListener, TcpStream};
use tracing::{debug, info, warn};

use super::ShellConfig;
use super::connection::{Connection, End, State};
use super::timers::{Timer, Timers};
use super::wake::{Shared, Source, waker};
use crate::link::{Link, Side};
use crate::packets::Tap;
use crate::socket::{connect, set_options};

/// Connections accepted in a row before others are served.
const ACCEPTED_AT_ONCE: usize = 64;
/// How long to wait when the system has no resource for one more connection, in milliseconds.
const ACCEPT_RETRY_MS: u64 = 100;
/// A lack of resources that lasts is said again after this time, in milliseconds.
const WARN_AGAIN_MS: u64 = 60_000;
/// How long a peer may take nothing of what is left to send, in milliseconds.
const FLUSH_MS: u64 = 60_000;
/// How long the peer may take to close once it was told that nothing follows, in milliseconds.
const LINGER_MS: u64 = 1000;
/// Messages wait to be handled while this many bytes are to be written.
const WRITE_SOON: usize = 256 * 1024;

pub struct Sockets<E> {
    config: ShellConfig,
    shared: Arc<Shared<E>>,
    listener: Option<TcpListener>,
    listener_waker: Waker,
    connections: BTreeMap<ConnectionId, Connection>,
    accepted: u64,
    /// Were accepted and have not sent anything for the node: closed first if there are too many.
    silent: BTreeSet<ConnectionId>,
    /// Until when a lack of resources is not said again.
    quiet_until_ms: u64,
    /// May have a message, or another input for the node.
    busy: VecDeque<ConnectionId>,
    /// Have something to write.
    dirty: Vec<ConnectionId>,
    /// To be looked at in the next turn, without waiting.
    pub again: Vec<Source>,
    pub timers: Timers,
    /// Bytes queued since the last writing.
    fresh: usize,
}

impl<E: Send + 'static> Sockets<E> {
    pub fn new(config: ShellConfig, listener: Option<TcpListener>, shared: Arc<Shared<E>>) -> Self {
        Self {
            config,
            listener_waker: waker(&shared, Source::Listener),
            shared,
            listener,
            connections: BTreeMap::new(),
            accepted: 0,
            silent: BTreeSet::new(),
            quiet_until_ms: 0,
            busy: VecDeque::new(),
            dirty: Vec::new(),
            again: vec![Source::Listener],
            timers: Timers::default(),
            fresh: 0,
        }
    }

    /// Accepts who knocks.
    pub fn accept(&mut self, now_ms: u64) {
        for _ in 0..ACCEPTED_AT_ONCE {
            let Some(listener) = &self.listener else {
                return;
            };
            let mut context = Context::from_waker(&self.listener_waker);
            match listener.poll_accept(&mut context) {
                Poll::Pending => return,
                Poll::Ready(Ok((stream, peer))) => self.accepted(stream, peer),
                Poll::Ready(Err(error)) if is_of_peer(&error) => {
                    debug!(%error, "a connection ended before it was accepted");
                }
                Poll::Ready(Err(error)) => {
                    if now_ms >= self.quiet_until_ms {
                        warn!(%error, "can not accept connections for the moment");
                        self.quiet_until_ms = now_ms + WARN_AGAIN_MS;
                    }
                    for _ in 0..self.silent.len().div_ceil(2) {
                        self.close_a_silent_one();
                    }
                    self.timers.set(Timer::Accept, now_ms + ACCEPT_RETRY_MS);
                    return;
                }
            }
        }
        self.again.push(Source::Listener);
    }

    fn accepted(&mut self, stream: TcpStream, peer: SocketAddr) {
        let link = Link::new(self.config.tls.as_ref(), Side::Accepting).map_err(End::from);
        let link = link.and_then(|mut link| {
            link.show(Tap::new(&self.config.identity, peer.to_string()));
            set_options(&stream)?;
            Ok(link)
        });
        match link {
            Ok(link) => {
                let id = ConnectionId(self.accepted);
                self.accepted += 1;
                let waker = waker(&self.shared, Source::Connection(id));
                let connection = Connection::accepted(stream, link, peer.to_string(), waker);
                self.connections.insert(id, connection);
                self.silent.insert(id);
                if self.silent.len() > self.config.silent_limit {
                    self.close_a_silent_one();
                }
                self.mark_dirty(id);
                self.poll(id);
            }
            Err(cause) => info!(%peer, %cause, "connection not accepted"),
        }
    }

    /// Nodes speak at once: the oldest one that did not is the least likely to be one.
    fn close_a_silent_one(&mut self) {
        let Some(id) = self.silent.pop_first() else {
            return;
        };
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.ended.get_or_insert(End::Silent);
            self.mark_busy(id);
        }
    }

    pub fn stop_listening(&mut self) {
        self.listener = None;
    }

    /// Opens a connection; `Connected` or `Closed` follows.
    pub fn connect(&mut self, id: ConnectionId, address: Address) {
        let peer = address.to_string();
        let waker = waker(&self.shared, Source::Connection(id));
        let (link, ended) = match Link::new(self.config.tls.as_ref(), Side::Connecting) {
            Ok(link) => (link, None),
            Err(error) => (Link::plain(), Some(error.into())),
        };
        let mut link = link;
        link.show(Tap::new(&self.config.identity, peer.clone()));
        let mut connection = Connection::connecting(Box::pin(connect(address)), link, peer, waker);
        connection.ended = ended;
        self.connections.insert(id, connection);
        self.mark_dirty(id);
        self.again.push(Source::Connection(id));
    }

    pub fn send(&mut self, id: ConnectionId, msg_id: u32, packet: &Packet) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        let before = connection.link.queued();
        if connection.send(msg_id, packet, self.config.queue_limit) {
            self.fresh += connection.link.queued().saturating_sub(before);
            if connection.ended.is_some() {
                self.mark_busy(id);
            }
            self.mark_dirty(id);
        }
    }

    /// Closes once everything has left.
    pub fn abort(&mut self, id: ConnectionId, now_ms: u64) {
        match self.connections.get_mut(&id) {
            Some(connection) if connection.is_closing() => {}
            Some(connection) if connection.state == State::Open && !connection.is_broken() => {
                connection.state = State::Flushing { progress: false };
                self.timers.set(Timer::Closing(id), now_ms + FLUSH_MS);
                self.mark_dirty(id);
            }
            _ => self.remove(id),
        }
    }

    /// Closes at once.
    pub fn remove(&mut self, id: ConnectionId) {
        if self.connections.remove(&id).is_some() {
            self.silent.remove(&id);
            self.timers.cancel(Timer::Closing(id));
        }
    }

    /// How many bytes wait to leave.
    pub fn queued(&self, id: ConnectionId) -> usize {
        let connection = self.connections.get(&id);
        connection.map_or(0, |connection| connection.link.queued())
    }

    /// Does what a socket is ready for.
    pub fn poll(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        connection.poll(self.config.queue_limit);
        if connection.is_closing() && connection.ended.is_some() {
            self.remove(id);
        } else {
            if connection.link.has_output() {
                self.mark_dirty(id);
            }
            self.mark_busy(id);
        }
    }

    fn mark_dirty(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connections.get_mut(&id)
            && !std::mem::replace(&mut connection.dirty, true)
        {
            self.dirty.push(id);
        }
    }

    fn mark_busy(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connections.get_mut(&id)
            && !connection.is_closing()
            && !std::mem::replace(&mut connection.busy, true)
        {
            self.busy.push_back(id);
        }
    }

    /// A line for each connection, for who looks for what is wrong.
    pub fn dump(&self) -> String {
        let mut text = format!("connections: {}", self.connections.len());
        for (id, connection) in &self.connections {
            let direction = if id.is_opened() { "to" } else { "from" };
            let (queued, state) = (connection.link.queued(), connection.state);
            // Writing to a String does not fail.
            let _ = write!(
                text,
                "\n{direction} {}: {state:?}, {queued} bytes to write",
                connection.peer
            );
        }
        text
    }

    /// Whether something can be done without waiting.
    pub fn has_work(&self) -> bool {
        !(self.busy.is_empty() && self.dirty.is_empty() && self.again.is_empty())
    }

    /// Whether some connection may have an input for the node.
    pub fn is_busy(&self) -> bool {
        !self.busy.is_empty()
    }

    /// Whether enough is to be written for not waiting until everything is handled.
    pub fn should_write(&self) -> bool {
        self.fresh >= WRITE_SOON
    }

    pub fn is_empty(&self) -> bool {
        self.connections.is_empty()
    }

    /// What one connection has for the node, each in turn. None may just mean that this one had
    /// nothing.
    pub fn next<V>(&mut self, now_ms: u64) -> Option<Input<V>> {
        let id = self.busy.pop_front()?;
        let connection = self.connections.get_mut(&id)?;
        connection.busy = false;
        if connection.is_closing() {
            return None;
        }
        if connection.state == State::Opening {
            return self.next_opening(id, now_ms);
        }
        // When the connection is lost, there is nothing left to drain.
        let waits = connection.above && connection.ended.is_none();
        let next = if waits { Ok(None) } else { connection.link.next() };
        match next {
            Ok(Some(message)) => {
                self.silent.remove(&id);
                self.mark_busy(id);
                return Some(Input::Received { connection: id, message });
            }
            Ok(None) if connection.ended.is_none() => {
                self.read_more(id);
                return None;
            }
            Ok(None) => {}
            Err(error) => connection.ended = Some(error.into()),
        }
        self.finish(id, now_ms);
        Some(Input::Closed { connection: id })
    }

    fn next_opening<V>(&mut self, id: ConnectionId, now_ms: u64) -> Option<Input<V>> {
        let connection = self.connections.get_mut(&id)?;
        if connection.is_established() {
            connection.state = State::Open;
            self.mark_busy(id);
            return Some(if id.is_opened() {
                Input::Connected { connection: id }
            } else {
                Input::Accepted { connection: id }
            });
        }
        if connection.ended.is_none() {
            self.read_more(id);
            return None;
        }
        self.finish(id, now_ms);
        id.is_opened().then_some(Input::Closed { connection: id })
    }

    /// Goes on reading, if it was only suspended to handle what had come.
    fn read_more(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connections.get_mut(&id)
            && std::mem::replace(&mut connection.throttled, false)
        {
            self.again.push(Source::Connection(id));
        }
    }

    /// Ends a connection that the node is being told about, and logs why.
    fn finish(&mut self, id: ConnectionId, now_ms: u64) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        let peer = &connection.peer;
        match &connection.ended {
            Some(cause @ End::Link(_)) => {
                info!(connection = id.0, peer, %cause, "closed for what the peer sent");
                // An alert of TLS may have to leave.
                connection.state = State::Flushing { progress: false };
                connection.ended = None;
                self.timers.set(Timer::Closing(id), now_ms + FLUSH_MS);
                self.mark_dirty(id);
                self.again.push(Source::Connection(id));
                return;
            }
            Some(cause @ (End::QueueFull(_) | End::Backlog(_))) => {
                warn!(connection = id.0, peer, %cause, "connection closed");
            }
            Some(cause) => debug!(connection = id.0, peer, %cause, "connection ended"),
            None => {}
        }
        self.remove(id);
    }

    /// Writes to every connection that has something to send. Returns those whose queue was too
    /// long and is short again.
    pub fn flush(&mut self, now_ms: u64) -> Vec<ConnectionId> {
        let mut drained = Vec::new();
        self.fresh = 0;
        for id in std::mem::take(&mut self.dirty) {
            let Some(connection) = self.connections.get_mut(&id) else {
                continue;
            };
            connection.dirty = false;
            let before = connection.state;
            connection.write();
            if connection.take_drained() {
                drained.push(id);
                self.mark_busy(id);
            } else if connection.is_broken() {
                self.again.push(Source::Connection(id));
            } else if connection.is_closing() && connection.ended.is_some() {
                self.remove(id);
            } else if connection.state != before && connection.state == State::Lingering {
                self.timers.set(Timer::Closing(id), now_ms + LINGER_MS);
            }
        }
        drained
    }

    /// A connection that is being closed has taken long.
    pub fn closing_timeout(&mut self, id: ConnectionId, now_ms: u64) {
        let connection = self.connections.get_mut(&id);
        match connection.map(|connection| &mut connection.state) {
            Some(State::Flushing { progress: progress @ true }) => {
                *progress = false;
                self.timers.set(Timer::Closing(id), now_ms + FLUSH_MS);
            }
            _ => self.remove(id),
        }
    }

    /// Closes everything, once it has left what was to be sent.
    pub fn abort_all(&mut self, now_ms: u64) {
        self.listener = None;
        let ids: Vec<_> = self.connections.keys().copied().collect();
        for id in ids {
            if self.queued(id) > 0 {
                self.abort(id, now_ms);
            } else if !self.connections.get(&id).is_some_and(Connection::is_closing) {
                self.remove(id);
            }
        }
    }
}

/// Whether accepting failed because of the one that was to be accepted.
fn is_of_peer(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted)
}
