//! Locks that survive a fork: those of the standard library are a word each, waited for in the
//! kernel. Locks that keep their waiters in a table of the process would leave the child with
//! entries of threads that are gone, or with the table itself locked (spec client.md 13.2).
//!
//! A panic of who holds one does not poison it: broken invariants are the core's to notice.

use std::ops::{Deref, DerefMut};
use std::sync::{PoisonError, TryLockError};
use std::time::Duration;

/// Mutual exclusion.
#[derive(Debug, Default)]
pub struct Mutex<T>(std::sync::Mutex<T>);

impl<T> Mutex<T> {
    /// Not locked.
    pub const fn new(value: T) -> Self {
        Self(std::sync::Mutex::new(value))
    }

    /// Waits until nobody else holds it.
    pub fn lock(&self) -> MutexGuard<'_, T> {
        let guard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        MutexGuard { mutex: self, guard: Some(guard) }
    }
}

impl<T> Mutex<T> {
    /// None if somebody else holds it.
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        let guard = match self.0.try_lock() {
            Ok(guard) => guard,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        Some(MutexGuard { mutex: self, guard: Some(guard) })
    }
}

/// Unlocks when it is dropped.
#[derive(Debug)]
pub struct MutexGuard<'a, T> {
    mutex: &'a Mutex<T>,
    /// None only while something runs unlocked, when nobody can look.
    guard: Option<std::sync::MutexGuard<'a, T>>,
}

impl<T> MutexGuard<'_, T> {
    /// Calls `f` without holding the lock.
    pub fn unlocked<R>(guard: &mut Self, f: impl FnOnce() -> R) -> R {
        guard.guard = None;
        let result = f();
        guard.guard = guard.mutex.lock().guard.take();
        result
    }
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        match &self.guard {
            Some(guard) => guard,
            None => unreachable!("used while it is unlocked"),
        }
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        match &mut self.guard {
            Some(guard) => guard,
            None => unreachable!("used while it is unlocked"),
        }
    }
}

/// Where threads sleep until they are told about a change.
#[derive(Debug, Default)]
pub struct Condvar(std::sync::Condvar);

impl Condvar {
    /// Nobody sleeps there.
    #[must_use]
    pub const fn new() -> Self {
        Self(std::sync::Condvar::new())
    }

    /// Sleeps, unlocked, until notified; maybe less.
    pub fn wait<T>(&self, guard: &mut MutexGuard<'_, T>) {
        if let Some(held) = guard.guard.take() {
            guard.guard = Some(self.0.wait(held).unwrap_or_else(PoisonError::into_inner));
        }
    }

    /// The same for a limited time.
    pub fn wait_for<T>(&self, guard: &mut MutexGuard<'_, T>, limit: Duration) {
        if let Some(held) = guard.guard.take() {
            let waited = self.0.wait_timeout(held, limit);
            guard.guard = Some(waited.unwrap_or_else(PoisonError::into_inner).0);
        }
    }

    /// Wakes a thread.
    pub fn notify_one(&self) {
        self.0.notify_one();
    }

    /// Wakes all threads.
    pub fn notify_all(&self) {
        self.0.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn others_can_lock_while_something_runs_unlocked() {
        let mutex = Mutex::new(1);
        let mut guard = mutex.lock();
        MutexGuard::unlocked(&mut guard, || *mutex.lock() += 1);
        *guard += 1;
        drop(guard);
        assert_eq!(*mutex.lock(), 3);
    }

    #[test]
    fn who_sleeps_is_woken() {
        let (mutex, condvar) = (Mutex::new(false), Condvar::new());
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut ready = mutex.lock();
                while !*ready {
                    condvar.wait(&mut ready);
                }
            });
            *mutex.lock() = true;
            condvar.notify_all();
        });
    }

    #[test]
    fn a_panic_does_not_poison() {
        let mutex = Mutex::new(7);
        std::thread::scope(|scope| {
            let panics = scope.spawn(|| {
                let _guard = mutex.lock();
                panic!("on purpose");
            });
            assert!(panics.join().is_err());
        });
        assert_eq!(*mutex.lock(), 7);
    }
}
