//! From a FileStorage to a cluster.

use std::collections::{BTreeSet, VecDeque};
use std::fs::File;
use std::path::Path;
use std::thread;

use neo_client::application::Application;
use neo_client::records::Compress;
use neo_client::{Error, Metadata, Past, Started, Write};
use neo_core::client::api::ClientError;
use neo_filestorage::{Error as FileError, Reader};
use neo_wire::Tid;

use super::cluster::{Cluster, never};
use super::ordered::{self, Output};
use super::prepare::{self, Found, Part};
use super::progress::{Progress, Unit};
use super::retry::{Next, Retry};
use super::stream::Stream;
use super::{Summary, count};
use crate::RunError;
use crate::config::MigrateConfig;

/// Transactions on their way.
const DEPTH: usize = 256;
/// Bytes of the transactions on their way.
const WINDOW: usize = 16 << 20;
/// Batches between the threads.
const BATCHES: usize = 12;

/// Opens a FileStorage, as a user may read it.
pub fn open(path: &Path) -> Result<Reader<File>, RunError> {
    let cannot = |error: &dyn std::fmt::Display| {
        RunError::Failed(format!("cannot read {}: {error}", path.display()))
    };
    let file = File::open(path).map_err(|error| cannot(&error))?;
    if file.metadata().map_err(|error| cannot(&error))?.is_dir() {
        return Err(cannot(&"it is a folder"));
    }
    Reader::new(file).map_err(|error| cannot(&error))
}

/// Copies what the cluster does not have.
pub fn run(
    config: &MigrateConfig,
    cluster: &Cluster,
    source: Reader<File>,
) -> Result<Summary, RunError> {
    let progress = Progress::new(config, source.size(), Unit::Bytes);
    let mut import = Import {
        config,
        cluster,
        progress,
        depth: DEPTH,
        retry: Retry::default(),
        plain: BTreeSet::new(),
        copied: Copied::default(),
        there: 0,
    };
    let result = import.run(source);
    import.progress.end();
    result?;
    Ok(import.copied.summary)
}

/// What was copied by now.
#[derive(Default)]
struct Copied {
    summary: Summary,
    found: Found,
}

struct Import<'a> {
    config: &'a MigrateConfig,
    cluster: &'a Cluster,
    progress: Progress,
    depth: usize,
    retry: Retry,
    /// Undo transactions that go back to what the cluster does not have.
    plain: BTreeSet<Tid>,
    copied: Copied,
    /// Transactions that were there already.
    there: u64,
}

/// Why copying stopped.
enum Failure {
    File(FileError),
    /// The TID of the transaction that failed first, and what all of them say.
    Cluster(Tid, Vec<Error>),
    /// Something that can not be helped.
    Other(RunError),
}

