//! Spec master.md 24.3.

use super::*;

#[test]
fn creation() {
    for (partitions, num_replicas, nodes, expected) in [
        (1, 0, 1, "U"),
        (4, 0, 3, "U..|.U.|..U|U.."),
        (3, 0, 4, "U...|.U..|..U."),
        (6, 1, 3, "UU.|U.U|.UU|UU.|U.U|.UU"),
        (5, 1, 4, "UU..|..UU|UU..|..UU|UU.."),
        (9, 2, 4, "UUU.|UU.U|U.UU|.UUU|UUU.|UU.U|U.UU|.UUU|UUU."),
        (4, 3, 2, "UU|UU|UU|UU"),
        (7, 2, 5, "UUU..|U..UU|.UUU.|UU..U|..UUU|UUU..|U..UU"),
        (5, 1, 5, "UU...|..UU.|U...U|.UU..|...UU"),
    ] {
        let table = create(partitions, num_replicas, nodes, nowhere);
        assert_eq!(text(&table, nodes), expected);
        assert_eq!(table.ptid(), Some(Ptid(1)));
        assert!(table.is_complete());
    }
    let table = create(3, 0, 4, nowhere);
    assert_eq!(*table.members(), set(&[1, 2, 3]));
    let mut table = PartitionTable::new(3, 0);
    assert_eq!(table.create(&set(&[]), nowhere), Err(TableError::NoNode));
}

#[test]
fn tweaks() {
    for (rows, num_replicas, ignored, from, immediate, last) in [
        (4, 0, &[][..], "U.", "U.|FO", "U.|.U"),
        (6, 1, &[], "UU.", "UU.|UFO|FUO", "UU.|U.U|.UU"),
        (6, 1, &[], "UU..|U.U.|.UU.", "UU..|F.UO|OUF.|FFOO|UOF.|.FUO", "UU..|..UU"),
        (4, 1, &[], "U.", "UO", "UU"),
        (4, 0, &[], "UU", "U.|.U", "U.|.U"),
        (4, 1, &[], "UO.", "UO.|U.O|FOO|UO.", "UU.|U.U|.UU|UU."),
        (4, 1, &[2], "UU.", "UUO", "UUU"),
        (4, 1, &[], "UUU", "UU.|U.U|.UU|UU.", "UU.|U.U|.UU|UU."),
        (6, 0, &[], "U..|.U.", "U..|.U.|F.O|OF.|FO.|.FO", "U..|.U.|..U"),
        (
            5,
            2,
            &[],
            ".U...|FFO..|FUU..|UUUU.|U...U",
            ".UO.O|UU.O.|UFU.O|.UUU.|U..OU",
            ".UU.U|UU.U.|U.U.U|.UUU.|U..UU",
        ),
        (7, 0, &[1], "U..", "UO.|U.O", "UU.|U.U"),
    ] {
        let mut table = parse(num_replicas, &repeat(from, rows));
        let columns = u32::try_from(from.split('|').next().unwrap().len()).unwrap();
        let before = table.clone();
        let changes = tweak(&mut table, ignored);
        assert_eq!(text(&table, columns), repeat(immediate, rows), "{from}");
        assert_eq!(tweak(&mut table, ignored), [], "{from}");
        // The list of changes leads other nodes to the same table.
        let mut other = before;
        other.apply_changes(Ptid(2), num_replicas, &changes, |_| true).unwrap();
        assert_eq!(other.rows(), table.rows());
        replicate(&mut table);
        assert_eq!(text(&table, columns), repeat(last, rows), "{from}");
        assert_eq!(tweak(&mut table, ignored), [], "{from}");
    }
}

#[test]
fn changes_of_a_tweak_by_state() {
    let mut table = parse(2, ".U...|FFO..|FUU..|UUUU.|U...U");
    let changes = tweak(&mut table, &[]);
    let count = |state| changes.iter().filter(|c| c.state == state).count();
    assert_eq!(count(CellState::Discarded), 2);
    assert_eq!(count(CellState::Feeding), 1);
    assert_eq!(count(CellState::OutOfDate), 5);
    assert_eq!(count(CellState::UpToDate), 3);
}

