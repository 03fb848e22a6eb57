//! A log file being read.

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use bzip2::read::MultiBzDecoder;
use flate2::read::MultiGzDecoder;
use neo_wire::NodeId;
use rusqlite::types::Value;
use rusqlite::{Connection, OpenFlags, Row as SqlRow};

/// Rows read together: whoever writes waits no longer than for these.
const BATCH: usize = 1000;
/// How long to wait for whoever writes.
const LOCK_WAIT: Duration = Duration::from_secs(10);
/// No description of the protocol is longer, in bytes.
const LONGEST_PROTOCOL: u64 = 4 << 20;

/// Who wrote a row.
#[derive(Debug, Clone, Default)]
pub struct Node {
    /// Set by tests, and in files of versions before 1.11.
    pub name: Option<String>,
    pub cluster: Option<String>,
    pub nid: Option<NodeId>,
}

/// A record or a packet.
#[derive(Debug)]
pub struct Row {
    /// Seconds since 1970.
    pub date: f64,
    pub node: Node,
    pub content: Content,
}

#[derive(Debug)]
pub enum Content {
    Record { level: i64, text: String },
    Packet { msg_id: i64, code: i64, peer: String, body: Option<Vec<u8>>, version: Option<u32> },
}

struct Cursor {
    table: &'static str,
    is_packet: bool,
    /// Before version 1.11: there is a name instead of a reference to a node.
    has_name: bool,
    /// Rows after this date are to be read.
    after: f64,
    rows: VecDeque<Row>,
    /// Nothing more for now, or ever.
    exhausted: bool,
    damaged: bool,
}

/// See the module.
pub struct Source {
    path: PathBuf,
    inode: Option<u64>,
    /// Name of the file, without its extensions.
    pub stem: String,
    connection: Connection,
    cursors: Vec<Cursor>,
    nodes: HashMap<i64, Node>,
    /// Version of the protocol from a date on, if it is said.
    protocols: Vec<(f64, Option<u32>)>,
}

impl Source {
    /// Opens a file, of which rows are wanted from a date on.
    ///
    /// # Errors
    /// A sentence.
    pub fn open(path: &Path, from: f64) -> Result<Self, String> {
        let refuse = |reason: &dyn std::fmt::Display| format!("{}: {reason}", path.display());
        let (connection, stem, inode) = open(path).map_err(|reason| refuse(&reason))?;
        let mut source = Self {
            path: path.to_owned(),
            inode,
            stem,
            connection,
            cursors: Vec::new(),
            nodes: HashMap::new(),
            protocols: Vec::new(),
        };
        // Records at this very date are shown.
        source.find_tables(from.next_down()).map_err(|reason| refuse(&reason))?;
        Ok(source)
    }

    fn find_tables(&mut self, after: f64) -> Result<(), String> {
        let sql = "SELECT name FROM sqlite_master WHERE type = 'table'";
        let mut statement = self.connection.prepare(sql).map_err(in_words)?;
        let names = statement.query_map([], |row| row.get::<_, String>(0)).map_err(in_words)?;
        let names = names.collect::<Result<Vec<_>, _>>().map_err(in_words)?;
        drop(statement);
        for table in ["log1", "packet1", "log", "packet"] {
            if names.iter().any(|name| name == table) {
                let sql = "SELECT 1 FROM pragma_table_info(?) WHERE name = 'name'";
                let has_name = self.connection.query_row(sql, [table], |_| Ok(())).is_ok();
                self.cursors.push(Cursor {
                    table,
                    is_packet: table.starts_with("packet"),
                    has_name,
                    after,
                    rows: VecDeque::new(),
                    exhausted: false,
                    damaged: false,
                });
            }
        }
        if self.cursors.is_empty() && !names.is_empty() {
            return Err("not a log of NEO".into());
        }
        Ok(())
    }

    /// Date of the next row, if there is one now.
    pub fn next_date(&mut self) -> Option<f64> {
        for index in 0..self.cursors.len() {
            self.fill(index);
        }
        let firsts = self.cursors.iter().filter_map(|cursor| cursor.rows.front());
        firsts.map(|row| row.date).min_by(f64::total_cmp)
    }

    /// The next row. To be called after [`Source::next_date`].
    pub fn take(&mut self) -> Option<Row> {
        let date = |cursor: &Cursor| cursor.rows.front().map(|row| row.date);
        let firsts = self.cursors.iter_mut().filter(|cursor| !cursor.rows.is_empty());
        let first = firsts
            .min_by(|a, b| date(a).unwrap_or(f64::MAX).total_cmp(&date(b).unwrap_or(f64::MAX)))?;
        first.rows.pop_front()
    }

