//! Who judges: each invariant is in a file of its own, with its reason.

mod announcements;
mod atomicity;
mod contents;
mod durability;
pub mod history;
pub mod journal;
mod lists;
mod money;
mod primary;
mod snapshots;
mod trains;
mod updates;

use neo_wire::Packet;

use self::announcements::Announcements;
use self::history::History;
use self::journal::Journal;
use self::primary::Primary;
use self::trains::Trains;
use crate::host::{Kind, NodeIndex};
use crate::network::EndRef;

/// An invariant that does not hold.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Violation {
    /// Which.
    pub invariant: &'static str,
    /// What was seen.
    pub text: String,
}

/// Violations that are remembered: one broken thing breaks many others.
const REMEMBERED: usize = 10;

/// See the module.
#[derive(Default)]
pub struct Oracle {
    /// What the applications did and saw.
    pub journal: Journal,
    violations: Vec<Violation>,
    primary: Primary,
    announcements: Announcements,
    trains: Trains,
    /// How often processes ended by themselves with an error.
    failures: Vec<(NodeIndex, String)>,
}

impl Oracle {
    /// Something is wrong.
    pub fn violation(&mut self, invariant: &'static str, text: String) {
        if self.violations.len() < REMEMBERED {
            self.violations.push(Violation { invariant, text });
        }
    }

    /// What is wrong so far.
    #[must_use]
    pub fn violations(&self) -> &[Violation] {
        &self.violations
    }

    /// A packet leaves, on a connection that the receiver still holds.
    pub fn sent(
        &mut self,
        from: (Kind, NodeIndex, u32),
        (to, end): (Kind, EndRef),
        packet: &Packet,
    ) {
        match (from.0, to, packet) {
            (Kind::Client, Kind::Master, Packet::AbortTransaction { ttid, .. }) => {
                self.trains.aborted(end.peer(), ttid.as_tid());
            }
            (Kind::Master, Kind::Client, packet) => self.trains.sent(end, packet, &self.journal),
            _ => {}
        }
        if from.0 != Kind::Master {
            return;
        }
        let found = match to {
            Kind::Storage => self.primary.sent((from.1, from.2), packet),
            Kind::Client => {
                self.primary.answered((from.1, from.2), packet);
                self.announcements.sent(end, packet)
            }
            _ => Ok(()),
        };
        if let Err((invariant, text)) = found {
            self.violation(invariant, text);
        }
    }

    /// See [`Primary::is_past_served`].
    #[must_use]
    pub fn is_past_served(&self) -> bool {
        self.primary.is_past_served()
    }

    /// A process ended by itself.
    pub fn exited(&mut self, node: NodeIndex, result: &Result<(), String>) {
        if let Err(sentence) = result {
            self.failures.push((node, sentence.clone()));
        }
    }

    /// Processes that ended by themselves with an error, since this was last asked.
    pub fn take_failures(&mut self) -> Vec<(NodeIndex, String)> {
        std::mem::take(&mut self.failures)
    }

    /// Compares everything that was seen with what the databases hold at rest.
    pub fn judge(&mut self, history: &mut History, partitions: u32) {
        let journal = &self.journal;
        history.link(journal);
        let history = &*history;
        let found = [
            durability::check(journal, history),
            atomicity::check(journal, history),
            updates::check(journal, history),
            contents::check(history),
            snapshots::check(journal, history),
            lists::check(journal, history, partitions),
            self.trains.check(history),
            money::check(history),
        ];
        for (invariant, text) in found.into_iter().flatten().take(REMEMBERED) {
            self.violation(invariant, text);
        }
        self.journal.forget_reads();
    }
}

/// What a check finds: invariants that do not hold, with what was seen.
type Found = Vec<(&'static str, String)>;
