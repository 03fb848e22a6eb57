//! Vote, lock, unlock, abort (spec storage.md 11.6, 11.7, 11.9 - 11.11).

use std::collections::BTreeSet;

use neo_wire::{NodeId, Packet, Partition, Tid, Ttid};
use tracing::{debug, info};

use super::jobs::Job;
use super::queues::Requester;
use super::transaction::Voted;
use super::{Context, Storage};
use crate::database::{TransactionMetadata, Vote, WriteJob};
use crate::io::ConnectionId;

impl Storage {
    /// AskStoreTransaction: the vote of a node that has the metadata.
    pub(super) fn ask_store_transaction(
        &mut self,
        to: Requester,
        ttid: Ttid,
        metadata: TransactionMetadata,
        cx: &mut Context<'_>,
    ) {
        self.register(to, ttid);
        let answer = Packet::AnswerStoreTransaction {};
        self.vote(to, ttid, Some(metadata), answer, cx);
    }

    /// AskVoteTransaction: the vote of another node.
    pub(super) fn ask_vote(&mut self, to: Requester, ttid: Ttid, cx: &mut Context<'_>) {
        if self.transactions.contains_key(&ttid) {
            self.vote(to, ttid, None, Packet::AnswerVoteTransaction {}, cx);
        } else {
            self.refuse(to, &format!("unknown ttid {ttid}"), cx);
        }
    }

    fn vote(
        &mut self,
        to: Requester,
        ttid: Ttid,
        metadata: Option<TransactionMetadata>,
        answer: Packet,
        cx: &mut Context<'_>,
    ) {
        let Some(transaction) = self.transactions.get(&ttid) else {
            return;
        };
        if transaction.tid.is_some() {
            self.refuse(to, &format!("transaction {ttid} is already locked"), cx);
            return;
        }
        if transaction.orphan {
            self.refuse(to, &format!("transaction {ttid} is based on one that was aborted"), cx);
            return;
        }
        let objects = transaction.objects(|oid| self.is_readable(self.partition(oid.0)));
        let voted = if metadata.is_some() { Voted::Metadata } else { Voted::Objects };
        let vote = WriteJob::Vote(Vote { ttid, objects, transaction: metadata });
        if let Err(refusal) = vote.check() {
            self.refuse(to, &refusal.to_string(), cx);
            return;
        }
        if let Some(transaction) = self.transactions.get_mut(&ttid) {
            transaction.voted = voted;
        }
        self.ask_write(vec![vote], Job::Vote(to, ttid, answer), cx);
    }

    /// AskLockInformation.
    pub(super) fn ask_lock(
        &mut self,
        to: Requester,
        (ttid, tid, approve_pack): (Ttid, Tid, bool),
        cx: &mut Context<'_>,
    ) {
        let Some(transaction) = self.transactions.get_mut(&ttid) else {
            self.refuse(to, &format!("unknown ttid {ttid}"), cx);
            return;
        };
        let possible = (ttid.as_tid()..=Tid::MAX).contains(&tid);
        let ready = transaction.voted != Voted::No && !transaction.orphan;
        if !ready || transaction.tid.is_some() || !possible {
            self.refuse(to, &format!("transaction {ttid} can not be locked as {tid}"), cx);
            return;
        }
        transaction.tid = Some(tid);
        for oid in transaction.stores.keys() {
            self.read_locks.insert(*oid, ttid);
        }
        let answer = Packet::AnswerInformationLocked { ttid };
        if transaction.voted == Voted::Metadata {
            let job = WriteJob::Lock { ttid, tid, approve_pack };
            self.ask_write(vec![job], Job::Reply(to, answer), cx);
        } else {
            self.reply(to, answer, cx);
        }
    }

    /// NotifyUnlockInformation. Locks stay until readers see the new revisions.
    pub(super) fn unlock(&mut self, to: Requester, ttid: Ttid, cx: &mut Context<'_>) {
        let transaction = self.transactions.get_mut(&ttid);
        match transaction.and_then(|transaction| {
            (!std::mem::replace(&mut transaction.unlocking, true)).then_some(transaction.tid?)
        }) {
            Some(tid) => {
                self.ask_write(vec![WriteJob::Unlock { ttid, tid }], Job::Unlock(ttid), cx);
            }
            None => self.refuse(to, &format!("transaction {ttid} is not locked"), cx),
        }
    }

    /// The unlock is visible to readers.
    pub(super) fn unlocked(&mut self, ttid: Ttid, cx: &mut Context<'_>) {
        let Some(transaction) = self.transactions.get(&ttid) else {
            return;
        };
        if let Some(tid) = transaction.tid {
            let oids: Vec<_> = transaction.stores.keys().copied().collect();
            oids.into_iter().for_each(|oid| self.remember_serial(oid, tid));
        }
        self.forget_transaction(ttid, cx);
    }

