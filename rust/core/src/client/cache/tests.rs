use bytes::Bytes;
use neo_wire::{Oid, Tid};

use super::{Cache, Cached, OVERHEAD};

const OID: Oid = Oid(1);

fn cached(data: &'static [u8], serial: u64, next: Option<u64>) -> Option<Cached> {
    let data = Bytes::from_static(data);
    Some(Cached { data, serial: Tid(serial), next_serial: next.map(Tid) })
}

fn store(cache: &mut Cache, oid: u64, data: &'static [u8], serial: u64, next: Option<u64>) {
    cache.store(Oid(oid), Bytes::from_static(data), Tid(serial), next.map(Tid));
}

#[test]
fn revisions_are_found_by_bound_and_by_serial() {
    let mut cache = Cache::new(1 << 20);
    store(&mut cache, 1, b"a", 10, Some(20));
    store(&mut cache, 1, b"c", 30, None);
    assert_eq!(cache.load(OID, None), cached(b"c", 30, None));
    assert_eq!(cache.load(OID, Some(Tid(31))), cached(b"c", 30, None));
    assert_eq!(cache.load(OID, Some(Tid(30))), None);
    assert_eq!(cache.load(OID, Some(Tid(20))), cached(b"a", 10, Some(20)));
    assert_eq!(cache.load(OID, Some(Tid(10))), None);
    assert_eq!(cache.load_serial(OID, Tid(10)), cached(b"a", 10, Some(20)));
    assert_eq!(cache.load_serial(OID, Tid(15)), None);
}

#[test]
fn a_late_invalidation_does_not_end_a_newer_revision() {
    let mut cache = Cache::new(1 << 20);
    store(&mut cache, 1, b"a", 10, None);
    cache.invalidate(OID, Tid(10));
    assert_eq!(cache.load(OID, None), cached(b"a", 10, None));
    cache.invalidate(OID, Tid(20));
    assert_eq!(cache.load(OID, None), None);
    assert_eq!(cache.load(OID, Some(Tid(20))), cached(b"a", 10, Some(20)));
}

#[test]
fn a_known_end_wins_over_an_unknown_one() {
    let mut cache = Cache::new(1 << 20);
    store(&mut cache, 1, b"a", 10, None);
    store(&mut cache, 1, b"a", 10, Some(20));
    assert_eq!(cache.load(OID, None), None);
    store(&mut cache, 1, b"a", 10, None);
    assert_eq!(cache.load(OID, None), None);
}

#[test]
fn the_least_used_goes_first_and_the_limit_holds() {
    let entry = 100 + OVERHEAD;
    let mut cache = Cache::new(3 * entry + 1);
    static DATA: [u8; 100] = [0; 100];
    for oid in 1..=3 {
        store(&mut cache, oid, &DATA, 10, None);
    }
    for oid in [1, 3] {
        assert!(cache.load(Oid(oid), None).is_some());
    }
    store(&mut cache, 4, &DATA, 10, None);
    assert!(cache.size <= cache.max_size());
    assert!(cache.load(Oid(2), None).is_none());
    assert!(cache.load(Oid(1), None).is_some() && cache.load(Oid(3), None).is_some());
}

#[test]
fn nothing_is_kept_without_room() {
    let mut cache = Cache::new(0);
    store(&mut cache, 1, b"", 10, None);
    assert_eq!(cache.load(OID, None), None);
}

#[test]
fn clearing_current_revisions_keeps_the_others() {
    let mut cache = Cache::new(1 << 20);
    store(&mut cache, 1, b"a", 10, Some(20));
    store(&mut cache, 1, b"b", 20, None);
    store(&mut cache, 2, b"c", 10, None);
    cache.clear_current();
    assert_eq!(cache.load(OID, None), None);
    assert_eq!(cache.load(Oid(2), None), None);
    assert!(cache.load(OID, Some(Tid(20))).is_some());
    cache.clear();
    assert_eq!(cache.size, 0);
    assert_eq!(cache.load(OID, Some(Tid(20))), None);
}

#[test]
fn unused_entries_expire_and_places_are_used_again() {
    let mut cache = Cache::new(64 << 10);
    for round in 0..30_000_u64 {
        store(&mut cache, round % 1000, b"0123456789", 10 + round / 1000, None);
        cache.load(Oid(round % 7), None);
    }
    let entries = cache.entries.len();
    assert!(entries < 40_000, "{entries} places for a small cache");
    assert!(cache.size <= cache.max_size());
    let linked: usize = cache.by_oid.values().map(Vec::len).sum();
    assert!(linked <= entries);
}
