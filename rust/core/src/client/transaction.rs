//! State of one transaction (spec client.md 7.1).

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use neo_wire::{NodeId, Oid, PackRequest, Partition, Tid, Ttid};

use super::api::{CallId, ClientError, Conflict, Content, Metadata, Stored, Write};

/// A write that some nodes have not answered yet.
#[derive(Debug)]
pub struct Pending {
    /// What was asked.
    pub write: Write,
    /// Which attempt to write this object it is: answers to former ones do not count.
    pub attempt: u32,
    /// Nodes that have not answered.
    pub expected: BTreeSet<NodeId>,
    /// A node took the lock.
    pub locked: bool,
}

/// A write that every node answered.
#[derive(Debug)]
pub struct Done {
    /// The revision it was based on.
    pub base: Tid,
    /// What it was: data is only kept within a limit.
    pub content: DoneContent,
}

/// See [`Done`].
#[derive(Debug)]
pub enum DoneContent {
    /// Data, still there if there was room.
    Data(Option<Bytes>),
    /// No data.
    Deleted,
    /// The same, and other clients are not told.
    Garbage,
    /// Only checked.
    Checked,
}

/// How far a transaction is.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub enum Stage {
    /// Objects are being written.
    Storing,
    /// Storages were asked to vote.
    Voting,
    /// The master was told about failed nodes.
    Arbitrating,
    /// Every storage that counts voted.
    Voted,
    /// The master was asked to commit.
    Finishing,
    /// The link to the master was lost meanwhile: is it committed?
    Recovering,
}

/// What the application waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Waiting {
    /// A write, because too much data is on its way.
    Write(CallId),
    /// A begin with an imposed TID, or the TTID.
    Begin(CallId),
    /// All writes so far.
    Flush(CallId),
    /// A vote.
    Vote(CallId),
    /// A commit.
    Finish(CallId),
    /// A commit of a transaction that is copied whole.
    Copy(CallId),
}

impl Waiting {
    /// The call that waits.
    #[must_use]
    pub const fn call(&self) -> CallId {
        match self {
            Self::Write(call)
            | Self::Begin(call)
            | Self::Flush(call)
            | Self::Vote(call)
            | Self::Finish(call)
            | Self::Copy(call) => *call,
        }
    }
}

/// See the module.
#[derive(Debug)]
pub struct Transaction {
    /// Unknown until the master answers.
    pub ttid: Option<Ttid>,
    /// It was begun with a TID to have: that can not be asked again.
    pub imposed: bool,
    /// Writes waiting for answers.
    pub pending: BTreeMap<Oid, Pending>,
    /// Writes that are done.
    pub done: BTreeMap<Oid, Done>,
    /// Places of the objects in the list of the transaction: where they were last written or, for
    /// one of the past, first.
    orders: BTreeMap<Oid, u32>,
    attempts: u32,
    /// Uncompressed bytes of data in `pending`.
    pub pending_bytes: usize,
    done_bytes: usize,
    /// Conflicts to give to the application.
    pub conflicts: BTreeMap<Oid, Tid>,
    /// Last conflict of each object that was given to the application.
    pub resolved: BTreeMap<Oid, Tid>,
    /// Every node it tried to write to; false if it was lost, for ever.
    pub nodes: BTreeMap<NodeId, bool>,
    /// Objects that no node locked although every one answered or was lost.
    pub unlocked: BTreeSet<Oid>,
    /// Nodes that accepted a write without lock, by partition.
    pub lockless: BTreeMap<Partition, BTreeSet<NodeId>>,
    /// Answers to AskRelockObject still to come.
    pub relocks: usize,
    /// Nodes whose vote is still to come.
    pub votes: BTreeSet<NodeId>,
    /// How far it is.
    pub stage: Stage,
    /// It can not be committed, for this reason.
    pub error: Option<ClientError>,
    /// Its pack order.
    pub pack: Option<PackRequest>,
    /// Given with the vote.
    pub metadata: Metadata,
    /// The call to answer.
    pub waiting: Option<Waiting>,
}

