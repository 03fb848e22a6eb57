//! Threads of the application: each moves money between accounts, again and again.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use neo_core::client::api::{
    Answer, CallId, ClientError, Conflict, Content, Event, Metadata, Request, TransactionKey, Write,
};
use neo_core::client::loads::{Fetch, Lookup, Wanted};
use neo_core::io::Input;
use neo_wire::{Digest, Oid, Packet, StoredData, Tid};

use super::lists::Question;
use super::record::{INITIAL_BALANCE, Record};
use super::undo::{Undo, Undoing};
use super::{ClientHost, Reminder};
use crate::host::Turn;
use crate::oracle::journal::{Read, Value, Written};
use crate::random::Random;
use crate::schedule::Time;

/// What a thread waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum Step {
    /// To begin.
    #[default]
    Thinking,
    /// Nothing: it has committed once more, as it was asked to.
    Over,
    /// A link to the cluster, or what was committed before now.
    Connecting,
    /// An object of its snapshot, or the revision that conflicts.
    Loading(Oid, Fetch),
    /// A fetch of somebody else, or a publication.
    Waiting,
    Beginning,
    /// Transactions with lower imposed TIDs, to write what they need before.
    Queued,
    Writing,
    /// The publication of the revision that conflicts.
    Syncing,
    /// Its own resolution of a conflict.
    Resolving,
    Voting,
    Finishing,
    /// The callbacks of its own commit.
    Publishing,
    /// A list of what there is.
    Listing(Question),
    /// What it needs to undo a transaction.
    Undoing(Undoing),
}

/// What a thread does with its snapshot.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum Task {
    /// Moves money.
    #[default]
    Transfer,
    /// Looks at accounts as they were.
    Look,
    /// Lists what there is.
    List,
    /// Undoes a transaction.
    Undo,
    /// Packs.
    Pack,
}

/// What a transaction does to an account.
#[derive(Clone, Copy, Debug)]
pub(super) struct Change {
    pub base: Tid,
    /// None if that has no meaning once somebody else has changed it.
    pub delta: Option<i64>,
    pub value: Value,
}

/// A revision of an account, and what is on it if it exists.
pub(super) type Seen = (Tid, Option<Record>);

/// See the module.
#[derive(Debug, Default)]
pub struct Thread {
    pub(super) step: Step,
    pub(super) task: Task,
    /// What was committed when it synced.
    floor: Tid,
    pub(super) snapshot: Tid,
    to_load: Vec<Oid>,
    loaded: BTreeMap<Oid, Option<Seen>>,
    pub(super) key: u64,
    label: u64,
    /// The TID of its transaction, if it chooses that.
    pub(super) imposed: Option<Tid>,
    pub(super) undo: Undo,
    pub(super) to_write: VecDeque<Write>,
    pub(super) changes: BTreeMap<Oid, Change>,
    checks: BTreeMap<Oid, Tid>,
    conflict: Option<Box<Conflict>>,
    committed: Option<Record>,
}

impl Thread {
    /// Whether it will do nothing any more.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.step == Step::Over
    }

    pub(super) fn transaction(&self) -> TransactionKey {
        TransactionKey(self.key)
    }
}

impl ClientHost {
    /// The thread rests, then begins another transaction.
    pub(super) fn think(&mut self, i: usize, turn: &mut Turn<'_>) {
        let was_imposing = std::mem::take(&mut self.threads[i]).imposed.is_some();
        if was_imposing {
            // Those after it can not be committed.
            self.broken = true;
            self.wake_queued(turn);
        }
        let delay = turn.random.time(Time(10), self.workload.think_max);
        self.remind(delay, Reminder::Think(i), turn);
    }

    /// The thread has committed.
    pub(super) fn committed(&mut self, i: usize, turn: &mut Turn<'_>) {
        self.threads[i].imposed = None;
        self.think(i, turn);
        if self.quiet {
            self.threads[i].step = Step::Over;
        }
    }

