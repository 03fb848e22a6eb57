//! All of a transaction or none, on all replicas.
//!
//! What is there must be exactly what an application asked to commit: no object is missing, no
//! transaction is there whose commit was never asked for or was said to have failed. Of what is
//! packed, the last revision of each object is left, unless it is a deletion, and nothing else.

use std::collections::BTreeMap;

use neo_wire::{Oid, Tid};

use super::Found;
use super::history::History;
use super::journal::Journal;

/// Compares what is there with what was asked for.
pub fn check(journal: &Journal, history: &History) -> Found {
    let mut found = Found::new();
    let mut objects: BTreeMap<Tid, Vec<Oid>> = BTreeMap::new();
    for (oid, revisions) in &history.objects {
        for tid in revisions.keys() {
            objects.entry(*tid).or_default().push(*oid);
        }
    }
    for (tid, transaction) in &history.transactions {
        let label = transaction.label;
        let Some(attempt) = journal.attempt(label).filter(|attempt| attempt.asked) else {
            let text = format!("{tid} is there, its commit was not asked for");
            found.push(("only what was asked for is there", text));
            continue;
        };
        if attempt.refused {
            let text = format!("{tid} is there, transaction {label} was said to have failed");
            found.push(("what failed is not there", text));
        }
        let wanted = attempt.writes.iter().map(|(oid, _)| *oid);
        let mut wanted: Vec<Oid> = wanted.filter(|oid| history.is_kept(*oid, *tid)).collect();
        wanted.sort_unstable();
        let there = objects.remove(tid).unwrap_or_default();
        if there != wanted {
            let text = format!("{tid} has {there:?} instead of {wanted:?}");
            found.push(("all of a transaction or none", text));
        }
    }
    for (tid, there) in objects {
        let text = format!("{tid} has objects {there:?} and no transaction");
        found.push(("all of a transaction or none", text));
    }
    found
}
