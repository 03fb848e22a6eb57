//! Calls that are made before the answers to the previous ones are there: for those who read or
//! copy everything.

use neo_core::client::api::{Answer, ClientError, Copy, Metadata, Request};
use neo_core::client::api::{TransactionKey, Write};
use neo_wire::{Packet, Tid};

use crate::application::{Application, Inner};
use crate::error::Error;
use crate::wait::{Interrupted, Train};

/// A transaction of the past, to be written as it was.
#[derive(Debug, Clone, PartialEq)]
pub struct Past {
    /// Its TID.
    pub tid: Tid,
    /// The previous one of those that are copied; none for the first one, or once the previous
    /// ones all are committed.
    pub after: Option<Tid>,
    /// What it writes, one write for each object. A base is a hint.
    pub writes: Vec<Write>,
    /// User, description and extension.
    pub metadata: Metadata,
}

/// A call whose answer is to be waited for.
#[derive(Debug)]
#[must_use = "its answer stays until it is waited for"]
pub struct Started(Train);

impl Inner {
    fn start_calls(&self, requests: impl Iterator<Item = Request>) -> Vec<Started> {
        self.send(requests).split().into_iter().map(Started).collect()
    }

    fn end_call(&self, started: Started, interrupted: Interrupted<'_>) -> Result<Answer, Error> {
        self.arrive_one(started.0, interrupted)
    }
}

impl Application {
    /// Starts to copy a transaction: see [`Copy`]. Those that were started before need not be
    /// committed; if one of them fails, so will this one.
    ///
    /// # Errors
    /// [`Error`], of the system only.
    pub fn start_copy(&self, past: Past) -> Result<Started, Error> {
        self.ensure_threads()?;
        let Past { tid, after, writes, metadata } = past;
        let transaction: TransactionKey = self.new_transaction();
        let request = Request::Copy(Copy { transaction, tid, after, writes, metadata });
        self.started(self.inner().start_calls(std::iter::once(request)))
    }

    /// Waits until a copy is committed. To be called in the order they were started.
    ///
    /// # Errors
    /// [`Error`]: the outcome is not known if it is about a link.
    pub fn end_copy(&self, started: Started, interrupted: Interrupted<'_>) -> Result<Tid, Error> {
        let answer = self.inner().end_call(started, interrupted)?;
        self.publish_commit(answer, |_| ())
    }

    /// Starts reads, of readable cells of the partitions of their keys.
    ///
    /// # Errors
    /// [`Error`], of the system only.
    pub fn start_reads(
        &self,
        reads: impl IntoIterator<Item = (u64, Packet)>,
    ) -> Result<Vec<Started>, Error> {
        self.ensure_threads()?;
        let request = |(key, packet)| Request::Read { key, packet, except: Vec::new() };
        Ok(self.inner().start_calls(reads.into_iter().map(request)))
    }

    /// Waits for the answer to a read.
    ///
    /// # Errors
    /// [`Error`]
    pub fn end_read(
        &self,
        started: Started,
        interrupted: Interrupted<'_>,
    ) -> Result<Packet, Error> {
        match self.inner().end_call(started, interrupted)? {
            Answer::Packet { packet, .. } => Ok(packet),
            _ => Err(Error::broken("a read was answered by something else")),
        }
    }

    fn started(&self, started: Vec<Started>) -> Result<Started, Error> {
        started.into_iter().next().ok_or_else(|| ClientError::Closed.into())
    }
}
