//! A TID that was told to an application is readable for ever.
//!
//! This is the promise of a database: whatever crashes afterwards, the transaction is there with
//! all its objects. TIDs are unique, and greater than those that had been told before the commit
//! was asked for, whichever master gave them.

use super::Found;
use super::history::History;
use super::journal::Journal;

/// Compares what was told with what is there.
pub fn check(journal: &Journal, history: &History) -> Found {
    let mut found = Found::new();
    for (label, attempt) in journal.attempts() {
        let Some(tid) = attempt.told else { continue };
        let transaction = history.transactions.get(&tid);
        if transaction.is_none_or(|transaction| transaction.label != label) {
            let text = format!("transaction {label}, told to be {tid}, is not there");
            found.push(("what was told is readable for ever", text));
            continue;
        }
        for (oid, _) in &attempt.writes {
            if history.is_kept(*oid, tid) && history.revision(*oid, tid).is_none() {
                let text = format!("{oid} of transaction {label}, told to be {tid}, is not there");
                found.push(("what was told is readable for ever", text));
            }
        }
    }
    for (tid, after) in journal.backwards() {
        let text = format!("{tid} was given after {after} had been told");
        found.push(("TIDs rise", text));
    }
    found
}
