//! Stores and checks, their answers, and deadlocks (spec client.md 7.3, 7.5, 7.7).

use neo_wire::packet::StoredData;
use neo_wire::{Digest, NodeId, NodeState, Oid, Packet, Tid, Ttid};
use tracing::{debug, info};

use super::api::{Answer, CallId, ClientError, Content, TransactionKey, Write};
use super::limits::{check_objects, check_write};
use super::reads::error_of;
use super::transaction::{DoneContent, Stage, Waiting};
use super::{Asked, Client, Context};

impl Client {
    /// The application writes.
    pub(super) fn write(
        &mut self,
        call: CallId,
        key: TransactionKey,
        write: Write,
        cx: &mut Context<'_>,
    ) {
        let Some(transaction) = self.transactions.get_mut(&key) else {
            self.answer(call, Err(ClientError::UnknownTransaction), cx);
            return;
        };
        if transaction.stage != Stage::Storing {
            let error = ClientError::Storage("the transaction is already being voted".into());
            self.answer(call, Err(error), cx);
            return;
        }
        let oid = write.oid;
        let count = transaction.count_with(oid);
        if let Err(error) = check_write(&write).and_then(|()| check_objects(count)) {
            self.answer(call, Err(error), cx);
            return;
        }
        if transaction.add(write) && transaction.ttid.is_some() {
            self.send_write(key, oid, cx);
        }
        if let Some(transaction) = self.transactions.get_mut(&key) {
            transaction.waiting = Some(Waiting::Write(call));
        }
        self.lose_requests(cx);
        self.progress(key, cx);
    }

    /// Sends a pending write to every cell of its partition whose node is running.
    pub(super) fn send_write(&mut self, key: TransactionKey, oid: Oid, cx: &mut Context<'_>) {
        let partition = self.table.partition(oid.0);
        let cells: Vec<NodeId> = self
            .table
            .row(partition)
            .iter()
            .map(|cell| cell.nid)
            .filter(|nid| self.nodes.get(nid).is_some_and(|n| n.state == NodeState::Running))
            .collect();
        let Some(transaction) = self.transactions.get_mut(&key) else {
            return;
        };
        let Some(ttid) = transaction.ttid else { return };
        let targets: Vec<NodeId> = cells
            .into_iter()
            .filter(|nid| *transaction.nodes.entry(*nid).or_insert(true))
            .collect();
        let Some(pending) = transaction.pending.get_mut(&oid) else {
            return;
        };
        pending.expected.extend(&targets);
        let attempt = pending.attempt;
        if targets.is_empty() {
            let text = format!("no storage available for write to partition {partition}");
            transaction.error.get_or_insert(ClientError::Disconnected(text));
            return;
        }
        let packet = write_packet(&pending.write, ttid);
        for nid in targets {
            let asked = Asked::Write { transaction: key, oid, nid, attempt };
            self.ask_storage(nid, packet.clone(), asked, cx);
        }
    }

    /// The TTID is known: sends what was written meanwhile.
    pub(super) fn send_all_writes(&mut self, key: TransactionKey, cx: &mut Context<'_>) {
        let oids: Vec<Oid> = self
            .transactions
            .get(&key)
            .map(|transaction| transaction.pending.keys().copied().collect())
            .unwrap_or_default();
        oids.into_iter().for_each(|oid| self.send_write(key, oid, cx));
    }

