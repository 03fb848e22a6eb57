//! What happens later, in order.

use std::collections::{BTreeMap, BTreeSet};

use neo_core::io::{ConnectionId, TimerId};

/// Who asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Timer {
    /// The node.
    Node(TimerId),
    /// A connection that is being closed has taken long enough.
    Closing(ConnectionId),
    /// Accepting failed, and is tried again.
    Accept,
    /// The end of the process does not wait any more.
    Exit,
    /// [`super::ShellConfig::heartbeat_ms`] have passed.
    Heartbeat,
}

/// Deadlines, in milliseconds of the monotonic clock.
#[derive(Debug, Default)]
pub struct Timers {
    deadlines: BTreeMap<Timer, u64>,
    order: BTreeSet<(u64, Timer)>,
}

impl Timers {
    pub fn set(&mut self, timer: Timer, deadline_ms: u64) {
        self.cancel(timer);
        self.deadlines.insert(timer, deadline_ms);
        self.order.insert((deadline_ms, timer));
    }

    pub fn cancel(&mut self, timer: Timer) {
        if let Some(deadline_ms) = self.deadlines.remove(&timer) {
            self.order.remove(&(deadline_ms, timer));
        }
    }

    /// How many are set.
    pub fn len(&self) -> usize {
        self.order.len()
    }

    pub fn next_ms(&self) -> Option<u64> {
        self.order.first().map(|(deadline_ms, _)| *deadline_ms)
    }

    /// The first one that is due, if any; it is set no more.
    pub fn pop(&mut self, now_ms: u64) -> Option<Timer> {
        let (deadline_ms, timer) = *self.order.first()?;
        (deadline_ms <= now_ms).then(|| {
            self.cancel(timer);
            timer
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timers_fire_once_in_order_and_can_be_moved() {
        let [a, b, c] = [1, 2, 3].map(|n| Timer::Node(TimerId(n)));
        let mut timers = Timers::default();
        timers.set(a, 30);
        timers.set(b, 20);
        timers.set(c, 10);
        timers.set(c, 40);
        timers.cancel(b);
        timers.cancel(b);
        assert_eq!(timers.next_ms(), Some(30));
        assert_eq!(timers.pop(29), None);
        assert_eq!(timers.pop(100), Some(a));
        assert_eq!(timers.pop(100), Some(c));
        assert_eq!(timers.pop(100), None);
        assert_eq!(timers.next_ms(), None);
    }
}
