mod file;

use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::Arc;

use neo_core::database::{
    JobOutput, Loaded, Payload, Refusal, Revision, StoredObject, TableChange, TransactionMetadata,
    Vote, WriteJob,
};
use neo_wire::{
    CellChange, CellState, Digest, NodeId, Oid, Partition, Ptid, StoredData, Tid, Ttid,
};
use rusqlite::Connection;
use tempfile::TempDir;

use super::{Options, ProcessLock, SqliteWriter, lock, open};
use crate::{Durability, Failure, StoreError, Writer};

fn table() -> Vec<WriteJob> {
    let cell = CellChange { partition: Partition(0), nid: NodeId(1), state: CellState::UpToDate };
    vec![
        WriteJob::SetNodeId(NodeId(1)),
        WriteJob::ChangeTable(TableChange {
            ptid: Ptid(1),
            replicas: 0,
            cells: vec![cell],
            full: true,
            last_pack: Tid::ZERO,
        }),
    ]
}

fn stored(data: &[u8]) -> StoredData {
    let data = bytes::Bytes::copy_from_slice(data);
    StoredData { compression: 0, checksum: Digest::of(&data), data }
}

fn object(oid: u64, data: &[u8]) -> StoredObject {
    let payload = Payload::Data(stored(data));
    StoredObject { oid: Oid(oid), payload, value_tid: None, value_required: true }
}

fn vote(ttid: u64, objects: Vec<StoredObject>) -> WriteJob {
    let transaction = Some(TransactionMetadata::default());
    WriteJob::Vote(Vote { ttid: Ttid(ttid), objects, transaction })
}

fn unlock(id: u64) -> WriteJob {
    WriteJob::Unlock { ttid: Ttid(id), tid: Tid(id) }
}

fn options(database: impl ToString) -> Options {
    Options { database: database.to_string(), ..Options::default() }
}

/// A database with one object.
fn database() -> (TempDir, String, SqliteWriter) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s1.sqlite").display().to_string();
    let mut writer = open(&options(&path)).unwrap();
    writer.run(table()).unwrap();
    writer.run(vec![vote(5, vec![object(1, b"x")]), unlock(5)]).unwrap();
    (directory, path, writer)
}

fn columns(connection: &Connection) -> Vec<(String, String, String, bool, bool)> {
    let sql = "SELECT t.name, c.name, c.type, c.\"notnull\", c.pk > 0
        FROM pragma_table_list t, pragma_table_info(t.name) c
        WHERE t.name NOT LIKE 'sqlite%' ORDER BY t.name, c.cid";
    let mut statement = connection.prepare(sql).unwrap();
    let rows = statement
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?)));
    rows.unwrap().collect::<Result<_, _>>().unwrap()
}

#[test]
fn tables_are_those_of_the_python_neo() {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/data/fixtures/sqlite-1node/s1.sqlite.gz");
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("fixture.sqlite");
    let file = std::fs::File::open(fixture).unwrap();
    let mut output = std::fs::File::create(&path).unwrap();
    std::io::copy(&mut flate2::read::GzDecoder::new(file), &mut output).unwrap();
    let theirs = Connection::open(&path).unwrap();

    let (_directory, path, writer) = database();
    drop(writer);
    let ours = Connection::open(path).unwrap();
    let mut found = columns(&ours);
    found.retain(|column| !column.0.starts_with("neo_"));
    assert_eq!(found, columns(&theirs));
    let indexes = |connection: &Connection| {
        let sql = "SELECT name || replace(sql, ' ', '') FROM sqlite_master
            WHERE type = 'index' AND sql IS NOT NULL ORDER BY 1";
        let mut statement = connection.prepare(sql).unwrap();
        let rows = statement.query_map([], |row| row.get::<_, String>(0)).unwrap();
        rows.map(|sql| sql.unwrap().replace("IFNOTEXISTS", "")).collect::<Vec<_>>()
    };
    assert_eq!(indexes(&ours), indexes(&theirs));
    let config = |sql| ours.query_row(sql, [], |row| row.get::<_, String>(0)).unwrap();
    assert_eq!(config("SELECT value FROM config WHERE name = 'version'"), "4");
    assert_eq!(config("SELECT typeof(value) FROM config WHERE name = 'nid'"), "text");
    let types = "SELECT typeof(oids)||typeof(user)||typeof(description)||typeof(ext) FROM trans";
    assert_eq!(config(types), "blob".repeat(4));
    assert_eq!(config("SELECT typeof(hash)||typeof(value) FROM data"), "blobblob");
    assert_eq!(config("SELECT typeof(packed) FROM trans"), "integer");
}