    /// The thread begins: it chooses objects, and a snapshot.
    pub(super) fn start(&mut self, i: usize, turn: &mut Turn<'_>) {
        if self.threads[i].step != Step::Thinking {
            return;
        }
        let count = match turn.random.below(20) {
            0 => self.workload.objects,
            _ => turn.random.between(1, 5).min(self.workload.objects),
        };
        let chosen: BTreeSet<Oid> =
            (0..count).map(|_| Oid(1 + turn.random.below(self.workload.objects))).collect();
        self.threads[i].to_load = chosen.into_iter().collect();
        let tasks = [Task::Look, Task::List, Task::Undo];
        if !self.quiet && self.workload.packs && turn.random.one_in(50) {
            self.threads[i].task = Task::Pack;
        } else if !self.quiet && turn.random.one_in(5) {
            self.threads[i].task = tasks[turn.random.index(tasks.len())];
        }
        if self.loads.last_tid().is_none() || turn.random.one_in(4) {
            let request = if turn.random.one_in(2) { Request::Connect } else { Request::Sync };
            self.threads[i].step = Step::Connecting;
            if request == Request::Sync {
                self.threads[i].floor = turn.oracle.journal.last_told();
            }
            self.call(i, request, turn);
        } else {
            self.take_snapshot(i, turn);
        }
    }

    fn take_snapshot(&mut self, i: usize, turn: &mut Turn<'_>) {
        let Some(last) = self.loads.last_tid() else {
            self.think(i, turn);
            return;
        };
        if last < self.threads[i].floor && !turn.oracle.is_past_served() {
            let text = format!("{last} is the last one, {} was told", self.threads[i].floor);
            turn.oracle.violation("a sync sees what was committed before", text);
        }
        // A connection that was told about a publication may begin there (rule O8).
        let told = self.publishing.as_ref().map(|publishing| publishing.tid);
        let told = told.filter(|_| turn.random.one_in(3));
        let snapshot = told.unwrap_or(last).max(last);
        self.threads[i].snapshot = snapshot;
        match self.threads[i].task {
            Task::Transfer => self.load(i, turn),
            Task::Look => {
                let recent = turn.oracle.journal.recent();
                let index = turn.random.index(recent.len() + 1);
                let past = recent.get(index).copied().unwrap_or(snapshot);
                self.threads[i].snapshot = past.min(snapshot);
                self.load(i, turn);
            }
            Task::List => self.list(i, turn),
            Task::Undo => self.undo(i, turn),
            Task::Pack => self.begin_transaction(i, turn),
        }
    }

    /// Loads what comes next.
    fn load(&mut self, i: usize, turn: &mut Turn<'_>) {
        let thread = &self.threads[i];
        let (oid, wanted) = match (&thread.conflict, thread.to_load.last()) {
            (Some(conflict), _) => (conflict.oid, Wanted::Exact(conflict.committed)),
            (None, Some(oid)) => (*oid, Wanted::Before(thread.snapshot.next())),
            (None, None) => {
                self.decide(i, turn);
                return;
            }
        };
        match self.loads.look_up(oid, wanted, false) {
            Lookup::Hit(cached) => {
                self.found(i, oid, Some((cached.serial, cached.next_serial, cached.data)), turn);
            }
            Lookup::Wait => {
                self.threads[i].step = Step::Waiting;
                self.waiters.push(i);
            }
            Lookup::Fetch { fetch, wanted } => {
                let (at, before) = match wanted {
                    Wanted::Exact(tid) => (Some(tid), None),
                    Wanted::Before(tid) => (None, Some(tid)),
                    Wanted::Current => (None, None),
                };
                let packet = Packet::AskObject { oid, at, before };
                self.threads[i].step = Step::Loading(oid, fetch);
                self.call(i, Request::Read { key: oid.0, packet, except: Vec::new() }, turn);
            }
        }
    }

    /// A storage answered, or nobody did.
    fn fetched(
        &mut self,
        i: usize,
        (oid, fetch): (Oid, Fetch),
        result: Result<Answer, ClientError>,
        turn: &mut Turn<'_>,
    ) {
        let found = match result {
            Ok(Answer::Packet {
                packet: Packet::AnswerObject { serial, next_serial, checksum, data, .. },
                ..
            }) => {
                let is_deleted = data.is_empty() && checksum == Digest::ZERO;
                if !is_deleted && Digest::of(&data) != checksum {
                    let text = format!("{oid} at {serial} has a wrong checksum");
                    turn.oracle.violation("data is what was stored", text);
                }
                if is_deleted {
                    // No cache holds what does not exist.
                    self.loads.failed(oid, fetch);
                    Some(Some((serial, next_serial, data)))
                } else {
                    let next = self.loads.fetched(oid, fetch, data.clone(), serial, next_serial);
                    Some(Some((serial, next, data)))
                }
            }
            Err(ClientError::NotFound(_) | ClientError::DoesNotExist(_)) => {
                self.loads.failed(oid, fetch);
                Some(None)
            }
            other => {
                turn.note(format_args!("thread {i}: load of {oid} failed: {other:?}"));
                self.loads.failed(oid, fetch);
                None
            }
        };
        match found {
            Some(found) => self.found(i, oid, found, turn),
            None => self.give_up(i, turn),
        }
        self.wake_waiters(turn);
    }

