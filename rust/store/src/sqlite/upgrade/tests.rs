use neo_core::database::{Loaded, Revision};
use neo_wire::{CellState, NodeId, Oid, Partition, Tid};
use rusqlite::Connection;

use crate::sqlite::{Options, open};
use crate::{StoreError, Writer};

/// What the Python NEO before 1.6 left, on node 1 (spec storage.md 8).
const VERSION_0: &str = "
    CREATE TABLE config (name TEXT NOT NULL PRIMARY KEY, value TEXT) WITHOUT ROWID;
    INSERT INTO config VALUES ('name', 'old'), ('nid', '1'), ('partitions', '3'),
        ('replicas', '1'), ('ptid', '9');
    CREATE TABLE pt (rid INTEGER NOT NULL, nid INTEGER NOT NULL, state INTEGER NOT NULL,
        PRIMARY KEY (rid, nid));
    INSERT INTO pt VALUES (0, 1, 0), (0, 2, 2), (1, 1, 1), (1, 2, 0), (2, 1, 4), (2, 2, 0);
    CREATE TABLE trans (partition INTEGER NOT NULL, tid INTEGER NOT NULL, packed BOOLEAN NOT NULL,
        oids BLOB NOT NULL, user BLOB NOT NULL, description BLOB NOT NULL, ext BLOB NOT NULL,
        ttid INTEGER NOT NULL, PRIMARY KEY (partition, tid));
    INSERT INTO trans VALUES (1, 100, 0, X'0000000000000003', X'', X'64', X'', 97);
    CREATE TABLE obj (partition INTEGER NOT NULL, oid INTEGER NOT NULL, tid INTEGER NOT NULL,
        data_id INTEGER, value_tid INTEGER, PRIMARY KEY (partition, tid, oid));
    CREATE INDEX _obj_i1 ON obj(partition, oid, tid);
    CREATE INDEX _obj_i2 ON obj(data_id);
    INSERT INTO obj VALUES (0, 3, 100, 7, NULL), (0, 3, 103, NULL, NULL);
    CREATE TABLE data (id INTEGER PRIMARY KEY, hash BLOB NOT NULL, compression INTEGER NOT NULL,
        value BLOB NOT NULL);
    INSERT INTO data VALUES (7, X'0BEEC7B5EA3F0FDBC95D0DD47F3C5BC275DA8A33', 0, X'666F6F');
    CREATE TABLE ttrans (partition INTEGER NOT NULL, tid INTEGER NOT NULL,
        packed BOOLEAN NOT NULL, oids BLOB NOT NULL, user BLOB NOT NULL,
        description BLOB NOT NULL, ext BLOB NOT NULL, ttid INTEGER NOT NULL);
    CREATE TABLE tobj (partition INTEGER NOT NULL, oid INTEGER NOT NULL, tid INTEGER NOT NULL,
        data_id INTEGER, value_tid INTEGER, PRIMARY KEY (tid, oid)) WITHOUT ROWID;
";

fn old(then: &str) -> (tempfile::TempDir, Options) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("old.sqlite");
    let connection = Connection::open(&path).unwrap();
    connection.execute_batch(VERSION_0).unwrap();
    connection.execute_batch(then).unwrap();
    (directory, Options { database: path.display().to_string(), ..Options::default() })
}

fn check(options: &Options) {
    let writer = open(options).unwrap();
    let reader = writer.reader().unwrap();
    let cells: Vec<_> = reader
        .table()
        .unwrap()
        .iter()
        .map(|row| (row.partition.0, row.nid.0, row.state, row.tid, row.pack))
        .collect();
    let own = Some(Tid::ZERO);
    assert_eq!(
        cells,
        [
            (0, 1, CellState::UpToDate, Tid::ZERO, own),
            (0, 2, CellState::Feeding, Tid::ZERO, None),
            (1, 1, CellState::OutOfDate, Tid::ZERO, own),
            (1, 2, CellState::UpToDate, Tid::ZERO, None),
            (2, 1, CellState::Corrupted, Tid::ZERO, own),
            (2, 2, CellState::UpToDate, Tid::ZERO, None),
        ]
    );
    assert_eq!(reader.configuration().unwrap().nid, Some(NodeId(1)));
    let Loaded::Found(found) = reader.load(Oid(3), Revision::At(Tid(100))).unwrap() else {
        panic!("not found");
    };
    assert_eq!(found.next_tid, Some(Tid(103)));
    assert_eq!(found.data.unwrap().data, "foo");
    assert_eq!(reader.transaction(Tid(100)).unwrap().unwrap().ttid.0, 97);
    assert_eq!(reader.last_tids(Partition(0)).unwrap().objects, Some(Tid(103)));
    drop((writer, reader));
    let connection = Connection::open(&options.database).unwrap();
    let count = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(count("SELECT value + 0 FROM config WHERE name = 'version'"), 4);
    assert_eq!(count("SELECT count(*) FROM config WHERE name = 'partitions'"), 0);
    assert_eq!(count("SELECT count(*) FROM sqlite_master WHERE name LIKE 'new_%'"), 0);
    let nullable = "SELECT \"notnull\" FROM pragma_table_info('ttrans') WHERE name = 'tid'";
    assert_eq!(count(nullable), 0);
}

