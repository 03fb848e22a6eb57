//! What goes in the next commit: pure, so that it can be tested without a clock or a thread.

use std::collections::VecDeque;
use std::time::Duration;

use neo_core::database::{Class, WriteJob};

use crate::{Durability, durability_of};

/// Names a submission, for who waits for it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Ticket(pub u64);

/// Jobs that go together in one commit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Submission {
    /// Its name.
    pub ticket: Ticket,
    /// In the order they are carried out.
    pub jobs: Vec<WriteJob>,
}

impl Submission {
    fn is_background(&self) -> bool {
        self.jobs.iter().any(|job| job.class() == Class::Background)
    }

    fn size_bytes(&self) -> usize {
        self.jobs.iter().map(WriteJob::size_bytes).sum()
    }
}

/// What to commit next.
#[derive(PartialEq, Eq, Debug)]
pub enum Batch {
    /// All of these, in this order.
    Foreground(Vec<Submission>, Durability),
    /// What [`Policy::next_of_slice`] gives, until it gives nothing.
    Background,
}

/// Two queues. Those who wait for an answer go first, in the order they came and all together;
/// long work is done in slices when nobody waits, and once in a while if somebody always does.
#[derive(Default)]
pub struct Policy {
    foreground: VecDeque<Submission>,
    background: VecDeque<Submission>,
    /// Commits of the foreground since the last slice, while there was background work.
    passed_over: u32,
    slice: Option<Slice>,
}

#[derive(Clone, Copy)]
struct Slice {
    empty: bool,
    /// The foreground does not end it before its time: it waited enough.
    due: bool,
}

impl Policy {
    /// A commit of the foreground ends beyond this size.
    pub const COMMIT_BYTES: usize = 32 << 20;
    /// A slice of background work ends after this time.
    pub const SLICE: Duration = Duration::from_millis(5);
    /// Commits of the foreground before a slice is due.
    pub const PASSED_OVER: u32 = 8;

    /// Queues a submission.
    pub fn push(&mut self, submission: Submission) {
        if submission.is_background() {
            self.background.push_back(submission);
        } else {
            self.foreground.push_back(submission);
        }
    }

