//! AskStoreObject, AskCheckCurrentSerial, AskRelockObject (spec storage.md 11.3 - 11.5).

use neo_wire::packet::{RelockConflict, StoredData};
use neo_wire::{Digest, ErrorCode, Oid, Packet, Tid, Ttid};

use super::jobs::Job;
use super::locks::Lock;
use super::queues::{DelayedWrite, Requester, WriteRequest};
use super::transaction::{Store, Transaction};
use super::{Context, Storage};
use crate::database::model::MAX_ID;
use crate::database::{DataId, Payload, Query, Refusal, WriteJob};

/// How many last revisions are remembered.
const MAX_SERIALS: usize = 200_000;

impl Storage {
    /// AskStoreObject: checks what was received (spec storage.md 7.1), then locks and stores.
    pub(super) fn ask_store(&mut self, to: Requester, packet: Packet, cx: &mut Context<'_>) {
        let Packet::AskStoreObject { oid, serial, compression, checksum, data, data_serial, ttid } =
            packet
        else {
            return;
        };
        if compression > 1 {
            self.refuse(to, "invalid compression value", cx);
            return;
        }
        let ids = [oid.0, ttid.0, data_serial.map_or(0, |tid| tid.0)];
        if let Some(id) = ids.into_iter().find(|id| *id > MAX_ID) {
            self.refuse(to, &Refusal::IdTooGreat(id).to_string(), cx);
            return;
        }
        let data = if data.is_empty() && checksum == Digest::ZERO {
            None
        } else if Digest::of(&data) == checksum {
            Some(StoredData { compression, checksum, data })
        } else {
            self.refuse(to, "invalid checksum", cx);
            return;
        };
        self.register(to, ttid);
        let request = WriteRequest::Store { oid, serial, data, data_serial };
        self.execute(to, ttid, request, cx);
    }

    /// AskCheckCurrentSerial.
    pub(super) fn ask_check(
        &mut self,
        to: Requester,
        (ttid, oid, serial): (Ttid, Oid, Tid),
        cx: &mut Context<'_>,
    ) {
        if let Some(id) = [oid.0, ttid.0].into_iter().find(|id| *id > MAX_ID) {
            self.refuse(to, &Refusal::IdTooGreat(id).to_string(), cx);
            return;
        }
        self.register(to, ttid);
        self.execute(to, ttid, WriteRequest::Check { oid, serial }, cx);
    }

    /// AskRelockObject: gives the lock back, and takes it again when its turn comes.
    pub(super) fn ask_relock(
        &mut self,
        to: Requester,
        (ttid, oid): (Ttid, Oid),
        cx: &mut Context<'_>,
    ) {
        let transaction = self.transactions.get_mut(&ttid);
        let serial = transaction.and_then(|transaction| {
            transaction.deadlock.remove(&oid);
            transaction.serials.get(&oid).copied()
        });
        let Some(serial) = serial else {
            self.reply(to, Packet::AnswerRelockObject { conflict: None }, cx);
            return;
        };
        // While its base is being looked up, the lock is not known to be held.
        let checking = self.transactions.get(&ttid).is_some_and(|t| t.checking.contains(&oid));
        if !checking && self.write_locks.get(&oid) == Some(&ttid) {
            self.unlock_object(ttid, oid);
            self.run_queues(cx);
        }
        self.execute(to, ttid, WriteRequest::Relock { oid, serial }, cx);
    }

    /// A transaction is known from its first store, check or vote with metadata.
    pub(super) fn register(&mut self, to: Requester, ttid: Ttid) {
        let Some(client) = self.peers.get(&to.connection).and_then(|peer| peer.nid) else {
            return;
        };
        self.transactions.entry(ttid).or_insert_with(|| Transaction::new(client, to.connection));
    }

    /// Locks, then does what was asked.
    pub(super) fn execute(
        &mut self,
        to: Requester,
        ttid: Ttid,
        request: WriteRequest,
        cx: &mut Context<'_>,
    ) {
        let (oid, serial) = (request.oid(), request.serial());
        if !self.transactions.contains_key(&ttid) {
            // It ended while the request waited: nobody cares.
            self.reply(to, request.answer(Some(Tid::ZERO)), cx);
            return;
        }
        let is_relock = matches!(request, WriteRequest::Relock { .. });
        let follows = self.may_follow(ttid, &request);
        match self.lock(ttid, (oid, serial), follows, cx) {
            // The lock came back with another request, when its base was checked.
            Lock::Conflict(_) if is_relock && self.write_locks.get(&oid) == Some(&ttid) => {
                self.locked(to, ttid, request, Lock::Locked, cx);
            }
            Lock::Delay => {
                self.delay_write(DelayedWrite { ttid, requester: to, request });
            }
            Lock::LookUp => {
                let job = Job::LastSerial(to, ttid, request);
                self.ask_read(Query::LastSerial(oid), job, cx);
            }
            outcome => self.locked(to, ttid, request, outcome, cx),
        }
    }