    /// Looks again for more, also in another file that took the place of this one.
    pub fn refresh(&mut self) {
        let inode = std::fs::metadata(&self.path).ok().map(|metadata| metadata.ino());
        if self.inode.is_some() && inode.is_some() && inode != self.inode {
            // What was written last to the old one has been read at the previous time.
            if let Ok(source) = Self::open(&self.path, 0.) {
                *self = source;
                return;
            }
        }
        if self.cursors.is_empty() {
            // A file that was empty is a log once something is written.
            let _ = self.find_tables(0.);
        }
        self.cursors.iter_mut().for_each(|cursor| cursor.exhausted = cursor.damaged);
    }

    fn fill(&mut self, index: usize) {
        let Some(cursor) = self.cursors.get(index) else { return };
        if !cursor.rows.is_empty() || cursor.exhausted {
            return;
        }
        let (table, is_packet, after) = (cursor.table, cursor.is_packet, cursor.after);
        if is_packet && self.protocols.is_empty() {
            self.protocols = protocols(&self.connection);
        }
        let node = if cursor.has_name { "name" } else { "node" };
        let columns = if is_packet { "msg_id, code, peer, body" } else { "level, msg" };
        let sql = format!(
            "SELECT date, {node}, {columns} FROM {table} WHERE date > ? ORDER BY date LIMIT {BATCH}"
        );
        let (rows, error) = self.read(&sql, is_packet, after);
        let Some(cursor) = self.cursors.get_mut(index) else { return };
        cursor.exhausted = rows.len() < BATCH;
        cursor.after = rows.last().map_or(after, |row| row.date);
        cursor.rows = rows.into();
        if let Some(error) = error {
            cursor.exhausted = true;
            cursor.damaged = true;
            let text = format!("{}: cannot read table {table}: {error}", self.path.display());
            let content = Content::Record { level: 40, text };
            let date = cursor.after.max(0.);
            cursor.rows.push_back(Row { date, node: Node::default(), content });
        }
    }

    fn read(&mut self, sql: &str, is_packet: bool, after: f64) -> (Vec<Row>, Option<String>) {
        let mut found = Vec::new();
        let mut statement = match self.connection.prepare(sql) {
            Ok(statement) => statement,
            Err(error) => return (found, Some(in_words(error))),
        };
        let mut rows = match statement.query([after]) {
            Ok(rows) => rows,
            Err(error) => return (found, Some(in_words(error))),
        };
        loop {
            match rows.next() {
                Ok(Some(row)) => {
                    let date = number(row, 0);
                    let node = node(&self.connection, &mut self.nodes, row);
                    let content = if is_packet {
                        Content::Packet {
                            msg_id: integer(row, 2),
                            code: integer(row, 3),
                            peer: text(row, 4),
                            body: blob(row, 5),
                            version: version(&self.protocols, date),
                        }
                    } else {
                        Content::Record { level: integer(row, 2), text: text(row, 3) }
                    };
                    found.push(Row { date, node, content });
                }
                Ok(None) => return (found, None),
                Err(error) => return (found, Some(in_words(error))),
            }
        }
    }
}

fn in_words(error: rusqlite::Error) -> String {
    match error {
        rusqlite::Error::SqliteFailure(_, Some(text)) => text,
        error => error.to_string(),
    }
}

/// Opens the database, once extracted.
fn open(path: &Path) -> Result<(Connection, String, Option<u64>), String> {
    let file = File::open(path).map_err(|error| error.to_string())?;
    let metadata = file.metadata().map_err(|error| error.to_string())?;
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    let extracted: Option<Box<dyn Read>> = match extension {
        "gz" => Some(Box::new(MultiGzDecoder::new(file))),
        "bz2" => Some(Box::new(MultiBzDecoder::new(file))),
        "xz" | "zst" => Some(Box::new(file)),
        _ => None,
    };
    let plain = if extracted.is_some() { path.with_extension("") } else { path.to_owned() };
    let stem = plain.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let Some(mut extracted) = extracted else {
        return Ok((connect(path)?, stem, Some(metadata.ino())));
    };
    let temporary = tempfile::NamedTempFile::new().map_err(|error| error.to_string())?;
    match extension {
        "xz" | "zst" => run(if extension == "xz" { "xzcat" } else { "zstdcat" }, path, &temporary)?,
        _ => {
            let mut out = temporary.as_file();
            io::copy(&mut extracted, &mut out).map_err(|error| error.to_string())?;
        }
    }
    // Removed at the end of this function: the connection has it open.
    Ok((connect(temporary.path())?, stem, None))
}

