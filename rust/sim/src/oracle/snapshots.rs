//! Reads see exactly their snapshot.
//!
//! A thread that reads at a TID sees, of each object, the last revision that was committed up to
//! this TID, wherever it comes from: the cache, any replica, before or after any crash. With this,
//! invalidations came before the last TID, and no read passed a transaction being committed.

use neo_wire::Tid;

use super::Found;
use super::history::History;
use super::journal::Journal;

/// Compares every read with what is there.
pub fn check(journal: &Journal, history: &History) -> Found {
    let mut found = Found::new();
    for read in journal.reads() {
        let floor = history.floor(read.oid);
        let expected = history.before(read.oid, read.before);
        let is_nothing = read.label.is_none() && expected.is_none() && floor > Tid::ZERO;
        // The past may be packed meanwhile, and so may be what tells that there is nothing.
        if read.before <= floor.next() || is_nothing {
            continue;
        }
        let serial = expected.map(|(serial, _)| serial);
        if read.serial != serial {
            let text = format!(
                "node {} read {} before {}: {:?} instead of {serial:?}",
                read.node.0, read.oid, read.before, read.serial
            );
            found.push(("reads see their snapshot", text));
            continue;
        }
        if read.label != expected.and_then(|(_, stored)| Some(stored.record?.label)) {
            let text = format!("{} at {serial:?} has other contents", read.oid);
            found.push(("reads see their snapshot", text));
        }
        let next = serial.and_then(|serial| history.after(read.oid, serial));
        if read.next.is_some() && read.next != next {
            let text = format!("{} at {serial:?}: next {:?}, not {next:?}", read.oid, read.next);
            found.push(("reads see their snapshot", text));
        }
    }
    found
}