    /// The last revision of an object is known; its lock is held since it was asked.
    pub(super) fn looked_up(
        &mut self,
        to: Requester,
        ttid: Ttid,
        request: WriteRequest,
        last: Option<Tid>,
        cx: &mut Context<'_>,
    ) {
        let oid = request.oid();
        if last.is_none() && request.serial() > Tid::ZERO {
            let job = Job::DeletedBase(to, ttid, request);
            return self.ask_read(Query::PackTid(oid), job, cx);
        }
        if !self.end_check(ttid, oid) {
            self.reply(to, request.answer(Some(Tid::ZERO)), cx);
            return;
        }
        if let Some(last) = last {
            self.remember_serial(oid, last);
        }
        let outcome = self.compare(request.serial(), oid, last);
        self.locked(to, ttid, request, outcome, cx);
    }

    /// Nothing is left of an object that a transaction saw, and it is known up to where its history
    /// was packed. If that is where it was, somebody deleted it since: accepted, as the Python NEO
    /// does, the write would undo the deletion. Its TID is lost: what is told follows all that was
    /// packed, so that a restore, which stores again on what it is told, is accepted.
    pub(super) fn base_is_gone(
        &mut self,
        to: Requester,
        ttid: Ttid,
        request: WriteRequest,
        packed: Tid,
        cx: &mut Context<'_>,
    ) {
        let (oid, serial) = (request.oid(), request.serial());
        if !self.end_check(ttid, oid) {
            self.reply(to, request.answer(Some(Tid::ZERO)), cx);
            return;
        }
        let deleted = (packed >= serial).then(|| packed.next());
        let outcome = self.compare(serial, oid, deleted);
        self.locked(to, ttid, request, outcome, cx);
    }

    /// Ends a look-up made for a transaction: requests for the object wait for it. False if there
    /// is nothing to decide any more: the transaction ended, or the cell was discarded.
    fn end_check(&mut self, ttid: Ttid, oid: Oid) -> bool {
        self.released = true;
        let held = self.write_locks.get(&oid) == Some(&ttid);
        let transaction = self.transactions.get_mut(&ttid);
        transaction.is_some_and(|transaction| transaction.checking.remove(&oid)) && held
    }

    /// Remembers the last revision of an object, if nothing but commits here can change it.
    pub(super) fn remember_serial(&mut self, oid: Oid, serial: Tid) {
        let partition = self.partition(oid.0);
        if !self.is_readable(partition) && !self.replicated.contains_key(&partition) {
            return;
        }
        if self.last_serials.len() >= MAX_SERIALS {
            self.last_serials.clear();
        }
        self.last_serials.insert(oid, serial);
    }

    fn locked(
        &mut self,
        to: Requester,
        ttid: Ttid,
        request: WriteRequest,
        outcome: Lock,
        cx: &mut Context<'_>,
    ) {
        let conflict = match outcome {
            Lock::Locked => None,
            Lock::Conflict(tid) => {
                if let WriteRequest::Relock { oid, serial } = request {
                    self.give_back(to, ttid, (oid, serial), tid, cx);
                } else {
                    self.reply(to, request.answer(Some(tid)), cx);
                }
                return;
            }
            Lock::NonReadable => {
                self.reply(to, request.answer(Some(Tid::ZERO)), cx);
                return;
            }
            Lock::Lockless | Lock::Delay | Lock::LookUp => Some(Tid::ZERO),
        };
        match &request {
            WriteRequest::Store { oid, data_serial: Some(target), .. } if conflict.is_none() => {
                let query = Query::HasRecord { oid: *oid, tid: *target };
                if let Some(transaction) = self.transactions.get_mut(&ttid) {
                    transaction.checking.insert(*oid);
                }
                self.ask_read(query, Job::UndoTarget(to, ttid, request), cx);
            }
            _ => self.store(to, ttid, request, conflict, cx),
        }
    }

    /// An undo needs the revision that it goes back to, on a readable cell (spec storage.md 7.2).
    pub(super) fn undo_checked(
        &mut self,
        to: Requester,
        ttid: Ttid,
        request: WriteRequest,
        found: bool,
        cx: &mut Context<'_>,
    ) {
        let oid = request.oid();
        if !self.end_check(ttid, oid) {
            self.reply(to, request.answer(Some(Tid::ZERO)), cx);
            return;
        }
        if let Some(transaction) = self.transactions.get_mut(&ttid) {
            // The lock stays until the end of the transaction, whatever was found.
            transaction.serials.entry(oid).or_insert(request.serial());
        }
        if !found && self.is_readable(self.partition(oid.0)) {
            let text = format!("Could not undo for oid {oid}");
            self.reply_error(to, ErrorCode::UndoPackError, &text, cx);
        } else {
            self.store(to, ttid, request, None, cx);
        }
    }

