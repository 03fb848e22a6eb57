use neo_wire::{Tid, Ttid};

use super::{Finishing, Transactions};
use crate::io::ConnectionId;
use crate::master::Asker;
use crate::nodes::{NodeDirectory, NodeKey};

const PARTITIONS: u32 = 12;

fn keys() -> [NodeKey; 2] {
    let mut nodes = NodeDirectory::default();
    [0, 1].map(|_| nodes.create(neo_wire::NodeType::Client))
}

fn begin(transactions: &mut Transactions, wall_s: f64) -> Ttid {
    let [owner, _] = keys();
    transactions.begin(owner, None, 0, wall_s).expect("a transaction")
}

/// Finishes a transaction that nobody has to lock.
fn finish(transactions: &mut Transactions, ttid: Ttid, wall_s: f64) -> Tid {
    let tid = transactions.allocate(ttid, PARTITIONS, wall_s).expect("a TID");
    let transaction = transactions.get_mut(ttid).expect("a transaction");
    transaction.finishing = Some(Finishing {
        ptid: None,
        tid,
        oids: Vec::new(),
        modified: Default::default(),
        asker: Asker { connection: ConnectionId(1), msg_id: 0 },
        involved: Default::default(),
        locking: Default::default(),
    });
    tid
}

#[test]
fn committed_tids_count_while_older_transactions_are_pending() {
    let mut transactions = Transactions::default();
    let old = begin(&mut transactions, 1_700_000_000.0);
    let new = begin(&mut transactions, 1_700_000_010.0);
    let committed = finish(&mut transactions, new, 1_700_000_010.0);
    assert!(transactions.take_committed().is_some());
    assert_eq!(transactions.floor(), committed);
    // The clock goes back by more than the age of the old one.
    let tid = finish(&mut transactions, old, 1_699_999_000.0);
    assert!(tid > committed);
    assert_eq!(tid.partition(PARTITIONS), old.partition(PARTITIONS));
    assert!(transactions.take_committed().is_some());
    assert!(transactions.is_idle());
}

#[test]
fn tids_rise_whatever_the_clock_and_the_order() {
    let mut transactions = Transactions::default();
    let mut entropy = crate::io::Entropy::new(7);
    let mut open = Vec::new();
    let mut last = Tid::ZERO;
    for _ in 0..2000 {
        // Around the end of a month of 30 days, where dates are skipped.
        let wall_s = 1_701_388_799.0 + entropy.below(3000) as f64 / 1000.0;
        if open.is_empty() || entropy.below(2) == 0 {
            open.push(begin(&mut transactions, wall_s));
        } else {
            let index = usize::try_from(entropy.below(open.len() as u64)).expect("an index");
            let ttid = open.swap_remove(index);
            let tid = finish(&mut transactions, ttid, wall_s);
            assert!(tid > last && tid.as_ttid() >= ttid);
            assert_eq!(tid.partition(PARTITIONS), ttid.partition(PARTITIONS));
            assert!(tid.to_time().is_some(), "{tid} is no date");
            assert!(transactions.take_committed().is_some());
            last = tid;
        }
    }
}

#[test]
fn the_first_tid_is_that_of_the_first_commit() {
    let mut transactions = Transactions::default();
    assert_eq!(transactions.first_tid(), Tid::MAX);
    let ttid = begin(&mut transactions, 1_700_000_000.0);
    let tid = finish(&mut transactions, ttid, 1_700_000_000.0);
    transactions.take_committed();
    assert_eq!(transactions.first_tid(), tid);
    let ttid = begin(&mut transactions, 1_700_000_000.0);
    finish(&mut transactions, ttid, 1_700_000_000.0);
    transactions.take_committed();
    assert_eq!(transactions.first_tid(), tid);
}

#[test]
fn there_may_be_no_tid_left() {
    let [owner, _] = keys();
    let mut transactions = Transactions::default();
    let beyond = Tid::MAX.next();
    assert!(transactions.begin(owner, Some(beyond), 0, 0.0).is_err());
    let last = transactions.begin(owner, Some(Tid::MAX), 0, 0.0);
    let last = last.expect("the last one");
    finish(&mut transactions, last, 0.0);
    transactions.take_committed();
    assert!(transactions.begin(owner, None, 0, 1_700_000_000.0).is_err());
}

#[test]
fn a_lost_client_only_leaves_what_is_being_finished() {
    let [owner, other] = keys();
    let mut transactions = Transactions::default();
    let begun = transactions.begin(owner, None, 0, 1.0).expect("one");
    let finishing = transactions.begin(owner, None, 0, 1.0).expect("one");
    let foreign = transactions.begin(other, None, 0, 1.0).expect("one");
    finish(&mut transactions, finishing, 1.0);
    assert_eq!(transactions.lose_client(owner, |_| true), [begun]);
    assert_eq!(transactions.unfinished(), [begun, foreign]);
    let orphan = transactions.get(finishing).expect("an orphan");
    assert_eq!(orphan.owner, None);
}

#[test]
fn what_was_aborted_is_not_in_use_but_not_given_again() {
    let mut transactions = Transactions::default();
    let committed = begin(&mut transactions, 1_700_000_000.0);
    let tid = finish(&mut transactions, committed, 1_700_000_000.0);
    assert!(transactions.take_committed().is_some());
    let aborted = begin(&mut transactions, 1_700_000_010.0);
    assert_eq!(transactions.floor(), aborted.as_tid());
    transactions.remove(aborted);
    assert_eq!(transactions.floor(), tid);
    assert!(begin(&mut transactions, 1_700_000_005.0) > aborted);
    // A truncation goes back, the TTIDs that were given do not.
    transactions.reset();
    transactions.start(Tid(5), neo_wire::Oid::ZERO, Tid(1));
    assert_eq!(transactions.floor(), Tid(5));
    assert!(begin(&mut transactions, 1_700_000_005.0) > aborted);
}
