//! How often a node tries to reach a peer (spec protocol.md 8.8).

use std::collections::BTreeMap;

use neo_wire::Address;

use crate::io::Now;

/// Two attempts to reach one address are at least this far apart, in milliseconds.
pub const RECONNECT_MS: u64 = 1000;

/// While a peer is refused because it is starting, the first retries come sooner: a cluster that
/// is started at once is ready at once. Milliseconds before each retry.
const QUICK_MS: [u64; 6] = [10, 20, 50, 100, 200, 400];

#[derive(Debug, Clone, Copy, Default)]
struct Attempts {
    last_ms: u64,
    failures: usize,
}

/// Remembers attempts by address.
#[derive(Debug, Default)]
pub struct Pacing {
    attempts: BTreeMap<Address, Attempts>,
}

impl Pacing {
    /// How long to wait before the next attempt, in milliseconds; 0 if it can be made now.
    #[must_use]
    pub fn delay_ms(&self, address: &Address, now: Now) -> u64 {
        let Some(attempts) = self.attempts.get(address) else {
            return 0;
        };
        let wait_ms = match attempts.failures.checked_sub(1) {
            Some(index) => QUICK_MS.get(index).copied().unwrap_or(RECONNECT_MS),
            None => RECONNECT_MS,
        };
        (attempts.last_ms + wait_ms).saturating_sub(now.monotonic_ms)
    }

    /// Notes an attempt made now.
    pub fn attempt(&mut self, address: &Address, now: Now) {
        self.attempts.entry(address.clone()).or_default().last_ms = now.monotonic_ms;
    }

    /// The TCP connection was refused or failed: the peer is probably starting.
    pub fn failed(&mut self, address: &Address) {
        let attempts = self.attempts.entry(address.clone()).or_default();
        attempts.failures = attempts.failures.saturating_add(1);
    }

    /// The peer was reached: from now on only the regular delay counts.
    pub fn reached(&mut self, address: &Address) {
        self.attempts.entry(address.clone()).or_default().failures = 0;
    }

    /// Forgets the delay (a storage does so for a source that served it well).
    pub fn forget(&mut self, address: &Address) {
        self.attempts.remove(address);
    }
}
