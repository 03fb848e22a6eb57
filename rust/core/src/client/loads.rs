//! Reads of records: the cache, fetches in progress, and what is published (spec client.md 4.2,
//! 5.3, 5.4).
//!
//! This is the part of the client behind a lock of its own: a hit never waits for the network.

use std::collections::BTreeMap;

use bytes::Bytes;
use neo_wire::{Oid, Tid};

use super::cache::{Cache, Cached};

/// Which revision of an object is wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wanted {
    /// The current one.
    Current,
    /// The greatest one strictly before a TID.
    Before(Tid),
    /// Exactly this one.
    Exact(Tid),
}

/// A fetch in progress: what it finds is only cached if this still is valid.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fetch(u64);

/// What to do for a load.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Lookup {
    /// Found.
    Hit(Cached),
    /// The same object is being fetched, or a commit is being published (rule O6): ask again when
    /// something ends.
    Wait,
    /// Ask a storage, then say what came with [`Loads::fetched`] or [`Loads::failed`].
    Fetch {
        /// To be given back.
        fetch: Fetch,
        /// What to ask: never anything newer than what is published.
        wanted: Wanted,
    },
}

#[derive(Debug)]
struct InFlight {
    fetch: Fetch,
    invalidated: Vec<Tid>,
}

/// See the module.
#[derive(Debug)]
pub struct Loads {
    /// The records.
    pub cache: Cache,
    last_tid: Option<Tid>,
    publishing: Option<Tid>,
    /// The publication follows a (re)connection: the last TID may go back.
    resetting: bool,
    in_flight: BTreeMap<Oid, InFlight>,
    fetches: u64,
}

impl Loads {
    /// With a cache of this size in bytes.
    #[must_use]
    pub fn new(cache_size: usize) -> Self {
        Self {
            cache: Cache::new(cache_size),
            last_tid: None,
            publishing: None,
            resetting: false,
            in_flight: BTreeMap::new(),
            fetches: 0,
        }
    }

    /// The last TID whose effects are all visible; none if never connected.
    #[must_use]
    pub fn last_tid(&self) -> Option<Tid> {
        self.last_tid
    }

    /// Whether a read may see more than what is published: such a read waits for a publication in
    /// progress (rule O6).
    fn is_unbounded(&self, wanted: Wanted) -> bool {
        match wanted {
            Wanted::Current => true,
            Wanted::Before(tid) => self.last_tid.is_none_or(|last| tid > last.next()),
            Wanted::Exact(_) => false,
        }
    }

    /// Looks a revision up. `in_callback` tells that the caller runs inside of the publication in
    /// progress: it would wait for itself.
    pub fn look_up(&mut self, oid: Oid, wanted: Wanted, in_callback: bool) -> Lookup {
        if !in_callback && self.is_held(wanted) {
            return Lookup::Wait;
        }
        if let Some(cached) = self.peek(oid, wanted, in_callback) {
            return Lookup::Hit(cached);
        }
        if self.in_flight.contains_key(&oid) {
            return Lookup::Wait;
        }
        let fetch = self.start(oid);
        let visible = self.publishing.max(self.last_tid);
        let wanted = match (wanted, visible) {
            (Wanted::Current, Some(last)) => Wanted::Before(last.next()),
            (other, _) => other,
        };
        Lookup::Fetch { fetch, wanted }
    }

    fn start(&mut self, oid: Oid) -> Fetch {
        self.fetches += 1;
        let fetch = Fetch(self.fetches);
        self.in_flight.insert(oid, InFlight { fetch, invalidated: Vec::new() });
        fetch
    }

    /// Starts a fetch of the last revision before a TID for later loads (spec client.md 16.2). None
    /// if there is nothing to do: it is cached, or that object is being fetched.
    pub fn start_ahead(&mut self, oid: Oid, before: Tid) -> Option<Fetch> {
        let nothing = self.in_flight.contains_key(&oid)
            || self.is_held(Wanted::Before(before))
            || self.cache.contains(oid, before);
        (!nothing).then(|| self.start(oid))
    }

