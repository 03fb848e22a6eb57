//! The goals of spec master.md 12.8, on tables that nobody chose.

use super::*;
use proptest::prelude::*;

fn readable(table: &PartitionTable) -> Vec<usize> {
    let rows = (0..table.partitions()).map(Partition);
    rows.map(|row| table.readable(row).count()).collect()
}

/// Cells of each candidate, but FEEDING ones.
fn settled(table: &PartitionTable, candidates: &BTreeSet<NodeId>) -> Vec<usize> {
    let count = |nid: &NodeId| {
        let cells = table.cells_of(*nid);
        cells.filter(|(_, state)| *state != CellState::Feeding).count()
    };
    candidates.iter().map(count).collect()
}

fn is_balanced(table: &PartitionTable, candidates: &BTreeSet<NodeId>) -> bool {
    let counts = settled(table, candidates);
    let (min, max) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
    max - min <= 1
}

fn arbitrary() -> impl Strategy<Value = (u32, String, Vec<u32>, Vec<String>)> {
    (1_usize..9, 1_usize..24, 0_u32..4).prop_flat_map(|(nodes, rows, num_replicas)| {
        let row = prop::collection::vec("[UUOF..]", nodes);
        let rows = prop::collection::vec(row.prop_map(|row| row.concat()), rows);
        let ignored = prop::collection::vec(1..=nodes as u32, 0..2);
        let paths = prop::collection::vec("[ab][xy]", nodes);
        (Just(num_replicas), rows.prop_map(|rows| rows.join("|")), ignored, paths)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn a_tweak_reaches_its_goals((num_replicas, from, ignored, places) in arbitrary()) {
        let mut table = parse(num_replicas, &from);
        let ignored = set(&ignored);
        let candidates: BTreeSet<_> = table.members.difference(&ignored).copied().collect();
        prop_assume!(!candidates.is_empty());
        let place = |nid: NodeId| path(&places[nid.0 as usize - 1]);
        let repeats = candidates.len().min(num_replicas as usize + 1);
        let before = table.clone();
        let was_readable = readable(&table);
        let changes = table.tweak(&ignored, place).unwrap();

        let kept = was_readable.iter().zip(readable(&table));
        for (was, is) in kept {
            prop_assert!(is >= repeats.min(*was));
        }
        prop_assert!(is_balanced(&table, &candidates));
        for nid in &ignored {
            prop_assert!(table.cells_of(*nid).eq(before.cells_of(*nid)));
        }
        prop_assert_eq!(table.tweak(&ignored, place).unwrap(), vec![]);
        let mut other = before;
        other.apply_changes(Ptid(2), num_replicas, &changes, |_| true).unwrap();
        prop_assert_eq!(other.rows(), table.rows());

        let mut minimum = readable(&table);
        for partition in (0..table.partitions()).map(Partition) {
            for nid in table.row(partition).iter().map(|c| c.nid).collect::<Vec<_>>() {
                if table.cell(partition, nid) == Some(CellState::OutOfDate) {
                    table.set_updatable(partition, nid);
                    table.set_up_to_date(nid, partition).unwrap();
                    let index = partition.index();
                    let now = table.readable(partition).count();
                    prop_assert!(now >= minimum[index].min(num_replicas as usize + 1));
                    minimum[index] = now;
                }
            }
        }
        prop_assert!(is_balanced(&table, &candidates));
        for partition in (0..table.partitions()).map(Partition) {
            let cells = table.readable(partition).filter(|nid| candidates.contains(nid));
            prop_assert_eq!(cells.count(), repeats);
        }
        prop_assert_eq!(table.tweak(&ignored, place).unwrap(), vec![]);
    }
}

#[test]
fn large_tables_are_tweaked() {
    let nodes = 11;
    let odd = |nid: NodeId| path(if nid.0 % 3 == 0 { "a" } else { "b" });
    let rooms = |nid: NodeId| path(&format!("{}{}", nid.0 % 2, nid.0 % 6));
    for num_replicas in 0..3 {
        let mut table = create(1000, num_replicas, 1, nowhere);
        for number in 2..=nodes {
            table.add_member(nid(number));
            match number % 3 {
                0 => table.tweak(&set(&[]), odd).unwrap(),
                1 => table.tweak(&set(&[]), rooms).unwrap(),
                _ => tweak(&mut table, &[]),
            };
            assert!(is_balanced(&table, &table.members));
            if number % 2 == 0 {
                replicate(&mut table);
            }
        }
        replicate(&mut table);
        tweak(&mut table, &[3, 7]);
        replicate(&mut table);
        table.drop_nodes(&set(&[3, 7])).unwrap();
        assert!(is_balanced(&table, &table.members));
        assert_eq!(tweak(&mut table, &[]), []);
    }
}

#[test]
fn many_nodes_find_their_patterns() {
    let mut table = create(20_000, 1, 300, nowhere);
    assert!(is_balanced(&table, &table.members));
    table.add_member(nid(301));
    tweak(&mut table, &[]);
    assert!(is_balanced(&table, &table.members));
    assert_eq!(table.nids().count(), 301);
}

/// Many of these topologies allow no layout: they are then ignored.
#[test]
fn any_topology_is_used_or_ignored() {
    let mut entropy = crate::io::Entropy::new(3);
    let mut below = |bound| u32::try_from(entropy.below(bound)).unwrap();
    for _ in 0..100 {
        let (rows, num_replicas, nodes) = (1 + below(400), 1 + below(3), 3 + below(20));
        let (rooms, machines) = (2 + below(6), 1 + below(3));
        let mut place = || format!("{}{}", below(rooms.into()), below(machines.into()));
        let places: Vec<_> = (0..nodes).map(|_| path(&place())).collect();
        let place = |nid: NodeId| places[nid.0 as usize - 1].clone();
        let mut table = create(rows, num_replicas, nodes.min(5), nowhere);
        for number in 6..=nodes {
            table.add_member(nid(number));
        }
        for topology in [&place, &nowhere as &dyn Fn(NodeId) -> DevicePath, &place] {
            table.tweak(&set(&[]), topology).unwrap();
            assert!(is_balanced(&table, &table.members));
            replicate(&mut table);
            assert_eq!(table.tweak(&set(&[]), topology).unwrap(), []);
        }
    }
}
