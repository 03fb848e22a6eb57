//! Records: cache, fetches, publications (spec client.md 4.2, 5.3, 5.4).

use super::super::cache::Cached;
use super::super::loads::{Fetch, Loads, Lookup, Wanted};
use super::*;

const OID: Oid = Oid(1);

/// Connected, and 50 is the last TID.
fn loads() -> Loads {
    let mut loads = Loads::new(1 << 20);
    assert!(loads.begin_reset(Tid(50)));
    loads.end(Tid(50));
    loads
}

fn fetch(loads: &mut Loads, wanted: Wanted, asked: Wanted) -> Fetch {
    match loads.look_up(OID, wanted, false) {
        Lookup::Fetch { fetch, wanted } => {
            assert_eq!(wanted, asked);
            fetch
        }
        other => panic!("{other:?}"),
    }
}

fn hit(data: &'static str, serial: u64, next: Option<u64>) -> Lookup {
    let (serial, next_serial) = (Tid(serial), next.map(Tid));
    Lookup::Hit(Cached { data: data.into(), serial, next_serial })
}

fn load(loads: &mut Loads, wanted: Wanted) -> Lookup {
    loads.look_up(OID, wanted, false)
}

const CURRENT: Wanted = Wanted::Current;

fn before(tid: u64) -> Wanted {
    Wanted::Before(Tid(tid))
}

#[test]
fn what_was_fetched_is_found() {
    let mut loads = loads();
    let first = fetch(&mut loads, CURRENT, before(51));
    assert_eq!(loads.fetched(OID, first, "x".into(), Tid(40), None), None);
    assert_eq!(load(&mut loads, CURRENT), hit("x", 40, None));
    assert_eq!(load(&mut loads, before(51)), hit("x", 40, None));
    assert_eq!(load(&mut loads, Wanted::Exact(Tid(40))), hit("x", 40, None));
    fetch(&mut loads, before(40), before(40));
}

#[test]
fn the_current_revision_is_asked_as_of_what_is_published() {
    let mut loads = loads();
    loads.begin_foreign(Tid(60), &[]);
    loads.end(Tid(60));
    fetch(&mut loads, CURRENT, before(61));
    let mut never_connected = Loads::new(1 << 20);
    fetch(&mut never_connected, CURRENT, CURRENT);
}

#[test]
fn one_fetch_of_an_object_at_a_time() {
    let mut loads = loads();
    let first = fetch(&mut loads, CURRENT, before(51));
    assert_eq!(load(&mut loads, before(10)), Lookup::Wait);
    assert!(matches!(loads.look_up(Oid(2), CURRENT, false), Lookup::Fetch { .. }));
    loads.failed(OID, first);
    fetch(&mut loads, before(10), before(10));
}

#[test]
fn an_invalidation_during_the_fetch_ends_the_revision() {
    let mut loads = loads();
    let first = fetch(&mut loads, CURRENT, before(51));
    for tid in [60, 70] {
        loads.begin_foreign(Tid(tid), &[OID]);
        loads.end(Tid(tid));
    }
    assert_eq!(loads.fetched(OID, first, "x".into(), Tid(40), None), Some(Tid(60)));
    assert_eq!(load(&mut loads, before(51)), hit("x", 40, Some(60)));
    fetch(&mut loads, CURRENT, before(71));
}

#[test]
fn an_invalidation_of_what_was_already_read_does_not_end_it() {
    // Read before its invalidation came.
    let mut loads = loads();
    let first = fetch(&mut loads, before(Tid::MAX.0), before(Tid::MAX.0));
    loads.begin_foreign(Tid(60), &[OID]);
    loads.end(Tid(60));
    assert_eq!(loads.fetched(OID, first, "x".into(), Tid(60), None), None);
    assert_eq!(load(&mut loads, CURRENT), hit("x", 60, None));
    loads.begin_foreign(Tid(70), &[]);
    loads.end(Tid(70));

    let mut loads = self::loads();
    let first = fetch(&mut loads, before(Tid::MAX.0), before(Tid::MAX.0));
    loads.fetched(OID, first, "x".into(), Tid(60), None);
    loads.begin_foreign(Tid(60), &[OID]);
    loads.end(Tid(60));
    assert_eq!(load(&mut loads, CURRENT), hit("x", 60, None));
}

#[test]
fn the_next_revision_told_by_the_storage_counts() {
    let mut loads = loads();
    let first = fetch(&mut loads, before(30), before(30));
    loads.begin_foreign(Tid(60), &[OID]);
    loads.end(Tid(60));
    assert_eq!(loads.fetched(OID, first, "x".into(), Tid(20), Some(Tid(40))), Some(Tid(40)));
    assert_eq!(load(&mut loads, before(40)), hit("x", 20, Some(40)));
}

