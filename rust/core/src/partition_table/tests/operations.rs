//! Spec master.md 24.4, and what every role does with a table.

use super::*;

fn running(numbers: &[u32]) -> impl Fn(NodeId) -> bool {
    let nids = set(numbers);
    move |nid| nids.contains(&nid)
}

#[test]
fn drops() {
    let mut table = parse(1, "O..|.FO|OFU");
    let check = |table: &PartitionTable, number| table.check_drop(&set(&[number]));
    let changes = |table: &PartitionTable, number| letters(&check(table, number).unwrap());
    assert_eq!(changes(&table, 1), "0:S1:D 2:S1:D 2:S2:U");
    assert_eq!(changes(&table, 3), "1:S2:U 1:S3:D 2:S2:U 2:S3:D");
    let refused = Err(TableError::LastCopy(Partition(1)));
    assert_eq!(check(&table, 2), refused);
    let before = table.clone();
    assert_eq!(table.drop_nodes(&set(&[2])), refused);
    assert_eq!(table, before);
    table.set_cell(Partition(1), nid(3), CellState::UpToDate).unwrap();
    assert_eq!(changes(&table, 2), "1:S2:D 2:S2:D");
    table.drop_nodes(&set(&[2])).unwrap();
    assert_eq!(text(&table, 3), "O..|..U|O.U");
    assert_eq!(*table.members(), set(&[1, 3]));
    assert!(!table.has_cells(nid(2)));
}

/// The tables that follow each completed replication of a single row.
fn completions(num_replicas: u32, row: &str) -> Vec<String> {
    let mut table = parse(num_replicas, row);
    let columns = u32::try_from(row.len()).unwrap();
    let mut texts = Vec::new();
    for number in 1..=columns {
        if table.cell(Partition(0), nid(number)) == Some(CellState::OutOfDate) {
            table.set_updatable(Partition(0), nid(number));
            table.set_up_to_date(nid(number), Partition(0)).unwrap();
            texts.push(text(&table, columns));
        }
    }
    texts
}

#[test]
fn feeding_cells_go_one_at_a_time() {
    for (num_replicas, row, expected) in [
        (0, "FO", &[".U"][..]),
        (1, "FOO", &[".UO", ".UU"]),
        (1, "FUO", &[".UU"]),
        (1, "FFO", &["..U"]),
        (1, "FFOO", &[".FUO", "..UU"]),
        (2, "FFFOOO", &[".FFUOO", "..FUUO", "...UUU"]),
    ] {
        assert_eq!(completions(num_replicas, row), expected, "{row}");
    }
    // Nodes being emptied are relieved first.
    let mut table = parse(1, "FFOO|U...");
    table.set_updatable(Partition(0), nid(3));
    table.set_up_to_date(nid(3), Partition(0)).unwrap();
    assert_eq!(text(&table, 4), "F.UO|U...");
}

#[test]
fn a_completion_of_a_previous_life_of_the_cell_is_ignored() {
    let mut table = parse(1, "UO|U.");
    let partition = Partition(0);
    assert_eq!(table.set_up_to_date(nid(2), partition), Ok(vec![]));
    table.set_updatable(partition, nid(2));
    for state in [CellState::Discarded, CellState::OutOfDate] {
        table.set_cell(partition, nid(2), state).unwrap();
    }
    assert_eq!(table.set_up_to_date(nid(2), partition), Ok(vec![]));
    assert_eq!(table.set_up_to_date(nid(1), partition), Ok(vec![]));
    table.set_updatable(partition, nid(2));
    let changes = table.set_up_to_date(nid(2), partition).unwrap();
    assert_eq!(letters(&changes), "0:S2:U");
    assert_eq!(letters(&table.outdate(Some(nid(2)), running(&[1]))), "0:S2:O");
    assert_eq!(table.set_up_to_date(nid(2), partition), Ok(vec![]));
    let error = TableError::NoCell { partition: Partition(1), nid: nid(2) };
    assert_eq!(table.set_up_to_date(nid(2), Partition(1)), Err(error));
    let error = table.set_up_to_date(nid(2), Partition(9)).unwrap_err();
    assert_eq!(error.to_string(), "node S2 has no cell for partition 9");
}

#[test]
fn what_is_lost_is_out_of_date_but_the_last_copy() {
    for (row, up, lost, expected) in [
        ("UU", &[2][..], Some(1), "OU"),
        ("OU", &[], Some(2), "OU"),
        ("UU", &[], Some(2), "OU"),
        ("FO.U", &[4], Some(1), ".O.U"),
        ("UU", &[], None, "OO"),
        ("CU", &[1], Some(2), "CU"),
    ] {
        let mut table = parse(1, row);
        let changes = table.outdate(lost.map(nid), running(up));
        assert_eq!(text(&table, 4)[..row.len()], *expected, "{row}");
        assert_eq!(changes.is_empty(), row == expected);
    }
}

#[test]
fn a_table_is_operational_if_all_of_it_can_be_read() {
    let table = parse(1, "UO.|.FU");
    assert!(table.is_complete());
    assert!(table.is_operational(&[], running(&[1, 2])));
    assert!(!table.is_operational(&[nid(1)], running(&[1, 2])));
    assert!(!table.is_operational(&[], running(&[2, 3])));
    assert!(table.is_operational(&[nid(2)], running(&[1, 2, 3])));
    for incomplete in [PartitionTable::default(), parse(1, "U|.")] {
        assert!(!incomplete.is_complete());
        assert!(!incomplete.is_operational(&[], |_| true));
    }
}