    /// A storage answered a write.
    pub(super) fn written(
        &mut self,
        key: TransactionKey,
        oid: Oid,
        nid: NodeId,
        attempt: u32,
        packet: Packet,
        cx: &mut Context<'_>,
    ) {
        let partition = self.table.partition(oid.0);
        let limit = self.config.write_buffer;
        let Some(transaction) = self.transactions.get_mut(&key) else {
            return;
        };
        let current = transaction.pending.get_mut(&oid).filter(|p| p.attempt == attempt);
        match packet {
            Packet::AnswerStoreObject { conflict: None }
            | Packet::AnswerCheckCurrentSerial { conflict: None } => {
                if let Some(pending) = current {
                    pending.expected.remove(&nid);
                    pending.locked = true;
                    transaction.settle(oid, limit);
                }
            }
            Packet::AnswerStoreObject { conflict: Some(Tid::ZERO) }
            | Packet::AnswerCheckCurrentSerial { conflict: Some(Tid::ZERO) } => {
                if let Some(pending) = current {
                    pending.expected.remove(&nid);
                    transaction.lockless.entry(partition).or_default().insert(nid);
                    transaction.settle(oid, limit);
                }
            }
            Packet::AnswerStoreObject { conflict: Some(committed) }
            | Packet::AnswerCheckCurrentSerial { conflict: Some(committed) } => {
                info!(%nid, %oid, %committed, "conflict");
                let is_current = current.is_some();
                let is_news = transaction.conflict(oid, committed);
                if is_current && is_news {
                    if let Some(pending) = transaction.pending.get_mut(&oid) {
                        pending.expected.remove(&nid);
                    }
                } else if is_current {
                    // It refuses what the others resolved already: it missed a commit.
                    self.lose_node_of(key, nid);
                }
            }
            Packet::Error { code, message } => {
                let error = error_of(code, message.to_string());
                transaction.error.get_or_insert(error);
            }
            other => debug!(packet = other.name(), "not an answer to a write"),
        }
        self.progress(key, cx);
    }

    /// A write can not be answered any more: the node is lost for the transaction.
    pub(super) fn write_lost(&mut self, key: TransactionKey, nid: NodeId, cx: &mut Context<'_>) {
        self.lose_node_of(key, nid);
        self.progress(key, cx);
    }

    fn lose_node_of(&mut self, key: TransactionKey, nid: NodeId) {
        let limit = self.config.write_buffer;
        if let Some(transaction) = self.transactions.get_mut(&key) {
            for oid in transaction.lose(nid) {
                transaction.settle(oid, limit);
            }
            self.touched.insert(key);
        }
    }

    /// A link to a storage is lost: every transaction that wrote to it must do without.
    pub(super) fn lose_node(&mut self, nid: NodeId) {
        let keys: Vec<TransactionKey> = self
            .transactions
            .iter()
            .filter(|(_, transaction)| transaction.nodes.get(&nid) == Some(&true))
            .map(|(key, _)| *key)
            .collect();
        keys.into_iter().for_each(|key| self.lose_node_of(key, nid));
    }

    /// A storage asks the younger of two transactions to give a lock back and take it again.
    pub(super) fn deadlock(&mut self, nid: NodeId, ttid: Ttid, oid: Oid, cx: &mut Context<'_>) {
        let found = self.transactions.iter_mut().find(|(_, t)| t.ttid == Some(ttid));
        let Some((&key, transaction)) = found else {
            return;
        };
        if transaction.stage != Stage::Storing || transaction.nodes.get(&nid) != Some(&true) {
            return;
        }
        info!(%nid, %ttid, %oid, "deadlock avoidance");
        transaction.relocks += 1;
        let asked = Asked::Relock { transaction: key, oid, nid };
        self.ask_storage(nid, Packet::AskRelockObject { ttid, oid }, asked, cx);
    }

    /// A storage took the lock again, or found that someone committed meanwhile.
    pub(super) fn relocked(
        &mut self,
        key: TransactionKey,
        oid: Oid,
        packet: Packet,
        cx: &mut Context<'_>,
    ) {
        let Some(transaction) = self.transactions.get_mut(&key) else {
            return;
        };
        transaction.relocks = transaction.relocks.saturating_sub(1);
        match packet {
            Packet::AnswerRelockObject { conflict: Some(found) } => {
                if transaction.done.contains_key(&oid) {
                    self.take_back(key, oid, found.base_serial, found.data);
                    if let Some(transaction) = self.transactions.get_mut(&key) {
                        transaction.conflicts.insert(oid, found.conflict);
                    }
                } else if transaction.pending.contains_key(&oid) {
                    transaction.conflict(oid, found.conflict);
                }
            }
            Packet::AnswerRelockObject { conflict: None } => {}
            Packet::Error { code, message } => {
                let error = error_of(code, message.to_string());
                transaction.error.get_or_insert(error);
            }
            other => debug!(packet = other.name(), "not an answer to a relock"),
        }
        self.progress(key, cx);
    }

