use super::*;
use proptest::prelude::*;
use serde_json::Value;

const F: Tid = Tid(0x03f4_7f95_5555_5555);
const X: Tid = Tid(0x03f4_7f95_5555_555a);
const PARTITIONS: [u32; 6] = [1, 2, 12, 100, 1000, 65_536];

fn next(wall_s: f64, floor: Tid, finishing: Option<(Tid, u32)>) -> u64 {
    let finishing = finishing.map(|(ttid, np)| (ttid.as_ttid(), np));
    next_tid(wall_s, floor, finishing).unwrap().0
}

/// Spec master.md 24.1.
#[test]
fn vectors_of_the_master() {
    assert_eq!(next(1_700_000_000.0, F, None), F.0 + 1);
    assert_eq!(next(1_600_000_000.0, F, None), F.0 + 1);
    for (partitions, low) in [(12, 0x5999_999a), (100, 0x5999_99aa), (1000, 0x5999_9a72)] {
        let result = next(1_700_000_001.0, X, Some((X, partitions)));
        assert_eq!(result, 0x03f4_7f95_0000_0000 + low, "{partitions}");
    }
    let late = Tid(F.0 + 1000);
    for (partitions, low) in [(12, 0x5555_593e), (100, 0x5555_5942), (1000, 0x5555_5942_u64)] {
        assert_eq!(next(1_600_000_000.0, X, Some((X, partitions))), X.0);
        let result = next(1_600_000_000.0, late, Some((X, partitions)));
        assert_eq!(result, 0x03f4_7f95_0000_0000 + low, "{partitions}");
    }
}

fn tid(value: &Value) -> Option<Tid> {
    let text = value.as_str()?;
    Some(Tid(u64::from_str_radix(text, 16).unwrap()))
}

#[test]
fn golden_vectors() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/data/vectors/tids.jsonl");
    let text = std::fs::read_to_string(path).unwrap();
    let vectors = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|vector| vector["op"] == "master_next_tid");
    let mut count = 0;
    for vector in vectors {
        let floor = tid(&vector["last_tid_used"]).unwrap();
        let wall_s = vector["now"].as_str().unwrap().parse().unwrap();
        let finishing = tid(&vector["ttid"]).map(|ttid| {
            let partitions = vector["partitions"].as_u64().unwrap();
            (ttid, u32::try_from(partitions).unwrap())
        });
        let result = tid(&vector["result"]).unwrap();
        assert_eq!(next(wall_s, floor, finishing), result.0, "{vector}");
        count += 1;
    }
    assert_eq!(count, 32);
}

/// The last instants of a month of less than 31 days (spec master.md 10.2, test X9).
#[test]
fn the_end_of_a_month_keeps_the_partition() {
    // 28 February 2023, 30 April 2024, 30 November 2023, 29 February 2024.
    for end_s in [1_677_628_800.0, 1_714_521_600.0, 1_701_388_800.0, 1_709_251_200.0] {
        let first = Tid::from_time(end_s).unwrap();
        for partitions in PARTITIONS {
            for (back, offset) in [(1, 0), (1, 1), (2, 7), (3, 500), (70_000, 3), (0, 1), (5, 11)] {
                let floor = first.add_tid(-back).unwrap();
                let ttid = floor.add_tid(-offset).unwrap();
                for wall_s in [0.0, end_s - 1e-6, end_s, end_s + 1e-6] {
                    check(wall_s, floor, ttid, partitions);
                }
            }
        }
    }
}

fn check(wall_s: f64, floor: Tid, ttid: Tid, partitions: u32) {
    let result = Tid(next(wall_s, floor, Some((ttid, partitions))));
    assert_eq!(result.partition(partitions), ttid.partition(partitions));
    assert!(result > floor || (result == floor && ttid == floor));
    assert!(result.to_time().is_some(), "{result} is no date");
    let now = Tid::from_time(wall_s).unwrap();
    let limit = now.max(floor).add_tid(3 * i64::from(partitions)).unwrap();
    assert!(result <= limit, "{result} is far after {now} and {floor}");
}

#[test]
fn ends_of_times_are_refused() {
    let refused = |wall_s, floor| next_tid(wall_s, floor, None).is_err();
    assert!(refused(0.0, Tid::MAX) && refused(0.0, Tid::INVALID));
    // A clock that says nothing usable is a clock that is late.
    for wall_s in [f64::NAN, f64::INFINITY, -1e12, 1.5e11, 2.9e11] {
        assert_eq!(next(wall_s, F, None), F.0 + 1);
    }
    // 30 February, in an imported database.
    let odd = Tid(u64::from(0x03f6_d9e0_u32 + 1440) << 32 | 0xffff_ffff);
    assert_eq!(next(0.0, odd, None), odd.0 + 1);
}

proptest! {
    #[test]
    fn final_tids_increase_in_the_right_partition(
        minutes in 0_i64..70_000_000,
        low in any::<u32>(),
        offset in 0_i64..1 << 40,
        late_s in -1e6..1e6_f64,
        which in 0..PARTITIONS.len(),
    ) {
        let floor_s = minutes as f64 * 60.0;
        let floor = Tid::from_time(floor_s).unwrap().add_tid(low.into()).unwrap();
        let ttid = floor.add_tid(-offset).unwrap();
        check((floor_s - late_s).max(0.0), floor, ttid, PARTITIONS[which]);
    }
}
