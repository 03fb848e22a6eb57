use neo_wire::{CellChange, CellState, NodeId, Partition, Ptid, Tid};

use super::{CellRow, Rows, TableChange, changed, partitions, renamed};

const OWN: NodeId = NodeId(3);
const OTHER: NodeId = NodeId(1);

fn cell(partition: u32, nid: NodeId, state: CellState) -> CellChange {
    CellChange { partition: Partition(partition), nid, state }
}

fn apply(rows: &Rows, full: bool, cells: Vec<CellChange>) -> Rows {
    let change = TableChange { ptid: Ptid(1), replicas: 1, cells, full, last_pack: Tid(7) };
    changed(rows, &change, Some(OWN), |_| Ok::<_, ()>(Tid(99))).unwrap()
}

fn row(rows: &Rows, partition: u32, nid: NodeId) -> CellRow {
    rows[&(Partition(partition), nid)]
}

#[test]
fn columns_are_those_of_the_specification() {
    for (state, tid, column) in [
        (CellState::UpToDate, 0, -1),
        (CellState::Feeding, 0, -2),
        (CellState::Corrupted, 0, -3),
        (CellState::OutOfDate, 0, 0),
        (CellState::OutOfDate, 10, 10),
    ] {
        let row = CellRow { partition: Partition(0), nid: OWN, state, tid: Tid(tid), pack: None };
        assert_eq!(row.column(), Some(column));
        assert_eq!(CellRow::from_column(column), Some((state, Tid(tid))));
    }
    assert_eq!(CellRow::from_column(-4), None);
    assert_eq!(CellRow::from_column(i64::MIN), None);
}

#[test]
fn an_own_cell_that_was_readable_is_complete_up_to_its_last_record() {
    for state in [CellState::UpToDate, CellState::Feeding] {
        let rows = apply(&Rows::new(), true, vec![cell(0, OWN, state)]);
        assert_eq!(row(&rows, 0, OWN).pack, Some(Tid::ZERO));
        for full in [false, true] {
            let after = apply(&rows, full, vec![cell(0, OWN, CellState::OutOfDate)]);
            assert_eq!(row(&after, 0, OWN).tid, Tid(99));
            assert_eq!(row(&after, 0, OWN).pack, Some(Tid::ZERO));
            // Told again, it stays where it was.
            let again = apply(&after, full, vec![cell(0, OWN, CellState::OutOfDate)]);
            assert_eq!(again, after);
        }
    }
}

#[test]
fn a_cell_that_was_corrupted_or_is_new_has_nothing() {
    let rows = apply(&Rows::new(), false, vec![cell(0, OWN, CellState::OutOfDate)]);
    assert_eq!(row(&rows, 0, OWN).tid, Tid::ZERO);
    assert_eq!(row(&rows, 0, OWN).pack, Some(Tid(7)));
    let rows = apply(&rows, false, vec![cell(0, OWN, CellState::Corrupted)]);
    let rows = apply(&rows, false, vec![cell(0, OWN, CellState::OutOfDate)]);
    assert_eq!(row(&rows, 0, OWN).tid, Tid::ZERO);
}

#[test]
fn a_cell_discarded_then_assigned_in_the_same_change_is_new() {
    let rows = apply(&Rows::new(), true, vec![cell(0, OWN, CellState::UpToDate)]);
    let changes = vec![cell(0, OWN, CellState::Discarded), cell(0, OWN, CellState::OutOfDate)];
    let rows = apply(&rows, false, changes);
    assert_eq!(row(&rows, 0, OWN).tid, Tid::ZERO);
    assert_eq!(row(&rows, 0, OWN).pack, Some(Tid(7)));
}

#[test]
fn cells_of_others_have_neither_tid_nor_pack() {
    let rows = apply(&Rows::new(), true, vec![cell(0, OTHER, CellState::UpToDate)]);
    let rows = apply(&rows, false, vec![cell(0, OTHER, CellState::OutOfDate)]);
    let row = row(&rows, 0, OTHER);
    assert_eq!((row.tid, row.pack, row.column()), (Tid::ZERO, None, Some(0)));
}

#[test]
fn a_full_table_forgets_what_it_does_not_have() {
    let rows = apply(
        &Rows::new(),
        true,
        vec![cell(0, OWN, CellState::UpToDate), cell(4, OTHER, CellState::UpToDate)],
    );
    assert_eq!(partitions(&rows), 5);
    let after = apply(&rows, true, vec![cell(4, OTHER, CellState::UpToDate)]);
    assert_eq!(after.len(), 1);
    let same = apply(&rows, false, vec![]);
    assert_eq!(same, rows);
}

#[test]
fn a_new_identifier_takes_the_rows_of_the_old_one() {
    let cells = vec![cell(0, OWN, CellState::UpToDate), cell(0, OTHER, CellState::Feeding)];
    let rows = renamed(&apply(&Rows::new(), true, cells), OWN, OTHER);
    assert_eq!(rows.len(), 1);
    assert_eq!(row(&rows, 0, OTHER).state, CellState::UpToDate);
    assert_eq!(row(&rows, 0, OTHER).pack, Some(Tid::ZERO));
}
