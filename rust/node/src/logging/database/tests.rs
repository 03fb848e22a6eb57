use super::*;

fn record(date: f64, node: Option<u32>, text: &str) -> Entry {
    let content = Content::Record { level: 20, path: "here.rs", line: 7, text: text.into() };
    Entry { date, node, content }
}

fn name(number: u32) -> Name {
    let nid = number.checked_sub(1).map(|number| NodeId::new(neo_wire::NodeType::Storage, number));
    (Some("test".into()), nid)
}

fn count(database: &LogDatabase, sql: &str) -> i64 {
    database.connection.query_row(sql, [], |row| row.get(0)).unwrap()
}

#[test]
fn records_of_the_same_instant_follow_each_other() {
    let directory = tempfile::tempdir().unwrap();
    let mut database = LogDatabase::open(&directory.path().join("log"), false).unwrap();
    let entries: Vec<_> = (0..5).map(|n| record(5., Some(n % 2), &n.to_string())).collect();
    database.write(&entries, name).unwrap();
    let sql = "SELECT group_concat(msg, '') FROM (SELECT msg FROM log ORDER BY date)";
    let text: String = database.connection.query_row(sql, [], |row| row.get(0)).unwrap();
    assert_eq!(text, "01234");
    assert_eq!(count(&database, "SELECT count(DISTINCT date) FROM log"), 5);
    assert_eq!(count(&database, "SELECT count(*) FROM node WHERE cluster = 'test'"), 2);
    assert_eq!(count(&database, "SELECT max(id) FROM node"), 1);
}

#[test]
fn nodes_and_protocol_are_written_once() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    for _ in 0..2 {
        let mut database = LogDatabase::open(&path, false).unwrap();
        database.write(&[record(1., Some(1), "x")], name).unwrap();
        assert_eq!(count(&database, "SELECT count(*) FROM node"), 1);
        assert_eq!(count(&database, "SELECT count(*) FROM protocol WHERE date = 0"), 1);
    }
    let mut database = LogDatabase::open(&path, false).unwrap();
    database.connection.execute_batch("UPDATE protocol SET text = x'00'").unwrap();
    database.write(&[], name).unwrap();
    assert_eq!(count(&database, "SELECT count(*) FROM protocol WHERE date > 1e9"), 1);
}

#[test]
fn an_idle_node_leaves_a_tiny_file() {
    let directory = tempfile::tempdir().unwrap();
    let [path, moved] = ["log", "moved"].map(|name| directory.path().join(name));
    let mut database = LogDatabase::open(&path, false).unwrap();
    database.write(&[record(1., None, "x")], name).unwrap();
    std::fs::rename(&path, &moved).unwrap();
    database.close();
    let mut database = LogDatabase::open(&path, false).unwrap();
    database.write(&[record(2., None, "y")], name).unwrap();
    assert_eq!(count(&database, "SELECT count(*) FROM log"), 1);
    let old = LogDatabase::open(&moved, false).unwrap();
    assert_eq!(count(&old, "SELECT count(*) FROM sqlite_master WHERE name = 'protocol'"), 0);
    assert_eq!(count(&old, "SELECT count(*) FROM log"), 1);
}

#[test]
fn tables_of_old_versions_are_put_aside() {
    let directory = tempfile::tempdir().unwrap();
    let mut database = LogDatabase::open(&directory.path().join("log"), false).unwrap();
    let old = "CREATE TABLE log (date REAL, name TEXT, level, pathname, lineno, msg);
               INSERT INTO log VALUES (1, 'storage1', 20, '', 0, 'old')";
    database.connection.execute_batch(old).unwrap();
    assert_eq!(database.stranger().unwrap(), None);
    database.write(&[record(2., None, "new")], name).unwrap();
    assert_eq!(count(&database, "SELECT count(*) FROM log1 WHERE name = 'storage1'"), 1);
    assert_eq!(count(&database, "SELECT count(*) FROM log WHERE msg = 'new'"), 1);
}