#[test]
fn nodes_added_one_at_a_time() {
    for (rows, num_replicas, nodes, at_the_end, expected) in [
        (12, 0, 4, false, "U...|.U..|..U.|...U"),
        (12, 1, 5, false, "UU...|..UU.|U...U|.UU..|...UU"),
        (13, 2, 5, false, "U.UU.|.U.UU|UUU..|..UUU|UU..U"),
        (13, 2, 5, true, "UUU..|U..UU|.UUU.|UU..U|..UUU"),
    ] {
        let mut table = create(rows, num_replicas, num_replicas + 1, nowhere);
        for number in num_replicas + 2..=nodes {
            table.add_member(nid(number));
            tweak(&mut table, &[]);
            if !at_the_end {
                replicate(&mut table);
            }
        }
        replicate(&mut table);
        assert_eq!(text(&table, nodes), repeat(expected, rows as usize));
    }
}

#[test]
fn creation_with_a_topology() {
    for (rows, num_replicas, places, expected) in [
        (4, 1, "0 0 1 1", "U.U.|.U.U"),
        (6, 1, "0 0 1 1 2 2", "U.U...|.U..U.|...U.U"),
        (6, 2, "0 0 1 1 2 2", "U.U.U.|.U.U.U"),
        (2, 2, "00 01 02 10 11 12", "UU.U..|..U.UU"),
        (7, 1, "0 0 0 1 1 2 2", "U..U...|.U...U.|..U.U..|U.....U|.U.U...|..U..U.|....U.U"),
        (4, 1, "0 0 0 1 1 1 2 2", "U..U....|.U..U...|..U...U.|.....U.U"),
        (
            9,
            1,
            "00 01 02 10 11 12 20 21 22",
            "U..U.....|.U....U..|..U.U....|.....U.U.|U.......U|\
             .U.U.....|..U...U..|....U..U.|.....U..U",
        ),
        (4, 3, "ax ay bx by", "UUUU"),
        (6, 1, "00 01 1", "UU.|U.U|.UU"),
        (6, 2, "0 0 0 1 1 1", "UUU...|...UUU"),
        (5, 2, "0 1 2 3 3", "UUU..|U..UU|.UUU.|UU..U|..UUU"),
    ] {
        let nodes = u32::try_from(places.split(' ').count()).unwrap();
        let table = create(rows, num_replicas, nodes, paths(places));
        assert_eq!(text(&table, nodes), repeat(expected, rows as usize));
    }
}

#[test]
fn a_topology_given_later() {
    for (rows, num_replicas, places, expected) in [
        (2, 2, "00 01 02 10 11 12", "UU...U|..UUU."),
        (7, 1, "0 0 0 1 1 2 2", "U.....U|.U.U...|..U.U..|U....U.|.U....U|..UU...|....UU."),
        (4, 1, "0 0 0 1 1 1 2 2", "U......U|.U.U....|..U.U...|.....UU."),
    ] {
        let nodes = u32::try_from(places.split(' ').count()).unwrap();
        let mut table = create(rows, num_replicas, nodes, nowhere);
        table.tweak(&set(&[]), paths(places)).unwrap();
        replicate(&mut table);
        assert_eq!(text(&table, nodes), expected);
    }
    let mut table = create(48, 2, 16, nowhere);
    let place = |nid: NodeId| path(&format!("{:03b}", (nid.0 - 1) / 2));
    let changes = table.tweak(&set(&[]), place).unwrap();
    let count = |state| changes.iter().filter(|c| c.state == state).count();
    assert_eq!(count(CellState::OutOfDate), 96);
    assert_eq!(count(CellState::Feeding), 96);
    assert_eq!(changes.len(), 192);
}

#[test]
fn no_node_is_left() {
    let mut table = parse(0, "U.|.U");
    let result = table.tweak(&set(&[1, 2]), nowhere);
    assert_eq!(result, Err(TableError::NoNode));
}
