//! Reads for clients (spec storage.md 12).

use neo_wire::packet::StoredData;
use neo_wire::{Digest, ErrorCode, Oid, Packet, Partition, Tid, Ttid};

use super::jobs::{Asked, Job};
use super::queues::{DelayedRead, Requester};
use super::transaction::Voted;
use super::{Context, Storage};
use crate::database::{Answer, Loaded, ObjectRevision, Payload, Query, Revision};

/// A read that may have to wait for a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ReadRequest {
    /// AskObject.
    Object { oid: Oid, at: Option<Tid>, before: Option<Tid> },
    /// AskObjectHistory.
    History { oid: Oid, first: u64, last: u64 },
    /// AskTIDsFrom.
    TidsFrom { partition: Partition, min: Tid, max: Tid, length: u64 },
    /// AskOIDsFrom.
    OidsFrom { partition: Partition, min_oid: Oid, length: u64, tid: Tid },
    /// AskTransactionInformation.
    Transaction(Tid),
    /// AskTIDs of one partition, or of all.
    Tids { first: u64, last: u64, partition: Partition },
    /// AskFinalTID of a transaction that is not in memory.
    FinalTid(Ttid),
}

impl Storage {
    /// A read by a client.
    pub(super) fn read(&mut self, to: Requester, request: ReadRequest, cx: &mut Context<'_>) {
        match request {
            ReadRequest::History { first, last, .. } | ReadRequest::Tids { first, last, .. }
                if first >= last =>
            {
                self.refuse(to, "invalid offsets", cx);
            }
            ReadRequest::FinalTid(ttid) if self.transactions.contains_key(&ttid) => {
                let tid = self.transactions.get(&ttid).and_then(|transaction| transaction.tid);
                self.reply(to, Packet::AnswerFinalTID { tid }, cx);
            }
            request => {
                let mut locked = Vec::new();
                if let ReadRequest::Tids { .. } = request {
                    let transactions = self.transactions.iter();
                    locked.extend(
                        transactions.filter(|(_, t)| t.tid.is_some()).map(|(ttid, _)| *ttid),
                    );
                }
                let request = self.bounded(to, request);
                self.try_read(DelayedRead { requester: to, request, locked }, cx);
            }
        }
    }

    /// Reads now, or when a lock is released.
    pub(super) fn try_read(&mut self, read: DelayedRead, cx: &mut Context<'_>) {
        let (to, request) = (read.requester, read.request);
        let partition = self.partition_of(request);
        if partition.is_some_and(|partition| !self.is_readable(partition)) {
            self.reply_error(to, ErrorCode::NonReadableCell, "", cx);
        } else if self.must_wait(&read) {
            self.read_queue.push_back(read);
        } else {
            let (query, asked) = self.query(request);
            self.ask_read(query, Job::Read(to, partition, asked), cx);
        }
    }

    /// A read-only client of a cluster in backup mode only sees what is complete (12.9).
    fn bounded(&self, to: Requester, request: ReadRequest) -> ReadRequest {
        let read_only = self.peers.get(&to.connection).is_some_and(|peer| peer.read_only);
        let Some(limit) = self.backup_tid.filter(|_| read_only) else {
            return request;
        };
        match request {
            ReadRequest::Object { oid, at: Some(at), .. } if at > limit => {
                ReadRequest::Object { oid, at: Some(Tid::ZERO), before: None }
            }
            ReadRequest::Object { oid, at: None, before } => {
                let next = limit.next();
                let before = Some(before.map_or(next, |before| before.min(next)));
                ReadRequest::Object { oid, at: None, before }
            }
            ReadRequest::TidsFrom { partition, min, max, length } => {
                ReadRequest::TidsFrom { partition, min, max: max.min(limit), length }
            }
            ReadRequest::OidsFrom { partition, min_oid, length, tid } => {
                ReadRequest::OidsFrom { partition, min_oid, length, tid: tid.min(limit) }
            }
            other => other,
        }
    }

