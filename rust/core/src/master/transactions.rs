//! Transactions between their begin and their end, and the identifiers that are given (spec
//! master.md 10).

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use neo_wire::{NodeId, Oid, Packet, Partition, Ptid, Tid, Ttid};

use super::Asker;
use crate::dump::Dump;
use crate::io::Entropy;
use crate::nodes::NodeKey;
use crate::tid_allocation::{NoTidLeft, next_tid};

/// A transaction that gets locked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Finishing {
    pub tid: Tid,
    /// Objects to invalidate.
    pub oids: Vec<Oid>,
    /// Partitions of modified and deleted objects.
    pub modified: BTreeSet<Partition>,
    /// AskFinishTransaction.
    pub asker: Asker,
    /// The storages that take part.
    pub involved: BTreeSet<NodeId>,
    /// Those that have not locked yet.
    pub locking: BTreeSet<NodeId>,
    /// The version of the partition table that they all had recorded when they locked.
    pub ptid: Option<Ptid>,
}

/// A transaction between its begin and its end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Transaction {
    /// Who began it; none if that one is lost while it is being finished.
    pub owner: Option<NodeKey>,
    /// The storages that are ready since this count get everything that belongs to it.
    pub readiness: u64,
    /// Storages that its owner could not write to.
    pub failed: BTreeSet<NodeId>,
    /// Storages that want to know how it ends.
    pub registered: BTreeSet<NodeId>,
    /// AskFinalTID of clients.
    pub waiting: Vec<Asker>,
    /// Its final TID is its TTID, given by the client.
    pub is_imposed: bool,
    /// A lower imposed TID of the same client was aborted: it can not be committed.
    pub is_doomed: bool,
    /// AskFinishTransaction, that waits for the lower imposed TIDs.
    pub held: Option<Asker>,
    pub finishing: Option<Finishing>,
}

impl Transaction {
    /// Whether its client asked to commit it.
    pub const fn is_asked(&self) -> bool {
        self.finishing.is_some() || self.held.is_some()
    }
}

/// A request that can not be answered yet.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Delayed {
    pub client: NodeKey,
    pub asker: Asker,
    pub packet: Packet,
}

/// Every pending transaction, and the last identifiers.
#[derive(Debug)]
pub(super) struct Transactions {
    pending: BTreeMap<Ttid, Transaction>,
    /// Transactions that have their final TID, in its order.
    queue: VecDeque<Ttid>,
    delayed: VecDeque<Delayed>,
    /// Imposed TIDs that were aborted, and the storages that may not have handled that yet.
    fading: BTreeMap<Ttid, BTreeSet<NodeId>>,
    /// Clients that asked to only read.
    readers: BTreeSet<NodeKey>,
    last_oid: Oid,
    last_tid: Tid,
    first_tid: Tid,
    /// The greatest TTID given by this master: packets about a transaction that ended may still be
    /// on their way, so that another one must not have its TTID although the clock goes back.
    last_ttid: Tid,
}

impl Default for Transactions {
    fn default() -> Self {
        Self {
            pending: BTreeMap::new(),
            queue: VecDeque::new(),
            delayed: VecDeque::new(),
            fading: BTreeMap::new(),
            readers: BTreeSet::new(),
            last_oid: Oid::ZERO,
            last_tid: Tid::ZERO,
            first_tid: Tid::MAX,
            last_ttid: Tid::ZERO,
        }
    }
}

impl Transactions {
    pub(super) fn dump(&self, dump: &mut Dump) {
        dump.list("transactions", &self.pending);
        dump.list("delayed requests", &self.delayed);
        dump.value("last oid, last tid", &(self.last_oid, self.last_tid));
    }

    /// Forgets everything, but not the TTIDs that were given.
    pub fn reset(&mut self) {
        *self = Self { last_ttid: self.last_ttid, ..Self::default() };
    }

    /// Forgets transactions and clients, but not the last identifiers.
    pub fn abandon(&mut self) {
        self.pending.clear();
        self.queue.clear();
        self.delayed.clear();
        self.fading.clear();
        self.readers.clear();
    }

    /// Continues from what storages have.
    pub fn start(&mut self, last_tid: Tid, last_oid: Oid, first_tid: Tid) {
        (self.last_tid, self.last_oid, self.first_tid) = (last_tid, last_oid, first_tid);
    }

    /// Leaves a gap of up to a minute, when the clock is behind what is committed. Other masters,
    /// or this one in a former life, may have counted from there, and clients may still ask what
    /// became of the TTIDs they got; nobody remembers those.
    pub fn leave_gap(&mut self, wall_s: f64, entropy: &mut Entropy) {
        let is_behind = Tid::from_time(wall_s).is_none_or(|now| now <= self.last_tid);
        let gap = i64::try_from(entropy.below(1 << 32)).unwrap_or_default();
        let after_gap = self.last_tid.add_tid(gap).filter(|tid| is_behind && *tid <= Tid::MAX);
        self.last_ttid = self.last_ttid.max(after_gap.unwrap_or_default());
    }

