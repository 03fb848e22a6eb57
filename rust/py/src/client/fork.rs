//! Forks: every lock of ours is held meanwhile, and the child starts afresh (spec client.md 13.2).

#![allow(unsafe_code, reason = "what borrows lives in a thread-local, from a hook to the next")]

use std::cell::RefCell;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use std::sync::{RwLockWriteGuard, Weak};

use neo_client::Application;
use neo_client::application::ForkGuard;
use pyo3::prelude::*;

use super::logs;

/// Where a client of Python finds its application: another one after a fork.
#[derive(Debug)]
pub(super) struct Slot(RwLock<Option<Application>>);

impl Slot {
    /// A place that forks know. To be called without the GIL.
    pub fn new(application: Application) -> Arc<Self> {
        let slot = Arc::new(Self(RwLock::new(Some(application))));
        let mut slots = slots();
        slots.retain(|slot| slot.strong_count() > 0);
        slots.push(Arc::downgrade(&slot));
        slot
    }

    /// Uses the application; none if it did not survive a fork. While another thread forks, hooks
    /// of others run in Python with our locks held: the GIL must not be kept while waiting.
    pub fn with<T: Send>(
        &self,
        py: Python<'_>,
        f: impl FnOnce(&Application) -> T + Send,
    ) -> Option<T> {
        match self.0.try_read() {
            Ok(place) => place.as_ref().map(f),
            Err(_) => py.detach(|| self.wait().as_ref().map(f)),
        }
    }

    fn wait(&self) -> RwLockReadGuard<'_, Option<Application>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }
}

static SLOTS: Mutex<Vec<Weak<Slot>>> = Mutex::new(Vec::new());

fn slots() -> MutexGuard<'static, Vec<Weak<Slot>>> {
    SLOTS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// All applications that still are used. To be called without the GIL.
pub(super) fn applications() -> Vec<Application> {
    let slots: Vec<_> = slots().iter().filter_map(Weak::upgrade).collect();
    slots.iter().filter_map(|slot| slot.wait().clone()).collect()
}

/// One client, quiet.
struct Held {
    guard: ForkGuard<'static>,
    place: RwLockWriteGuard<'static, Option<Application>>,
    application: *mut Application,
    slot: *const Slot,
}

impl Held {
    fn new(slot: Arc<Slot>) -> Option<Self> {
        let slot = Arc::into_raw(slot);
        // SAFETY: the reference that was just given up is only taken back by `release`, after
        // the guard that borrows is dropped; in the child of a fork, never.
        let place = unsafe { &*slot }.0.write().unwrap_or_else(PoisonError::into_inner);
        let Some(application) = place.clone() else {
            drop(place);
            // SAFETY: it comes from `Arc::into_raw`, and nothing borrows it any more.
            drop(unsafe { Arc::from_raw(slot) });
            return None;
        };
        let application = Box::into_raw(Box::new(application));
        // SAFETY: as above, with `Box::into_raw`.
        let guard = unsafe { &*application }.before_fork();
        Some(Self { guard, place, application, slot })
    }

    /// In the parent: as if nothing had been.
    fn release(self) {
        let Self { guard, place, application, slot } = self;
        drop(guard);
        drop(place);
        // SAFETY: they come from `into_raw` in `new`, and what borrowed them was just dropped.
        unsafe {
            drop(Box::from_raw(application));
            drop(Arc::from_raw(slot));
        }
    }

    /// In the child: another application. The old one is left as it is, for its locks stay locked.
    fn replace(mut self) {
        let child = self.guard.child();
        if let Err(error) = &child {
            logs::error(format!("a storage can not be used in this process: {error}"));
        }
        std::mem::forget(std::mem::replace(&mut *self.place, child.ok()));
        drop(self.place);
        // SAFETY: it comes from `Arc::into_raw` in `new`, and the guard was just dropped. The
        // application in its box is leaked.
        drop(unsafe { Arc::from_raw(self.slot) });
    }
}

/// Everything that is held during a fork, by the thread that forks.
struct Quiet {
    held: Vec<Held>,
    logs: logs::Guard,
    slots: MutexGuard<'static, Vec<Weak<Slot>>>,
}

thread_local! {
    static QUIET: RefCell<Option<Quiet>> = const { RefCell::new(None) };
}

/// To be called before a fork, without the GIL: somebody who waits for it may hold a lock, as
/// another thread that forks does.
pub(crate) fn before() {
    let slots = slots();
    let held = slots.iter().filter_map(Weak::upgrade).filter_map(Held::new).collect();
    let logs = logs::lock();
    QUIET.set(Some(Quiet { held, logs, slots }));
}

/// To be called in the parent after a fork.
pub(crate) fn in_parent() {
    if let Some(Quiet { held, logs, slots }) = QUIET.take() {
        drop(logs);
        held.into_iter().for_each(Held::release);
        drop(slots);
    }
}

/// To be called in the child after a fork.
pub(crate) fn in_child() {
    if let Some(Quiet { held, logs, slots }) = QUIET.take() {
        logs.in_child();
        held.into_iter().for_each(Held::replace);
        drop(slots);
    }
}