    fn partition_of(&self, request: ReadRequest) -> Option<Partition> {
        match request {
            ReadRequest::Object { oid, .. } | ReadRequest::History { oid, .. } => {
                Some(self.partition(oid.0))
            }
            ReadRequest::TidsFrom { partition, .. } | ReadRequest::OidsFrom { partition, .. } => {
                Some(partition)
            }
            ReadRequest::Transaction(tid) => Some(self.partition(tid.0)),
            ReadRequest::FinalTid(ttid) => Some(self.partition(ttid.0)),
            ReadRequest::Tids { partition: Partition::INVALID, .. } => None,
            ReadRequest::Tids { partition, .. } => Some(partition),
        }
    }

    /// Whether a transaction that is locked and not unlocked would change the answer.
    fn must_wait(&self, read: &DelayedRead) -> bool {
        match read.request {
            ReadRequest::Object { oid, .. } | ReadRequest::History { oid, .. } => {
                self.read_locks.contains_key(&oid)
            }
            ReadRequest::TidsFrom { max, .. } | ReadRequest::OidsFrom { tid: max, .. } => {
                self.transactions.values().any(|t| t.tid.is_some_and(|tid| tid <= max))
            }
            // A client that was told about a commit must find it. The Python NEO answers at once.
            ReadRequest::Transaction(tid) => self.transactions.values().any(|t| t.tid == Some(tid)),
            // Those that are locked later were not told to anybody when it was asked.
            ReadRequest::Tids { .. } => {
                let mut locked = read.locked.iter().map(|ttid| self.transactions.get(ttid));
                locked.any(|transaction| transaction.is_some_and(|t| t.tid.is_some()))
            }
            ReadRequest::FinalTid(_) => false,
        }
    }

    fn query(&self, request: ReadRequest) -> (Query, Asked) {
        match request {
            ReadRequest::Object { oid, at, before } => {
                let revision = match (at, before) {
                    (Some(tid), _) => Revision::At(tid),
                    (None, Some(tid)) => Revision::Before(tid),
                    (None, None) => Revision::Last,
                };
                (Query::Load { oid, revision }, Asked::Object(oid))
            }
            ReadRequest::History { oid, first, last } => {
                let length = last - first;
                (Query::History { oid, offset: first, length }, Asked::History(oid))
            }
            ReadRequest::TidsFrom { partition, min, max, length } => {
                (Query::TidsFrom { partition, min, max, length }, Asked::TidsFrom)
            }
            ReadRequest::OidsFrom { partition, min_oid, length, tid } => {
                (Query::OidsFrom { partition, min_oid, length, tid }, Asked::OidsFrom)
            }
            ReadRequest::Transaction(tid) => (Query::Transaction(tid), Asked::Transaction(tid)),
            ReadRequest::FinalTid(ttid) => (Query::FinalTid(ttid), Asked::FinalTid),
            ReadRequest::Tids { first, last, partition } => {
                let partitions = match partition {
                    Partition::INVALID => self.readable(),
                    partition => vec![partition],
                };
                (Query::Tids { partitions, offset: first, length: last - first }, Asked::Tids)
            }
        }
    }

    /// The database answered; the cell must still be readable.
    pub(super) fn read_answered(
        &mut self,
        to: Requester,
        partition: Option<Partition>,
        asked: Asked,
        answer: Answer,
        cx: &mut Context<'_>,
    ) {
        if partition.is_some_and(|partition| !self.is_readable(partition)) {
            self.reply_error(to, ErrorCode::NonReadableCell, "", cx);
            return;
        }
        let packet = match (asked, answer) {
            (Asked::Object(oid), Answer::Loaded(loaded)) => loaded_packet(oid, loaded),
            (Asked::FinalTid, Answer::FinalTid(tid)) => Packet::AnswerFinalTID { tid },
            (Asked::Locked, Answer::Unfinished(transactions)) => {
                let transactions = transactions.into_iter().collect();
                Packet::AnswerLockedTransactions { transactions }
            }
            (Asked::LastIds, Answer::LastIds(ids)) => {
                self.last_ids(to, ids, cx);
                return;
            }
            (Asked::PackOrders, Answer::PackOrders(orders)) => Packet::AnswerPackOrders { orders },
            (Asked::Transaction(tid), Answer::Transaction(found)) => match found {
                Some(info) if self.is_visible(to, tid) => Packet::AnswerTransactionInformation {
                    tid: info.tid,
                    user: info.user,
                    description: info.description,
                    extension: info.extension,
                    packed: info.packed,
                    oids: info.oids,
                },
                _ => Packet::error(ErrorCode::TidNotFound, format!("{tid} does not exist")),
            },
            (Asked::History(oid), Answer::History(mut history)) => {
                history.retain(|(tid, _)| self.is_visible(to, *tid));
                if history.is_empty() {
                    Packet::error(ErrorCode::OidNotFound, oid.to_string())
                } else {
                    Packet::AnswerObjectHistory { oid, history }
                }
            }
            (Asked::Tids, Answer::Tids(mut tids)) => {
                tids.retain(|tid| self.is_visible(to, *tid));
                Packet::AnswerTIDs { tids }
            }
            (Asked::TidsFrom, Answer::Tids(tids)) => Packet::AnswerTIDsFrom { tids },
            (Asked::OidsFrom, Answer::OidsFrom(found)) => {
                Packet::AnswerOIDsFrom { next_oid: found.next, oids: found.oids }
            }
            (Asked::Spilled(base, conflict), Answer::Spilled(data)) => {
                self.give_back_data(to, (base, conflict), data, cx);
                return;
            }
            (Asked::OwnSpilled(oid, ttid), Answer::Spilled(data)) => own_packet(oid, ttid, data),
            (asked, answer) => {
                debug_assert!(false, "{answer:?} for {asked:?}");
                return;
            }
        };
        self.reply(to, packet, cx);
    }