    /// Nothing is queued.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.foreground.is_empty() && self.background.is_empty()
    }

    /// What to commit now; none if nothing is queued.
    pub fn next_batch(&mut self) -> Option<Batch> {
        let due = self.passed_over >= Self::PASSED_OVER;
        if !self.background.is_empty() && (due || self.foreground.is_empty()) {
            self.passed_over = 0;
            self.slice = Some(Slice { empty: true, due });
            return Some(Batch::Background);
        }
        let mut taken = Vec::new();
        let mut size_bytes = 0;
        while let Some(first) = self.foreground.front() {
            size_bytes += first.size_bytes();
            if size_bytes > Self::COMMIT_BYTES && !taken.is_empty() {
                break;
            }
            taken.extend(self.foreground.pop_front());
        }
        if taken.is_empty() {
            return None;
        }
        if !self.background.is_empty() {
            self.passed_over += 1;
        }
        let durability = durability_of(taken.iter().flat_map(|submission| &submission.jobs));
        Some(Batch::Foreground(taken, durability))
    }

    /// The next submission of the slice that began `elapsed` ago; none ends it.
    pub fn next_of_slice(&mut self, elapsed: Duration) -> Option<Submission> {
        let slice = self.slice.as_mut()?;
        let over = elapsed >= Self::SLICE || (!slice.due && !self.foreground.is_empty());
        if over && !slice.empty {
            self.slice = None;
            return None;
        }
        slice.empty = false;
        let next = self.background.pop_front();
        if next.is_none() {
            self.slice = None;
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use neo_core::database::Vote;
    use neo_wire::{Partition, Tid, Ttid};

    use super::*;

    fn submission(ticket: u64, job: WriteJob) -> Submission {
        Submission { ticket: Ticket(ticket), jobs: vec![job] }
    }

    fn vote(ticket: u64) -> Submission {
        let vote = Vote { ttid: Ttid(ticket), objects: Vec::new(), transaction: None };
        submission(ticket, WriteJob::Vote(vote))
    }

    fn unlock(ticket: u64) -> Submission {
        let (ttid, tid) = (Ttid(ticket), Tid(ticket));
        submission(ticket, WriteJob::Unlock { ttid, tid })
    }

    fn drop_slice(ticket: u64) -> Submission {
        let (partition, limit) = (Partition(0), 1);
        submission(ticket, WriteJob::DropPartition { partition, limit })
    }

    fn foreground(batch: Option<Batch>) -> (Vec<u64>, Durability) {
        match batch {
            Some(Batch::Foreground(taken, durability)) => {
                (taken.iter().map(|s| s.ticket.0).collect(), durability)
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_waits_goes_together_in_order() {
        let mut policy = Policy::default();
        assert_eq!(policy.next_batch(), None);
        policy.push(unlock(1));
        policy.push(vote(2));
        policy.push(unlock(3));
        assert_eq!(foreground(policy.next_batch()), (vec![1, 2, 3], Durability::Durable));
        assert!(policy.is_empty());
    }

    #[test]
    fn nothing_but_unlocks_needs_no_fsync() {
        let mut policy = Policy::default();
        policy.push(unlock(1));
        policy.push(unlock(2));
        assert_eq!(foreground(policy.next_batch()), (vec![1, 2], Durability::Lazy));
    }

    #[test]
    fn a_commit_has_a_bound() {
        use neo_core::database::{Payload, StoredObject};
        use neo_wire::{Digest, Oid, StoredData};
        let big = |ticket| {
            let data = StoredData {
                compression: 0,
                checksum: Digest::ZERO,
                data: vec![0; Policy::COMMIT_BYTES / 2 + 1].into(),
            };
            let objects = vec![StoredObject {
                oid: Oid(1),
                payload: Payload::Data(data),
                value_tid: None,
                value_required: false,
            }];
            let (ttid, transaction) = (Ttid(ticket), None);
            let vote = Vote { ttid, objects, transaction };
            submission(ticket, WriteJob::Vote(vote))
        };
        let mut policy = Policy::default();
        policy.push(big(1));
        policy.push(big(2));
        assert_eq!(foreground(policy.next_batch()).0, [1]);
        assert_eq!(foreground(policy.next_batch()).0, [2]);
    }

    #[test]
    fn background_work_waits_but_not_for_ever() {
        let mut policy = Policy::default();
        policy.push(drop_slice(100));
        policy.push(drop_slice(101));
        for ticket in 0..u64::from(Policy::PASSED_OVER) {
            policy.push(vote(ticket));
            assert_eq!(foreground(policy.next_batch()).0, [ticket]);
        }
        policy.push(vote(50));
        assert_eq!(policy.next_batch(), Some(Batch::Background));
        let next = policy.next_of_slice(Duration::ZERO);
        assert_eq!(next.map(|s| s.ticket), Some(Ticket(100)));
        assert_eq!(policy.next_of_slice(Policy::SLICE), None);
        assert_eq!(foreground(policy.next_batch()).0, [50]);
        assert_eq!(policy.next_batch(), Some(Batch::Background));
        assert!(policy.next_of_slice(Duration::ZERO).is_some());
        assert_eq!(policy.next_of_slice(Duration::ZERO), None);
        assert!(policy.is_empty());
    }

    #[test]
    fn a_slice_makes_progress_and_ends_when_somebody_waits() {
        let mut policy = Policy::default();
        policy.push(drop_slice(1));
        policy.push(drop_slice(2));
        assert_eq!(policy.next_batch(), Some(Batch::Background));
        policy.push(vote(3));
        assert!(policy.next_of_slice(Duration::from_secs(1)).is_some());
        assert_eq!(policy.next_of_slice(Duration::ZERO), None);
        assert_eq!(foreground(policy.next_batch()).0, [3]);
    }
}
