//! Who reads the sockets: the thread that waits, for everybody.
//!
//! One waiting thread leads: it polls, handles what arrives and wakes whose answer came. When its
//! own answer is there it hands over to another waiting thread; the background thread polls only
//! when nobody waits. So a lone caller is woken by the system once per answer, and by no thread.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use neo_core::client::api::{Answer, CallId, ClientError, Event, Request};
use neo_core::io::ConnectionId;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};

use crate::application::Inner;
use crate::engine::{Engine, Leader, Slot};
use crate::error::Error;
use crate::sync::MutexGuard;

/// How often a waiting thread looks whether it is interrupted.
pub(crate) const INTERRUPT_CHECK: Duration = Duration::from_millis(100);

/// Tells whether the calling thread must stop waiting (a signal arrived).
pub type Interrupted<'a> = &'a dyn Fn() -> bool;

/// Calls that were made together, and that one thread waits for. To be given back by
/// [`Inner::arrive`] or [`Inner::cancel`].
#[derive(Debug)]
pub(crate) struct Train(Vec<CallId>);

impl Train {
    /// Its calls one by one, for those who want each answer as soon as it is there.
    pub fn split(self) -> Vec<Self> {
        self.0.into_iter().map(|call| Self(vec![call])).collect()
    }

    /// Their numbers follow each other.
    fn contains(&self, call: CallId) -> bool {
        self.0.first().is_some_and(|first| *first <= call)
            && self.0.last().is_some_and(|last| call <= *last)
    }
}

/// A descriptor that wakes who polls.
#[derive(Debug)]
pub struct Kick(EventFd);

impl Kick {
    /// # Errors
    /// The system has no descriptor left.
    pub fn new() -> std::io::Result<Self> {
        let flags = EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC;
        Ok(Self(EventFd::from_value_and_flags(0, flags)?))
    }

    /// Wakes.
    pub fn kick(&self) {
        // It only fails when it is full: then it is awake already.
        let _ = self.0.write(1);
    }

    fn clear(&self) {
        // It only fails when there is nothing to clear.
        let _ = self.0.read();
    }
}

/// Waits until a socket is ready, a timer is due, or somebody kicks, and handles it. The lock is
/// released meanwhile.
///
/// Returns whether a signal ended it.
pub(crate) fn poll_turn(
    engine: &mut MutexGuard<'_, Engine>,
    kick: &Kick,
    limit: Option<Duration>,
) -> bool {
    engine.changed = false;
    let timer = engine.next_timer().map(|at| at.saturating_duration_since(Instant::now()));
    let timeout = [timer, limit].into_iter().flatten().min();
    // Up to the next millisecond, or a timer would be polled for just before it is due.
    let timeout = timeout.map_or(PollTimeout::NONE, |timeout| {
        let ms = timeout.as_micros().div_ceil(1000);
        PollTimeout::try_from(ms).unwrap_or(PollTimeout::MAX)
    });
    let watched = engine.watched();
    let mut fds: Vec<PollFd<'_>> = watched
        .iter()
        .map(|watched| {
            let write = if watched.write { PollFlags::POLLOUT } else { PollFlags::empty() };
            PollFd::new(watched.stream.as_fd(), PollFlags::POLLIN | write)
        })
        .collect();
    fds.push(PollFd::new(kick.0.as_fd(), PollFlags::POLLIN));
    let polled = MutexGuard::unlocked(engine, || poll(&mut fds, timeout));
    let is_ready = |fd: &PollFd<'_>| fd.revents().is_some_and(|events| !events.is_empty());
    let ready: Vec<ConnectionId> = watched
        .iter()
        .zip(&fds)
        .filter(|(_, fd)| is_ready(fd))
        .filter_map(|(watched, _)| watched.connection)
        .collect();
    if fds.last().is_some_and(is_ready) {
        kick.clear();
    }
    engine.turn(&ready);
    polled == Err(Errno::EINTR)
}

impl Inner {
    /// Makes a call and waits for its answer.
    ///
    /// # Errors
    /// Those of the core, or [`Error::Interrupted`].
    pub(crate) fn call(
        &self,
        request: Request,
        interrupted: Interrupted<'_>,
    ) -> Result<Answer, Error> {
        let train = self.send(std::iter::once(request));
        self.arrive_one(train, interrupted)
    }

    /// Makes calls, all at once: what they ask of one node travels together.
    pub(crate) fn send(&self, requests: impl Iterator<Item = Request>) -> Train {
        let condvar = std::sync::Arc::default();
        let mut engine = self.engine.lock();
        let mut calls = Vec::with_capacity(requests.size_hint().0);
        for request in requests {
            let call = engine.new_call();
            let slot = Slot { result: None, condvar: std::sync::Arc::clone(&condvar) };
            engine.slots.insert(call, slot);
            engine.queue(Event::Call { call, request: Box::new(request) });
            calls.push(call);
        }
        engine.run();
        self.tell(&mut engine, calls.first().copied());
        Train(calls)
    }

