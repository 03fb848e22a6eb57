//! The database of a storage on its threads: what the core asks is carried out here.
//!
//! Short reads are answered at once, on the thread of the loop: two hops to a thread and back would
//! cost ten times what they take. Long ones go to a thread of their own, writes to the writer's.

use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};

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

/// See the module.
pub(super) struct Database {
    writer: WriterThread,
    reader: Box<dyn Reader>,
    long_reads: Sender<(JobTicket, Query)>,
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
) -> Result<Sender<(JobTicket, Query)>, RunError> {
    let (sender, receiver) = channel::<(JobTicket, Query)>();
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
    std::thread::Builder::new().name("neo-reader".into()).spawn(read).map_err(daemon::failed)?;
    Ok(sender)
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
        | Query::DataStatistics => true,
    }
}

impl Effects<Storage> for Database {
    fn effect(&mut self, effect: Effect, context: &mut Context<'_, Event>) {
        match effect {
            Effect::Write { ticket, jobs } => {
                if let Err(cause) = self.writer.submit(Ticket(ticket.0), jobs) {
                    self.failure.set(&cause, &self.handle);
                }
            }
            Effect::Read { ticket, query } if is_long(&query) => {
                // The thread only ends after it told why.
                let _ = self.long_reads.send((ticket, query));
            }
            Effect::Read { ticket, query } => match self.reader.answer(&query) {
                Ok(answer) => context.answer(Event::Answered { ticket, answer }),
                Err(cause) => self.failure.set(&cause, &self.handle),
            },
            Effect::SaveMasters(masters) => self.list.save(&masters),
        }
    }
}