impl Import<'_> {
    fn run(&mut self, source: Reader<File>) -> Result<(), RunError> {
        let python_2 = source.is_python_2();
        let mut source = Some(source);
        let mut last = self.cluster.last;
        let mut before = 0;
        loop {
            let is_first = source.is_some();
            let reader = match source.take() {
                Some(reader) => reader,
                None => open(&self.config.file)?,
            };
            let (tid, errors) = match self.attempt(reader, last, is_first) {
                Ok(reader) => {
                    self.report(&reader, python_2);
                    return Ok(());
                }
                Err(Failure::File(error)) => return Err(self.damaged(&error)),
                Err(Failure::Other(error)) => return Err(error),
                Err(Failure::Cluster(tid, errors)) => (tid, errors),
            };
            let copied = self.copied.summary.transactions;
            self.recover(tid, &errors, copied > before)?;
            before = copied;
            last = self.cluster.last_now().map_err(|then| {
                let cause = errors.first().unwrap_or(&then);
                self.stopped_until(&format!("{cause}; then {then}"), "run")
            })?;
        }
    }

    /// Copies what is after `last`.
    fn attempt(
        &mut self,
        mut reader: Reader<File>,
        last: Tid,
        is_first: bool,
    ) -> Result<Reader<File>, Failure> {
        let known = self.skip(&mut reader, last)?;
        if known > 0 && is_first {
            let known = count(known, "transaction", "transactions");
            self.note(format!("{known} up to {last} were there already"));
        }
        let (reader, result) = self.copy(reader);
        result.map(|()| reader)
    }

    fn note(&mut self, text: String) {
        self.copied.summary.notes.push(text);
    }

    fn report(&mut self, reader: &Reader<File>, python_2: bool) {
        if let Some(tail) = reader.tail() {
            self.note(format!(
                "Ignored {} bytes at the end of the file, from position {}: {}",
                tail.length, tail.position, tail.reason
            ));
        }
        let found = self.copied.found;
        if found.packed > 0 {
            let packed = count(found.packed, "packed transaction", "packed transactions");
            self.note(format!("{packed} lose their status 'p', which NEO can not be given"));
        }
        if found.superseded > 0 {
            let left_out = count(found.superseded, "record", "records");
            self.note(format!(
                "{left_out} left out: the same transaction has a later one of the same object"
            ));
        }
        if reader.skipped() > 0 {
            let skipped = count(reader.skipped(), "transaction", "transactions");
            self.note(format!("{skipped} of status 'u' skipped, as FileStorage does"));
        }
        if !self.plain.is_empty() {
            let plain = count(self.plain.len() as u64, "transaction", "transactions");
            self.note(format!("{plain} copied as if made without undo: older data was packed"));
        }
        if self.retry.losses > 0 {
            let times = count(u64::from(self.retry.losses), "time", "times");
            self.note(format!("Continued {times} after a connection was lost"));
        }
        if python_2 {
            self.note("The file was written under Python 2".to_owned());
        }
    }

    /// Passes over what the cluster has, which must be the beginning of the file.
    fn skip(&mut self, reader: &mut Reader<File>, last: Tid) -> Result<u64, Failure> {
        let file = self.config.file.display();
        let copied = self.copied.summary.transactions;
        let mut known = 0;
        for tid in self.cluster.tids(last) {
            let tid = tid.map_err(|error| Failure::Cluster(Tid::ZERO, vec![error]))?;
            let next = reader.next_transaction();
            self.there = u64::saturating_sub(known, copied);
            let other = match next.map_err(Failure::File)? {
                Some(transaction) if transaction.tid == tid => {
                    known += 1;
                    continue;
                }
                Some(transaction) => format!("{file} has {} at this place", transaction.tid),
                None => format!("{file} ends before"),
            };
            return Err(Failure::Other(RunError::Failed(format!(
                "the cluster has other data: after {} in common, it has {tid} and {other}. \
                 To import, begin with an empty cluster, or truncate it",
                count(known, "transaction", "transactions")
            ))));
        }
        self.there = known.saturating_sub(copied);
        Ok(known)
    }

    fn copy(&mut self, mut reader: Reader<File>) -> (Reader<File>, Result<(), Failure>) {
        let (depth, plain) = (self.depth, self.plain.clone());
        let application = &self.cluster.application;
        let position = reader.position();
        self.progress.set(position);
        let (read, copied) = thread::scope(|scope| {
            let compress = Compress::Zlib(None);
            let (input, output) =
                ordered::start(scope, BATCHES, move |parts| prepare::prepare(parts, compress));
            let reader = &mut reader;
            let read = move || prepare::read(reader, |parts| input.put(parts));
            let reading = thread::Builder::new().name("reader".into()).spawn_scoped(scope, read);
            let window = Window {
                application,
                started: VecDeque::new(),
                bytes: 0,
                depth,
                after: None,
                stream: None,
                plain,
                position,
                copied: &mut self.copied,
                progress: &mut self.progress,
            };
            let copied = window.copy(&output);
            drop(output);
            let read = match reading.map(thread::ScopedJoinHandle::join) {
                Ok(Ok(read)) => read,
                Ok(Err(_)) => Err(std::io::Error::other("the reading thread panicked").into()),
                Err(error) => Err(error.into()),
            };
            (read, copied)
        });
        (reader, copied.and_then(|()| read.map_err(Failure::File)))
    }

    /// After a failure, goes on in another way or once more, if that can help.
    fn recover(&mut self, tid: Tid, errors: &[Error], progressed: bool) -> Result<(), RunError> {
        let Some(error) = errors.first() else {
            return Ok(());
        };
        if matches!(error, Error::Client(ClientError::UndoPack(_))) && self.plain.insert(tid) {
            return Ok(());
        }
        match self.retry.next(errors, progressed) {
            Next::Again(pause) => thread::sleep(pause),
            Next::OneByOne { refused } => {
                self.depth = 1;
                self.note(match refused {
                    true => "The master takes transactions one by one only".to_owned(),
                    false => "Connections were lost again and again: copied one by one".to_owned(),
                });
            }
            Next::Stop { concurrent: false } => return Err(self.stopped(error)),
            Next::Stop { concurrent: true } => {
                let remedy = "stop the applications that write to the cluster, then run";
                return Err(self.stopped_until(error, remedy));
            }
        }
        Ok(())
    }

    fn stopped(&self, error: &Error) -> RunError {
        self.stopped_until(error, "run")
    }

    fn stopped_until(&self, error: &impl std::fmt::Display, remedy: &str) -> RunError {
        RunError::Failed(format!(
            "{error}; {} copied: {remedy} the same command again to continue",
            count(self.copied.summary.transactions, "transaction was", "transactions were")
        ))
    }

    fn damaged(&self, error: &FileError) -> RunError {
        RunError::Failed(format!(
            "{}: {error}; the {} before it are in the cluster",
            self.config.file.display(),
            count(self.there + self.copied.summary.transactions, "transaction", "transactions"),
        ))
    }
}