    /// Abort by the client, by the master, or for the loss of the client; nothing happens to a
    /// transaction that is unknown or locked.
    pub(super) fn abort(&mut self, ttid: Ttid, cx: &mut Context<'_>) {
        let Some(transaction) = self.transactions.get(&ttid) else {
            return;
        };
        if transaction.tid.is_some() {
            return;
        }
        debug!(%ttid, "abort");
        let spilled = transaction
            .stores
            .values()
            .any(|store| matches!(store.payload, crate::database::Payload::Spilled(_)));
        if transaction.voted != Voted::No || spilled {
            self.ask_write(vec![WriteJob::Abort { ttid }], Job::Nothing, cx);
        }
        self.forget_transaction(ttid, cx);
    }

    fn forget_transaction(&mut self, ttid: Ttid, cx: &mut Context<'_>) {
        let Some(transaction) = self.transactions.remove(&ttid) else {
            return;
        };
        let committed = transaction.tid == Some(ttid.as_tid());
        for oid in transaction.serials.keys().chain(&transaction.checking) {
            let followers = self.unlock_object(ttid, *oid);
            if !committed {
                self.orphan(&followers);
            }
        }
        for (oid, store) in &transaction.stores {
            self.stored_bytes -= store.bytes();
            if self.read_locks.get(oid) == Some(&ttid) {
                self.read_locks.remove(oid);
            }
        }
        self.notify_replicated(cx);
        self.released = true;
    }

    /// The connection of a client is lost: what is not voted can not go on.
    pub(super) fn client_disconnected(&mut self, connection: ConnectionId, cx: &mut Context<'_>) {
        let lost: Vec<Ttid> = self
            .transactions
            .iter()
            .filter(|(_, t)| t.connection == connection && t.voted == Voted::No)
            .map(|(ttid, _)| *ttid)
            .collect();
        lost.into_iter().for_each(|ttid| self.abort(ttid, cx));
    }

    /// The master says that a client is gone: what is not locked can not be committed.
    pub(super) fn client_gone(&mut self, nid: NodeId, cx: &mut Context<'_>) {
        let lost: Vec<Ttid> = self
            .transactions
            .iter()
            .filter(|(_, t)| t.client == nid && t.tid.is_none())
            .map(|(ttid, _)| *ttid)
            .collect();
        if !lost.is_empty() {
            info!(client = %nid, transactions = lost.len(), "abort transactions of a lost client");
        }
        lost.into_iter().for_each(|ttid| self.abort(ttid, cx));
    }

    /// Cells that are not ours any more: what transactions have there is forgotten.
    pub(super) fn discard(&mut self, partitions: &BTreeSet<Partition>, cx: &mut Context<'_>) {
        if partitions.is_empty() {
            return;
        }
        for partition in partitions {
            self.replicating.remove(partition);
            self.replicated.remove(partition);
        }
        let np = self.table.partitions();
        let concerned = |oid: &neo_wire::Oid| partitions.contains(&oid.partition(np));
        self.write_locks.retain(|oid, _| !concerned(oid));
        self.stacks.retain(|oid, _| !concerned(oid));
        self.read_locks.retain(|oid, _| !concerned(oid));
        self.last_serials.retain(|oid, _| !concerned(oid));
        let mut objects = Vec::new();
        for (ttid, transaction) in &self.transactions {
            objects.extend(
                transaction
                    .serials
                    .keys()
                    .chain(&transaction.checking)
                    .filter(|oid| concerned(oid))
                    .map(|oid| (*ttid, *oid)),
            );
        }
        objects.into_iter().for_each(|(ttid, oid)| self.forget_object(ttid, oid, cx));
        let job = WriteJob::DiscardUnfinished(partitions.iter().copied().collect());
        self.ask_write(vec![job], Job::Nothing, cx);
        // The master does not tell the outcome to a node that has nothing of it any more.
        let np_empty: Vec<Ttid> = self
            .transactions
            .iter()
            .filter(|(ttid, t)| {
                t.voted != Voted::No
                    && t.tid.is_none()
                    && t.serials.is_empty()
                    && !self.own.contains_key(&ttid.partition(np))
            })
            .map(|(ttid, _)| *ttid)
            .collect();
        np_empty.into_iter().for_each(|ttid| self.forget_transaction(ttid, cx));
        self.released = true;
    }

    /// Operation ends: everything about transactions in memory is forgotten.
    pub(super) fn forget_transactions(&mut self) {
        self.transactions.clear();
        self.write_locks.clear();
        self.stacks.clear();
        self.read_locks.clear();
        self.replicating.clear();
        self.replicated.clear();
        self.write_queue.clear();
        self.read_queue.clear();
        self.undo_queue.clear();
        self.last_serials.clear();
        self.stored_bytes = 0;
    }
}
