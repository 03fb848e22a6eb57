//! Lists are complete.
//!
//! What iterates over transactions or objects is used to copy databases: a transaction that is left
//! out is lost. In a snapshot, the list of the transactions of a partition and that of its objects
//! are exact, whichever replica answers. The history of an object is not isolated: it may show
//! revisions that are newer than the snapshot, but nothing is missing below the first one.

use neo_wire::{Oid, Tid};

use super::Found;
use super::history::History;
use super::journal::{Journal, Listed};

/// Compares every list with what is there.
pub fn check(journal: &Journal, history: &History, partitions: u32) -> Found {
    let mut found = Found::new();
    for (snapshot, listed) in journal.lists() {
        let expected = match listed {
            Listed::History(oid, count, tids) => {
                let top = tids.first().copied().max(Some(*snapshot)).unwrap_or_default();
                let expected = revisions(history, *oid, top, *count);
                // The others may be packed meanwhile.
                let floor = history.floor(*oid);
                let kept = |tids: &[Tid]| -> Vec<Tid> {
                    tids.iter().copied().filter(|tid| *tid > floor).collect()
                };
                if kept(tids) == kept(&expected) {
                    continue;
                }
                Listed::History(*oid, *count, expected)
            }
            Listed::Objects(..) if *snapshot < history.highest_floor() => continue,
            Listed::Transactions(partition, min, count, _) => {
                let tids = history.transactions.range(*min..).map(|(tid, _)| *tid);
                let tids = tids.take_while(|tid| tid <= snapshot);
                let tids = tids.filter(|tid| tid.partition(partitions) == *partition);
                let tids = tids.take(usize::try_from(*count).unwrap_or(usize::MAX)).collect();
                Listed::Transactions(*partition, *min, *count, tids)
            }
            Listed::Objects(partition, _) => {
                let exists = |oid: &Oid| {
                    let last = history.before(*oid, snapshot.next());
                    last.is_some_and(|(_, stored)| stored.record.is_some())
                };
                let oids = history.objects.keys().copied();
                let oids = oids.filter(|oid| oid.partition(partitions) == *partition);
                Listed::Objects(*partition, oids.filter(exists).collect())
            }
        };
        if *listed != expected {
            let text = format!("at {snapshot}: {listed:?} instead of {expected:?}");
            found.push(("lists are complete", text));
        }
    }
    found
}

fn revisions(history: &History, oid: Oid, top: Tid, count: u64) -> Vec<Tid> {
    let Some(revisions) = history.objects.get(&oid) else { return Vec::new() };
    let tids = revisions.range(..=top).rev().map(|(tid, _)| *tid);
    tids.take(usize::try_from(count).unwrap_or(usize::MAX)).collect()
}
