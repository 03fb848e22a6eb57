//! The core's client with its sockets and timers: everything that is behind the one mutex.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::TcpStream;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use neo_core::client::Client;
use neo_core::client::api::{Answer, CallId, ClientError, Effect, Event, Publication};
use neo_core::io::{ConnectionId, Input, Node, Now, Output, TimerId};
use neo_net::Tls;
use neo_net::packets::{Identity, Tap};
use neo_wire::Address;
use tracing::debug;

use crate::socket::Socket;
use crate::sync::Condvar;

/// A call that somebody waits for.
#[derive(Debug)]
pub struct Slot {
    /// Its result, once there is one.
    pub result: Option<Result<Answer, ClientError>>,
    /// Its thread sleeps here.
    pub condvar: Arc<Condvar>,
}

/// A socket to wait for.
#[derive(Debug)]
pub struct Watched {
    /// Whose it is.
    pub connection: Option<ConnectionId>,
    /// Stays open meanwhile.
    pub stream: Arc<TcpStream>,
    /// Whether to wait until it can be written too.
    pub write: bool,
}

/// Who polls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leader {
    /// Nobody, since this time.
    Nobody(Instant),
    /// The thread of this call.
    Call(CallId),
    /// The background thread.
    Background,
}

/// See the module.
#[derive(Debug)]
pub struct Engine {
    /// Who polls.
    pub leader: Leader,
    /// The background threads run.
    pub has_threads: bool,
    /// To wait for their end.
    pub threads: Vec<JoinHandle<()>>,
    /// They must end.
    pub closed: bool,
    /// Every decision.
    pub client: Client,
    tls: Option<Tls>,
    identity: Arc<Identity>,
    origin: Instant,
    sockets: BTreeMap<ConnectionId, Socket>,
    /// Connections that are over for the core, but have something to send.
    lingering: Vec<Socket>,
    timers: BTreeMap<TimerId, Instant>,
    /// What is to be given to the core, in order.
    inputs: VecDeque<Input<Event>>,
    /// Calls waited for.
    pub slots: HashMap<CallId, Slot>,
    /// What the dispatcher has to publish.
    pub publications: VecDeque<Publication>,
    /// Sockets or timers changed: who polls must look again.
    pub changed: bool,
    next_call: u64,
}

impl Engine {
    /// Around a client of this cluster that was just made.
    #[must_use]
    pub fn new(client: Client, cluster: &str, tls: Option<Tls>) -> Self {
        Self {
            leader: Leader::Nobody(Instant::now()),
            has_threads: false,
            threads: Vec::new(),
            closed: false,
            client,
            tls,
            identity: Identity::new(cluster),
            origin: Instant::now(),
            sockets: BTreeMap::new(),
            lingering: Vec::new(),
            timers: BTreeMap::new(),
            inputs: VecDeque::new(),
            slots: HashMap::new(),
            publications: VecDeque::new(),
            changed: false,
            next_call: 0,
        }
    }

    /// A number for a new call.
    pub fn new_call(&mut self) -> CallId {
        self.next_call += 1;
        CallId(self.next_call)
    }