#[test]
fn commits_are_durable_unless_asked_otherwise() {
    let (directory, path, writer) = database();
    assert_eq!(writer.modes.journal, "wal");
    assert_eq!(writer.modes.synchronous.0, 2);
    drop(writer);
    for (query, journal, synchronous) in [
        ("", "wal", 2),
        ("?cache_size=100", "wal", 2),
        ("?synchronous=NORMAL", "wal", 1),
        ("?synchronous=EXTRA", "wal", 3),
        ("?journal_mode=PERSIST", "persist", 2),
        ("?journal_mode=delete&synchronous=0", "delete", 0),
    ] {
        let writer = open(&options(format!("file:{path}{query}"))).unwrap();
        assert_eq!(writer.modes.journal, journal, "{query}");
        assert_eq!(writer.modes.synchronous.0, synchronous, "{query}");
        let reader = writer.reader().unwrap();
        assert_eq!(reader.last_serial(Oid(1)).unwrap(), Some(Tid(5)));
        drop(reader);
        Box::new(writer).close().unwrap();
    }
    drop(directory);
}

#[test]
fn only_a_batch_of_unlocks_is_left_to_the_next_commit() {
    let (_directory, _path, mut writer) = database();
    writer.run(vec![vote(6, vec![])]).unwrap();
    assert_eq!(writer.synchronous.0, 2);
    writer.run(vec![unlock(6)]).unwrap();
    assert_eq!(writer.synchronous.0, 1);
    writer.run(vec![vote(7, vec![]), unlock(7)]).unwrap();
    assert_eq!(writer.synchronous.0, 2);
    let level: u8 =
        lock(&writer.connection).query_row("PRAGMA synchronous", [], |row| row.get(0)).unwrap();
    assert_eq!(level, 2);
}

#[test]
fn one_process_at_a_time() {
    let (_directory, path, writer) = database();
    assert_eq!(open(&options(&path)).err(), Some(StoreError::Locked));
    let reader = writer.reader().unwrap();
    drop(writer);
    // A reader keeps it too.
    assert_eq!(open(&options(&path)).err(), Some(StoreError::Locked));
    drop(reader);
    open(&options(&path)).unwrap();
}

#[test]
fn a_new_database_gets_the_inode_of_one_that_was_removed() {
    let directory = tempfile::tempdir().unwrap();
    let old = directory.path().join("old");
    for round in 0..300 {
        let lock = ProcessLock::take(&old).unwrap();
        std::fs::remove_file(&old).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(move || drop(lock));
            for new in 0..20 {
                let path = directory.path().join(format!("{round}.{new}"));
                drop(ProcessLock::take(&path).unwrap());
            }
        });
    }
}

#[cfg(target_os = "linux")]
#[test]
fn the_python_neo_excludes_us_and_we_it() {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::fs::MetadataExt;
    use std::os::unix::net::{SocketAddr, UnixListener};
    let (_directory, path, writer) = database();
    let metadata = std::fs::metadata(&path).unwrap();
    let name = format!("neostorage:{}:{}", metadata.dev(), metadata.ino());
    let address = SocketAddr::from_abstract_name(name).unwrap();
    let error = UnixListener::bind_addr(&address).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
    drop(writer);
    let theirs = UnixListener::bind_addr(&address).unwrap();
    assert_eq!(open(&options(&path)).err(), Some(StoreError::Locked));
    drop(theirs);
    open(&options(&path)).unwrap();
}