#[test]
fn during_a_publication_unbounded_reads_wait_but_those_of_its_callback() {
    let mut loads = loads();
    let first = fetch(&mut loads, CURRENT, before(51));
    loads.fetched(OID, first, "x".into(), Tid(40), None);
    loads.begin_foreign(Tid(60), &[Oid(2)]);
    assert_eq!(loads.last_tid(), Some(Tid(50)));
    assert_eq!(load(&mut loads, CURRENT), Lookup::Wait);
    assert_eq!(load(&mut loads, before(52)), Lookup::Wait);
    assert_eq!(load(&mut loads, before(Tid::MAX.0)), Lookup::Wait);
    assert_eq!(load(&mut loads, before(51)), hit("x", 40, None));
    assert_eq!(load(&mut loads, Wanted::Exact(Tid(40))), hit("x", 40, None));
    assert_eq!(loads.look_up(OID, CURRENT, true), hit("x", 40, None));
    // A callback sees what is being published.
    let Lookup::Fetch { wanted, .. } = loads.look_up(Oid(2), CURRENT, true) else { panic!() };
    assert_eq!(wanted, before(61));
    loads.end(Tid(60));
    assert_eq!(loads.last_tid(), Some(Tid(60)));
    assert_eq!(load(&mut loads, CURRENT), hit("x", 40, None));
}

#[test]
fn a_commit_of_ours_enters_the_cache_before_it_is_visible() {
    let mut loads = loads();
    let first = fetch(&mut loads, CURRENT, before(51));
    loads.fetched(OID, first, "x".into(), Tid(40), None);
    loads.begin_local(Tid(60), vec![(OID, Some("y".into())), (Oid(2), None)]);
    // A connection may already start at 60 (rule O8).
    assert_eq!(load(&mut loads, before(51)), hit("x", 40, Some(60)));
    assert_eq!(loads.look_up(OID, before(61), true), hit("y", 60, None));
    loads.end(Tid(60));
    assert_eq!(load(&mut loads, CURRENT), hit("y", 60, None));
}

#[test]
fn a_commit_of_ours_during_a_fetch() {
    let mut loads = loads();
    let first = fetch(&mut loads, CURRENT, before(51));
    loads.begin_local(Tid(60), vec![(OID, None)]);
    loads.end(Tid(60));
    assert_eq!(loads.fetched(OID, first, "x".into(), Tid(40), None), Some(Tid(60)));
    fetch(&mut loads, CURRENT, before(61));
}

#[test]
fn an_old_commit_whose_outcome_was_asked_for_does_not_go_back_in_time() {
    let mut loads = loads();
    loads.begin_local(Tid(45), vec![(OID, None)]);
    loads.end(Tid(45));
    assert_eq!(loads.last_tid(), Some(Tid(50)));
}

#[test]
fn a_new_link_with_the_same_last_tid_changes_nothing() {
    let mut loads = loads();
    let first = fetch(&mut loads, CURRENT, before(51));
    loads.fetched(OID, first, "x".into(), Tid(40), None);
    assert!(!loads.begin_reset(Tid(50)));
    loads.end(Tid(50));
    assert_eq!(load(&mut loads, CURRENT), hit("x", 40, None));
}

#[test]
fn a_new_link_with_a_later_last_tid_ends_what_was_current() {
    let mut loads = loads();
    let first = fetch(&mut loads, before(30), before(30));
    loads.fetched(OID, first, "old".into(), Tid(20), Some(Tid(40)));
    let first = fetch(&mut loads, CURRENT, before(51));
    loads.fetched(OID, first, "x".into(), Tid(40), None);
    let Lookup::Fetch { fetch: late, .. } = loads.look_up(Oid(2), CURRENT, false) else { panic!() };
    assert!(loads.begin_reset(Tid(60)));
    assert_eq!(load(&mut loads, CURRENT), Lookup::Wait);
    loads.end(Tid(60));
    assert_eq!(load(&mut loads, before(30)), hit("old", 20, Some(40)));
    fetch(&mut loads, CURRENT, before(61));
    // What was in flight is given, and not kept.
    assert_eq!(loads.fetched(Oid(2), late, "z".into(), Tid(30), None), None);
    assert!(matches!(loads.look_up(Oid(2), CURRENT, false), Lookup::Fetch { .. }));
}

#[test]
fn after_a_truncation_nothing_is_kept_and_time_goes_back() {
    let mut loads = loads();
    let first = fetch(&mut loads, before(30), before(30));
    loads.fetched(OID, first, "old".into(), Tid(20), Some(Tid(40)));
    assert!(loads.begin_reset(Tid(45)));
    loads.end(Tid(45));
    assert_eq!(loads.last_tid(), Some(Tid(45)));
    fetch(&mut loads, before(30), before(30));
}

#[test]
fn a_child_does_not_wait_for_the_threads_of_its_parent() {
    let mut loads = loads();
    fetch(&mut loads, CURRENT, before(51));
    loads.begin_foreign(Tid(60), &[]);
    loads.forget_pending();
    assert_eq!(loads.last_tid(), Some(Tid(50)));
    fetch(&mut loads, CURRENT, before(51));
}
