//! From a cluster to a FileStorage.

use std::thread;

use neo_client::Error;
use neo_filestorage::{Error as FileError, Status, Value, Writer};

use super::cluster::{Cluster, Tids};
use super::fetch::{self, Fetch};
use super::ordered::{self, Output};
use super::progress::{self, Progress, Unit};
use super::unpack::{self, Object, Piece};
use super::{Summary, count};
use crate::RunError;
use crate::config::MigrateConfig;

/// Batches between the threads.
const BATCHES: usize = 12;

/// Copies what the file does not have.
pub fn run(config: &MigrateConfig, cluster: &Cluster) -> Result<Summary, RunError> {
    let mut tids = cluster.tids(cluster.last);
    let mut summary = Summary::default();
    let (mut writer, known) = open(config, &mut tids, &mut summary)?;
    let total = if progress::is_shown(config) {
        cluster.count().map_err(|error| stopped(&error, &summary))?
    } else {
        0
    };
    let mut progress = Progress::new(config, total, Unit::Transactions);
    progress.set(known);
    let start = writer.size();
    let (fetched, written) = thread::scope(|scope| {
        let application = cluster.application.clone();
        let (input, output) =
            ordered::start(scope, BATCHES, move |pieces| unpack::unpack(&application, pieces));
        let writing = {
            let mut out = Out { writer: &mut writer, summary: &mut summary, empty: 0 };
            let progress = &mut progress;
            let write = move || {
                let result = out.write_all(&output, |done| progress.set(known + done));
                (result, out.empty)
            };
            thread::Builder::new().name("writer".into()).spawn_scoped(scope, write)
        };
        let put = move |pieces| input.put(pieces);
        let fetched = Fetch::new(&cluster.application, tids, &put).run();
        drop(put);
        let written = match writing.map(thread::ScopedJoinHandle::join) {
            Ok(Ok(written)) => written,
            Ok(Err(_)) => (Err(panicked().into()), 0),
            Err(error) => (Err(Stop::File(error.into())), 0),
        };
        (fetched, written)
    });
    progress.end();
    let (written, empty) = written;
    summary.bytes = writer.size() - start;
    match written {
        Ok(()) => {}
        Err(Stop::File(error)) => return Err(unwritable(config, &error)),
        Err(Stop::Cluster(error)) => return Err(keep(config, &mut writer, &error, &summary)),
    }
    if let Err(fetch::Failure(error)) = fetched {
        return Err(keep(config, &mut writer, &error, &summary));
    }
    writer.sync().map_err(|error| unwritable(config, &error))?;
    if empty > 0 {
        summary.notes.push(format!(
            "{} without a byte became deletions: a FileStorage has no other way to write them",
            count(empty, "record", "records")
        ));
    }
    Ok(summary)
}

/// The cluster failed: what is there is kept.
fn keep(config: &MigrateConfig, writer: &mut Writer, error: &Error, summary: &Summary) -> RunError {
    match writer.sync() {
        Ok(()) => stopped(error, summary),
        Err(error) => unwritable(config, &error),
    }
}

fn stopped(error: &Error, summary: &Summary) -> RunError {
    RunError::Failed(format!(
        "{error}; {} copied: run the same command again to continue",
        count(summary.transactions, "transaction was", "transactions were")
    ))
}

fn unwritable(config: &MigrateConfig, error: &FileError) -> RunError {
    RunError::Failed(format!("{}: {error}", config.file.display()))
}

fn panicked() -> FileError {
    std::io::Error::other("a thread panicked").into()
}

/// Why a file can not be continued.
enum Refusal {
    File(FileError),
    Other(RunError),
}

impl From<FileError> for Refusal {
    fn from(error: FileError) -> Self {
        Self::File(error)
    }
}

/// Opens the file; what it has must be the beginning of what the cluster has, which is passed over.
fn open(
    config: &MigrateConfig,
    tids: &mut Tids<'_>,
    summary: &mut Summary,
) -> Result<(Writer, u64), RunError> {
    let mut known = 0;
    let seen = |tid, _| {
        let other = match tids.next() {
            Some(Ok(other)) if other == tid => {
                known += 1;
                return Ok(());
            }
            Some(Ok(other)) => format!("the cluster has {other} at this place"),
            Some(Err(error)) => return Err(Refusal::Other(stopped(&error, &Summary::default()))),
            None => "the cluster ends before".to_owned(),
        };
        Err(Refusal::Other(RunError::Failed(format!(
            "{} has other data: after {} in common, it has {tid} and {other}. \
             Export to another file, or remove this one",
            config.file.display(),
            count(known, "transaction", "transactions")
        ))))
    };
    let (writer, appended) = Writer::open(&config.file, seen).map_err(|refusal| match refusal {
        Refusal::File(error) => unwritable(config, &error),
        Refusal::Other(error) => error,
    })?;
    if let Some(tail) = appended.tail {
        summary.notes.push(format!(
            "Cut off {} bytes at the end of the file, from position {}: {}",
            tail.length, tail.position, tail.reason
        ));
    }
    if known > 0 {
        let transactions = count(known, "transaction", "transactions");
        summary.notes.push(format!("{transactions} up to {} were there already", writer.last()));
    }
    Ok((writer, known))
}

/// Why writing stopped.
enum Stop {
    File(FileError),
    Cluster(Error),
}

impl From<FileError> for Stop {
    fn from(error: FileError) -> Self {
        Self::File(error)
    }
}

struct Out<'a> {
    writer: &'a mut Writer,
    summary: &'a mut Summary,
    /// Records without a byte.
    empty: u64,
}

impl Out<'_> {
    fn write_all(
        &mut self,
        output: &Output<Vec<Piece<Object>>>,
        mut done: impl FnMut(u64),
    ) -> Result<(), Stop> {
        while let Some(pieces) = output.next() {
            for piece in pieces {
                self.write(piece)?;
            }
            done(self.summary.transactions);
        }
        Ok(())
    }

    fn write(&mut self, piece: Piece<Object>) -> Result<(), Stop> {
        if let Some((metadata, packed)) = &piece.begins {
            let status = if *packed { Status::Packed } else { Status::Normal };
            let texts = (&metadata.user[..], &metadata.description[..], &metadata.extension[..]);
            self.writer.begin(piece.tid, status, texts)?;
        }
        for (oid, object) in &piece.records {
            let (data, back) = match object {
                Object::Missing => continue,
                Object::Failed(error) => return Err(Stop::Cluster(error.clone())),
                Object::Record { data, back } => (data.as_deref(), *back),
            };
            self.empty += u64::from(data.is_some_and(<[u8]>::is_empty));
            let value = match (data, back) {
                (data, Some(tid)) => Value::Back { tid, data },
                (Some(data), None) => Value::Data(data),
                (None, None) => Value::Nothing,
            };
            self.writer.record(*oid, value)?;
            self.summary.records += 1;
        }
        if piece.ends {
            self.writer.finish()?;
            self.summary.transactions += 1;
        }
        Ok(())
    }
}
