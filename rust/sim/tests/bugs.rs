//! The simulator finds what it is made to find: bugs made on purpose, each by a few seeds.

use neo_sim::batch::Batch;
use neo_sim::bugs::Bugs;

/// Violations by which each bug may show itself: anything else is a bug of the simulator.
fn found(bugs: Bugs) -> Vec<&'static str> {
    let seeds = 60;
    let batch = Batch { first: 1, seeds, events: 20_000, bugs, jobs: 0, max_failures: 1 };
    let summary = batch.run();
    let violations = summary.failures.iter().flat_map(|report| &report.violations);
    let found: Vec<_> = violations.map(|violation| violation.invariant).collect();
    println!("{}: {found:?} after {} seeds", bugs.name(), summary.runs);
    found
}

#[test]
fn what_is_durable_too_late_is_found() {
    assert!(!found(Bugs::EarlyDurable).is_empty());
}

#[test]
fn a_lock_that_no_disk_remembers_is_found() {
    assert!(!found(Bugs::LostLock).is_empty());
}

#[test]
fn a_read_lock_that_ends_too_early_is_found() {
    assert!(found(Bugs::EarlyUnlock).contains(&"reads see their snapshot"));
}

#[test]
fn a_late_invalidation_is_found() {
    assert!(found(Bugs::LateInvalidation).contains(&"reads see their snapshot"));
}

#[test]
fn a_lost_invalidation_is_found() {
    assert!(found(Bugs::LostInvalidation).contains(&"reads see their snapshot"));
}

#[test]
fn a_conflict_that_nobody_sees_is_found() {
    assert!(found(Bugs::StaleSerial).contains(&"no update is lost"));
}

#[test]
fn a_lock_that_is_left_for_ever_is_found() {
    assert!(!found(Bugs::LostUnlock).is_empty());
}
