//! Virtual time, and what is to happen when.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::fmt;

/// A moment, or a duration, in microseconds of virtual time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct Time(pub u64);

impl Time {
    /// The beginning.
    pub const ZERO: Self = Self(0);

    /// From milliseconds.
    #[must_use]
    pub const fn ms(ms: u64) -> Self {
        Self(ms * 1_000)
    }

    /// From seconds.
    #[must_use]
    pub const fn s(s: u64) -> Self {
        Self(s * 1_000_000)
    }
}

impl std::ops::Add for Time {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }
}

impl std::ops::Sub for Time {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:5}.{:06}", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}

struct Entry<E> {
    time: Time,
    sequence: u64,
    event: E,
}

impl<E> PartialEq for Entry<E> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<E> Eq for Entry<E> {}

impl<E> PartialOrd for Entry<E> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> Ord for Entry<E> {
    // The heap gives the greatest one first.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.time, other.sequence).cmp(&(self.time, self.sequence))
    }
}

/// Events in the order of time; those of the same time in the order they were added.
pub struct Schedule<E> {
    heap: BinaryHeap<Entry<E>>,
    sequence: u64,
    now: Time,
}

impl<E> Default for Schedule<E> {
    fn default() -> Self {
        Self { heap: BinaryHeap::new(), sequence: 0, now: Time::ZERO }
    }
}

impl<E> Schedule<E> {
    /// The time of the last event that was given out.
    #[must_use]
    pub fn now(&self) -> Time {
        self.now
    }

    /// Adds an event after a delay.
    pub fn after(&mut self, delay: Time, event: E) {
        self.at(self.now + delay, event);
    }

    /// Adds an event; what is in the past happens now.
    pub fn at(&mut self, time: Time, event: E) {
        self.sequence += 1;
        self.heap.push(Entry { time: time.max(self.now), sequence: self.sequence, event });
    }

    /// The next event, whose time becomes the present.
    pub fn pop(&mut self) -> Option<E> {
        let entry = self.heap.pop()?;
        self.now = entry.time;
        Some(entry.event)
    }

    /// When the next event is.
    #[must_use]
    pub fn next_time(&self) -> Option<Time> {
        self.heap.peek().map(|entry| entry.time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_orders_events_and_insertion_breaks_ties() {
        let mut schedule = Schedule::default();
        schedule.after(Time(5), 'c');
        schedule.after(Time(1), 'a');
        schedule.after(Time(5), 'd');
        schedule.after(Time(1), 'b');
        let order: Vec<char> = std::iter::from_fn(|| schedule.pop()).collect();
        assert_eq!(order, ['a', 'b', 'c', 'd']);
        assert_eq!(schedule.now(), Time(5));
        schedule.at(Time(2), 'e');
        assert_eq!(schedule.next_time(), Some(Time(5)), "time never goes back");
    }
}