    /// Puts a write in its transaction, and answers.
    fn store(
        &mut self,
        to: Requester,
        ttid: Ttid,
        request: WriteRequest,
        conflict: Option<Tid>,
        cx: &mut Context<'_>,
    ) {
        let answer = request.answer(conflict);
        match request {
            WriteRequest::Relock { .. } => {}
            WriteRequest::Check { oid, serial } => {
                if let Some(transaction) = self.transactions.get_mut(&ttid) {
                    transaction.serials.entry(oid).or_insert(serial);
                }
            }
            WriteRequest::Store { oid, serial, data, data_serial } => {
                self.forget_store(ttid, oid, cx);
                let payload = data.clone().map_or(Payload::Nothing, Payload::Data);
                let store = Store { payload, value_tid: data_serial };
                self.stored_bytes += store.bytes();
                if let Some(transaction) = self.transactions.get_mut(&ttid) {
                    transaction.serials.insert(oid, serial);
                    transaction.stores.insert(oid, store);
                }
                if let Some(data) = data.filter(|_| self.stored_bytes > self.config.memory_limit) {
                    let job = WriteJob::Spill { ttid, oid, data: data.clone() };
                    let request =
                        WriteRequest::Store { oid, serial, data: Some(data), data_serial };
                    self.ask_write(vec![job], Job::Spill(to, ttid, request, answer), cx);
                    return;
                }
            }
        }
        self.reply(to, answer, cx);
    }

    /// Data left the memory for the database.
    pub(super) fn spilled(
        &mut self,
        to: Requester,
        ttid: Ttid,
        request: &WriteRequest,
        id: Option<DataId>,
        answer: Packet,
        cx: &mut Context<'_>,
    ) {
        let WriteRequest::Store { oid, data, .. } = request else {
            return;
        };
        let (Some(id), Some(data)) = (id, data) else {
            self.refuse(to, "the data can not be stored", cx);
            return;
        };
        let store = self.transactions.get_mut(&ttid).and_then(|t| t.stores.get_mut(oid));
        match store {
            Some(store) if store.payload == Payload::Data(data.clone()) => {
                self.stored_bytes -= store.bytes();
                store.payload = Payload::Spilled(id);
            }
            // It was replaced or aborted meanwhile.
            _ => self.ask_write(vec![WriteJob::ReleaseSpilled(vec![id])], Job::Nothing, cx),
        }
        self.reply(to, answer, cx);
    }

    /// Forgets what a transaction had stored for an object.
    pub(super) fn forget_store(&mut self, ttid: Ttid, oid: Oid, cx: &mut Context<'_>) {
        let transaction = self.transactions.get_mut(&ttid);
        let Some(store) = transaction.and_then(|t| t.stores.remove(&oid)) else {
            return;
        };
        self.stored_bytes -= store.bytes();
        if let Payload::Spilled(id) = store.payload {
            self.ask_write(vec![WriteJob::ReleaseSpilled(vec![id])], Job::Nothing, cx);
        }
    }

    /// A lock that was given back can not be taken again: somebody committed meanwhile.
    fn give_back(
        &mut self,
        to: Requester,
        ttid: Ttid,
        (oid, base_serial): (Oid, Tid),
        conflict: Tid,
        cx: &mut Context<'_>,
    ) {
        let Some(transaction) = self.transactions.get_mut(&ttid) else {
            return;
        };
        transaction.serials.remove(&oid);
        let store = transaction.stores.remove(&oid);
        // Nothing else would release it: only locks of what the transaction has are.
        let followers = self.unlock_object(ttid, oid);
        self.orphan(&followers);
        self.released = true;
        let Some(store) = store else {
            self.give_back_data(to, (base_serial, conflict), None, cx);
            return;
        };
        self.stored_bytes -= store.bytes();
        match store.payload {
            Payload::Nothing => self.give_back_data(to, (base_serial, conflict), None, cx),
            Payload::Data(data) => {
                self.give_back_data(to, (base_serial, conflict), Some(data), cx);
            }
            Payload::Spilled(id) => {
                let job = Job::Read(to, None, super::jobs::Asked::Spilled(base_serial, conflict));
                self.ask_read(Query::Spilled(id), job, cx);
                self.ask_write(vec![WriteJob::ReleaseSpilled(vec![id])], Job::Nothing, cx);
            }
        }
    }

    pub(super) fn give_back_data(
        &mut self,
        to: Requester,
        (base_serial, conflict): (Tid, Tid),
        data: Option<StoredData>,
        cx: &mut Context<'_>,
    ) {
        let conflict = Some(RelockConflict { base_serial, conflict, data });
        self.reply(to, Packet::AnswerRelockObject { conflict }, cx);
    }
}
