//! How the loop learns that something is to be done: by its sockets, by other threads.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Wake, Waker};

use neo_core::io::ConnectionId;

/// Something that can become ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    Listener,
    Signals,
    Timers,
    Connection(ConnectionId),
}

/// What other threads say.
#[derive(Debug)]
pub enum Injected<E> {
    Event(E),
    Stop,
}

/// What became ready since the last turn.
#[derive(Debug)]
pub struct Pending<E> {
    pub ready: Vec<Source>,
    pub injected: Vec<Injected<E>>,
}

impl<E> Default for Pending<E> {
    fn default() -> Self {
        Self { ready: Vec::new(), injected: Vec::new() }
    }
}

#[derive(Debug)]
struct State<E> {
    pending: Pending<E>,
    /// Of the loop, unless it is awake already.
    waker: Option<Waker>,
}

#[derive(Debug)]
pub struct Shared<E> {
    state: Mutex<State<E>>,
}

impl<E> Default for Shared<E> {
    fn default() -> Self {
        let state = State { pending: Pending::default(), waker: None };
        Self { state: Mutex::new(state) }
    }
}

impl<E> Shared<E> {
    fn lock(&self) -> MutexGuard<'_, State<E>> {
        // Nothing panics while it is held, and lists are always consistent.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, add: impl FnOnce(&mut Pending<E>)) {
        let waker = {
            let mut state = self.lock();
            add(&mut state.pending);
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    pub fn ready(&self, source: Source) {
        self.push(|pending| pending.ready.push(source));
    }

    /// Swaps what is pending with `taken`, which should be empty.
    pub fn take(&self, taken: &mut Pending<E>) {
        std::mem::swap(&mut self.lock().pending, taken);
    }

    /// Asks to be woken by the next thing; true if there is something already.
    pub fn sleep(&self, waker: &Waker) -> bool {
        let mut state = self.lock();
        let idle = state.pending.ready.is_empty() && state.pending.injected.is_empty();
        if idle {
            state.waker = Some(waker.clone());
        }
        !idle
    }
}

/// What tokio wakes: it notes which source is ready.
struct Token<E> {
    source: Source,
    shared: Arc<Shared<E>>,
}

impl<E> Wake for Token<E> {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.shared.ready(self.source);
    }
}

/// The waker of a source.
pub fn waker<E: Send + 'static>(shared: &Arc<Shared<E>>, source: Source) -> Waker {
    let shared = shared.clone();
    Waker::from(Arc::new(Token { source, shared }))
}

/// Tells things to a node from other threads. Cheap to clone.
#[derive(Debug)]
pub struct Handle<E> {
    shared: Arc<Shared<E>>,
}

impl<E> Clone for Handle<E> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone() }
    }
}

impl<E> Handle<E> {
    pub(super) fn new(shared: Arc<Shared<E>>) -> Self {
        Self { shared }
    }

    /// Gives an event to the node; nothing happens if it has ended. Events of one thread are
    /// handled in order.
    pub fn send(&self, event: E) {
        self.shared.push(|pending| pending.injected.push(Injected::Event(event)));
    }

    /// Gives several events, for one wake-up.
    pub fn send_all(&self, events: impl IntoIterator<Item = E>) {
        // Not under the lock: the iterator is not ours.
        let events: Vec<_> = events.into_iter().map(Injected::Event).collect();
        self.shared.push(|pending| pending.injected.extend(events));
    }

    /// Asks the node to stop, as SIGTERM does.
    pub fn stop(&self) {
        self.shared.push(|pending| pending.injected.push(Injected::Stop));
    }
}