    pub(super) fn wake_waiters(&mut self, turn: &mut Turn<'_>) {
        for i in std::mem::take(&mut self.waiters) {
            if self.threads[i].step == Step::Waiting {
                self.load(i, turn);
            }
        }
    }

    fn found(
        &mut self,
        i: usize,
        oid: Oid,
        found: Option<(Tid, Option<Tid>, Bytes)>,
        turn: &mut Turn<'_>,
    ) {
        let thread = &mut self.threads[i];
        let (serial, next) = found.as_ref().map_or((None, None), |found| (Some(found.0), found.1));
        let record = found.and_then(|(_, _, data)| Record::decode(&data));
        if let Some(conflict) = &thread.conflict {
            // It may be packed already.
            if serial.is_none() && !self.workload.packs {
                let text = format!("{oid} has no revision {}", conflict.committed);
                turn.oracle.violation("a conflict is with a revision that exists", text);
            }
            thread.committed = record;
            thread.step = Step::Resolving;
            let delay = turn.random.time(Time::ZERO, self.workload.resolve_max);
            self.remind(delay, Reminder::Resolved(i), turn);
            return;
        }
        let label = record.map(|record| record.label);
        let before = thread.snapshot.next();
        turn.oracle.journal.read(Read { node: turn.node, oid, before, serial, next, label });
        thread.loaded.insert(oid, serial.map(|serial| (serial, record)));
        thread.to_load.pop();
        self.load(i, turn);
    }

    /// Everything is loaded: what is to be written?
    fn decide(&mut self, i: usize, turn: &mut Turn<'_>) {
        let is_look = self.threads[i].task == Task::Look;
        if is_look || !self.quiet && turn.random.one_in(5) {
            self.think(i, turn);
            return;
        }
        let padding = turn.random.index(self.workload.padding + 1);
        let mut sum = 0;
        let thread = &mut self.threads[i];
        let mut loaded = std::mem::take(&mut thread.loaded);
        let last = loaded.pop_last();
        for (oid, found) in loaded {
            match found {
                Some((serial, Some(_))) if turn.random.one_in(4) => {
                    thread.checks.insert(oid, serial);
                    let content = Content::Checked;
                    let write = Write { oid, base: serial, content, data_serial: None };
                    thread.to_write.push_back(write);
                }
                Some((base, Some(record))) if turn.random.one_in(12) => {
                    // What is there above or below the initial balance goes elsewhere.
                    sum += INITIAL_BALANCE - record.balance;
                    thread.delete(oid, base);
                }
                found => {
                    let delta = turn.random.between(0, 20).cast_signed() - 10;
                    sum += delta;
                    thread.change(oid, found, delta, padding);
                }
            }
        }
        if let Some((oid, found)) = last {
            thread.change(oid, found, -sum, padding);
        }
        shuffle(&mut thread.to_write, turn.random);
        self.begin_transaction(i, turn);
    }

    pub(super) fn begin_transaction(&mut self, i: usize, turn: &mut Turn<'_>) {
        self.broken &= self.threads.iter().any(|thread| thread.imposed.is_some());
        if self.broken {
            return self.think(i, turn);
        }
        let (key, label) = (self.number(), turn.oracle.journal.begin(turn.node));
        let imposed = self.workload.imports.then(|| self.next_imposed(turn));
        let padding = turn.random.index(self.workload.padding + 1);
        let thread = &mut self.threads[i];
        (thread.key, thread.label, thread.imposed) = (key, label, imposed);
        if let Some(tid) = imposed {
            turn.oracle.journal.impose(label, tid);
        }
        // Records carry the label.
        thread.encode(padding);
        let transaction = thread.transaction();
        thread.step = Step::Beginning;
        self.call(i, Request::Begin { transaction, tid: imposed }, turn);
    }

    /// Lets transactions write, with imposed TIDs once those before were asked to commit: storages
    /// make objects wait for each other in the order of writes.
    fn wake_queued(&mut self, turn: &mut Turn<'_>) {
        let is_ahead = |other: &Thread, tid: Tid| {
            let is_before = other.imposed.is_some_and(|imposed| imposed < tid);
            is_before && !matches!(other.step, Step::Finishing | Step::Publishing)
        };
        for i in 0..self.threads.len() {
            let Thread { step, imposed, task, .. } = self.threads[i];
            let waits = imposed.is_some_and(|tid| self.threads.iter().any(|x| is_ahead(x, tid)));
            match task {
                _ if step != Step::Queued || waits => {}
                Task::Undo => self.begun_undo(i, turn),
                Task::Pack => self.pack(i, turn),
                _ => self.write(i, turn),
            }
        }
    }

