//! What the applications did and saw, kept outside of them: it survives every crash.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use neo_wire::{Oid, Partition, Tid};

use crate::host::NodeIndex;
use crate::hosts::client::record::Record;

/// TIDs that are remembered to be undone or looked at.
const RECENT: usize = 50;

/// What a transaction makes of an object.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Value {
    /// A record that carries its label.
    Own,
    /// Nothing: a deletion, or the undo of a creation.
    Nothing,
    /// What it was at this revision: an undo.
    Copy(Tid),
}

/// What a transaction writes for an object.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Written {
    /// The revision it is based on.
    pub base: Tid,
    /// What it becomes.
    pub value: Value,
}

/// A transaction of an application.
#[derive(Clone, Debug, Default)]
pub struct Attempt {
    /// Objects it writes; empty until the commit is asked for.
    pub writes: Vec<(Oid, Written)>,
    /// Objects that must be current.
    pub checks: Vec<(Oid, Tid)>,
    /// Whether its commit was asked for.
    pub asked: bool,
    /// The TID that the application was told.
    pub told: Option<Tid>,
    /// The application was told that it is not committed.
    pub refused: bool,
}

/// A read of an application.
#[derive(Clone, Copy, Debug)]
pub struct Read {
    /// Who.
    pub node: NodeIndex,
    /// What.
    pub oid: Oid,
    /// The last revision before this TID was asked for.
    pub before: Tid,
    /// What was found: none if there was no such revision.
    pub serial: Option<Tid>,
    /// What was said to be the next revision.
    pub next: Option<Tid>,
    /// The transaction that wrote it, according to its contents.
    pub label: Option<u64>,
}

/// A list that an application asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Listed {
    /// Revisions of an object, the last ones first: this many were asked for.
    History(Oid, u64, Vec<Tid>),
    /// Transactions of a partition, from a TID up to the snapshot: this many were asked for.
    Transactions(Partition, Tid, u64, Vec<Tid>),
    /// Objects of a partition that exist in the snapshot.
    Objects(Partition, Vec<Oid>),
}

/// See the module.
#[derive(Default)]
pub struct Journal {
    /// The transaction of label n is the nth.
    attempts: Vec<(Attempt, Tid)>,
    reads: Vec<Read>,
    /// Lists, with the snapshots in which they were asked for.
    lists: Vec<(Tid, Listed)>,
    /// The last TIDs that were told.
    recent: VecDeque<Tid>,
    /// TIDs that applications impose, with the label of the transaction.
    imposed: BTreeMap<Tid, u64>,
    last_told: Tid,
    told: u64,
    /// TIDs that are not greater than one that had been told before their commit was asked for.
    backwards: Vec<(Tid, Tid)>,
}

impl Journal {
    /// A transaction begins. Returns its label, which its records carry.
    pub fn begin(&mut self, _node: NodeIndex) -> u64 {
        self.attempts.push(Default::default());
        self.attempts.len() as u64
    }

    fn attempt_mut(&mut self, label: u64) -> Option<&mut (Attempt, Tid)> {
        let index = usize::try_from(label).ok()?.checked_sub(1)?;
        self.attempts.get_mut(index)
    }

    /// The transaction of this label.
    #[must_use]
    pub fn attempt(&self, label: u64) -> Option<&Attempt> {
        let index = usize::try_from(label).ok()?.checked_sub(1)?;
        self.attempts.get(index).map(|(attempt, _)| attempt)
    }

    /// Every transaction with its label.
    pub fn attempts(&self) -> impl Iterator<Item = (u64, &Attempt)> {
        (1..).zip(self.attempts.iter().map(|(attempt, _)| attempt))
    }

    /// A commit is asked for: from now on it may happen.
    pub fn finishing(&mut self, label: u64, writes: Vec<(Oid, Written)>, checks: Vec<(Oid, Tid)>) {
        let floor = self.last_told;
        if let Some((attempt, after)) = self.attempt_mut(label) {
            *attempt = Attempt { writes, checks, asked: true, ..Attempt::default() };
            *after = floor;
        }
    }

