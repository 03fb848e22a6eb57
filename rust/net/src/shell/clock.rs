//! The time that nodes are given.

use std::time::{Duration, Instant, SystemTime};

use neo_core::io::Now;

/// No timer is further away than this, in milliseconds (a year): clocks can not overflow.
const FAR_MS: u64 = 365 * 24 * 3600 * 1000;

#[derive(Debug, Clone, Copy)]
pub struct Clock {
    origin: Instant,
}

impl Clock {
    pub fn start() -> Self {
        Self { origin: Instant::now() }
    }

    /// Milliseconds since the process started.
    pub fn monotonic_ms(self) -> u64 {
        u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    pub fn now(self) -> Now {
        let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        Now { monotonic_ms: self.monotonic_ms(), wall_s: wall.unwrap_or_default().as_secs_f64() }
    }

    /// When `monotonic_ms` reaches a value.
    pub fn instant(self, monotonic_ms: u64) -> Instant {
        let limit_ms = self.monotonic_ms().saturating_add(FAR_MS);
        self.origin + Duration::from_millis(monotonic_ms.min(limit_ms))
    }
}
