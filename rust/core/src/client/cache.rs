//! The record cache: a multi-queue cache of uncompressed records, several revisions per object
//! (spec client.md 6).

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;
use neo_wire::{Oid, Tid};

/// How long an entry stays at a level without access, in accesses.
const LIFE_TIME: u64 = 10_000;
/// How many traces of evicted entries are remembered.
const MAX_HISTORY: usize = 100_000;
/// What an entry costs besides its data, in bytes: its place in the slab, in the map and in lists.
const OVERHEAD: usize = 96;

type Index = u32;
const NIL: Index = Index::MAX;

#[derive(Debug)]
struct Entry {
    oid: Oid,
    tid: Tid,
    next_tid: Option<Tid>,
    /// None in the history: only a trace is left.
    data: Option<Bytes>,
    counter: u32,
    /// Level of the queue it is in; 0 is the history.
    level: u8,
    expire: u64,
    previous: Index,
    next: Index,
}

#[derive(Debug, Clone, Copy)]
struct Queue {
    head: Index,
    tail: Index,
}

const EMPTY: Queue = Queue { head: NIL, tail: NIL };

/// A cached revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cached {
    /// Uncompressed record.
    pub data: Bytes,
    /// Its revision.
    pub serial: Tid,
    /// The revision that follows, if it is known to exist.
    pub next_serial: Option<Tid>,
}

/// See the module.
#[derive(Debug)]
pub struct Cache {
    max_size: usize,
    /// Entries by index; free places are linked through `next`.
    entries: Vec<Entry>,
    free: Index,
    /// Index 0 is the history.
    queues: Vec<Queue>,
    by_oid: BTreeMap<Oid, Vec<Index>>,
    time: u64,
    size: usize,
    history: usize,
    hits: u64,
    misses: u64,
}

impl Cache {
    /// A cache that holds at most `max_size` bytes; 0 for none.
    #[must_use]
    pub fn new(max_size: usize) -> Self {
        Self {
            max_size,
            entries: Vec::new(),
            free: NIL,
            queues: vec![EMPTY],
            by_oid: BTreeMap::new(),
            time: 0,
            size: 0,
            history: 0,
            hits: 0,
            misses: 0,
        }
    }

    /// The limit given at creation, in bytes.
    #[must_use]
    pub fn max_size(&self) -> usize {
        self.max_size
    }

    fn unlink(&mut self, index: Index) {
        let (previous, next, level) = {
            let entry = &self.entries[index as usize];
            (entry.previous, entry.next, entry.level)
        };
        let queue = &mut self.queues[usize::from(level)];
        if previous == NIL {
            queue.head = next;
        } else {
            self.entries[previous as usize].next = next;
        }
        let queue = &mut self.queues[usize::from(level)];
        if next == NIL {
            queue.tail = previous;
        } else {
            self.entries[next as usize].previous = previous;
        }
        if level == 0 {
            self.history -= 1;
        }
    }

    fn append(&mut self, index: Index, level: u8) {
        while self.queues.len() <= usize::from(level) {
            self.queues.push(EMPTY);
        }
        let tail = std::mem::replace(&mut self.queues[usize::from(level)].tail, index);
        let entry = &mut self.entries[index as usize];
        entry.level = level;
        entry.previous = tail;
        entry.next = NIL;
        entry.expire = self.time + LIFE_TIME;
        if tail == NIL {
            self.queues[usize::from(level)].head = index;
        } else {
            self.entries[tail as usize].next = index;
        }
    }

    fn append_to_history(&mut self, index: Index) {
        if let Some(data) = self.entries[index as usize].data.take() {
            self.size -= data.len() + OVERHEAD;
        }
        self.append(index, 0);
        self.history += 1;
        if self.history > MAX_HISTORY {
            self.forget(self.queues[0].head);
        }
    }

    /// Removes an entry that is in a queue.
    fn forget(&mut self, index: Index) {
        self.unlink(index);
        self.drop_unlinked(index);
    }

