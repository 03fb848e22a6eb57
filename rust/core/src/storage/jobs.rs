//! What is asked of the database, and what is done with its answers.

use neo_wire::{ErrorCode, Packet, Partition, Tid, Ttid};
use tracing::{debug, warn};

use super::queues::{Requester, WriteRequest};
use super::undo::UndoQuestion;
use super::{Context, Effect, Storage};
use crate::database::{Answer, JobOutput, JobResult, Query, Refusal, WriteJob};
use crate::io::Output;

/// Names something asked of the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// Why something was asked of the database.
#[derive(Debug)]
pub(super) enum Job {
    /// Nothing waits for it.
    Nothing,
    /// The node ends when it is done.
    Erase,
    /// A vote to answer.
    Vote(Requester, Ttid, Packet),
    /// Send this once it is durable.
    Reply(Requester, Packet),
    /// A pending truncation, to be followed by AskLastIDs.
    Truncate(Requester),
    /// The end of a transaction becomes visible.
    Unlock(Ttid),
    /// The own cells after a change of the table.
    Table,
    /// A pack begins once what came before is written.
    BeginPack,
    /// A slice of a pack, of this cell.
    Pack(Option<Partition>),
    /// A slice of a search for orphan data.
    Repair,
    /// The start of operation in backup mode: the last TID of readable cells, once everything is
    /// written.
    BackupTid,
    /// The last revision of an object that a transaction locked.
    LastSerial(Requester, Ttid, WriteRequest),
    /// Up to where an object was packed, of which nothing is left and that a transaction saw.
    DeletedBase(Requester, Ttid, WriteRequest),
    /// The last revision of an object that a transaction wrote without lock.
    LocklessSerial(Ttid, neo_wire::Oid),
    /// Whether the revision that an undo goes back to still is there.
    UndoTarget(Requester, Ttid, WriteRequest),
    /// Where the data of an undo comes from, for one of the objects asked for.
    UndoSerials(Box<UndoQuestion>),
    /// Whether the older revisions of an object that an undo would delete may have been packed.
    UndoPackTid(Box<UndoQuestion>),
    /// Data moved from memory to the database.
    Spill(Requester, Ttid, WriteRequest, Packet),
    /// A read for a peer: `partition` must still be readable when it is answered.
    Read(Requester, Option<Partition>, Asked),
}

/// What a peer asked, as far as it is needed to make the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    Object(neo_wire::Oid),
    FinalTid,
    Locked,
    LastIds,
    PackOrders,
    Transaction(Tid),
    History(neo_wire::Oid),
    Tids,
    TidsFrom,
    OidsFrom,
    /// Data of a store whose lock was lost: its base and the conflicting revision.
    Spilled(Tid, Tid),
    /// Data of a store, for its own client: the object and the TTID.
    OwnSpilled(neo_wire::Oid, Tid),
}

impl Storage {
    pub(super) fn ask_write(&mut self, jobs: Vec<WriteJob>, job: Job, cx: &mut Context<'_>) {
        let ticket = self.ticket(job);
        self.writing += 1;
        cx.out.push(Output::Own(Effect::Write { ticket, jobs }));
    }

    pub(super) fn ask_read(&mut self, query: Query, job: Job, cx: &mut Context<'_>) {
        let ticket = self.ticket(job);
        cx.out.push(Output::Own(Effect::Read { ticket, query }));
    }

    fn ticket(&mut self, job: Job) -> Ticket {
        self.next_ticket += 1;
        let ticket = Ticket(self.next_ticket);
        self.jobs.insert(ticket, (self.epoch, job));
        ticket
    }

    /// A commit is done.
    pub(super) fn written(
        &mut self,
        ticket: Ticket,
        results: Vec<JobResult>,
        cx: &mut Context<'_>,
    ) {
        let Some((epoch, job)) = self.jobs.remove(&ticket) else {
            return;
        };
        self.writing -= 1;
        self.job_done(epoch, job, results, cx);
        self.obey_held(cx);
    }

