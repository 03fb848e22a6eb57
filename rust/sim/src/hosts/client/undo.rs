//! Undo of a transaction, as an application does it (spec client.md 8.1).

use std::collections::BTreeMap;

use neo_core::client::api::{Answer, Content, Request, Write};
use neo_wire::{Oid, Packet, Partition, Tid, Ttid};

use super::ClientHost;
use super::record::Record;
use super::threads::{Change, Step, Task, content};
use crate::host::Turn;
use crate::oracle::journal::Value;

/// What is waited for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Undoing {
    /// Objects of the transaction to undo.
    Objects,
    /// The TTID.
    Ttid,
    /// Where the data of the objects of a partition comes from.
    Serials,
    /// A revision of an object.
    Revision(Oid, Tid),
}

/// Current revision, the one to go back to, and whether the undone one is current.
type Serials = (Tid, Option<Tid>, bool);

/// What is known so far.
#[derive(Debug, Default)]
pub struct Undo {
    tid: Tid,
    oids: Vec<Oid>,
    ttid: Option<Ttid>,
    /// Objects to ask about, by partition.
    to_ask: BTreeMap<Partition, Vec<Oid>>,
    serials: Vec<(Oid, Serials)>,
    to_load: Vec<(Oid, Tid)>,
    /// None for a revision without data.
    loaded: BTreeMap<(Oid, Tid), Option<Record>>,
}

impl ClientHost {
    /// The thread chooses what it undoes.
    pub(super) fn undo(&mut self, i: usize, turn: &mut Turn<'_>) {
        let recent = turn.oracle.journal.recent();
        // The last ones above all: later changes make an undo impossible.
        let back = 1 + turn.random.index(8);
        let Some(tid) = recent.len().checked_sub(back).and_then(|index| recent.get(index)) else {
            self.think(i, turn);
            return;
        };
        let tid = *tid;
        self.threads[i].undo.tid = tid;
        self.threads[i].step = Step::Undoing(Undoing::Objects);
        let packet = Packet::AskTransactionInformation { tid };
        self.call(i, Request::Read { key: tid.0, packet, except: Vec::new() }, turn);
    }

    /// The transaction of the undo has begun.
    pub(super) fn begun_undo(&mut self, i: usize, turn: &mut Turn<'_>) {
        let transaction = self.threads[i].transaction();
        self.threads[i].step = Step::Undoing(Undoing::Ttid);
        self.call(i, Request::Ttid { transaction }, turn);
    }

    /// An answer came.
    pub(super) fn undone(&mut self, i: usize, step: Undoing, answer: Answer, turn: &mut Turn<'_>) {
        let undo = &mut self.threads[i].undo;
        let packet = match answer {
            Answer::Begun(ttid) => {
                undo.ttid = Some(ttid);
                for oid in &undo.oids {
                    let partition = oid.partition(self.workload.partitions);
                    undo.to_ask.entry(partition).or_default().push(*oid);
                }
                return self.next_question(i, turn);
            }
            Answer::Packet { packet, .. } => packet,
            answer => {
                let text = format!("{answer:?} in {step:?}");
                return turn.oracle.violation("calls return what they should", text);
            }
        };
        match (step, packet) {
            (Undoing::Objects, Packet::AnswerTransactionInformation { oids, .. }) => {
                undo.oids = oids;
                self.begin_transaction(i, turn);
            }
            (Undoing::Serials, Packet::AnswerObjectUndoSerial { objects }) => {
                undo.serials.extend(objects.0);
                self.next_question(i, turn);
            }
            (Undoing::Revision(oid, tid), Packet::AnswerObject { serial, data, .. }) => {
                if serial != tid {
                    let text = format!("{oid} at {serial} instead of {tid}");
                    turn.oracle.violation("calls return what they should", text);
                }
                undo.loaded.insert((oid, tid), Record::decode(&data));
                self.next_revision(i, turn);
            }
            (step, packet) => {
                let text = format!("{packet:?} in {step:?}");
                turn.oracle.violation("calls return what they should", text);
            }
        }
    }

    fn next_question(&mut self, i: usize, turn: &mut Turn<'_>) {
        let key = self.threads[i].transaction();
        let undo = &mut self.threads[i].undo;
        let (Some((partition, oids)), Some(ttid)) = (undo.to_ask.pop_first(), undo.ttid) else {
            for (oid, (current, target, is_current)) in &undo.serials {
                let needed = [Some(*current), *target, (!is_current).then_some(undo.tid)];
                undo.to_load.extend(needed.into_iter().flatten().map(|tid| (*oid, tid)));
            }
            self.next_revision(i, turn);
            return;
        };
        let undone_tid = undo.tid;
        // As the library does, which first looks whether there is something newer.
        let ltid = self.loads.last_tid().unwrap_or_default().next();
        let packet = Packet::AskObjectUndoSerial { ttid, ltid, undone_tid, oids };
        self.threads[i].step = Step::Undoing(Undoing::Serials);
        let place = u64::from(partition.0);
        self.call(i, Request::TransactionRead { transaction: key, key: place, packet }, turn);
    }

    fn next_revision(&mut self, i: usize, turn: &mut Turn<'_>) {
        let undo = &mut self.threads[i].undo;
        let Some((oid, tid)) = undo.to_load.pop() else {
            match self.undo_writes(i, turn) {
                Some(()) => self.write(i, turn),
                None => self.give_up(i, turn),
            }
            return;
        };
        self.threads[i].step = Step::Undoing(Undoing::Revision(oid, tid));
        let packet = Packet::AskObject { oid, at: Some(tid), before: None };
        self.call(i, Request::Read { key: oid.0, packet, except: Vec::new() }, turn);
    }

    /// Decides what is written; none if the transaction can not be undone.
    fn undo_writes(&mut self, i: usize, turn: &mut Turn<'_>) -> Option<()> {
        let padding = turn.random.index(self.workload.padding + 1);
        let thread = &mut self.threads[i];
        debug_assert_eq!(thread.task, Task::Undo);
        let undo = std::mem::take(&mut thread.undo);
        // Partial packs, and those that did not reach all cells yet, leave a part of a transaction.
        // Storages omit what is not there any more (spec storage.md 12.6): undone without it, a
        // transfer would not be one. An application that needs all of it looks.
        if undo.serials.len() < undo.oids.len() {
            return None;
        }
        for (oid, (base, target, is_current)) in undo.serials {
            let record = |tid: Tid| undo.loaded.get(&(oid, tid)).copied().flatten();
            let current = record(base);
            match target {
                None if is_current => thread.delete(oid, base),
                None => return None,
                Some(tid) if is_current => {
                    let old = record(tid);
                    let delta = old.zip(current).map(|(old, now)| old.balance - now.balance);
                    let content = match old {
                        Some(old) => content(old.encode(0)),
                        None => Content::Deleted,
                    };
                    let value = Value::Copy(tid);
                    thread.changes.insert(oid, Change { base, delta, value });
                    let data_serial = Some(tid);
                    thread.to_write.push_back(Write { oid, base, content, data_serial });
                }
                Some(tid) => {
                    let delta = record(tid)?.balance - record(undo.tid)?.balance;
                    thread.change(oid, Some((base, Some(current?))), delta, padding);
                }
            }
        }
        Some(())
    }
}
