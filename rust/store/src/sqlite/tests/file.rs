//! What the Python NEO did with the file in the meantime.

use neo_core::database::Query;
use neo_wire::{OidList, PackOrder};

use super::super::schema::{self, TABLES};
use super::*;

/// What an erasure, or the start of `--reset`, is there.
fn drop_theirs(path: &str) {
    let connection = Connection::open(path).unwrap();
    for (table, _) in TABLES.iter().filter(|(table, _)| !table.starts_with("neo_")) {
        connection.execute_batch(&format!("DROP TABLE {table}")).unwrap();
    }
}

/// The rest of it: an empty database.
fn reset(path: &str) {
    drop_theirs(path);
    let connection = Connection::open(path).unwrap();
    for (table, definition) in TABLES.iter().filter(|(table, _)| !table.starts_with("neo_")) {
        schema::create_table(&connection, table, definition).unwrap();
    }
    schema::set_version(&connection, schema::VERSION).unwrap();
}

fn order(tid: u64, pack_tid: u64, oids: Option<Vec<Oid>>) -> PackOrder {
    PackOrder {
        tid: Tid(tid),
        approved: Some(true),
        partial: oids.is_some(),
        oids: oids.map(OidList::List),
        pack_tid: Tid(pack_tid),
    }
}

fn packed(partition: u32, pack: u64) -> WriteJob {
    WriteJob::SetCellPack { partition: Partition(partition), pack: Tid(pack) }
}

fn pack_tid(writer: &SqliteWriter, oid: u64) -> Tid {
    writer.reader().unwrap().pack_tid(Oid(oid)).unwrap()
}

#[test]
fn a_database_that_was_erased_is_a_new_one() {
    for reset in [false, true] {
        let (_directory, path, mut writer) = database();
        writer.run(vec![WriteJob::BeginPack(order(20, 15, None))]).unwrap();
        drop(writer);
        drop_theirs(&path);
        let mut writer = open(&Options { reset, ..options(&path) }).unwrap();
        assert_eq!(writer.reader().unwrap().table().unwrap(), []);
        writer.run(table()).unwrap();
        assert_eq!(pack_tid(&writer, 1), Tid::ZERO);
    }
}

#[test]
fn something_else_beside_our_tables_is_left_alone() {
    let (_directory, path, writer) = database();
    drop(writer);
    drop_theirs(&path);
    Connection::open(&path).unwrap().execute_batch("CREATE TABLE mine(x)").unwrap();
    for reset in [false, true] {
        let error = open(&Options { reset, ..options(&path) }).err().unwrap();
        assert!(matches!(error, StoreError::Foreign(_)), "{error}");
    }
}

#[test]
fn packs_of_a_former_database_are_forgotten() {
    let (_directory, path, mut writer) = database();
    writer.run(vec![WriteJob::BeginPack(order(20, 15, None))]).unwrap();
    drop(writer);
    let writer = open(&options(&path)).unwrap();
    assert_eq!(pack_tid(&writer, 1), Tid(15));
    drop(writer);
    reset(&path);
    let mut writer = open(&options(&path)).unwrap();
    writer.run(table()).unwrap();
    assert_eq!(pack_tid(&writer, 1), Tid::ZERO);
    // Those of the new one are not.
    writer.run(vec![WriteJob::BeginPack(order(30, 25, None))]).unwrap();
    drop(writer);
    let writer = open(&options(&path)).unwrap();
    assert_eq!(pack_tid(&writer, 1), Tid(25));
}

#[test]
fn spilled_data_of_a_former_database_is_not_taken_for_that_of_the_new_one() {
    let (_directory, path, mut writer) = database();
    let spill = WriteJob::Spill { ttid: Ttid(6), oid: Oid(2), data: stored(b"abandoned") };
    writer.run(vec![spill]).unwrap();
    drop(writer);
    reset(&path);
    let connection = Connection::open(&path).unwrap();
    let ids = "SELECT data_id FROM neo_spilled";
    let id: i64 = connection.query_row(ids, [], |row| row.get(0)).unwrap();
    connection.execute("INSERT INTO data VALUES (?, x'00', 0, x'00')", [id]).unwrap();
    connection.execute("INSERT INTO obj VALUES (0, 1, 5, ?, NULL)", [id]).unwrap();
    drop(connection);
    let writer = open(&options(&path)).unwrap();
    let reader = writer.reader().unwrap();
    assert_eq!(reader.data_statistics().unwrap().rows, 1);
}

/// Nothing is known of the order, whose row may be on another storage: what it packed can be
/// anything up to itself.
#[test]
fn an_order_that_is_not_known_packed_everything_before_it() {
    let (_directory, _, mut writer) = database();
    assert_eq!(pack_tid(&writer, 1), Tid::ZERO);
    writer.run(vec![packed(0, 20)]).unwrap();
    assert_eq!(pack_tid(&writer, 1), Tid(20));
    // Known, it packed what it says.
    let partial = order(20, 15, Some(vec![Oid(1)]));
    writer.run(vec![WriteJob::BeginPack(partial)]).unwrap();
    assert_eq!((pack_tid(&writer, 1), pack_tid(&writer, 2)), (Tid(15), Tid::ZERO));
    // The next one does not make it unknown.
    writer.run(vec![WriteJob::BeginPack(order(30, 16, None))]).unwrap();
    assert_eq!(pack_tid(&writer, 2), Tid(16));
    writer.run(vec![packed(0, 30)]).unwrap();
    assert_eq!(pack_tid(&writer, 2), Tid(16));
    let answer = writer.reader().unwrap().answer(&Query::PackTid(Oid(2))).unwrap();
    assert_eq!(answer, neo_core::database::Answer::PackTid(Tid(16)));
}
