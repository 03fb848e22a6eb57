//! No update is lost.
//!
//! A revision is computed from the one before it: whoever commits an object on another base than
//! the last revision would undo what somebody else did. An object that was checked to be current
//! is so at the TID of the transaction.

use neo_wire::Tid;

use super::Found;
use super::history::History;
use super::journal::Journal;

/// Looks at the base of every revision and check.
pub fn check(journal: &Journal, history: &History) -> Found {
    let mut found = Found::new();
    for (oid, revisions) in &history.chains {
        let mut previous = Tid::ZERO;
        for (tid, written) in revisions {
            // What is deleted and packed never was.
            let is_gone = !history.exists(*oid, previous) && !history.is_kept(*oid, previous);
            if written.base != previous && !(is_gone && written.base == Tid::ZERO) {
                let text = format!("{oid} at {tid} is based on {}, not {previous}", written.base);
                found.push(("no update is lost", text));
            }
            previous = *tid;
        }
    }
    for (tid, transaction) in &history.transactions {
        let Some(attempt) = journal.attempt(transaction.label) else { continue };
        for (oid, base) in &attempt.checks {
            let chain = history.chains.get(oid);
            let current = chain.and_then(|chain| chain.range(..*tid).next_back());
            let current = current.map(|(serial, _)| *serial);
            if current != Some(*base) {
                let text = format!("{tid} needs {oid} at {base}, it was at {current:?}");
                found.push(("what is checked is current", text));
            }
        }
    }
    found
}