    fn drop_unlinked(&mut self, index: Index) {
        let entry = &mut self.entries[index as usize];
        if let Some(data) = entry.data.take() {
            self.size -= data.len() + OVERHEAD;
        }
        entry.next = self.free;
        self.free = index;
        let oid = self.entries[index as usize].oid;
        if let Some(revisions) = self.by_oid.get_mut(&oid) {
            revisions.retain(|other| *other != index);
            if revisions.is_empty() {
                self.by_oid.remove(&oid);
            }
        }
    }

    /// Notes an access, then demotes at most one entry that was not accessed for long.
    fn touch(&mut self, index: Index) {
        self.unlink(index);
        let entry = &mut self.entries[index as usize];
        entry.counter = entry.counter.saturating_add(1);
        let level = 1 + entry.counter.ilog2() as u8;
        self.append(index, level);
        self.time += 1;
        for level in 1..self.queues.len() {
            let head = self.queues[level].head;
            if head == NIL || self.entries[head as usize].expire >= self.time {
                continue;
            }
            self.unlink(head);
            if level > 1 {
                self.append(head, level as u8 - 1);
            } else if self.entries[head as usize].counter > 0 {
                self.append_to_history(head);
            } else {
                self.drop_unlinked(head);
            }
            break;
        }
    }

    fn find(&self, oid: Oid, before: Option<Tid>) -> Option<Index> {
        let revisions = self.by_oid.get(&oid)?;
        let Some(before) = before else {
            let last = *revisions.last()?;
            return self.entries[last as usize].next_tid.is_none().then_some(last);
        };
        let place = revisions.partition_point(|i| self.entries[*i as usize].tid < before);
        let index = revisions[place.checked_sub(1)?];
        let next = self.entries[index as usize].next_tid;
        next.is_none_or(|next| before <= next).then_some(index)
    }

    fn hit(&mut self, index: Option<Index>) -> Option<Cached> {
        let cached = index.and_then(|index| {
            let entry = &self.entries[index as usize];
            let data = entry.data.clone()?;
            Some(Cached { data, serial: entry.tid, next_serial: entry.next_tid })
        });
        if let (Some(_), Some(index)) = (&cached, index) {
            self.hits += 1;
            self.touch(index);
        } else {
            self.misses += 1;
        }
        cached
    }

    /// The last revision, or the last one before a TID.
    pub fn load(&mut self, oid: Oid, before: Option<Tid>) -> Option<Cached> {
        let index = self.find(oid, before);
        self.hit(index)
    }

    /// Whether the last revision before a TID is there; it does not count as an access.
    #[must_use]
    pub fn contains(&self, oid: Oid, before: Tid) -> bool {
        self.find(oid, Some(before))
            .is_some_and(|index| self.entries[index as usize].data.is_some())
    }

    /// A revision by its serial.
    pub fn load_serial(&mut self, oid: Oid, serial: Tid) -> Option<Cached> {
        let index = self.by_oid.get(&oid).and_then(|revisions| {
            revisions.iter().copied().find(|i| self.entries[*i as usize].tid == serial)
        });
        self.hit(index)
    }

    /// Adds a revision valid from `serial` until `next_serial`, or still current.
    pub fn store(&mut self, oid: Oid, data: Bytes, serial: Tid, next_serial: Option<Tid>) {
        let cost = data.len() + OVERHEAD;
        if cost >= self.max_size {
            return;
        }
        let known = self.by_oid.get(&oid).and_then(|revisions| {
            revisions.iter().copied().find(|i| self.entries[*i as usize].tid == serial)
        });
        let index = match known {
            Some(index) => {
                let entry = &mut self.entries[index as usize];
                // Two views of one revision: the one that knows its end wins.
                entry.next_tid = entry.next_tid.or(next_serial);
                if entry.data.is_some() {
                    return;
                }
                entry.data = Some(data);
                index
            }
            None => self.create(oid, data, serial, next_serial),
        };
        self.size += cost;
        self.touch(index);
        self.evict();
    }

