use neo_wire::Timestamp;

/// A clock that never gives the same time twice (spec master.md 3.4): identification times, times
/// of NotifyNodeInformation, election times.
#[derive(Clone, Copy, Debug, Default)]
pub struct MonotonicClock {
    last: Timestamp,
}

impl MonotonicClock {
    /// What the system's clock says, in seconds since 1970, or 1 ms more than the last time given
    /// if that is greater.
    pub fn next(&mut self, wall_s: f64) -> Timestamp {
        let last = self.last.0;
        let time = if wall_s.is_finite() && wall_s > last {
            wall_s
        } else {
            // Far away from 1970, one millisecond may be less than what a float can tell apart.
            (last + 0.001).max(last.next_up())
        };
        self.last = Timestamp(time);
        self.last
    }

    /// The last time given; 0 if there is none.
    #[must_use]
    pub const fn last(&self) -> Timestamp {
        self.last
    }
}
