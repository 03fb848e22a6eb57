//! The simulator finds what it is made to find: bugs made on purpose, each by a few seeds.

use neo_sim::batch::Batch;
use neo_sim::bugs::Bugs;

/// Makes a bug, and asserts that a few seeds find it, by one of the invariants that it breaks.
fn is_found(bugs: Bugs, by: &[&str]) {
    let seeds = 80;
    let batch = Batch { first: 1, seeds, events: 20_000, bugs, jobs: 1, max_failures: 5 };
    let summary = batch.run();
    let violations = summary.failures.iter().flat_map(|report| &report.violations);
    let found: Vec<_> = violations.map(|violation| violation.invariant).collect();
    println!("{}: {found:?} after {} seeds", bugs.name(), summary.runs);
    assert!(found.iter().any(|invariant| by.contains(invariant)), "{found:?}");
}

const DURABLE: &str = "what was told is readable for ever";
const SYNC: &str = "a sync sees what was committed before";
const SNAPSHOT: &str = "reads see their snapshot";
const CONFLICT: &str = "a conflict is with a revision that exists";

#[test]
fn what_is_durable_too_late_is_found() {
    is_found(Bugs::EarlyDurable, &[DURABLE, SYNC]);
}

#[test]
fn a_lock_that_no_disk_remembers_is_found() {
    is_found(Bugs::LostLock, &[DURABLE, SYNC]);
}

#[test]
fn a_read_lock_that_ends_too_early_is_found() {
    is_found(Bugs::EarlyUnlock, &[SNAPSHOT, CONFLICT]);
}

#[test]
fn a_late_invalidation_is_found() {
    is_found(Bugs::LateInvalidation, &[SNAPSHOT]);
}

#[test]
fn a_lost_invalidation_is_found() {
    is_found(Bugs::LostInvalidation, &[SNAPSHOT, SYNC]);
}

#[test]
fn a_conflict_that_nobody_sees_is_found() {
    is_found(Bugs::StaleSerial, &["no update is lost"]);
}

#[test]
fn a_lock_that_is_left_for_ever_is_found() {
    is_found(Bugs::LostUnlock, &["nothing is left at rest", "the cluster recovers"]);
}

#[test]
fn an_undo_of_something_else_is_found() {
    is_found(Bugs::ForgottenOrigin, &["what is stored is what was written"]);
}

#[test]
fn a_transaction_that_no_list_shows_is_found() {
    is_found(Bugs::ShortList, &["lists are complete"]);
}

#[test]
fn a_pack_of_too_much_is_found() {
    is_found(Bugs::GreedyPack, &[DURABLE, "all of a transaction or none"]);
}
