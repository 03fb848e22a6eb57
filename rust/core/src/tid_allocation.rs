//! Which TID comes next (spec master.md 10.2, protocol.md 6.4).

use neo_wire::{Tid, Ttid};

/// No TID that every backend can hold is left: the last one is at the end of times.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("no TID is left after {floor}")]
pub struct NoTidLeft {
    /// The last one used.
    pub floor: Tid,
}

/// `addTID`, or plain addition for a TID that is no date: an imported database may hold some.
fn add(tid: Tid, offset: i64) -> Option<Tid> {
    tid.add_tid(offset).or_else(|| tid.add64(offset))
}

/// The smallest number, positive or null, that leads from `tid` to the partition of `ttid` where
/// no date is skipped.
fn distance(tid: Tid, ttid: Ttid, partitions: u32) -> i64 {
    let (from, to) = (tid.partition(partitions).0, ttid.partition(partitions).0);
    (i64::from(to) - i64::from(from)).rem_euclid(i64::from(partitions).max(1))
}

/// The next TTID, or the final TID of a transaction.
///
/// - `wall_s`: the clock of the system, in seconds since 1970;
/// - `floor`: the last TID used, i.e. the greatest of the pending TTIDs, of the final TIDs of
///   queued transactions and of the last committed TID;
/// - `finishing`: the TTID of the transaction that gets its final TID, and the number of
///   partitions.
///
/// The result is greater than `floor`, and a final TID is in the same partition as its TTID. The
/// exception is a TTID that is itself the floor while the clock is not past it: it is its own TID.
///
/// # Errors
/// If the result would be greater than [`Tid::MAX`].
pub fn next_tid(wall_s: f64, floor: Tid, finishing: Option<(Ttid, u32)>) -> Result<Tid, NoTidLeft> {
    let usable = |tid: &Tid| (floor.next()..=Tid::MAX).contains(tid);
    let found = match Tid::from_time(wall_s).filter(usable) {
        Some(tid) => finish(tid, floor, finishing),
        None => match finishing {
            Some((ttid, _)) if ttid.as_tid() == floor => Some(floor),
            _ => add(floor, 1).and_then(|tid| finish(tid, floor, finishing)),
        },
    };
    found.filter(|tid| *tid <= Tid::MAX).ok_or(NoTidLeft { floor })
}

fn finish(tid: Tid, floor: Tid, finishing: Option<(Ttid, u32)>) -> Option<Tid> {
    let Some((ttid, partitions)) = finishing else {
        return Some(tid);
    };
    // Rounding down if possible, so as not to drift into the future.
    let difference =
        i64::from(ttid.partition(partitions).0) - i64::from(tid.partition(partitions).0);
    let mut tid = add(tid, difference)?;
    if tid <= floor {
        tid = add(tid, i64::from(partitions))?;
    }
    // At the end of a month dates are skipped, so what was added is not what was wanted. Only
    // going up, the end of a month is passed once.
    while tid <= floor || tid.partition(partitions) != ttid.partition(partitions) {
        let up = match distance(tid, ttid, partitions) {
            0 => i64::from(partitions).max(1),
            up => up,
        };
        tid = add(tid, up)?;
    }
    Some(tid)
}

#[cfg(test)]
mod tests;
