//! What the applications did and saw, kept outside of them: it survives every crash.

use neo_wire::{Oid, Tid};

use crate::host::NodeIndex;

/// A transaction of an application.
#[derive(Clone, Debug, Default)]
pub struct Attempt {
    /// Objects it writes, with their bases; empty until the commit is asked for.
    pub writes: Vec<(Oid, Tid)>,
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

/// See the module.
#[derive(Default)]
pub struct Journal {
    /// The transaction of label n is the nth.
    attempts: Vec<(Attempt, Tid)>,
    reads: Vec<Read>,
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
    pub fn finishing(&mut self, label: u64, writes: Vec<(Oid, Tid)>, checks: Vec<(Oid, Tid)>) {
        let floor = self.last_told;
        if let Some((attempt, after)) = self.attempt_mut(label) {
            *attempt = Attempt { writes, checks, asked: true, ..Attempt::default() };
            *after = floor;
        }
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

    /// Forgets the reads, once they were judged.
    pub fn forget_reads(&mut self) {
        self.reads.clear();
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