impl Transaction {
    /// A transaction that begins.
    #[must_use]
    pub fn new() -> Self {
        Self {
            ttid: None,
            imposed: false,
            pending: BTreeMap::new(),
            done: BTreeMap::new(),
            orders: BTreeMap::new(),
            attempts: 0,
            pending_bytes: 0,
            done_bytes: 0,
            conflicts: BTreeMap::new(),
            resolved: BTreeMap::new(),
            nodes: BTreeMap::new(),
            unlocked: BTreeSet::new(),
            lockless: BTreeMap::new(),
            relocks: 0,
            votes: BTreeSet::new(),
            stage: Stage::Storing,
            error: None,
            pack: None,
            metadata: Metadata::default(),
            waiting: None,
        }
    }

    /// Takes a write in; the last one of an object wins. False if there is nothing to send: a
    /// check of an object that is written anyway.
    pub fn add(&mut self, write: Write) -> bool {
        let oid = write.oid;
        if write.content == Content::Checked
            && let Some(base) = self.written_base(oid)
        {
            if base != write.base {
                self.conflicts.insert(oid, base);
            }
            return false;
        }
        if let Some(former) = self.pending.remove(&oid) {
            self.pending_bytes -= former.write.content.len();
        }
        self.reopen(write);
        true
    }

    fn written_base(&self, oid: Oid) -> Option<Tid> {
        if let Some(pending) = self.pending.get(&oid) {
            return (pending.write.content != Content::Checked).then_some(pending.write.base);
        }
        let done = self.done.get(&oid)?;
        (!matches!(done.content, DoneContent::Checked)).then_some(done.base)
    }

    /// Moves an object whose expected answers all came to what is done. `limit` bounds the bytes
    /// of data that are kept.
    pub fn settle(&mut self, oid: Oid, limit: usize) {
        if self.conflicts.contains_key(&oid)
            || self.pending.get(&oid).is_none_or(|pending| !pending.expected.is_empty())
        {
            return;
        }
        let Some(Pending { write, locked, .. }) = self.pending.remove(&oid) else {
            return;
        };
        if !locked {
            self.unlocked.insert(oid);
        }
        self.pending_bytes -= write.content.len();
        // A storage that gives up what an undo stored does not return its data.
        let is_undo = write.data_serial.is_some();
        let content = match write.content {
            Content::Data { record, .. } if is_undo || self.done_bytes + record.len() < limit => {
                self.done_bytes += record.len();
                DoneContent::Data(Some(record))
            }
            Content::Data { .. } => DoneContent::Data(None),
            Content::Deleted => DoneContent::Deleted,
            Content::Garbage => DoneContent::Garbage,
            Content::Checked => DoneContent::Checked,
        };
        self.done.insert(oid, Done { base: write.base, content });
    }

    /// Notes a conflict that a storage reports. False if it is dealt with already.
    pub fn conflict(&mut self, oid: Oid, committed: Tid) -> bool {
        if self.resolved.get(&oid).is_some_and(|resolved| *resolved >= committed) {
            return false;
        }
        let known = self.conflicts.entry(oid).or_insert(committed);
        *known = (*known).max(committed);
        true
    }

    /// Takes back an object that a storage gave up (spec client.md 7.7).
    pub fn reopen(&mut self, write: Write) {
        let oid = write.oid;
        if let Some(Done { content: DoneContent::Data(Some(data)), .. }) = self.done.remove(&oid) {
            self.done_bytes -= data.len();
        }
        self.unlocked.remove(&oid);
        self.pending_bytes += write.content.len();
        self.attempts += 1;
        if !self.imposed || !self.orders.contains_key(&oid) {
            self.orders.insert(oid, self.attempts);
        }
        let (attempt, expected) = (self.attempts, BTreeSet::new());
        self.pending.insert(oid, Pending { write, attempt, expected, locked: false });
    }