    /// A TID that follows everything that is committed, or being imposed, and that no master gives
    /// by itself: a client that does not know how a transaction ended would take it for its own.
    fn next_imposed(&self, turn: &Turn<'_>) -> Tid {
        let pending = self.threads.iter().filter_map(|thread| thread.imposed).max();
        let committed = self.loads.last_tid().max(Some(turn.oracle.journal.last_told()));
        Tid((pending.max(committed).unwrap_or_default().0 | 0xf_ffff) + 1)
    }

    /// Writes what comes next, or votes.
    pub(super) fn write(&mut self, i: usize, turn: &mut Turn<'_>) {
        let thread = &mut self.threads[i];
        let transaction = thread.transaction();
        if let Some(write) = thread.to_write.pop_front() {
            thread.step = Step::Writing;
            let call = self.call(i, Request::Write { transaction, write }, turn);
            self.maybe_cancel(i, call, 400, turn);
        } else {
            thread.step = Step::Voting;
            let label = Bytes::copy_from_slice(&thread.label.to_be_bytes());
            let metadata = Metadata { description: label, ..Metadata::default() };
            let call = self.call(i, Request::Vote { transaction, metadata }, turn);
            self.maybe_cancel(i, call, 100, turn);
        }
    }

    fn maybe_cancel(&mut self, i: usize, call: CallId, one_in: u64, turn: &mut Turn<'_>) {
        if turn.random.one_in(one_in) {
            let delay = turn.random.scale(Time::ms(100));
            self.remind(delay, Reminder::Cancel(i, call), turn);
        }
    }

    /// Somebody interrupts the thread, if it still waits for this call.
    pub(super) fn cancel(&mut self, i: usize, call: CallId, turn: &mut Turn<'_>) {
        if self.calls.remove(&call) != Some(i) {
            return;
        }
        self.drive(Input::Own(Event::Cancel { call }), turn);
        if self.threads[i].step == Step::Finishing {
            // The commit goes on: nobody knows how it ends.
            self.think(i, turn);
        } else {
            self.give_up(i, turn);
        }
    }

    /// The thread gives its transaction up, if it has one.
    pub(super) fn give_up(&mut self, i: usize, turn: &mut Turn<'_>) {
        if self.threads[i].key != 0 {
            let transaction = self.threads[i].transaction();
            self.drive(Input::Own(Event::Abort { transaction }), turn);
        }
        self.think(i, turn);
    }

    /// A call has returned.
    pub(super) fn returned(
        &mut self,
        i: usize,
        result: Result<Answer, ClientError>,
        turn: &mut Turn<'_>,
    ) {
        if let Err(error @ ClientError::Broken(_)) = &result {
            turn.oracle.violation("clients do not break", error.to_string());
        }
        match (self.threads[i].step, result) {
            (Step::Loading(oid, fetch), result) => self.fetched(i, (oid, fetch), result, turn),
            (Step::Connecting, Ok(_)) => self.take_snapshot(i, turn),
            (Step::Syncing, Ok(_)) => self.load(i, turn),
            (Step::Writing | Step::Voting, Ok(Answer::Conflict(conflict))) => {
                self.conflict(i, conflict, turn);
            }
            (Step::Listing(question), result) => self.listed(i, question, result, turn),
            (Step::Undoing(step), Ok(answer)) => self.undone(i, step, answer, turn),
            (Step::Beginning, Ok(_)) => {
                self.threads[i].step = Step::Queued;
                self.wake_queued(turn);
            }
            (Step::Writing, Ok(_)) => self.write(i, turn),
            (Step::Voting, Ok(_)) if turn.random.one_in(20) => self.give_up(i, turn),
            (Step::Voting, Ok(_)) => self.finish(i, turn),
            (Step::Finishing, Ok(Answer::Finished { tid, records })) => {
                self.threads[i].step = Step::Publishing;
                let label = self.threads[i].label;
                self.publish_own((i, label), tid, records, turn);
            }
            (Step::Finishing, Err(error)) => {
                if error != ClientError::Closed {
                    turn.oracle.journal.refused(self.threads[i].label);
                }
                self.think(i, turn);
            }
            (_, Err(_)) => self.give_up(i, turn),
            (step, Ok(answer)) => {
                let text = format!("{answer:?} in {step:?}");
                turn.oracle.violation("calls return what they should", text);
            }
        }
    }

