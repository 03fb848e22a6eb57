//! The database of a storage on its threads: what the core asks is carried out here.
//!
//! Short reads are answered at once, on the thread of the loop: two hops to a thread and back would
//! cost ten times what they take. Long ones go to a thread of their own, writes to the writer's.

use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use neo_core::storage::{Effect, Event, JobTicket, Storage};
use neo_net::{Context, Effects, Handle};
use neo_store::database::Query;
use neo_store::{Reader, StoreError, Ticket, Writer, WriterThread};
use tracing::error;

use crate::RunError;
use crate::commands::daemon;
use crate::commands::master_list::MasterList;

/// Why the database can not be used any more, in one sentence.
#[derive(Clone, Default)]
pub(super) struct Failure(Arc<Mutex<Option<String>>>);

impl Failure {
    /// The first reason, once.
    pub fn take(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Nothing is promised any more: the node stops.
    fn set(&self, cause: &StoreError, handle: &Handle<Event>) {
        let mut reason = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if reason.is_none() {
            error!("{cause}");
            *reason = Some(cause.to_string());
        }
        drop(reason);
        handle.stop();
    }
}

/// The thread of long reads.
struct LongReads {
    queries: Sender<(JobTicket, Query)>,
    thread: JoinHandle<()>,
}

/// See the module.
pub(super) struct Database {
    writer: Option<WriterThread>,
    reader: Option<Box<dyn Reader>>,
    long_reads: Option<LongReads>,
    handle: Handle<Event>,
    failure: Failure,
    list: MasterList,
}

impl Database {
    /// Starts the threads.
    pub fn start(
        writer: Box<dyn Writer>,
        reader: Box<dyn Reader>,
        handle: Handle<Event>,
        list: MasterList,
    ) -> Result<Self, RunError> {
        let failure = Failure::default();
        let long_reader = writer.reader().map_err(daemon::failed)?;
        let long_reads = start_long_reads(long_reader, handle.clone(), failure.clone())?;
        let (writer_handle, writer_failure) = (handle.clone(), failure.clone());
        let completion = move |ticket: Ticket, result| match result {
            Ok(results) => {
                writer_handle.send(Event::Written { ticket: JobTicket(ticket.0), results });
            }
            Err(cause) => writer_failure.set(&cause, &writer_handle),
        };
        let writer = WriterThread::spawn(writer, Box::new(completion)).map_err(daemon::failed)?;
        let (writer, reader, long_reads) = (Some(writer), Some(reader), Some(long_reads));
        Ok(Self { writer, reader, long_reads, handle, failure, list })
    }

    /// Shared: to be looked at when the node ends.
    pub fn failure(&self) -> Failure {
        self.failure.clone()
    }
}

fn start_long_reads(
    reader: Box<dyn Reader>,
    handle: Handle<Event>,
    failure: Failure,
) -> Result<LongReads, RunError> {
    let (queries, receiver) = channel::<(JobTicket, Query)>();
    let read = move || {
        for (ticket, query) in receiver {
            match reader.answer(&query) {
                Ok(answer) => handle.send(Event::Answered { ticket, answer }),
                Err(cause) => {
                    failure.set(&cause, &handle);
                    return;
                }
            }
        }
    };
    let thread = std::thread::Builder::new().name("neo-reader".into()).spawn(read);
    Ok(LongReads { queries, thread: thread.map_err(daemon::failed)? })
}

/// Leaves everything in one file: the last reader must be gone before the writer is closed.
impl Drop for Database {
    fn drop(&mut self) {
        self.reader = None;
        if let Some(LongReads { queries, thread }) = self.long_reads.take() {
            drop(queries);
            if thread.join().is_err() {
                error!("the thread of long reads ended by a panic");
            }
        }
        if let Some(Err(cause)) = self.writer.take().map(WriterThread::stop) {
            error!("the database is not closed in order, but nothing is lost: {cause}");
        }
    }
}

/// Whether a query may read more than a few pages.
fn is_long(query: &Query) -> bool {
    match query {
        Query::Configuration
        | Query::Table
        | Query::LastIds(_)
        | Query::LastTids(_)
        | Query::FinalTid(_)
        | Query::Load { .. }
        | Query::LastSerial(_)
        | Query::HasRecord { .. }
        | Query::Revisions(_)
        | Query::Spilled(_)
        | Query::Transaction(_) => false,
        Query::Unfinished
        | Query::History { .. }
        | Query::Tids { .. }
        | Query::TidsFrom { .. }
        | Query::OidsFrom { .. }
        | Query::RecordsFrom { .. }
        | Query::PackOrders { .. }
        | Query::PackTid(_)
        | Query::DataStatistics => true,
    }
}

impl Effects<Storage> for Database {
    fn effect(&mut self, effect: Effect, context: &mut Context<'_, Event>) {
        match effect {
            Effect::Write { ticket, jobs } => {
                let ticket = Ticket(ticket.0);
                let submitted = self.writer.as_ref().map(|writer| writer.submit(ticket, jobs));
                if let Some(Err(cause)) = submitted {
                    self.failure.set(&cause, &self.handle);
                }
            }
            Effect::Read { ticket, query } if is_long(&query) => {
                // The thread only ends after it told why.
                let _ = self.long_reads.as_ref().map(|long| long.queries.send((ticket, query)));
            }
            Effect::Read { ticket, query } => {
                match self.reader.as_ref().map(|reader| reader.answer(&query)) {
                    Some(Ok(answer)) => context.answer(Event::Answered { ticket, answer }),
                    Some(Err(cause)) => self.failure.set(&cause, &self.handle),
                    None => {}
                }
            }
            Effect::SaveMasters(masters) => self.list.save(&masters),
        }
    }
}
