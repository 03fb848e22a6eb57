//! Records loaded before they are asked for (spec client.md 16.2).
//!
//! A thread does it while there is something to do, so that nobody waits but who wants one of these
//! records: such a load waits for the fetch in progress as for any other one.

use std::collections::VecDeque;
use std::sync::Arc;

use neo_core::client::api::ClientError;
use neo_core::client::loads::{Fetch, Wanted};
use neo_wire::{Oid, Tid};

use crate::application::Inner;
use crate::background::report;
use crate::error::Error;
use crate::fetch::{Fetched, Group};
use crate::sync::Mutex;

/// How many objects may wait to be prefetched: more are not worth remembering.
const MAX_WAITING: usize = 100_000;

/// After so many records, those who wait for them are woken: not for each one.
const STEP: usize = 32;

/// What is to be loaded ahead.
#[derive(Debug, Default)]
pub(crate) struct Prefetcher(Mutex<Jobs>);

#[derive(Debug, Default)]
struct Jobs {
    waiting: VecDeque<(Vec<Oid>, Tid)>,
    count: usize,
    /// A thread takes them.
    running: bool,
}

impl Inner {
    /// Has the last revisions before a TID of some objects loaded. It does not wait.
    pub(crate) fn prefetch(self: &Arc<Self>, oids: Vec<Oid>, before: Tid) {
        if self.loads.with(|loads| loads.cache.max_size()) == 0 || oids.is_empty() {
            return;
        }
        let mut jobs = self.prefetcher.0.lock();
        if jobs.count + oids.len() > MAX_WAITING {
            return;
        }
        jobs.count += oids.len();
        jobs.waiting.push_back((oids, before));
        if !jobs.running {
            let inner = Arc::clone(self);
            let thread = std::thread::Builder::new().name("NEO prefetch".into());
            match thread.spawn(move || inner.prefetch_all()) {
                Ok(_) => jobs.running = true,
                Err(error) => {
                    report(&error);
                    *jobs = Jobs::default();
                }
            }
        }
    }

    fn prefetch_all(&self) {
        loop {
            let mut jobs = self.prefetcher.0.lock();
            let Some((oids, before)) = jobs.waiting.pop_front() else {
                jobs.running = false;
                return;
            };
            jobs.count -= oids.len();
            drop(jobs);
            // Whoever needs these records gets the error.
            if let Err(error) = self.load_ahead(&oids, before) {
                tracing::debug!(%error, "objects are not prefetched");
            }
        }
    }

    fn load_ahead(&self, mut oids: &[Oid], before: Tid) -> Result<(), Error> {
        let mut group = Group::new();
        let mut room = self.loads.with(|loads| loads.cache.max_size());
        while !oids.is_empty() && room > 0 {
            self.loads.settle(Wanted::Before(before), &|| false)?;
            let (now, later) = oids.split_at(group.len().min(oids.len()));
            oids = later;
            let wanted = self.loads.with(|loads| {
                let start = |oid: &Oid| Some((*oid, loads.start_ahead(*oid, before)?));
                now.iter().filter_map(start).collect::<Vec<_>>()
            });
            let bytes = self.fetch_ahead(&wanted, before)?;
            group.learn(wanted.len(), bytes);
            room = room.saturating_sub(bytes);
        }
        Ok(())
    }

    /// Returns how many bytes came.
    fn fetch_ahead(&self, started: &[(Oid, Fetch)], before: Tid) -> Result<usize, Error> {
        let wanted: Vec<_> =
            started.iter().map(|(oid, _)| (*oid, Wanted::Before(before))).collect();
        let mut bytes = 0;
        let mut result = Ok(());
        let mut came = Vec::with_capacity(STEP);
        let mut store = |came: &mut Vec<(usize, Result<Fetched, Error>)>| {
            let mut state = self.loads.lock();
            for (place, fetched) in came.drain(..) {
                let (oid, fetch) = started[place];
                match state.store(oid, fetch, fetched) {
                    Ok(record) => bytes += record.data.len(),
                    Err(error @ Error::Client(ClientError::Closed)) => result = Err(error),
                    // An object that does not exist is not an error.
                    Err(_) => {}
                }
            }
            self.loads.wake(&state);
        };
        let fetched = self.fetch_each(&wanted, &|| false, |place, fetched| {
            came.push((place, fetched));
            if came.len() == STEP {
                store(&mut came);
            }
        });
        store(&mut came);
        fetched.and(result).map(|()| bytes)
    }
}