    /// What a transaction that is not voted yet stored for an object, if its client asks.
    pub(super) fn own_store(&self, to: Requester, oid: Oid, ttid: Tid) -> Option<&Payload> {
        let transaction = self.transactions.get(&Ttid(ttid.0))?;
        let is_own = transaction.connection == to.connection && transaction.voted == Voted::No;
        transaction.stores.get(&oid).filter(|_| is_own).map(|store| &store.payload)
    }

    /// A client asks back what it stored and could not keep. It says so by giving its TTID twice,
    /// which no read of committed revisions does. The Python NEO only knows these.
    pub(super) fn ask_own_store(
        &mut self,
        to: Requester,
        oid: Oid,
        ttid: Tid,
        cx: &mut Context<'_>,
    ) {
        match self.own_store(to, oid, ttid) {
            Some(Payload::Data(data)) => {
                let packet = own_packet(oid, ttid, Some(data.clone()));
                self.reply(to, packet, cx);
            }
            Some(Payload::Spilled(id)) => {
                let query = Query::Spilled(*id);
                self.ask_read(query, Job::Read(to, None, Asked::OwnSpilled(oid, ttid)), cx);
            }
            Some(Payload::Nothing) | None => {
                self.reply_error(to, ErrorCode::OidNotFound, &oid.to_string(), cx);
            }
        }
    }

    fn is_visible(&self, to: Requester, tid: Tid) -> bool {
        let read_only = self.peers.get(&to.connection).is_some_and(|peer| peer.read_only);
        self.backup_tid.filter(|_| read_only).is_none_or(|limit| tid <= limit)
    }
}

fn own_packet(oid: Oid, ttid: Tid, data: Option<StoredData>) -> Packet {
    match data {
        Some(StoredData { compression, checksum, data }) => Packet::AnswerObject {
            oid,
            serial: ttid,
            next_serial: None,
            compression: Some(compression),
            checksum,
            data,
            data_serial: None,
        },
        // It was aborted meanwhile.
        None => Packet::error(ErrorCode::OidNotFound, oid.to_string()),
    }
}

fn loaded_packet(oid: Oid, loaded: Loaded) -> Packet {
    match loaded {
        Loaded::Found(ObjectRevision { tid, next_tid, data, value_tid }) => {
            let (compression, checksum, bytes) = match data {
                Some(data) => (Some(data.compression), data.checksum, data.data),
                None => (None, Digest::ZERO, bytes::Bytes::new()),
            };
            Packet::AnswerObject {
                oid,
                serial: tid,
                next_serial: next_tid,
                compression,
                checksum,
                data: bytes,
                data_serial: value_tid,
            }
        }
        Loaded::NoRevision => Packet::error(ErrorCode::OidNotFound, oid.to_string()),
        Loaded::NoObject => Packet::error(ErrorCode::OidDoesNotExist, oid.to_string()),
    }
}
