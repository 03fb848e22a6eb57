//! What becomes visible to the application, in the order of spec client.md 4.2.

use neo_core::client::api::{Event, Publication};
use neo_core::io::Input;
use neo_wire::{Oid, Tid};

use super::{ClientHost, Reminder};
use crate::bugs::Bugs;
use crate::host::Turn;
use crate::schedule::Time;

/// A publication in progress.
#[derive(Debug)]
pub struct Publishing {
    /// What becomes the last TID.
    pub tid: Tid,
    /// The thread that committed it, and the label of its transaction.
    committer: Option<(Option<usize>, u64)>,
    /// With a bug made on purpose, what is invalidated too late.
    late: Option<Vec<Oid>>,
}

impl ClientHost {
    /// The dispatcher thread publishes.
    pub(super) fn publish(&mut self, publication: Publication, turn: &mut Turn<'_>) {
        match publication {
            Publication::Foreign { tid, oids } => {
                let late = if turn.bugs == Bugs::LateInvalidation {
                    self.loads.end(tid);
                    Some(oids)
                } else {
                    self.loads.begin_foreign(tid, &oids);
                    None
                };
                self.begin(Publishing { tid, committer: None, late }, turn);
            }
            Publication::Abandoned { tid, records } => {
                let label = turn.oracle.journal.author(&records);
                self.loads.begin_local(tid, records);
                let committer = label.map(|label| (None, label));
                self.begin(Publishing { tid, committer, late: None }, turn);
            }
            Publication::Reset { last_tid } => {
                if self.loads.begin_reset(last_tid) {
                    self.begin(Publishing { tid: last_tid, committer: None, late: None }, turn);
                } else {
                    self.drive(Input::Own(Event::Published), turn);
                }
            }
        }
    }

    /// A committing thread publishes its own commit.
    pub(super) fn publish_own(
        &mut self,
        (thread, label): (usize, u64),
        tid: Tid,
        records: Vec<(Oid, Option<bytes::Bytes>)>,
        turn: &mut Turn<'_>,
    ) {
        self.loads.begin_local(tid, records);
        self.begin(Publishing { tid, committer: Some((Some(thread), label)), late: None }, turn);
    }

    /// The cache is up to date; callbacks run.
    fn begin(&mut self, publishing: Publishing, turn: &mut Turn<'_>) {
        if let Some(other) = &self.publishing {
            let text = format!("{} is published before the end of {}", publishing.tid, other.tid);
            turn.oracle.violation("one publication at a time", text);
        }
        self.publishing = Some(publishing);
        let delay = turn.random.time(Time::ZERO, self.workload.publish_max);
        self.remind(delay, Reminder::Published, turn);
    }

    /// The callbacks have returned: the TID becomes visible.
    pub(super) fn published(&mut self, turn: &mut Turn<'_>) {
        let Some(Publishing { tid, committer, late }) = self.publishing.take() else { return };
        if let Some(oids) = late {
            self.loads.begin_foreign(tid, &oids);
        }
        self.loads.end(tid);
        if let Some((thread, label)) = committer {
            turn.oracle.journal.told(turn.node, label, tid);
            if let Some(thread) = thread {
                self.committed(thread, turn);
            }
        }
        self.drive(Input::Own(Event::Published), turn);
        self.wake_waiters(turn);
    }
}