    /// Gives the core an event that nobody waits for.
    pub(crate) fn event(&self, event: Event) {
        let mut engine = self.engine.lock();
        engine.event(event);
        self.tell(&mut engine, None);
    }

    /// Forgets calls that nobody waits for any more.
    pub(crate) fn cancel(&self, train: &Train) {
        let mut engine = self.engine.lock();
        for call in &train.0 {
            engine.slots.remove(call);
            engine.queue(Event::Cancel { call: *call });
        }
        engine.run();
        self.tell(&mut engine, None);
    }

    /// Waits for the answers of a train, in the order of its calls.
    ///
    /// # Errors
    /// [`Error::Interrupted`]
    pub(crate) fn arrive(
        &self,
        train: Train,
        interrupted: Interrupted<'_>,
    ) -> Result<Vec<Result<Answer, Error>>, Error> {
        let mut engine = self.engine.lock();
        let mut answers = Vec::with_capacity(train.0.len());
        for call in &train.0 {
            if !self.wait(&mut engine, *call, &train, interrupted) {
                drop(engine);
                self.cancel(&train);
                return Err(Error::Interrupted);
            }
            let slot = engine.slots.remove(call).and_then(|slot| slot.result);
            answers.push(slot.unwrap_or(Err(ClientError::Closed)).map_err(Error::from));
        }
        hand_over(&mut engine, &train);
        Ok(answers)
    }

    /// The same for a single call.
    ///
    /// # Errors
    /// Those of the core, or [`Error::Interrupted`].
    pub(crate) fn arrive_one(
        &self,
        train: Train,
        interrupted: Interrupted<'_>,
    ) -> Result<Answer, Error> {
        self.arrive(train, interrupted)?.pop().unwrap_or_else(|| Err(ClientError::Closed.into()))
    }

    /// Waits for the answer of one of the calls of a train. False if it was interrupted.
    fn wait(
        &self,
        engine: &mut MutexGuard<'_, Engine>,
        call: CallId,
        train: &Train,
        interrupted: Interrupted<'_>,
    ) -> bool {
        let mut checked = Instant::now();
        let mut signal = false;
        loop {
            // Without a slot, the process forked.
            let slot = engine.slots.get(&call);
            let Some(slot) = slot.filter(|slot| slot.result.is_none()) else { return true };
            // Not at each turn: who is asked may have to wait for locks of its own, never ours.
            if std::mem::take(&mut signal) || checked.elapsed() >= INTERRUPT_CHECK {
                // It may take long: somebody else reads meanwhile.
                hand_over(engine, train);
                if MutexGuard::unlocked(engine, interrupted) {
                    return false;
                }
                checked = Instant::now();
                continue;
            }
            if matches!(engine.leader, Leader::Call(leader) if !train.contains(leader)) {
                let condvar = slot.condvar.clone();
                condvar.wait_for(engine, INTERRUPT_CHECK);
            } else {
                if engine.leader == Leader::Background {
                    self.kick_background.kick();
                }
                engine.leader = Leader::Call(call);
                signal = poll_turn(engine, &self.kick_leader, Some(INTERRUPT_CHECK));
                self.tell(engine, Some(call));
            }
        }
    }

    /// After something was handled, by the thread of `own` if it is a call's: tells the threads it
    /// concerns.
    pub(crate) fn tell(&self, engine: &mut MutexGuard<'_, Engine>, own: Option<CallId>) {
        if !engine.publications.is_empty() {
            self.publish_or_dispatch(engine);
        }
        match engine.leader {
            Leader::Call(call) if Some(call) != own => {
                let done = engine.slots.get(&call).is_none_or(|slot| slot.result.is_some());
                if done || engine.changed {
                    self.kick_leader.kick();
                }
            }
            Leader::Background if engine.changed => self.kick_background.kick(),
            _ => {}
        }
    }
}

/// The calls of a train end: if one of them led, somebody else has to.
fn hand_over(engine: &mut MutexGuard<'_, Engine>, train: &Train) {
    if matches!(engine.leader, Leader::Call(leader) if train.contains(leader)) {
        engine.leader = Leader::Nobody(Instant::now());
        let mut slots = engine.slots.iter();
        let other = slots.find(|(call, slot)| slot.result.is_none() && !train.contains(**call));
        if let Some((_, slot)) = other {
            slot.condvar.notify_one();
        }
    }
}