    /// What was done is to be done again on another base.
    fn take_back(
        &mut self,
        key: TransactionKey,
        oid: Oid,
        base: Tid,
        returned: Option<StoredData>,
    ) {
        let Some(transaction) = self.transactions.get_mut(&key) else {
            return;
        };
        let kept = transaction.done.get(&oid).map(|done| &done.content);
        let content = match (kept, returned) {
            (Some(DoneContent::Checked), _) => Content::Checked,
            (Some(DoneContent::Data(Some(record))), None) => {
                let record = record.clone();
                let checksum = Digest::of(&record);
                let stored = StoredData { compression: 0, checksum, data: record.clone() };
                Content::Data { stored, record }
            }
            (Some(DoneContent::Data(kept)), Some(stored)) => {
                if Digest::of(&stored.data) != stored.checksum {
                    let text = format!("wrong checksum of {oid} given back by a storage");
                    transaction.error.get_or_insert(ClientError::Storage(text));
                    return;
                }
                // Without the record that was dropped, the caller decompresses what is stored.
                let record = kept.clone().unwrap_or_default();
                Content::Data { stored, record }
            }
            (Some(DoneContent::Deleted), _) => Content::Deleted,
            (Some(DoneContent::Garbage), _) => Content::Garbage,
            (Some(DoneContent::Data(None)), None) | (None, _) => {
                let text = format!("the data of {oid} can not be resolved any more");
                transaction.error.get_or_insert(ClientError::Storage(text));
                return;
            }
        };
        transaction.reopen(Write { oid, base, content, data_serial: None });
    }

    /// The application waits for its writes.
    pub(super) fn flush(&mut self, call: CallId, key: TransactionKey, cx: &mut Context<'_>) {
        match self.transactions.get_mut(&key) {
            Some(transaction) => {
                transaction.waiting = Some(Waiting::Flush(call));
                self.progress(key, cx);
            }
            None => self.answer(call, Err(ClientError::UnknownTransaction), cx),
        }
    }

    /// Answers the call that waits for a transaction, if what it waits for is there.
    pub(super) fn progress(&mut self, key: TransactionKey, cx: &mut Context<'_>) {
        let published = self.published;
        let Some(transaction) = self.transactions.get_mut(&key) else {
            return;
        };
        let Some(waiting) = transaction.waiting.clone() else {
            return;
        };
        match waiting {
            Waiting::Finish(_) | Waiting::Begin(_) => return,
            Waiting::Copy(_) => return self.progress_copy(key, cx),
            _ => {}
        }
        if let Some(error) = transaction.error.clone() {
            transaction.waiting = None;
            self.answer(waiting.call(), Err(error), cx);
            return;
        }
        if transaction.stage == Stage::Storing
            && let Some(conflict) = transaction.take_conflict(published)
        {
            transaction.waiting = None;
            self.answer(waiting.call(), Ok(Answer::Conflict(Box::new(conflict))), cx);
            return;
        }
        match waiting {
            Waiting::Write(call) => {
                // A limit of 0 means to wait for each, not for ever.
                let full = transaction.pending_bytes >= self.config.write_buffer.max(1);
                if !full {
                    transaction.waiting = None;
                    self.answer(call, Ok(Answer::Done), cx);
                }
            }
            Waiting::Flush(call) => {
                if transaction.is_stored() {
                    transaction.waiting = None;
                    self.answer(call, Ok(Answer::Done), cx);
                }
            }
            Waiting::Vote(_) => self.progress_vote(key, cx),
            Waiting::Begin(_) | Waiting::Finish(_) | Waiting::Copy(_) => {}
        }
    }
}

fn write_packet(write: &Write, ttid: Ttid) -> Packet {
    let (oid, serial, data_serial) = (write.oid, write.base, write.data_serial);
    match &write.content {
        Content::Data { stored, .. } => Packet::AskStoreObject {
            oid,
            serial,
            compression: stored.compression,
            checksum: stored.checksum,
            data: stored.data.clone(),
            data_serial,
            ttid,
        },
        Content::Deleted | Content::Garbage => Packet::AskStoreObject {
            oid,
            serial,
            compression: 0,
            checksum: Digest::ZERO,
            data: bytes::Bytes::new(),
            data_serial,
            ttid,
        },
        Content::Checked => Packet::AskCheckCurrentSerial { ttid, oid, serial },
    }
}