    fn job_done(&mut self, epoch: u64, job: Job, results: Vec<JobResult>, cx: &mut Context<'_>) {
        let mut refusal = None;
        let mut outputs = Vec::new();
        for result in results {
            match result {
                Ok(output) => outputs.push(output),
                Err(error) => refusal = refusal.or(Some(error)),
            }
        }
        if let Some(refusal) = &refusal {
            warn!(%refusal, "the database refuses");
        }
        match job {
            Job::Erase => self.stop_with(crate::io::Exit::Success, cx),
            Job::Table => self.table_written(outputs, cx),
            Job::Repair => self.repaired(&outputs, cx),
            Job::Truncate(requester) => self.truncated(requester, cx),
            Job::Reply(requester, packet) => match refusal {
                None => self.reply(requester, packet, cx),
                Some(refusal) => self.refuse(requester, &refusal.to_string(), cx),
            },
            _ if epoch != self.epoch => debug!("a result of a former operation is ignored"),
            Job::Vote(requester, ttid, packet) => match refusal {
                None => self.reply(requester, packet, cx),
                Some(refusal) => self.vote_refused(requester, ttid, &refusal, cx),
            },
            Job::BackupTid => {
                self.ask_read(Query::LastIds(self.readable()), Job::BackupTid, cx);
            }
            Job::Unlock(ttid) => self.unlocked(ttid, cx),
            Job::BeginPack => self.begin_pack(cx),
            Job::Pack(partition) => self.packed(partition, outputs, cx),
            Job::Spill(requester, ttid, request, packet) => {
                let id = outputs.into_iter().find_map(|output| match output {
                    JobOutput::Spilled(id) => Some(id),
                    _ => None,
                });
                self.spilled(requester, ttid, &request, id, packet, cx);
            }
            _ => {}
        }
    }

    /// A query is answered.
    pub(super) fn answered(&mut self, ticket: Ticket, answer: Answer, cx: &mut Context<'_>) {
        let Some((epoch, job)) = self.jobs.remove(&ticket) else {
            return;
        };
        match (job, answer) {
            // The master waits for its answers whatever happens; other peers are gone by then.
            (Job::Read(requester, partition, asked), answer) => {
                self.read_answered(requester, partition, asked, answer, cx);
            }
            _ if epoch != self.epoch => debug!("an answer for a former operation is ignored"),
            (Job::LastSerial(requester, ttid, request), Answer::LastSerial(last)) => {
                self.looked_up(requester, ttid, request, last, cx);
            }
            (Job::DeletedBase(requester, ttid, request), Answer::PackTid(tid)) => {
                self.base_is_gone(requester, ttid, request, tid, cx);
            }
            (Job::LocklessSerial(ttid, oid), Answer::LastSerial(last)) => {
                self.lockless_looked_up(ttid, oid, last, cx);
            }
            (Job::UndoTarget(requester, ttid, request), Answer::HasRecord(found)) => {
                self.undo_checked(requester, ttid, request, found, cx);
            }
            (Job::BackupTid, Answer::LastIds(ids)) => {
                self.start_backup_at(ids.last_tid.unwrap_or(Tid::ZERO), cx);
            }
            (Job::UndoSerials(question), Answer::Revisions(revisions)) => {
                self.undo_serials_of(*question, &revisions, cx);
            }
            (Job::UndoPackTid(question), Answer::PackTid(tid)) => {
                self.undo_of_creation(*question, tid, cx);
            }
            (job, answer) => {
                debug_assert!(false, "{answer:?} for {job:?}");
                warn!("an answer of the database is of another kind than asked");
            }
        }
    }

    pub(super) fn reply(&self, to: Requester, packet: Packet, cx: &mut Context<'_>) {
        self.links.answer(to.connection, to.msg_id, packet, cx.out);
    }

    pub(super) fn reply_error(
        &self,
        to: Requester,
        code: ErrorCode,
        message: &str,
        cx: &mut Context<'_>,
    ) {
        self.reply(to, Packet::error(code, message), cx);
    }

    /// PROTOCOL_ERROR: the connection ends.
    pub(super) fn refuse(&mut self, to: Requester, message: &str, cx: &mut Context<'_>) {
        let code = ErrorCode::ProtocolError;
        if self.links.refuse(to.connection, to.msg_id, code, message, cx.out).is_some() {
            self.gone(to.connection, cx);
        }
    }

    fn vote_refused(&mut self, to: Requester, ttid: Ttid, refusal: &Refusal, cx: &mut Context<'_>) {
        if let Some(transaction) = self.transactions.get_mut(&ttid) {
            transaction.voted = super::transaction::Voted::No;
        }
        // Older transactions may ask again for the locks that it holds.
        self.released = true;
        if let Refusal::UndoPacked(_) = refusal {
            self.reply_error(to, ErrorCode::UndoPackError, &refusal.to_string(), cx);
        } else {
            self.refuse(to, &refusal.to_string(), cx);
        }
    }
}