#[test]
fn what_is_not_ours_is_left_untouched() {
    let directory = tempfile::tempdir().unwrap();
    let other = directory.path().join("other.sqlite");
    let connection = Connection::open(&other).unwrap();
    connection.execute_batch("CREATE TABLE t(x); INSERT INTO t VALUES (1)").unwrap();
    drop(connection);
    let config = directory.path().join("config.sqlite");
    let connection = Connection::open(&config).unwrap();
    connection.execute_batch("CREATE TABLE config(key, value)").unwrap();
    drop(connection);
    let text = directory.path().join("text.txt");
    std::fs::write(&text, "Not a database, and long enough to have a header. ".repeat(20)).unwrap();
    let checksums = directory.path().join("checksums.sqlite");
    let mut bytes = std::fs::read(&config).unwrap();
    bytes[20] = 8;
    std::fs::write(&checksums, bytes).unwrap();
    for reset in [false, true] {
        for path in [&other, &config, &text, &checksums] {
            let before = std::fs::read(path).unwrap();
            let options = Options { reset, ..options(path.display()) };
            let error = open(&options).err().unwrap();
            let unsupported = matches!(error, StoreError::Unsupported(_));
            assert_eq!(unsupported, path == &checksums, "{error}");
            assert!(unsupported || matches!(error, StoreError::Foreign(_)), "{error}");
            assert_eq!(std::fs::read(path).unwrap(), before);
        }
    }
    let missing = directory.path().join("missing/s1.sqlite");
    assert!(matches!(open(&options(missing.display())).err(), Some(StoreError::Failed { .. })));
}

#[test]
fn tables_that_only_have_our_names_are_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    for (name, sql) in [
        ("view", "CREATE VIEW config AS SELECT 'version' AS name, '4' AS value"),
        ("other", "CREATE TABLE config(name, value); CREATE TABLE obj(x)"),
        ("trans", "CREATE TABLE config(name, value); CREATE TABLE trans(word, text)"),
    ] {
        let path = directory.path().join(name);
        Connection::open(&path).unwrap().execute_batch(sql).unwrap();
        let before = std::fs::read(&path).unwrap();
        let error = open(&options(path.display())).err().unwrap();
        assert!(matches!(error, StoreError::Foreign(_)), "{name}: {error}");
        assert_eq!(std::fs::read(&path).unwrap(), before);
    }
}

#[test]
fn a_creation_that_was_interrupted_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s1.sqlite");
    let sql = "CREATE TABLE config(name TEXT NOT NULL PRIMARY KEY, value TEXT) WITHOUT ROWID";
    Connection::open(&path).unwrap().execute_batch(sql).unwrap();
    let writer = open(&options(path.display())).unwrap();
    assert_eq!(writer.reader().unwrap().table().unwrap(), []);
}

