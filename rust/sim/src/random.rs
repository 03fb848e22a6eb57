//! The one source of choices of a simulation.

use neo_core::io::Entropy;

use crate::schedule::Time;

/// Every choice of a simulation comes from here, in the order they are made.
#[derive(Clone, Debug)]
pub struct Random(Entropy);

impl Random {
    /// From the seed of a simulation.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(Entropy::new(seed))
    }

    /// Another source, so that what it decides does not depend on how often this one is used.
    #[must_use]
    pub fn fork(&mut self) -> Self {
        Self(Entropy::new(self.bits()))
    }

    /// A source for a node.
    #[must_use]
    pub fn entropy(&mut self) -> Entropy {
        Entropy::new(self.bits())
    }

    /// 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// Below `bound`; 0 if it is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0.below(bound)
    }

    /// An index of something that has `length` items.
    pub fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).unwrap_or_default()
    }

    /// Both bounds included.
    pub fn between(&mut self, min: u64, max: u64) -> u64 {
        min + self.below(max.saturating_sub(min) + 1)
    }

    /// True once in `n` times.
    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    /// A duration, both bounds included.
    pub fn time(&mut self, min: Time, max: Time) -> Time {
        Time(self.between(min.0, max.0))
    }

    /// A duration between 1 ms and `max`, as often below 10 ms as between 10 and 100 ms: short
    /// and long delays both matter.
    pub fn scale(&mut self, max: Time) -> Time {
        let mut top = 1_000;
        while top < max.0 && !self.one_in(3) {
            top *= 10;
        }
        self.time(Time(top / 10), Time(top.min(max.0)))
    }
}
