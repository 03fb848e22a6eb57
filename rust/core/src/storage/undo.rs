//! AskObjectUndoSerial: where the data of an undo comes from (spec storage.md 12.6).

use std::collections::VecDeque;

use neo_wire::{ErrorCode, Map, Oid, Packet, Tid, Ttid};

use super::jobs::Job;
use super::queues::Requester;
use super::{Context, Storage};
use crate::database::Query;

/// For an object: its current revision, the one to go back to, and whether the undone one is the
/// current one.
pub(super) type UndoSerial = (Tid, Option<Tid>, bool);

/// A question that is being answered, object by object.
#[derive(Debug)]
pub(super) struct UndoQuestion {
    pub to: Requester,
    ttid: Ttid,
    /// Snapshot of the client, excluded.
    ltid: Tid,
    undone: Tid,
    /// The first one is being looked up.
    oids: VecDeque<Oid>,
    found: Vec<(Oid, UndoSerial)>,
    /// The objects that were being committed when it was asked, and by which transactions.
    locked: Vec<(Oid, Ttid)>,
}

impl Storage {
    pub(super) fn ask_undo_serials(
        &mut self,
        to: Requester,
        (ttid, ltid, undone): (Ttid, Tid, Tid),
        oids: Vec<Oid>,
        cx: &mut Context<'_>,
    ) {
        let locked = oids.iter().filter_map(|oid| Some((*oid, *self.read_locks.get(oid)?)));
        let (locked, oids) = (locked.collect(), oids.into());
        self.try_undo_question(
            UndoQuestion { to, ttid, ltid, undone, oids, found: Vec::new(), locked },
            cx,
        );
    }

    /// Looks objects up now, or when what is being committed can be read: a client that was told
    /// about a commit must not undo as if it had not been. The Python NEO answers at once.
    pub(super) fn try_undo_question(&mut self, question: UndoQuestion, cx: &mut Context<'_>) {
        let mut locked = question.locked.iter();
        if locked.any(|(oid, ttid)| self.read_locks.get(oid) == Some(ttid)) {
            self.undo_queue.push(question);
        } else {
            self.next_undo_serial(question, cx);
        }
    }

    fn next_undo_serial(&mut self, question: UndoQuestion, cx: &mut Context<'_>) {
        match question.oids.front().copied() {
            Some(oid) if self.is_readable(self.partition(oid.0)) => {
                self.ask_read(Query::Revisions(oid), Job::UndoSerials(Box::new(question)), cx);
            }
            Some(_) => self.reply_error(question.to, ErrorCode::NonReadableCell, "", cx),
            None => {
                let objects = Map(question.found);
                self.reply(question.to, Packet::AnswerObjectUndoSerial { objects }, cx);
            }
        }
    }

    /// The revisions of one of the objects are known.
    pub(super) fn undo_serials_of(
        &mut self,
        mut question: UndoQuestion,
        revisions: &[(Tid, Option<Tid>)],
        cx: &mut Context<'_>,
    ) {
        let Some(oid) = question.oids.pop_front() else { return };
        if !self.is_readable(self.partition(oid.0)) {
            self.reply_error(question.to, ErrorCode::NonReadableCell, "", cx);
            return;
        }
        let transaction = self.transactions.get(&question.ttid);
        let stored = transaction.and_then(|transaction| transaction.stores.get(&oid));
        let own = stored.map(|store| store.value_tid.unwrap_or(question.ttid.as_tid()));
        match undo_serial(revisions, question.undone, question.ltid, own) {
            Ok(Some((current, None, is_current))) => {
                question.found.push((oid, (current, None, is_current)));
                self.ask_read(Query::PackTid(oid), Job::UndoPackTid(Box::new(question)), cx);
            }
            Ok(found) => {
                question.found.extend(found.map(|found| (oid, found)));
                self.next_undo_serial(question, cx);
            }
            Err(NotInSnapshot) => {
                self.reply_error(question.to, ErrorCode::OidNotFound, &oid.to_string(), cx);
            }
        }
    }

    /// The greatest TID at which the object was packed is known: the undo of its oldest revision
    /// must not be taken for that of its creation (spec storage.md 12.6).
    pub(super) fn undo_of_creation(
        &mut self,
        question: UndoQuestion,
        packed: Tid,
        cx: &mut Context<'_>,
    ) {
        match question.found.last() {
            Some((oid, _)) if packed >= question.undone => {
                self.reply_error(question.to, ErrorCode::OidNotFound, &oid.to_string(), cx);
            }
            _ => self.next_undo_serial(question, cx),
        }
    }
}

/// The client does not see the transaction that it wants undone.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NotInSnapshot;

/// Decides for one object. `own` is what the transaction already stored for it. None if the undone
/// transaction did not change it.
pub(super) fn undo_serial(
    revisions: &[(Tid, Option<Tid>)],
    undone: Tid,
    ltid: Tid,
    own: Option<Tid>,
) -> Result<Option<UndoSerial>, NotInSnapshot> {
    let Some(place) = revisions.iter().position(|(tid, _)| *tid == undone) else {
        return Ok(None);
    };
    let (before, after) = (&revisions[..place], &revisions[place + 1..]);
    let last_seen = || after.iter().map(|(tid, _)| *tid).take_while(|tid| *tid < ltid).last();
    let current = match own.or_else(last_seen) {
        Some(tid) => tid,
        None if ltid <= undone => return Err(NotInSnapshot),
        None => undone,
    };
    let mut target = before.last().map(|(tid, _)| *tid);
    let mut undone = undone;
    let mut is_current = current == undone;
    // Follows the chains of identical revisions in both directions.
    for &(tid, value) in after {
        let Some(value) = value else { continue };
        if Some(value) == target {
            target = Some(tid);
        } else if value == undone {
            if tid == current {
                is_current = true;
            } else {
                undone = tid;
            }
        }
    }
    Ok(Some((current, target, is_current)))
}