#[test]
fn cells_are_found_by_row_and_by_node() {
    let table = parse(1, "UOC|.FU");
    let readable = |row| table.readable(Partition(row)).collect::<Vec<_>>();
    let writable = |row| table.writable(Partition(row)).collect::<Vec<_>>();
    assert_eq!(readable(0), [nid(1)]);
    assert_eq!(readable(1), [nid(2), nid(3)]);
    assert_eq!(writable(0), [nid(1), nid(2)]);
    assert_eq!(readable(2), []);
    assert_eq!(table.readable_nids(), set(&[1, 2, 3]));
    let cells = [(Partition(0), CellState::OutOfDate), (Partition(1), CellState::Feeding)];
    assert_eq!(table.cells_of(nid(2)).collect::<Vec<_>>(), cells);
}

#[test]
fn malformed_tables_and_changes_change_nothing() {
    let mut table = parse(1, "UO|.U");
    let before = table.clone();
    let cell = |number, state| Cell { nid: nid(number), state };
    let twice = vec![cell(1, CellState::UpToDate), cell(1, CellState::OutOfDate)];
    let discarded = vec![cell(1, CellState::Discarded)];
    for row in [twice, discarded] {
        let (partition, nid) = (Partition(0), nid(1));
        let error = TableError::Malformed { partition, nid };
        assert_eq!(table.load(None, 0, &[row], |_| true), Err(error));
    }
    let unknown = TableError::UnknownNode { partition: Partition(1), nid: nid(3) };
    let rows = [vec![], vec![cell(3, CellState::UpToDate)]];
    let known = running(&[1, 2]);
    assert_eq!(table.load(None, 0, &rows, &known), Err(unknown));
    let change = |partition, number, state| CellChange {
        partition: Partition(partition),
        nid: nid(number),
        state,
    };
    let good = change(0, 2, CellState::UpToDate);
    let changes = [good.clone(), change(1, 3, CellState::UpToDate)];
    let mut apply = |ptid, changes: &[CellChange]| {
        let result = table.apply_changes(Ptid(ptid), 1, changes, &known);
        assert_eq!(table, before);
        result.unwrap_err()
    };
    assert_eq!(apply(2, &changes), unknown);
    let far = change(2, 1, CellState::UpToDate);
    let error = TableError::NoPartition(Partition(2));
    assert_eq!(apply(2, &[good.clone(), far]), error);
    let error = apply(1, std::slice::from_ref(&good)).to_string();
    assert_eq!(error, "changes 1 do not follow partition table Some(Ptid(1))");
    assert!(table.is_next(Ptid(2)) && !table.is_next(Ptid(3)));
    let gone = change(1, 3, CellState::Discarded);
    let done = table.apply_changes(Ptid(3), 2, &[good, gone], &known);
    assert_eq!(done, Ok(()));
    assert_eq!(text(&table, 3), "UU.|.U.");
    assert_eq!((table.ptid(), table.num_replicas()), (Some(Ptid(3)), 2));
    assert_eq!(table.increment_ptid(), Ptid(4));
    assert_eq!(PartitionTable::new(1, 0).increment_ptid(), Ptid(1));
}

/// Spec tools.md 8.3.
#[test]
fn tables_are_printed_as_operators_know_them() {
    let mut table = parse(1, &repeat("UO...........|F............|.C..........U", 27));
    for row in (0..27).map(Partition) {
        let state = match row.0 % 3 {
            0 => None,
            _ => Some(CellState::UpToDate),
        };
        if let Some(state) = state {
            table.set_cell(row, nid(13), state).unwrap();
        }
    }
    let states = [
        (nid(1), NodeState::Running),
        (nid(2), NodeState::Down),
        (nid(13), NodeState::Running),
        (nid(14), NodeState::Pending),
    ];
    let expected = "
              10v       20v
S1  R UF.UF.UF.UF.UF.UF.UF.UF.UF.
S2  D O.CO.CO.CO.CO.CO.CO.CO.CO.C
S13 R .UU.UU.UU.UU.UU.UU.UU.UU.UU";
    let lines = table_lines(&table.rows(), &states.into_iter().collect());
    assert_eq!(format!("\n{}", lines.join("\n")), expected);

    let table = parse(1, "UU|UU|UU|UU|UU|UU");
    let states = BTreeMap::from([
        (nid(1), NodeState::Running),
        (nid(2), NodeState::Pending),
        (nid(3), NodeState::Running),
    ]);
    let lines = table_lines(&table.rows(), &states);
    assert_eq!(lines, ["S1 R UUUUUU", "S2 P UUUUUU", "S3 R ......"]);
    assert_eq!(header_line(table.ptid(), 1), "# ptid: 1, replicas: 1");
    assert_eq!(header_line(None, 0), "# ptid: None, replicas: 0");
    assert_eq!(table_lines(&vec![vec![]; 12], &BTreeMap::new()), [""]);
    let row = table.row(Partition(2));
    let line = row_line(Partition(2), row);
    assert_eq!(line, "002 | S1 - UP_TO_DATE | S2 - UP_TO_DATE |");
}

#[test]
fn device_paths_come_from_what_the_storage_says() {
    use crate::nodes::NodeDirectory;
    use neo_wire::{Map, Value};
    let mut nodes = NodeDirectory::default();
    let key = nodes.storage_with(nid(1));
    assert_eq!(device_path(nodes.get(key).unwrap()), Vec::<Text>::new());
    let path = Value::Array(vec!["room".into(), Value::Unsigned(3)]);
    nodes.get_mut(key).unwrap().extra = Map(vec![("devpath".into(), path)]);
    let expected: [Text; 2] = ["room".into(), "Unsigned(3)".into()];
    assert_eq!(device_path(nodes.get(key).unwrap()), expected);
}
