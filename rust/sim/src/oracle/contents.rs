//! What is stored is what was written.
//!
//! A record carries the label of the transaction that wrote it. An undo stores what was there
//! before, by a pointer to an older revision, and a deletion stores nothing: storages find the
//! contents themselves, and must not take those of another revision.

use super::Found;
use super::history::{History, Stored};
use super::journal::{Value, Written};

/// Compares every revision with what its transaction was to write.
pub fn check(history: &History) -> Found {
    let mut found = Found::new();
    for (oid, revisions) in &history.objects {
        for (tid, stored) in revisions {
            // Objects and transactions that nobody asked for are found elsewhere.
            let Some(written) = history.written(*oid, *tid) else { continue };
            let label = history.transactions.get(tid).map(|transaction| transaction.label);
            let original = match written.value {
                // It may be packed.
                Value::Copy(tid) => revisions.get(&tid),
                _ => None,
            };
            if !is_right(stored, &written, label, original) {
                let text = format!("{oid} at {tid} is {stored:?} instead of {written:?}");
                found.push(("what is stored is what was written", text));
            }
        }
    }
    found
}

fn is_right(
    stored: &Stored,
    written: &Written,
    label: Option<u64>,
    original: Option<&Stored>,
) -> bool {
    match written.value {
        Value::Own => {
            stored.record.is_some_and(|record| Some(record.label) == label)
                && stored.record.is_some_and(|record| record.base == written.base)
        }
        Value::Nothing => stored.record.is_none(),
        Value::Copy(tid) => {
            stored.value_tid == Some(tid)
                && original.is_none_or(|original| original.record == stored.record)
        }
    }
}