    pub const fn last_tid(&self) -> Tid {
        self.last_tid
    }

    pub const fn last_oid(&self) -> Oid {
        self.last_oid
    }

    pub const fn first_tid(&self) -> Tid {
        self.first_tid
    }

    /// Whether there is neither a transaction nor a request that waits.
    pub fn is_idle(&self) -> bool {
        self.pending.is_empty() && self.delayed.is_empty()
    }

    pub fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    pub fn has_finishing(&self) -> bool {
        self.pending.values().any(|x| x.finishing.is_some())
    }

    pub fn get(&self, ttid: Ttid) -> Option<&Transaction> {
        self.pending.get(&ttid)
    }

    pub fn get_mut(&mut self, ttid: Ttid) -> Option<&mut Transaction> {
        self.pending.get_mut(&ttid)
    }

    /// The greatest TID in use (10.2). Committed ones count even if older transactions are pending:
    /// the clock may go back.
    pub fn floor(&self) -> Tid {
        let ttid = self.pending.last_key_value().map(|(ttid, _)| ttid.as_tid());
        let queued = self.queue.back().and_then(|ttid| self.final_tid(*ttid));
        self.last_tid.max(ttid.unwrap_or_default()).max(queued.unwrap_or_default())
    }

    /// After which TID the next one is given: those of transactions that were aborted count too.
    fn used(&self) -> Tid {
        self.floor().max(self.last_ttid)
    }

    fn final_tid(&self, ttid: Ttid) -> Option<Tid> {
        Some(self.get(ttid)?.finishing.as_ref()?.tid)
    }

    /// Begins a transaction, with the next TTID or an imposed one (10.3).
    ///
    /// Imposed TIDs may be pipelined: each is greater than those of the same client that are
    /// pending, and nobody else has any. They are a train: what gets committed of it is a prefix,
    /// so that a client that is lost can continue after the last TID.
    ///
    /// # Errors
    /// The text of a PROTOCOL_ERROR.
    pub fn begin(
        &mut self,
        owner: NodeKey,
        imposed: Option<Tid>,
        readiness: u64,
        wall_s: f64,
    ) -> Result<Ttid, String> {
        let concurrent = "There can't be concurrent transactions when a TID is specified for any \
                          of them.";
        let ttid = if let Some(tid) = imposed {
            let precedes = |(ttid, transaction): (&Ttid, &Transaction)| {
                transaction.is_imposed && transaction.owner == Some(owner) && ttid.as_tid() < tid
            };
            if !self.pending.iter().all(precedes) {
                return Err(concurrent.into());
            }
            if tid <= self.last_tid {
                return Err("new TID must be greater than the last committed one".into());
            }
            if tid > Tid::MAX {
                return Err(NoTidLeft { floor: self.used() }.to_string());
            }
            self.queue.push_back(tid.as_ttid());
            tid.as_ttid()
        } else {
            let blocks = |x: &Transaction| x.is_imposed && x.finishing.is_none();
            if self.pending.values().any(blocks) {
                return Err(concurrent.into());
            }
            let tid = next_tid(wall_s, self.used(), None).map_err(|error| error.to_string())?;
            self.last_ttid = tid;
            tid.as_ttid()
        };
        let is_doomed = imposed.is_some() && self.pending.values().any(|x| x.is_doomed);
        let transaction = Transaction {
            owner: Some(owner),
            readiness,
            failed: BTreeSet::new(),
            registered: BTreeSet::new(),
            waiting: Vec::new(),
            is_imposed: imposed.is_some(),
            is_doomed,
            held: None,
            finishing: None,
        };
        self.pending.insert(ttid, transaction);
        Ok(ttid)
    }

    /// Chooses the final TID of a transaction; queues it.
    ///
    /// # Errors
    /// If there is none left.
    pub fn allocate(&mut self, ttid: Ttid, partitions: u32, wall_s: f64) -> Result<Tid, NoTidLeft> {
        if self.get(ttid).is_some_and(|x| x.is_imposed) {
            return Ok(ttid.as_tid());
        }
        let tid = next_tid(wall_s, self.used(), Some((ttid, partitions)))?;
        self.queue.push_back(ttid);
        Ok(tid)
    }

    /// Ends a transaction that is not committed. If its TID is imposed, greater ones can not be
    /// committed either.
    pub fn remove(&mut self, ttid: Ttid) -> Option<Transaction> {
        self.queue.retain(|queued| *queued != ttid);
        let transaction = self.pending.remove(&ttid)?;
        if transaction.is_imposed {
            for (_, later) in self.pending.range_mut(ttid..) {
                later.is_doomed |= later.is_imposed && later.finishing.is_none();
            }
        }
        let held = transaction.held;
        self.delayed.retain(|delayed| held != Some(delayed.asker));
        Some(transaction)
    }

    /// A storage is told that a transaction with an imposed TID is aborted.
    pub fn fade(&mut self, ttid: Ttid, nid: NodeId) {
        self.fading.entry(ttid).or_default().insert(nid);
    }