    /// Whether nothing of what was written is waited for.
    #[must_use]
    pub fn is_stored(&self) -> bool {
        self.pending.is_empty() && self.relocks == 0 && self.conflicts.is_empty()
    }

    /// The next conflict to resolve, with what was to be stored.
    pub fn take_conflict(&mut self, published: Option<Tid>) -> Option<Conflict> {
        let ready =
            |(oid, _): &(&Oid, &Tid)| self.pending.contains_key(oid) || self.done.contains_key(oid);
        let (&oid, &committed) = self.conflicts.iter().find(ready)?;
        self.conflicts.remove(&oid);
        let (content, base) = if let Some(pending) = self.pending.remove(&oid) {
            self.pending_bytes -= pending.write.content.len();
            (pending.write.content, pending.write.base)
        } else {
            // Only a check of an object that is written on another base comes here.
            (Content::Checked, committed)
        };
        self.resolved.insert(oid, committed);
        let unpublished = published.is_none_or(|last| last < committed);
        Some(Conflict { oid, content, base, committed, unpublished })
    }

    /// A node is lost: nothing more is expected from it. Returns the objects this settles.
    pub fn lose(&mut self, nid: NodeId) -> Vec<Oid> {
        self.nodes.insert(nid, false);
        self.votes.remove(&nid);
        let mut settled = Vec::new();
        for (oid, pending) in &mut self.pending {
            if !self.conflicts.contains_key(oid)
                && pending.expected.remove(&nid)
                && pending.expected.is_empty()
            {
                settled.push(*oid);
            }
        }
        settled
    }

    /// Nodes it writes to that are not lost.
    pub fn live_nodes(&self) -> impl Iterator<Item = NodeId> {
        self.nodes.iter().filter(|(_, live)| **live).map(|(nid, _)| *nid)
    }

    /// Whether a node may have missed some of what it wrote.
    #[must_use]
    pub fn has_lost(&self, nid: NodeId) -> bool {
        self.nodes.get(&nid) == Some(&false)
    }

    /// Nodes that were lost.
    pub fn lost_nodes(&self) -> impl Iterator<Item = NodeId> {
        self.nodes.iter().filter(|(_, live)| !**live).map(|(nid, _)| *nid)
    }

    /// Objects in the order they were written: the list of the transaction.
    #[must_use]
    pub fn oids(&self) -> Vec<Oid> {
        let mut oids: Vec<Oid> = self.done.keys().copied().collect();
        oids.sort_unstable_by_key(|oid| self.orders.get(oid));
        oids
    }

    /// Number of objects it writes or checks, with another one.
    #[must_use]
    pub fn count_with(&self, oid: Oid) -> usize {
        self.orders.len() + usize::from(!self.orders.contains_key(&oid))
    }

    /// What it stored for an object.
    #[must_use]
    pub fn stored(&self, oid: Oid) -> Stored {
        if let Some(pending) = self.pending.get(&oid) {
            return match &pending.write.content {
                Content::Data { record, .. } => Stored::Data(record.clone()),
                _ => Stored::Nothing,
            };
        }
        match self.done.get(&oid).map(|done| &done.content) {
            Some(DoneContent::Data(Some(record))) => Stored::Data(record.clone()),
            Some(DoneContent::Data(None)) => Stored::Dropped,
            _ => Stored::Nothing,
        }
    }

    /// What the cache gets at commit: every object but those only checked.
    #[must_use]
    pub fn records(&mut self) -> Vec<(Oid, Option<Bytes>)> {
        let done = std::mem::take(&mut self.done);
        done.into_iter()
            .filter_map(|(oid, done)| match done.content {
                DoneContent::Data(data) => Some((oid, data)),
                DoneContent::Deleted | DoneContent::Garbage => Some((oid, None)),
                DoneContent::Checked => None,
            })
            .collect()
    }
}