fn run(program: &str, path: &Path, out: &tempfile::NamedTempFile) -> Result<(), String> {
    let out = out.reopen().map_err(|error| error.to_string())?;
    let file = File::open(path).map_err(|error| error.to_string())?;
    let result = Command::new(program).stdin(file).stdout(out).stderr(Stdio::piped()).output();
    match result {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(format!(
            "{program} failed: {}",
            String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; ")
        )),
        Err(error) => Err(format!("{program} is needed to read it: {error}")),
    }
}

fn connect(path: &Path) -> Result<Connection, String> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(in_words)?;
    connection.busy_timeout(LOCK_WAIT).map_err(in_words)?;
    // It is only now that the file is looked at.
    let count = "SELECT count(*) FROM sqlite_master";
    connection.query_row(count, [], |_| Ok(())).map_err(in_words)?;
    Ok(connection)
}

fn value(row: &SqlRow<'_>, column: usize) -> Value {
    row.get(column).unwrap_or(Value::Null)
}

fn number(row: &SqlRow<'_>, column: usize) -> f64 {
    match value(row, column) {
        Value::Real(number) => number,
        #[allow(clippy::cast_precision_loss, reason = "a date")]
        Value::Integer(number) => number as f64,
        _ => 0.,
    }
}

fn integer(row: &SqlRow<'_>, column: usize) -> i64 {
    if let Value::Integer(number) = value(row, column) { number } else { 0 }
}

fn blob(row: &SqlRow<'_>, column: usize) -> Option<Vec<u8>> {
    match value(row, column) {
        Value::Blob(bytes) => Some(bytes),
        Value::Text(text) => Some(text.into_bytes()),
        _ => None,
    }
}

/// Texts that are not UTF-8 are shown all the same.
fn text(row: &SqlRow<'_>, column: usize) -> String {
    match row.get_ref(column).ok() {
        Some(rusqlite::types::ValueRef::Text(bytes) | rusqlite::types::ValueRef::Blob(bytes)) => {
            String::from_utf8_lossy(bytes).into_owned()
        }
        Some(rusqlite::types::ValueRef::Null) | None => String::new(),
        Some(other) => format!("{other:?}"),
    }
}

fn node(connection: &Connection, nodes: &mut HashMap<i64, Node>, row: &SqlRow<'_>) -> Node {
    match value(row, 1) {
        Value::Text(name) => Node { name: Some(name), ..Node::default() },
        Value::Integer(id) => {
            let node = nodes.entry(id).or_insert_with(|| {
                let sql = "SELECT name, cluster, nid FROM node WHERE id = ?";
                let found = connection.query_row(sql, [id], |row| {
                    let nid: Option<i32> = row.get(2).unwrap_or_default();
                    Ok(Node {
                        name: row.get(0).unwrap_or_default(),
                        cluster: row.get(1).unwrap_or_default(),
                        nid: nid.map(NodeId),
                    })
                });
                // A row without its node is worth being shown.
                found.unwrap_or_default()
            });
            node.clone()
        }
        _ => Node::default(),
    }
}

/// From when each description of the protocol applies, with its version.
fn protocols(connection: &Connection) -> Vec<(f64, Option<u32>)> {
    let sql = "SELECT date, text FROM protocol ORDER BY date";
    let Ok(mut statement) = connection.prepare(sql) else { return Vec::new() };
    let Ok(rows) = statement.query_map([], |row| Ok((number(row, 0), blob(row, 1)))) else {
        return Vec::new();
    };
    rows.flatten().map(|(date, text)| (date, text.and_then(|text| stated_version(&text)))).collect()
}

/// The version that a text says, which is looked for and not executed.
fn stated_version(compressed: &[u8]) -> Option<u32> {
    let mut text = Vec::new();
    // What could be read may be enough.
    let _ = MultiBzDecoder::new(compressed).take(LONGEST_PROTOCOL).read_to_end(&mut text);
    let text = String::from_utf8_lossy(&text);
    text.lines().find_map(|line| {
        let value = line.strip_prefix("PROTOCOL_VERSION")?.trim_start().strip_prefix('=')?;
        let value = value.split('#').next().unwrap_or_default();
        value.trim().parse().ok()
    })
}

fn version(protocols: &[(f64, Option<u32>)], date: f64) -> Option<u32> {
    protocols.iter().rev().find(|(from, _)| *from <= date).and_then(|(_, version)| *version)
}