fn check_index(options: &Options) {
    let connection = Connection::open(&options.database).unwrap();
    let sql = "SELECT sql LIKE '%partition, tid, oid%' FROM sqlite_master WHERE name = '_obj_i1'";
    assert_eq!(connection.query_row(sql, [], |row| row.get(0)), Ok(true));
}

#[test]
fn from_the_first_version() {
    let (_directory, options) = old("");
    check(&options);
    check_index(&options);
    // And nothing is left to do.
    check(&options);
}

#[test]
fn interrupted_after_the_copy_or_after_the_drop() {
    let (_directory, options) = old("CREATE TABLE new_obj (x); INSERT INTO new_obj VALUES (1)");
    check(&options);
    let (_directory, options) = old("
        INSERT INTO config VALUES ('version', '1');
        DROP TABLE ttrans;
        CREATE TABLE new_obj (partition INTEGER NOT NULL, oid INTEGER NOT NULL,
            tid INTEGER NOT NULL, data_id INTEGER, value_tid INTEGER,
            PRIMARY KEY (partition, oid, tid)) WITHOUT ROWID;
        INSERT INTO new_obj SELECT * FROM obj;
        DROP TABLE obj;");
    check(&options);
    check_index(&options);
}

#[test]
fn unfinished_transactions_of_the_first_version_are_not_understood() {
    let (_directory, options) = old("INSERT INTO tobj VALUES (0, 3, 105, NULL, NULL)");
    let before = std::fs::read(&options.database).unwrap();
    assert_eq!(open(&options).err(), Some(StoreError::UnfinishedBeforeUpgrade));
    assert_eq!(std::fs::read(&options.database).unwrap(), before);
}

#[test]
fn the_database_of_another_cluster_is_not_upgraded() {
    let (_directory, mut options) = old("");
    let before = std::fs::read(&options.database).unwrap();
    options.cluster = "new".to_owned();
    let error = open(&options).err().unwrap();
    assert!(matches!(error, StoreError::OtherCluster { .. }), "{error}");
    assert_eq!(std::fs::read(&options.database).unwrap(), before);
    options.cluster = "old".to_owned();
    check(&options);
}

#[test]
fn interrupted_between_the_commits_of_the_last_steps() {
    let new_pt = "CREATE TABLE new_pt (partition INTEGER NOT NULL, nid INTEGER NOT NULL,
        tid INTEGER NOT NULL, PRIMARY KEY (partition, nid)) WITHOUT ROWID;
        INSERT INTO new_pt VALUES (0, 1, -1), (0, 2, -2), (1, 1, 0), (1, 2, -1), (2, 1, -3),
            (2, 2, -1);";
    for then in ["", "DROP TABLE pt;"] {
        let (_directory, options) = old(&format!(
            "INSERT INTO config VALUES ('version', '2'); DROP TABLE ttrans; {new_pt} {then}"
        ));
        check(&options);
    }
    let (_directory, options) = old(&format!(
        "INSERT INTO config VALUES ('version', '3'); DROP TABLE ttrans; {new_pt} DROP TABLE pt;
         ALTER TABLE new_pt RENAME TO pt;"
    ));
    check(&options);
}

#[test]
fn those_of_later_versions_are() {
    let (_directory, options) = old("
        INSERT INTO config VALUES ('version', '1');
        DROP TABLE ttrans;
        INSERT INTO tobj VALUES (0, 3, 105, NULL, NULL)");
    let writer = open(&options).unwrap();
    assert_eq!(writer.reader().unwrap().unfinished().unwrap().len(), 1);
}