/// The transactions on their way.
struct Window<'a> {
    application: &'a Application,
    started: VecDeque<Sent>,
    bytes: usize,
    depth: usize,
    after: Option<Tid>,
    /// One that is written in pieces.
    stream: Option<(Stream<'a>, Sizes)>,
    plain: BTreeSet<Tid>,
    /// Everything before it in the file is committed.
    position: u64,
    copied: &'a mut Copied,
    progress: &'a mut Progress,
}

struct Sent {
    started: Started,
    tid: Tid,
    bytes: usize,
    position: u64,
    sizes: Sizes,
}

/// What counts of a transaction once it is committed.
#[derive(Default)]
struct Sizes {
    records: u64,
    found: Found,
}

impl Window<'_> {
    fn copy(mut self, output: &Output<Vec<Part<Write>>>) -> Result<(), Failure> {
        while let Some(parts) = output.next() {
            for part in parts {
                self.part(part)?;
            }
        }
        // The file ended, or is damaged: what was whole is waited for.
        self.drain()?;
        if let Some((stream, _)) = self.stream.take() {
            stream.abort();
        }
        Ok(())
    }

    fn part(&mut self, mut part: Part<Write>) -> Result<(), Failure> {
        if self.plain.contains(&part.tid) {
            part.records.iter_mut().for_each(|write| write.data_serial = None);
        }
        match part.begins.take() {
            Some(metadata) if part.ends => self.send(part, metadata),
            begins => {
                self.drain()?;
                let tid = part.tid;
                let result = self.piece(part, begins);
                result.map_err(|error| {
                    if let Some((stream, _)) = self.stream.take() {
                        stream.abort();
                    }
                    Failure::Cluster(tid, vec![error])
                })
            }
        }
    }

    fn piece(&mut self, part: Part<Write>, begins: Option<Metadata>) -> Result<(), Error> {
        if let Some(metadata) = begins {
            let stream = Stream::begin(self.application, part.tid, metadata)?;
            self.stream = Some((stream, Sizes::default()));
        }
        let Some((stream, sizes)) = &mut self.stream else {
            return Ok(());
        };
        sizes.records += part.records.len() as u64;
        sizes.found += part.found;
        stream.write(part.records)?;
        if part.ends
            && let Some((stream, sizes)) = self.stream.take()
        {
            stream.end()?;
            self.committed(part.position, sizes);
        }
        Ok(())
    }

    fn send(&mut self, part: Part<Write>, metadata: Metadata) -> Result<(), Failure> {
        let bytes = part.records.iter().map(size).sum();
        while self.started.len() >= self.depth
            || (self.bytes + bytes > WINDOW && !self.started.is_empty())
        {
            self.wait()?;
        }
        let Part { tid, records: writes, position, found, .. } = part;
        let after = self.after.filter(|_| !self.started.is_empty());
        let sizes = Sizes { records: writes.len() as u64, found };
        let past = Past { tid, after, writes, metadata };
        let started = self.application.start_copy(past);
        let started = started.map_err(|error| Failure::Cluster(tid, vec![error]))?;
        self.started.push_back(Sent { started, tid, bytes, position, sizes });
        self.bytes += bytes;
        self.after = Some(tid);
        Ok(())
    }

    /// Waits for the oldest one.
    fn wait(&mut self) -> Result<(), Failure> {
        let Some(sent) = self.started.pop_front() else {
            return Ok(());
        };
        self.bytes -= sent.bytes;
        match self.application.end_copy(sent.started, &never) {
            Ok(_) => {
                self.committed(sent.position, sent.sizes);
                Ok(())
            }
            Err(error) => {
                let mut errors = vec![error];
                for other in self.started.drain(..) {
                    errors.extend(self.application.end_copy(other.started, &never).err());
                }
                Err(Failure::Cluster(sent.tid, errors))
            }
        }
    }

    fn committed(&mut self, position: u64, sizes: Sizes) {
        let summary = &mut self.copied.summary;
        summary.transactions += 1;
        summary.records += sizes.records;
        summary.bytes += position.saturating_sub(self.position);
        self.copied.found += sizes.found;
        self.position = position;
        self.progress.set(position);
    }

    fn drain(&mut self) -> Result<(), Failure> {
        while !self.started.is_empty() {
            self.wait()?;
        }
        Ok(())
    }
}

fn size(write: &Write) -> usize {
    const WRITE: usize = 200;
    WRITE
        + match &write.content {
            neo_client::Content::Data { stored, .. } => stored.data.len(),
            _ => 0,
        }
}