    fn finish(&mut self, i: usize, turn: &mut Turn<'_>) {
        let thread = &mut self.threads[i];
        let transaction = thread.transaction();
        let written = |change: &Change| Written { base: change.base, value: change.value };
        let writes = thread.changes.iter().map(|(oid, change)| (*oid, written(change))).collect();
        let checks = thread.checks.iter().map(|(oid, base)| (*oid, *base)).collect();
        turn.oracle.journal.finishing(thread.label, writes, checks);
        thread.step = Step::Finishing;
        let call = self.call(i, Request::Finish { transaction }, turn);
        self.maybe_cancel(i, call, 50, turn);
        self.wake_queued(turn);
    }

    /// Somebody committed an object meanwhile: what it was worth then, or nothing.
    fn conflict(&mut self, i: usize, conflict: Box<Conflict>, turn: &mut Turn<'_>) {
        let resolvable = matches!(conflict.content, Content::Data { .. });
        if !resolvable || turn.random.one_in(8) {
            self.give_up(i, turn);
            return;
        }
        let unpublished = conflict.unpublished;
        self.threads[i].conflict = Some(conflict);
        if unpublished {
            self.threads[i].step = Step::Syncing;
            self.call(i, Request::Sync, turn);
        } else {
            self.load(i, turn);
        }
    }

    /// The conflict is resolved: the same change of another base.
    pub(super) fn resolved(&mut self, i: usize, turn: &mut Turn<'_>) {
        let padding = turn.random.index(self.workload.padding + 1);
        let thread = &mut self.threads[i];
        if thread.step != Step::Resolving {
            return;
        }
        let (Some(conflict), Some(committed)) = (thread.conflict.take(), thread.committed.take())
        else {
            self.give_up(i, turn);
            return;
        };
        let Some(change) = thread.changes.get(&conflict.oid).copied() else {
            let text = format!("{} was not written", conflict.oid);
            turn.oracle.violation("conflicts are with what was written", text);
            self.give_up(i, turn);
            return;
        };
        let Some(delta) = change.delta else {
            self.give_up(i, turn);
            return;
        };
        thread.change(conflict.oid, Some((conflict.committed, Some(committed))), delta, padding);
        // What was refused goes first.
        if let Some(write) = thread.to_write.pop_back() {
            thread.to_write.push_front(write);
        }
        self.write(i, turn);
    }
}

impl Thread {
    /// Writes an account, with its label: [`Thread::encode`] puts it there if it is not known yet.
    pub(super) fn change(&mut self, oid: Oid, found: Option<Seen>, delta: i64, padding: usize) {
        let (base, balance) = match found {
            Some((serial, record)) => (serial, record.map_or(INITIAL_BALANCE, |x| x.balance)),
            None => (Tid::ZERO, INITIAL_BALANCE),
        };
        let record = Record { label: self.label, oid, balance: balance + delta, base };
        let content = content(record.encode(padding));
        self.changes.insert(oid, Change { base, delta: Some(delta), value: Value::Own });
        self.to_write.push_back(Write { oid, base, content, data_serial: None });
    }

    pub(super) fn delete(&mut self, oid: Oid, base: Tid) {
        self.changes.insert(oid, Change { base, delta: None, value: Value::Nothing });
        let content = Content::Deleted;
        self.to_write.push_back(Write { oid, base, content, data_serial: None });
    }

    /// Puts the label into what is to be written.
    fn encode(&mut self, padding: usize) {
        for write in &mut self.to_write {
            let is_own = |change: &Change| change.value == Value::Own;
            if let Content::Data { record, .. } = &write.content
                && self.changes.get(&write.oid).is_some_and(is_own)
                && let Some(record) = Record::decode(record)
            {
                let record = Record { label: self.label, ..record };
                write.content = content(record.encode(padding));
            }
        }
    }
}

/// A record to store.
pub(super) fn content(record: Bytes) -> Content {
    let stored = StoredData { compression: 0, checksum: Digest::of(&record), data: record.clone() };
    Content::Data { stored, record }
}

fn shuffle<T>(items: &mut VecDeque<T>, random: &mut Random) {
    for i in (1..items.len()).rev() {
        items.swap(i, random.index(i + 1));
    }
}
