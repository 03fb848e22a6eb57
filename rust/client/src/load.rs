//! Loads of records, behind a lock of their own (spec client.md 5).

use std::thread::ThreadId;
use std::time::Instant;

use bytes::Bytes;
use neo_core::client::api::{Answer, ClientError, Request};
use neo_core::client::cache::Cached;
use neo_core::client::loads::{Loads, Lookup, Wanted};
use neo_wire::{Digest, NodeId, Oid, Packet, Tid};
use tracing::error;

use crate::application::Inner;
use crate::error::Error;
use crate::records;
use crate::sync::{Condvar, Mutex, MutexGuard};
use crate::wait::{INTERRUPT_CHECK, Interrupted};

/// A record as the application sees it.
pub type Record = Cached;

/// [`Loads`] shared by threads.
#[derive(Debug)]
pub(crate) struct SharedLoads {
    state: Mutex<State>,
    /// A fetch or a publication ended.
    ended: Condvar,
}

#[derive(Debug)]
pub(crate) struct State {
    loads: Loads,
    /// The thread that publishes: its own loads do not wait for itself.
    publisher: Option<ThreadId>,
    waiters: usize,
}

impl SharedLoads {
    pub fn new(loads: Loads) -> Self {
        let state = State { loads, publisher: None, waiters: 0 };
        Self { state: Mutex::new(state), ended: Condvar::new() }
    }

    /// First step of a publication, by the calling thread.
    pub fn begin<T>(&self, step: impl FnOnce(&mut Loads) -> T) -> T {
        let mut state = self.state.lock();
        state.publisher = Some(std::thread::current().id());
        step(&mut state.loads)
    }

    /// Last step of a publication.
    pub fn end(&self, tid: Tid) {
        let mut state = self.state.lock();
        state.publisher = None;
        state.loads.end(tid);
        self.wake(&state);
    }

    fn wake(&self, state: &State) {
        if state.waiters > 0 {
            self.ended.notify_all();
        }
    }

    /// Any use of the cache.
    pub fn with<T>(&self, f: impl FnOnce(&mut Loads) -> T) -> T {
        f(&mut self.state.lock().loads)
    }

    /// The last TID that is visible, unless the lock has to be waited for.
    pub fn try_last_tid(&self) -> Option<Tid> {
        self.state.try_lock()?.loads.last_tid()
    }

    /// The lock, held across a fork.
    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    fn look_up(
        &self,
        oid: Oid,
        wanted: Wanted,
        interrupted: Interrupted<'_>,
    ) -> Result<Lookup, Error> {
        let mut state = self.state.lock();
        let mut checked = Instant::now();
        loop {
            let in_callback = state.publisher == Some(std::thread::current().id());
            let lookup = state.loads.look_up(oid, wanted, in_callback);
            if lookup != Lookup::Wait {
                return Ok(lookup);
            }
            state.waiters += 1;
            self.ended.wait_for(&mut state, INTERRUPT_CHECK);
            state.waiters -= 1;
            // Who is asked may need locks of its own.
            if checked.elapsed() >= INTERRUPT_CHECK {
                checked = Instant::now();
                if MutexGuard::unlocked(&mut state, interrupted) {
                    return Err(Error::Interrupted);
                }
            }
        }
    }
}

impl State {
    /// Takes everything, for the child of a fork.
    pub fn take(&mut self) -> Loads {
        let mut loads = std::mem::replace(&mut self.loads, Loads::new(0));
        loads.forget_pending();
        loads
    }
}

impl Inner {
    /// The cached record, if it is there and nothing has to be waited for: not even the lock.
    pub(crate) fn load_cached(&self, oid: Oid, wanted: Wanted) -> Option<Record> {
        let mut state = self.loads.state.try_lock()?;
        let in_callback = state.publisher == Some(std::thread::current().id());
        state.loads.peek(oid, wanted, in_callback)
    }

    /// A revision of an object.
    ///
    /// # Errors
    /// [`Error`]: not found, or not to be had.
    pub(crate) fn load(
        &self,
        oid: Oid,
        wanted: Wanted,
        interrupted: Interrupted<'_>,
    ) -> Result<Record, Error> {
        let (fetch, wanted) = match self.loads.look_up(oid, wanted, interrupted)? {
            Lookup::Hit(record) => return Ok(record),
            Lookup::Fetch { fetch, wanted } => (fetch, wanted),
            Lookup::Wait => return Err(Error::broken("a load waits for nothing")),
        };
        let fetched = self.fetch(oid, wanted, interrupted);
        let mut state = self.loads.lock();
        let result = fetched.map(|mut record| {
            let Cached { data, serial, next_serial } = record.clone();
            record.next_serial = state.loads.fetched(oid, fetch, data, serial, next_serial);
            record
        });
        state.loads.failed(oid, fetch);
        self.loads.wake(&state);
        result
    }

    fn fetch(
        &self,
        oid: Oid,
        wanted: Wanted,
        interrupted: Interrupted<'_>,
    ) -> Result<Record, Error> {
        let (at, before) = match wanted {
            Wanted::Current => (None, None),
            Wanted::Before(tid) => (None, Some(tid)),
            Wanted::Exact(tid) => (Some(tid), None),
        };
        let mut wrong: Option<Wrong> = None;
        let mut except: Vec<NodeId> = Vec::new();
        loop {
            let packet = Packet::AskObject { oid, at, before };
            let request = Request::Read { key: oid.0, packet, except: except.clone() };
            let answer = match (self.call(request, interrupted), wrong.take()) {
                (Ok(Answer::Packet { from, packet }), _) => (from, packet),
                (Ok(_), _) => return Err(Error::broken("a read was answered by something else")),
                (Err(Error::Client(ClientError::Disconnected(_))), Some(wrong)) => {
                    return wrong.accept(oid, self.ignore_wrong_checksum);
                }
                (Err(error), _) => return Err(error),
            };
            let (
                from,
                Packet::AnswerObject { serial, next_serial, compression, checksum, data, .. },
            ) = answer
            else {
                return Err(Error::broken("AskObject was answered by something else"));
            };
            if data.is_empty() && checksum == Digest::ZERO {
                return Err(Error::CreationUndone(oid));
            }
            let compression = compression.unwrap_or(0);
            let record = (Digest::of(&data) == checksum)
                .then(|| records::load(compression, &data))
                .flatten();
            if let Some(record) = record {
                // A record that is not compressed must not keep the receive buffer alive.
                let data = if compression == 0 { Bytes::copy_from_slice(&record) } else { record };
                return Ok(Cached { data, serial, next_serial });
            }
            error!(peer = %from, %oid, tid = %serial, "wrong checksum");
            except.push(from);
            wrong = Some(Wrong { serial, next_serial, compression, data });
        }
    }
}

/// The last corrupted answer.
struct Wrong {
    serial: Tid,
    next_serial: Option<Tid>,
    compression: u32,
    data: Bytes,
}

impl Wrong {
    fn accept(self, oid: Oid, ignore: bool) -> Result<Record, Error> {
        if !ignore {
            return Err(Error::WrongChecksum(oid, self.serial));
        }
        let data = records::load(self.compression, &self.data).unwrap_or_default();
        Ok(Cached { data, serial: self.serial, next_serial: self.next_serial })
    }
}