    fn create(&mut self, oid: Oid, data: Bytes, serial: Tid, next: Option<Tid>) -> Index {
        let mut counter = 0;
        if next.is_none()
            && let Some(previous) = self.by_oid.get(&oid).and_then(|list| list.last().copied())
            && self.entries[previous as usize].tid < serial
        {
            counter = self.supersede(previous, serial);
        }
        let entry = Entry {
            oid,
            tid: serial,
            next_tid: next,
            data: Some(data),
            counter,
            level: 1,
            expire: 0,
            previous: NIL,
            next: NIL,
        };
        let index = if self.free == NIL {
            self.entries.push(entry);
            self.entries.len() as Index - 1
        } else {
            let index = self.free;
            self.free = self.entries[index as usize].next;
            self.entries[index as usize] = entry;
            index
        };
        self.append(index, 1);
        let revisions = self.by_oid.entry(oid).or_default();
        let place = revisions.partition_point(|i| self.entries[*i as usize].tid < serial);
        revisions.insert(place, index);
        index
    }

    /// A newer current revision comes: it inherits the frequency of the previous one.
    fn supersede(&mut self, previous: Index, serial: Tid) -> u32 {
        let entry = &mut self.entries[previous as usize];
        let counter = entry.counter;
        entry.next_tid = entry.next_tid.or(Some(serial));
        if entry.data.is_none() {
            self.forget(previous);
        } else {
            entry.counter = 0;
            if entry.level > 1 {
                self.touch(previous);
            }
        }
        counter
    }

    fn evict(&mut self) {
        let mut level = 1;
        while self.size > self.max_size && level < self.queues.len() {
            let head = self.queues[level].head;
            if head == NIL {
                level += 1;
            } else if self.entries[head as usize].counter > 0 {
                self.unlink(head);
                self.append_to_history(head);
            } else {
                self.forget(head);
            }
        }
    }

    /// A transaction changed the object: its current revision, if it is older, is not current any
    /// more.
    pub fn invalidate(&mut self, oid: Oid, tid: Tid) {
        if let Some(last) = self.by_oid.get(&oid).and_then(|list| list.last().copied()) {
            let entry = &mut self.entries[last as usize];
            // A revision read before its invalidation arrived keeps being current.
            if entry.next_tid.is_none() && entry.tid < tid {
                entry.next_tid = Some(tid);
            }
        }
    }

    /// Forgets current revisions; those that have an end stay valid for ever.
    pub fn clear_current(&mut self) {
        let current: Vec<Index> = self
            .by_oid
            .values()
            .filter_map(|revisions| revisions.last().copied())
            .filter(|index| self.entries[*index as usize].next_tid.is_none())
            .collect();
        current.into_iter().for_each(|index| self.forget(index));
    }

    /// Forgets everything, statistics too.
    pub fn clear(&mut self) {
        *self = Self::new(self.max_size);
    }
}

impl fmt::Display for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let loads = self.hits + self.misses;
        let ratio = 100.0 * self.hits as f64 / loads.max(1) as f64;
        let length = |queue: &Queue| {
            std::iter::successors(Some(queue.head).filter(|i| *i != NIL), |index| {
                Some(self.entries[*index as usize].next).filter(|i| *i != NIL)
            })
            .count()
        };
        let lengths: Vec<usize> = self.queues.iter().map(length).collect();
        write!(
            f,
            "<Cache loads={loads} hits={ratio:.1}% oids={} size={} time={} queues={lengths:?} \
             life_time={LIFE_TIME} max_history_size={MAX_HISTORY} max_size={}>",
            self.by_oid.len(),
            self.size,
            self.time,
            self.max_size
        )
    }
}

#[cfg(test)]
mod tests;
