use super::super::backlog::Content;
use super::*;

fn name(_: u32) -> Name {
    (Some("test".into()), None)
}

fn record(date: f64) -> Entry {
    let content =
        Content::Record { level: 20, path: "here.rs", line: 7, text: "x".repeat(500).into() };
    Entry { date, node: None, content }
}

fn count(path: &Path) -> i64 {
    let connection = rusqlite::Connection::open(path).unwrap();
    connection.query_row("SELECT count(*) FROM log", [], |row| row.get(0)).unwrap()
}

/// Overwrites all pages of a file but the first one, which tells that the file changed.
fn damage(path: &Path) {
    let mut content = fs::read(path).unwrap();
    content[27] ^= 1;
    content[4096..].fill(0xA5);
    fs::write(path, content).unwrap();
}

#[test]
fn what_is_no_database_is_kept_under_another_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    for suffix in ["", ".2", ".3"] {
        fs::write(&path, "a text\n".repeat(100)).unwrap();
        fs::write(with_suffix(&path, "-wal"), "old").unwrap();
        let said = Output::new(&path, false, name).open().ok().unwrap().unwrap();
        let aside = folder.path().join(format!("log.damaged{suffix}"));
        let reason =
            format!(" is damaged (file is not a database): it is kept as {}, ", aside.display());
        assert!(said.contains(&reason), "{said}");
        assert_eq!(fs::read_to_string(&aside).unwrap(), "a text\n".repeat(100));
        assert!(!with_suffix(&path, "-wal").exists());
        assert_eq!(count(&path), 0);
    }
}

#[test]
fn damage_found_while_writing_loses_no_record() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let mut output = Output::new(&path, false, name);
    let entries: Vec<_> = (0..100).map(|n| record(f64::from(n))).collect();
    assert!(output.write(&entries).is_ok());
    damage(&path);
    let more: Vec<_> = (100..200).map(|n| record(f64::from(n))).collect();
    assert!(output.write(&more).is_ok());
    assert!(!output.is_failing());
    assert_eq!(count(&path), 100);
    assert!(folder.path().join("log.damaged").exists());
}

#[test]
fn a_file_that_another_process_replaced_is_good() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let mut outputs = [(); 2].map(|()| Output::new(&path, false, name));
    for output in &mut outputs {
        assert!(output.write(&[record(1.)]).is_ok());
    }
    damage(&path);
    for output in &mut outputs {
        assert!(output.write(&[record(2.)]).is_ok());
    }
    assert_eq!(count(&path), 2);
    assert!(!folder.path().join("log.damaged.2").exists());
}

#[test]
fn the_database_of_another_program_is_left_alone_whenever_it_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let mut output = Output::new(&path, false, name);
    assert!(output.write(&[record(1.)]).is_ok());
    fs::rename(&path, folder.path().join("old")).unwrap();
    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute_batch("CREATE TABLE precious (x)").unwrap();
    output.reopen();
    assert!(output.is_failing());
    assert!(matches!(output.write(&[record(2.)]), Err(Trouble::Foreign(_))));
    let tables = "SELECT count(*) FROM sqlite_master";
    assert_eq!(other.query_row(tables, [], |row| row.get::<_, i64>(0)).unwrap(), 1);
    fs::remove_file(&path).unwrap();
    assert!(output.write(&[record(2.)]).is_ok());
    assert!(!output.is_failing());
}

#[test]
fn damaged_files_do_not_fill_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    for _ in 0..MAX_ASIDE {
        fs::write(&path, "a text\n".repeat(100)).unwrap();
        assert!(matches!(Output::new(&path, false, name).open(), Ok(Some(_))));
    }
    fs::write(&path, "a text\n".repeat(100)).unwrap();
    let mut output = Output::new(&path, false, name);
    assert!(matches!(output.open(), Ok(None)));
    assert!(output.is_failing());
}
