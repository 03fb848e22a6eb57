//! Loads of records, behind a lock of their own (spec client.md 5).

use std::thread::ThreadId;
use std::time::Instant;

use neo_core::client::cache::Cached;
use neo_core::client::loads::{Fetch, Loads, Lookup, Wanted};
use neo_wire::{Oid, Tid};

use crate::application::Inner;
use crate::error::Error;
use crate::fetch::Fetched;
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

    /// Wakes who waits for the end of a fetch.
    pub fn wake(&self, state: &State) {
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

    /// Waits for the end of a publication that such a read must not overtake (rule O6).
    ///
    /// # Errors
    /// [`Error::Interrupted`]
    pub fn settle(&self, wanted: Wanted, interrupted: Interrupted<'_>) -> Result<(), Error> {
        self.wait(interrupted, |loads, in_callback| {
            (in_callback || !loads.is_held(wanted)).then_some(())
        })
    }

    fn look_up(
        &self,
        oid: Oid,
        wanted: Wanted,
        interrupted: Interrupted<'_>,
    ) -> Result<Lookup, Error> {
        self.wait(interrupted, |loads, in_callback| {
            Some(loads.look_up(oid, wanted, in_callback)).filter(|lookup| *lookup != Lookup::Wait)
        })
    }

    /// Tries something at the end of each fetch or publication, until it gives a result.
    fn wait<T>(
        &self,
        interrupted: Interrupted<'_>,
        mut attempt: impl FnMut(&mut Loads, bool) -> Option<T>,
    ) -> Result<T, Error> {
        let mut state = self.state.lock();
        let mut checked = Instant::now();
        loop {
            let in_callback = state.publisher == Some(std::thread::current().id());
            if let Some(result) = attempt(&mut state.loads, in_callback) {
                return Ok(result);
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
    /// A fetch ended: what it brought is cached, and returned with what is known of it now.
    pub fn store(
        &mut self,
        oid: Oid,
        fetch: Fetch,
        fetched: Result<Fetched, Error>,
    ) -> Result<Record, Error> {
        let result = fetched.and_then(|fetched| fetched.into_record(oid)).map(|mut record| {
            let Cached { data, serial, next_serial } = record.clone();
            record.next_serial = self.loads.fetched(oid, fetch, data, serial, next_serial);
            record
        });
        self.loads.failed(oid, fetch);
        result
    }

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
        let result = state.store(oid, fetch, fetched);
        self.loads.wake(&state);
        result
    }
}