#[test]
fn a_newer_database_is_refused() {
    let (_directory, path, writer) = database();
    drop(writer);
    let connection = Connection::open(&path).unwrap();
    connection.execute("UPDATE config SET value = '5' WHERE name = 'version'", []).unwrap();
    drop(connection);
    let before = std::fs::read(&path).unwrap();
    assert_eq!(open(&options(&path)).err(), Some(StoreError::TooNew));
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

#[test]
fn reset_forgets_everything_but_foreign_tables() {
    let (_directory, path, writer) = database();
    lock(&writer.connection).execute_batch("CREATE TABLE mine(x)").unwrap();
    drop(writer);
    let writer = open(&Options { reset: true, ..options(&path) }).unwrap();
    let reader = writer.reader().unwrap();
    assert_eq!(reader.configuration().unwrap().nid, None);
    assert_eq!(reader.load(Oid(1), Revision::Last).unwrap(), Loaded::NoObject);
    lock(&writer.connection).query_row("SELECT count(*) FROM mine", [], |_| Ok(())).unwrap();
}

#[test]
fn erased_then_new() {
    let (_directory, path, mut writer) = database();
    // What was begun before ends without harm, in the same commit and later.
    let slice = WriteJob::DropPartition { partition: Partition(0), limit: 1 };
    let results = writer.run(vec![WriteJob::Erase, slice.clone()]).unwrap();
    assert_eq!(results, [Ok(JobOutput::Done), Ok(JobOutput::Done)]);
    assert_eq!(writer.run(vec![slice]).unwrap(), [Ok(JobOutput::Done)]);
    assert_eq!(writer.run(vec![unlock(5)]).err(), Some(StoreError::Erased));
    drop(writer);
    let writer = open(&options(&path)).unwrap();
    assert_eq!(writer.reader().unwrap().table().unwrap(), []);
}

#[test]
fn a_full_disk_is_one_sentence_and_the_end() {
    let (_directory, path, mut writer) = database();
    lock(&writer.connection).execute_batch("PRAGMA max_page_count = 30").unwrap();
    let big = vec![object(2, &[7; 1_000_000])];
    let error = writer.run(vec![vote(6, vec![object(3, b"y")]), vote(7, big)]).unwrap_err();
    assert!(matches!(&error, StoreError::Failed { failure: Failure::DiskFull, .. }));
    assert_eq!(error.to_string(), "writing data failed: the disk is full");
    let again = writer.run(vec![unlock(6)]).unwrap_err();
    assert!(matches!(&again, StoreError::GivenUp(_)));
    assert!(again.to_string().contains("the disk is full"));
    // Nothing of the failed commit is there, neither now nor later.
    assert_eq!(writer.reader().unwrap().unfinished().unwrap().len(), 0);
    drop(writer);
    let mut writer = open(&options(&path)).unwrap();
    assert_eq!(writer.reader().unwrap().unfinished().unwrap().len(), 0);
    writer.run(vec![vote(8, vec![object(2, b"z")])]).unwrap();
}

#[test]
fn a_corrupted_page_is_one_sentence() {
    let (_directory, path, writer) = database();
    let root: u64 = lock(&writer.connection)
        .query_row("SELECT rootpage FROM sqlite_master WHERE name = 'obj'", [], |row| {
            row.get::<_, i64>(0).map(i64::unsigned_abs)
        })
        .unwrap();
    Box::new(writer).close().unwrap();
    let mut file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.seek(SeekFrom::Start((root - 1) * 4096)).unwrap();
    file.write_all(&[0xa5; 4096]).unwrap();
    drop(file);
    let mut writer = open(&options(&path)).unwrap();
    let corrupted = |error: StoreError| {
        matches!(&error, StoreError::Failed { failure: Failure::Corrupted(_), .. })
    };
    let reader = writer.reader().unwrap();
    assert!(corrupted(reader.load(Oid(1), Revision::Last).unwrap_err()));
    let error = writer.run(vec![vote(6, vec![object(1, b"y")]), unlock(6)]).unwrap_err();
    assert!(corrupted(error));
    assert!(matches!(writer.run(vec![]), Err(StoreError::GivenUp(_))));
}

#[test]
fn data_that_is_not_there_is_an_inconsistency() {
    let (_directory, _path, writer) = database();
    lock(&writer.connection).execute("DELETE FROM data", []).unwrap();
    let error = writer.reader().unwrap().load(Oid(1), Revision::Last).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the database is inconsistent: the data of object 0000000000000001 is missing"
    );
}

#[test]
fn spilled_data_without_vote_is_freed_at_the_next_start() {
    let (_directory, path, mut writer) = database();
    let spill = WriteJob::Spill { ttid: Ttid(6), oid: Oid(2), data: stored(b"abandoned") };
    let results = writer.run(vec![spill]).unwrap();
    let [Ok(JobOutput::Spilled(name))] = results[..] else { panic!("{results:?}") };
    let reader = writer.reader().unwrap();
    assert_eq!(reader.spilled(name).unwrap(), Some(stored(b"abandoned")));
    let statistics = reader.data_statistics().unwrap();
    assert_eq!((statistics.rows, statistics.orphans), (2, 0));
    drop((writer, reader));
    let writer = open(&options(&path)).unwrap();
    let reader = writer.reader().unwrap();
    assert_eq!(reader.data_statistics().unwrap().rows, 1);
    assert_eq!(reader.spilled(name).unwrap(), None);
}