    /// A storage has handled that.
    pub fn faded(&mut self, ttid: Ttid, nid: NodeId) {
        if let Some(nids) = self.fading.get_mut(&ttid) {
            nids.remove(&nid);
        }
        self.fading.retain(|_, nids| !nids.is_empty());
    }

    /// Whether a storage may still abort what begins with an imposed TID: it takes it for the
    /// former transaction with this TID.
    pub fn is_fading(&self) -> bool {
        !self.fading.is_empty()
    }

    /// The transaction to lock before one whose TID is imposed.
    pub fn predecessor(&self, ttid: Ttid) -> Option<(Ttid, &Transaction)> {
        let is_imposed = self.get(ttid)?.is_imposed;
        let (lower, transaction) = self.pending.range(..ttid).next_back()?;
        is_imposed.then_some((*lower, transaction))
    }

    /// Takes the next transaction to commit: the head of the queue, if everybody locked it.
    pub fn take_committed(&mut self) -> Option<(Ttid, Transaction, Finishing)> {
        let ttid = *self.queue.front()?;
        let finishing = self.get(ttid)?.finishing.as_ref()?;
        if !finishing.locking.is_empty() {
            return None;
        }
        self.queue.pop_front();
        let mut transaction = self.pending.remove(&ttid)?;
        let finishing = transaction.finishing.take()?;
        // Commits are in the order of TIDs, or two masters would not agree on the last one.
        assert!(
            finishing.tid > self.last_tid,
            "{} is committed after {}",
            finishing.tid,
            self.last_tid
        );
        self.first_tid = self.first_tid.min(finishing.tid);
        self.last_tid = finishing.tid;
        Some((ttid, transaction, finishing))
    }

    /// Notes that the greatest OID is at least this one: clients may choose them.
    pub fn use_oids(&mut self, oids: &[Oid]) {
        let max = oids.iter().copied().max();
        self.last_oid = self.last_oid.max(max.unwrap_or_default());
    }

    /// Allocates consecutive OIDs; none if there are not that many that every storage can hold.
    pub fn new_oids(&mut self, count: u32) -> Option<Vec<Oid>> {
        let last = self.last_oid.add64(i64::from(count))?;
        if last > Oid::MAX {
            return None;
        }
        let oids = (self.last_oid.0..last.0).map(|number| Oid(number + 1));
        let oids = oids.collect();
        self.last_oid = last;
        Some(oids)
    }

    /// Makes a storage be told how every pending transaction ends; returns these.
    pub fn register(&mut self, nid: NodeId) -> Vec<Ttid> {
        for transaction in self.pending.values_mut() {
            transaction.registered.insert(nid);
        }
        self.pending.keys().copied().collect()
    }

    /// The storages that any pending transaction failed to write to.
    pub fn failed(&self) -> impl Iterator<Item = NodeId> {
        self.pending.values().flat_map(|x| x.failed.iter().copied())
    }

    /// A storage is lost: nothing is expected from it any more (10.8).
    pub fn lose_storage(&mut self, nid: NodeId) {
        self.fading.retain(|_, nids| {
            nids.remove(&nid);
            !nids.is_empty()
        });
        for transaction in self.pending.values_mut() {
            transaction.registered.remove(&nid);
            if let Some(finishing) = &mut transaction.finishing {
                finishing.involved.remove(&nid);
                finishing.locking.remove(&nid);
            }
        }
    }

    /// A client is lost: its transactions are to be aborted, but those being finished, which
    /// continue without it. Returns the former.
    pub fn lose_client(&mut self, client: NodeKey, asker: impl Fn(&Asker) -> bool) -> Vec<Ttid> {
        self.readers.remove(&client);
        self.delayed.retain(|delayed| delayed.client != client);
        let mut aborted = Vec::new();
        for (ttid, transaction) in &mut self.pending {
            transaction.waiting.retain(|waiting| !asker(waiting));
            if transaction.owner != Some(client) {
                continue;
            }
            if transaction.finishing.is_some() {
                transaction.owner = None;
            } else {
                aborted.push(*ttid);
            }
        }
        aborted
    }

    /// Transactions that are begun and not being finished.
    pub fn unfinished(&self) -> Vec<Ttid> {
        let begun = self.pending.iter().filter(|(_, x)| x.finishing.is_none());
        begun.map(|(ttid, _)| *ttid).collect()
    }

    pub fn add_reader(&mut self, client: NodeKey) {
        self.readers.insert(client);
    }

    pub fn is_reader(&self, client: NodeKey) -> bool {
        self.readers.contains(&client)
    }

    pub fn delay(&mut self, delayed: Delayed) {
        self.delayed.push_back(delayed);
    }

    /// Takes the requests that wait, the oldest first.
    pub fn take_delayed(&mut self) -> VecDeque<Delayed> {
        std::mem::take(&mut self.delayed)
    }
}

#[cfg(test)]
mod tests;