    /// The transaction that wrote these records, none if several may have.
    ///
    /// An undo has the records of other transactions: their labels do not tell who commits them.
    /// So all must agree: a commit that is not attributed is only not told.
    #[must_use]
    pub fn author(&self, records: &[(Oid, Option<Bytes>)]) -> Option<u64> {
        let records: BTreeMap<_, _> = records.iter().map(|(oid, data)| (*oid, data)).collect();
        let labels = |oid: &Oid| Some(Record::decode(records.get(oid)?.as_ref()?)?.label);
        let may_be = |(label, attempt): &(u64, &Attempt)| {
            let is_open = attempt.asked && attempt.told.is_none() && !attempt.refused;
            let agrees = |(oid, written): &(Oid, Written)| {
                let is_own = labels(oid).is_none_or(|x| x == *label);
                records.contains_key(oid) && (is_own || written.value != Value::Own)
            };
            is_open && attempt.writes.len() == records.len() && attempt.writes.iter().all(agrees)
        };
        let mut authors = self.attempts().filter(may_be).map(|(label, _)| label);
        authors.next().filter(|_| authors.next().is_none())
    }

    /// An application was told that its transaction is committed.
    pub fn told(&mut self, _node: NodeIndex, label: u64, tid: Tid) {
        self.told += 1;
        if let Some((attempt, after)) = self.attempt_mut(label) {
            attempt.told = Some(tid);
            let after = *after;
            if tid <= after {
                self.backwards.push((tid, after));
            }
        }
        self.last_told = self.last_told.max(tid);
        self.recent.push_back(tid);
        if self.recent.len() > RECENT {
            self.recent.pop_front();
        }
    }

    /// TIDs that were told lately.
    #[must_use]
    pub fn recent(&self) -> &VecDeque<Tid> {
        &self.recent
    }

    /// An application begins a transaction at this TID.
    pub fn impose(&mut self, label: u64, tid: Tid) {
        self.imposed.insert(tid, label);
    }

    /// The last transaction that was begun at this TID, if it was imposed.
    #[must_use]
    pub fn imposed(&self, tid: Tid) -> Option<u64> {
        self.imposed.get(&tid).copied()
    }

    /// An application was told that its transaction is not committed.
    pub fn refused(&mut self, label: u64) {
        if let Some((attempt, _)) = self.attempt_mut(label) {
            attempt.refused = true;
        }
    }

    /// An application read something.
    pub fn read(&mut self, read: Read) {
        self.reads.push(read);
    }

    /// Every read since [`Journal::forget_reads`].
    #[must_use]
    pub fn reads(&self) -> &[Read] {
        &self.reads
    }

    /// An application got a list, in a snapshot.
    pub fn list(&mut self, snapshot: Tid, listed: Listed) {
        self.lists.push((snapshot, listed));
    }

    /// Every list since [`Journal::forget_reads`].
    #[must_use]
    pub fn lists(&self) -> &[(Tid, Listed)] {
        &self.lists
    }

    /// Forgets reads and lists, once they were judged.
    pub fn forget_reads(&mut self) {
        self.reads.clear();
        self.lists.clear();
    }

    /// The greatest TID that was told to anybody.
    #[must_use]
    pub fn last_told(&self) -> Tid {
        self.last_told
    }

    /// How many commits were told.
    #[must_use]
    pub fn commits(&self) -> u64 {
        self.told
    }

    /// TIDs that went back, each with the one that had been told before.
    #[must_use]
    pub fn backwards(&self) -> &[(Tid, Tid)] {
        &self.backwards
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OID: Oid = Oid(1);

    fn asked(journal: &mut Journal, value: Value) -> u64 {
        let label = journal.begin(NodeIndex(0));
        journal.finishing(label, vec![(OID, Written { base: Tid(1), value })], Vec::new());
        label
    }

    fn record(label: u64) -> [(Oid, Option<Bytes>); 1] {
        let record = Record { label, oid: OID, balance: 5, base: Tid(1) };
        [(OID, Some(record.encode(0)))]
    }

    #[test]
    fn the_record_that_an_undo_copies_does_not_tell_who_commits_it() {
        let mut journal = Journal::default();
        let copied = asked(&mut journal, Value::Own);
        assert_eq!(journal.author(&record(copied)), Some(copied));
        let undo = asked(&mut journal, Value::Copy(Tid(1)));
        assert_eq!(journal.author(&record(copied)), None, "either may be committed");
        journal.told(NodeIndex(0), copied, Tid(2));
        assert_eq!(journal.author(&record(copied)), Some(undo));
    }

    #[test]
    fn a_record_tells_who_commits_it() {
        let mut journal = Journal::default();
        let (one, other) = (asked(&mut journal, Value::Own), asked(&mut journal, Value::Own));
        assert_eq!(journal.author(&record(other)), Some(other));
        assert_eq!(journal.author(&[(OID, None)]), None, "either may be committed");
        journal.refused(other);
        assert_eq!(journal.author(&[(OID, None)]), Some(one));
        assert_eq!(journal.author(&[(Oid(2), None)]), None, "it wrote something else");
    }
}