#[test]
fn equal_data_is_stored_once_with_deduplication() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s1.sqlite").display().to_string();
    let mut writer = open(&Options { dedup: true, ..options(&path) }).unwrap();
    writer.run(table()).unwrap();
    let objects = vec![object(1, b"same"), object(2, b"same"), object(3, b"other")];
    writer.run(vec![vote(5, objects), unlock(5)]).unwrap();
    drop(writer);
    // It is a property of the database.
    let mut writer = open(&options(&path)).unwrap();
    writer.run(vec![vote(6, vec![object(4, b"same")])]).unwrap();
    let reader = writer.reader().unwrap();
    assert_eq!(reader.data_statistics().unwrap().rows, 2);
    writer.run(vec![WriteJob::Abort { ttid: Ttid(6) }]).unwrap();
    assert_eq!(reader.data_statistics().unwrap().rows, 2);
    // A collision.
    let mut other = stored(b"same");
    other.data = bytes::Bytes::from_static(b"SAME");
    let mut collision = object(5, b"");
    collision.payload = Payload::Data(other);
    let error = writer.run(vec![vote(7, vec![collision])]).unwrap_err();
    assert!(matches!(error, StoreError::Inconsistent(_)));
}

#[test]
fn a_database_with_the_same_data_twice_can_not_become_deduplicated() {
    let (_directory, path, mut writer) = database();
    writer.run(vec![vote(6, vec![object(2, b"x")])]).unwrap();
    drop(writer);
    let error = open(&Options { dedup: true, ..options(&path) }).err().unwrap();
    assert!(matches!(error, StoreError::Unsupported(_)), "{error}");
}

#[test]
fn the_log_does_not_grow_for_ever() {
    let (_directory, path, mut writer) = database();
    let reader = writer.reader().unwrap();
    let log = format!("{path}-wal");
    for id in 10..400 {
        // 1 MB per commit.
        let objects = (0..10).map(|oid| object(oid, &[id as u8; 100_000])).collect();
        writer.run(vec![vote(id, objects), unlock(id)]).unwrap();
        assert_eq!(reader.last_serial(Oid(1)).unwrap(), Some(Tid(id)));
    }
    let size = std::fs::metadata(&log).unwrap().len();
    assert!(size < 150_000_000, "{size}");
    drop(reader);
    Box::new(writer).close().unwrap();
    assert!(!Path::new(&log).exists());
}

#[test]
fn readers_see_whole_commits_while_the_writer_works() {
    let (_directory, _path, mut writer) = database();
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let threads: Vec<_> = (0..2)
        .map(|_| {
            let reader = writer.reader().unwrap();
            let stop = Arc::clone(&stop);
            std::thread::spawn(move || {
                let mut last = Tid::ZERO;
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    let first = reader.last_serial(Oid(1)).unwrap().unwrap();
                    let second = reader.last_serial(Oid(2)).unwrap();
                    assert!(first >= last);
                    // Both are always stored together, the second one is read later.
                    assert!(first == Tid(5) || second >= Some(first));
                    last = first;
                }
                last
            })
        })
        .collect();
    for id in 10..300 {
        let objects = vec![object(1, b"a"), object(2, b"b")];
        writer.run(vec![vote(id, objects), unlock(id)]).unwrap();
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    for thread in threads {
        thread.join().unwrap();
    }
}