    fn now(&self) -> Now {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let monotonic_ms = u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX);
        Now { monotonic_ms, wall_s: wall.as_secs_f64() }
    }

    /// Gives the core something and does all that follows.
    pub fn event(&mut self, event: Event) {
        self.queue(event);
        self.run();
    }

    /// What [`Engine::run`] will give to the core.
    pub fn queue(&mut self, event: Event) {
        self.inputs.push_back(Input::Own(event));
    }

    /// Gives the core what waits for it, does all that follows, then writes to sockets.
    pub fn run(&mut self) {
        let mut outputs = Vec::new();
        while let Some(input) = self.inputs.pop_front() {
            let now = self.now();
            self.client.handle(now, input, &mut outputs);
            for output in outputs.drain(..) {
                self.carry_out(output);
            }
        }
        self.flush();
    }

    fn carry_out(&mut self, output: Output<Effect>) {
        match output {
            Output::Connect { connection, address } => self.connect(connection, &address),
            Output::Send { connection, msg_id, packet } => {
                if let Some(socket) = self.sockets.get_mut(&connection) {
                    socket.send(msg_id, &packet);
                }
            }
            Output::Abort { connection } => {
                self.changed = true;
                if let Some(mut socket) = self.sockets.remove(&connection)
                    && socket.flush().is_ok()
                    && !socket.is_flushed()
                {
                    self.lingering.push(socket);
                }
            }
            Output::Close { connection } => {
                self.changed = true;
                self.sockets.remove(&connection);
            }
            Output::SetTimer { timer, delay_ms } => {
                self.changed = true;
                self.timers.insert(timer, Instant::now() + Duration::from_millis(delay_ms));
            }
            Output::CancelTimer { timer } => {
                self.timers.remove(&timer);
            }
            Output::StopListening | Output::Exit { .. } => {}
            Output::Own(Effect::Return { call, result }) => {
                if let Some(slot) = self.slots.get_mut(&call) {
                    slot.result = Some(result);
                    // Calls that were made together share it.
                    slot.condvar.notify_all();
                }
            }
            Output::Own(Effect::Publish(publication)) => self.publications.push_back(publication),
        }
    }

    fn connect(&mut self, connection: ConnectionId, address: &Address) {
        let socket = address
            .to_socket()
            .ok_or_else(|| std::io::Error::other("not a numeric address"))
            .and_then(|address| Socket::connect(address, self.tls.as_ref()));
        match socket {
            Ok(mut socket) => {
                socket.show(Tap::new(&self.identity, address.to_string()));
                if socket.announce() {
                    self.inputs.push_back(Input::Connected { connection });
                }
                self.sockets.insert(connection, socket);
                self.changed = true;
            }
            Err(error) => {
                debug!(%address, %error, "can not connect");
                self.inputs.push_back(Input::Closed { connection });
            }
        }
    }

    /// One write for each socket that has something.
    fn flush(&mut self) {
        let mut broken = Vec::new();
        for (connection, socket) in &mut self.sockets {
            if socket.flush().is_err() {
                broken.push(*connection);
            } else if socket.wants_write() {
                self.changed = true;
            }
        }
        if !broken.is_empty() {
            broken.into_iter().for_each(|connection| self.lost(connection));
            self.run();
        }
    }

    fn lost(&mut self, connection: ConnectionId) {
        self.changed = true;
        if self.sockets.remove(&connection).is_some() {
            self.inputs.push_back(Input::Closed { connection });
        }
    }

    /// What to wait for. Connections that only linger have no identifier.
    pub fn watched(&mut self) -> Vec<Watched> {
        let sockets = self.sockets.iter_mut().map(|(connection, socket)| Watched {
            connection: Some(*connection),
            stream: socket.stream(),
            write: socket.wants_write(),
        });
        let lingering = self.lingering.iter_mut().map(|socket| Watched {
            connection: None,
            stream: socket.stream(),
            write: true,
        });
        sockets.chain(lingering).collect()
    }

    /// When the next timer fires.
    #[must_use]
    pub fn next_timer(&self) -> Option<Instant> {
        self.timers.values().min().copied()
    }

    /// Looks at timers and at the sockets that are ready, and does all that follows.
    pub fn turn(&mut self, ready: &[ConnectionId]) {
        let now = Instant::now();
        if self.timers.values().any(|at| *at <= now) {
            let (due, later) = std::mem::take(&mut self.timers)
                .into_iter()
                .partition::<BTreeMap<_, _>, _>(|(_, at)| *at <= now);
            self.timers = later;
            self.inputs.extend(due.into_keys().map(|timer| Input::Timer { timer }));
        }
        ready.iter().for_each(|connection| self.look_at(*connection));
        self.lingering.retain_mut(|socket| socket.flush().is_ok() && !socket.is_flushed());
        self.run();
    }

    fn look_at(&mut self, connection: ConnectionId) {
        let Some(socket) = self.sockets.get_mut(&connection) else { return };
        match socket.check_connection() {
            Ok(false) => return,
            Ok(true) => {}
            Err(error) => {
                debug!(?connection, %error, "can not connect");
                self.lost(connection);
                return;
            }
        }
        if socket.announce() {
            self.inputs.push_back(Input::Connected { connection });
        }
        let reception = socket.receive();
        if socket.announce() {
            self.inputs.push_back(Input::Connected { connection });
        }
        let received = |message| Input::Received { connection, message };
        self.inputs.extend(reception.messages.into_iter().map(received));
        if reception.ended {
            self.lost(connection);
        }
    }

    /// Forgets sockets and timers without a word: they belong to the parent of this process.
    pub fn forget_links(&mut self) {
        self.sockets.clear();
        self.lingering.clear();
        self.timers.clear();
        self.inputs.clear();
        self.slots.clear();
        self.publications.clear();
        // Threads that do not exist here.
        self.threads.drain(..).for_each(std::mem::forget);
    }
}