    /// Whether a read has to wait for the end of a publication (rule O6).
    #[must_use]
    pub fn is_held(&self, wanted: Wanted) -> bool {
        self.publishing.is_some() && self.is_unbounded(wanted)
    }

    /// A cached revision, if nothing has to be waited for.
    pub fn peek(&mut self, oid: Oid, wanted: Wanted, in_callback: bool) -> Option<Cached> {
        if !in_callback && self.is_held(wanted) {
            return None;
        }
        match wanted {
            Wanted::Current => self.cache.load(oid, None),
            Wanted::Before(tid) => self.cache.load(oid, Some(tid)),
            Wanted::Exact(tid) => self.cache.load_serial(oid, tid),
        }
    }

    /// A fetch brought a record; it is cached unless the view changed completely meanwhile.
    /// Returns the next serial as it is known now.
    pub fn fetched(
        &mut self,
        oid: Oid,
        fetch: Fetch,
        data: Bytes,
        serial: Tid,
        next_serial: Option<Tid>,
    ) -> Option<Tid> {
        let Some(in_flight) = self.in_flight.get(&oid) else {
            return next_serial;
        };
        if in_flight.fetch != fetch {
            return next_serial;
        }
        let invalidated = in_flight.invalidated.iter().copied().filter(|tid| *tid > serial);
        let next_serial = next_serial.or(invalidated.min());
        self.in_flight.remove(&oid);
        self.cache.store(oid, data, serial, next_serial);
        next_serial
    }

    /// A fetch brought nothing.
    pub fn failed(&mut self, oid: Oid, fetch: Fetch) {
        if self.in_flight.get(&oid).is_some_and(|in_flight| in_flight.fetch == fetch) {
            self.in_flight.remove(&oid);
        }
    }

    fn invalidate(&mut self, oid: Oid, tid: Tid) {
        self.cache.invalidate(oid, tid);
        if let Some(in_flight) = self.in_flight.get_mut(&oid) {
            in_flight.invalidated.push(tid);
        }
    }

    /// First step of the publication of another client's commit (rule O3 a).
    pub fn begin_foreign(&mut self, tid: Tid, oids: &[Oid]) {
        self.publishing = Some(tid);
        oids.iter().for_each(|oid| self.invalidate(*oid, tid));
    }

    /// First step of the publication of a commit of ours (rule O4 a): objects with their data if
    /// it was kept.
    pub fn begin_local(&mut self, tid: Tid, records: Vec<(Oid, Option<Bytes>)>) {
        self.publishing = Some(tid);
        for (oid, data) in records {
            self.invalidate(oid, tid);
            if let Some(data) = data {
                self.cache.store(oid, data, tid, None);
            }
        }
    }

    /// First step of what follows a (re)connection (spec client.md 3.4): nothing if nothing was
    /// committed meanwhile. Returns whether Python's caches must be invalidated.
    pub fn begin_reset(&mut self, last_tid: Tid) -> bool {
        match self.last_tid {
            Some(old) if old == last_tid => return false,
            Some(old) if old > last_tid => self.cache.clear(),
            _ => self.cache.clear_current(),
        }
        self.in_flight.clear();
        self.publishing = Some(last_tid);
        self.resetting = true;
        true
    }

    /// In the child of a fork, and when the links are closed: nothing is being fetched or published
    /// any more. What is cached and the last TID stay.
    pub fn forget_pending(&mut self) {
        self.in_flight.clear();
        self.publishing = None;
        self.resetting = false;
    }

    /// Last step of any publication (rules O3 c, O4 c): the TID becomes visible. A commit whose
    /// outcome had to be asked for may be older than what is visible already.
    pub fn end(&mut self, tid: Tid) {
        self.publishing = None;
        let resetting = std::mem::take(&mut self.resetting);
        self.last_tid = self.last_tid.filter(|_| !resetting).max(Some(tid));
    }
}