#[test]
fn a_refused_job_has_no_effect_and_the_others_do() {
    let (_directory, _path, mut writer) = database();
    let mut undo = object(2, b"u");
    undo.value_tid = Some(Tid(4));
    let objects = vec![object(3, b"never"), undo];
    let jobs = vec![vote(6, objects), vote(7, vec![object(1, b"y")])];
    let results = writer.commit(Durability::Durable, &mut jobs.into_iter()).unwrap();
    assert_eq!(results, [Err(Refusal::UndoPacked(Oid(2))), Ok(JobOutput::Done)]);
    let reader = writer.reader().unwrap();
    assert_eq!(reader.unfinished().unwrap().into_keys().collect::<Vec<_>>(), [Ttid(7)]);
    assert_eq!(reader.data_statistics().unwrap().rows, 2);
}

#[test]
fn a_program_that_reads_the_file_is_waited_for() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s1.sqlite").display().to_string();
    let mut writer = open(&options(format!("file:{path}?journal_mode=DELETE"))).unwrap();
    lock(&writer.connection).busy_timeout(std::time::Duration::from_millis(1)).unwrap();
    let other = Connection::open(&path).unwrap();
    other.execute_batch("BEGIN; SELECT * FROM config").unwrap();
    let mut rows = other.prepare("SELECT * FROM config").unwrap();
    let mut rows = rows.query([]).unwrap();
    rows.next().unwrap();
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            writer.run(table()).unwrap();
            sender.send(()).unwrap();
        });
        // It can not commit while the other reads.
        assert!(receiver.recv_timeout(std::time::Duration::from_millis(50)).is_err());
        drop(rows);
        other.execute_batch("COMMIT").unwrap();
        receiver.recv().unwrap();
    });
    assert_eq!(writer.reader().unwrap().table().unwrap().len(), 1);
}

/// The lines of the log at WARN and above while `run` runs.
fn warnings(run: impl FnOnce()) -> Vec<String> {
    use tracing::field::{Field, Visit};
    use tracing::span::{Attributes, Id, Record};
    #[derive(Clone, Default)]
    struct Lines(Arc<std::sync::Mutex<Vec<String>>>);
    struct Message(String);
    impl Visit for Message {
        fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
            if field.name() == "message" {
                self.0 = format!("{value:?}");
            }
        }
    }
    impl tracing::Subscriber for Lines {
        fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
            *metadata.level() <= tracing::Level::WARN
        }
        fn new_span(&self, _: &Attributes<'_>) -> Id {
            Id::from_u64(1)
        }
        fn record(&self, _: &Id, _: &Record<'_>) {}
        fn record_follows_from(&self, _: &Id, _: &Id) {}
        fn event(&self, event: &tracing::Event<'_>) {
            let mut message = Message(String::new());
            event.record(&mut message);
            self.0.lock().unwrap().push(message.0);
        }
        fn enter(&self, _: &Id) {}
        fn exit(&self, _: &Id) {}
    }
    let lines = Lines::default();
    tracing::subscriber::with_default(lines.clone(), run);
    let lines = lines.0.lock().unwrap();
    lines.clone()
}

#[test]
fn settings_that_lose_transactions_are_told() {
    let (_directory, path, writer) = database();
    Box::new(writer).close().unwrap();
    for (query, expected) in [
        ("", ""),
        ("?journal_mode=DELETE", ""),
        ("?synchronous=EXTRA&cache_size=10", ""),
        ("?synchronous=NORMAL", "commits are not synchronised"),
        ("?synchronous=off&journal_mode=DELETE", "commits are not synchronised"),
        ("?journal_mode=MEMORY", "the database can be corrupted"),
    ] {
        let database = format!("file:{path}{query}");
        let found = warnings(|| Box::new(open(&options(&database)).unwrap()).close().unwrap());
        assert_eq!(found.len(), usize::from(!expected.is_empty()), "{query}: {found:?}");
        assert!(found.iter().all(|line| line.starts_with(expected)), "{query}: {found:?}");
    }
    let found = warnings(|| drop(open(&options(":memory:")).unwrap()));
    assert_eq!(found, ["the database is in memory: nothing survives the process"]);
}
