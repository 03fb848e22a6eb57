//! Requests that wait for a lock (spec storage.md 11.9).

use neo_wire::packet::StoredData;
use neo_wire::{Oid, Packet, Tid, Ttid};

use super::reads::ReadRequest;
use super::{Context, Storage};
use crate::io::ConnectionId;

/// Whom to answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Requester {
    pub connection: ConnectionId,
    pub msg_id: u32,
}

/// A request that takes a write lock.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum WriteRequest {
    /// AskStoreObject.
    Store { oid: Oid, serial: Tid, data: Option<StoredData>, data_serial: Option<Tid> },
    /// AskCheckCurrentSerial.
    Check { oid: Oid, serial: Tid },
    /// AskRelockObject.
    Relock { oid: Oid, serial: Tid },
}

impl WriteRequest {
    pub fn oid(&self) -> Oid {
        match self {
            Self::Store { oid, .. } | Self::Check { oid, .. } | Self::Relock { oid, .. } => *oid,
        }
    }

    pub fn serial(&self) -> Tid {
        match self {
            Self::Store { serial, .. }
            | Self::Check { serial, .. }
            | Self::Relock { serial, .. } => *serial,
        }
    }

    /// The answer that tells `conflict`: none, [`Tid::ZERO`] for "not checked", or a revision.
    pub fn answer(&self, conflict: Option<Tid>) -> Packet {
        match self {
            Self::Store { .. } => Packet::AnswerStoreObject { conflict },
            Self::Check { .. } => Packet::AnswerCheckCurrentSerial { conflict },
            Self::Relock { .. } => Packet::AnswerRelockObject { conflict: None },
        }
    }
}

/// A delayed [`WriteRequest`].
#[derive(Debug)]
pub(super) struct DelayedWrite {
    pub ttid: Ttid,
    pub requester: Requester,
    pub request: WriteRequest,
}

/// A delayed read.
#[derive(Debug)]
pub(super) struct DelayedRead {
    pub requester: Requester,
    pub request: ReadRequest,
    /// For what has no bound: the transactions that were locked when it was asked.
    pub locked: Vec<Ttid>,
}

impl Storage {
    /// Keeps a write until locks are released; the older transactions go first.
    pub(super) fn delay_write(&mut self, delayed: DelayedWrite) {
        let place = self.write_queue.partition_point(|other| other.ttid <= delayed.ttid);
        self.write_queue.insert(place, delayed);
    }

    /// Tries every delayed request again, in order; those that still must wait keep their place.
    pub(super) fn run_queues(&mut self, cx: &mut Context<'_>) {
        self.released = false;
        for delayed in std::mem::take(&mut self.read_queue) {
            if self.links.contains(delayed.requester.connection) {
                self.try_read(delayed, cx);
            }
        }
        for question in std::mem::take(&mut self.undo_queue) {
            if self.links.contains(question.to.connection) {
                self.try_undo_question(question, cx);
            }
        }
        while self.run_writes(cx) {}
    }

    /// One pass over the delayed writes. True if one of them released a lock: those before it go
    /// first again, for requests of one connection are carried out in order. This ends, because
    /// what releases a lock does not stay in the queue.
    fn run_writes(&mut self, cx: &mut Context<'_>) -> bool {
        let mut pending = std::mem::take(&mut self.write_queue).into_iter();
        while let Some(delayed) = pending.next() {
            if self.links.contains(delayed.requester.connection) {
                self.execute(delayed.requester, delayed.ttid, delayed.request, cx);
            }
            if std::mem::take(&mut self.released) {
                self.write_queue.extend(pending);
                return true;
            }
        }
        false
    }
}
