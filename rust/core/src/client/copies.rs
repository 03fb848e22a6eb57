//! Whole transactions of the past, copied with their TIDs and pipelined: each begins while those
//! before it are being stored, voted and committed, but none is ever committed without all those
//! before it.
//!
//! That is why they form a chain: when one fails, those after it fail too, and nothing can begin
//! that continues it. A commit is asked while those before it are being made only if every
//! partition is on the same nodes: each of these locks in the order it is asked to, so that even
//! if everything dies, what is locked somewhere, which verification commits, is a beginning of the
//! chain. Else each commit waits for the previous one.
//!
//! Votes are asked in order too. A transaction that waits for the lock of an older one, on an
//! object that both write, holds back the votes of those after it, which then are made durable
//! together with its own; and one that is not voted can give its locks back to an older one.

use std::collections::VecDeque;

use neo_wire::{Oid, Packet, Ptid, Tid};
use tracing::info;

use super::api::{CallId, ClientError, Copy, TransactionKey};
use super::limits::{check_metadata, check_objects, check_write};
use super::transaction::{Stage, Transaction, Waiting};
use super::{Asked, Client, Context};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Copies {
    /// Those that are not committed yet, oldest first.
    chain: VecDeque<TransactionKey>,
    /// How many of them, from the first one, storages were asked to vote.
    voting: usize,
    /// How many of these the master was asked to commit.
    asked: usize,
    /// The last one that began. None: nothing can be continued.
    last: Option<Tid>,
    /// Whether every partition is on the same nodes, in this version of the table.
    together: Option<(Option<Ptid>, bool)>,
}

impl Client {
    /// The application copies a transaction; the link to the master is there.
    pub(super) fn copy(&mut self, call: CallId, copy: Copy, cx: &mut Context<'_>) {
        let Copy { transaction: key, tid, after, writes, metadata } = copy;
        let continues = match after {
            None => self.copies.chain.is_empty(),
            after => after == self.copies.last,
        };
        if !continues {
            self.answer(call, Err(broken_chain()), cx);
            return;
        }
        let checked = check_metadata(&metadata)
            .and_then(|()| check_objects(writes.len()))
            .and_then(|()| writes.iter().try_for_each(check_write));
        if let Err(error) = checked {
            self.answer(call, Err(error), cx);
            return;
        }
        let mut transaction = Transaction::new();
        transaction.imposed = true;
        transaction.waiting = Some(Waiting::Copy(call));
        transaction.metadata = metadata;
        for write in writes {
            transaction.add(write);
        }
        self.transactions.insert(key, transaction);
        self.copies.chain.push_back(key);
        self.copies.last = Some(tid);
        self.ask_master(Packet::AskBeginTransaction { tid: Some(tid) }, Asked::Begin(key), cx);
    }

    /// Takes a copy one step further if it can be.
    pub(super) fn progress_copy(&mut self, key: TransactionKey, cx: &mut Context<'_>) {
        let Some(transaction) = self.transactions.get_mut(&key) else {
            return;
        };
        if matches!(transaction.stage, Stage::Finishing | Stage::Recovering) {
            return;
        }
        if let Some(error) = transaction.error.clone() {
            self.fail_copies(key, &error, cx);
            return;
        }
        if transaction.stage == Stage::Storing && !transaction.conflicts.is_empty() {
            for oid in rebase(transaction) {
                self.send_write(key, oid, cx);
            }
            self.lose_requests(cx);
        }
        if self.transactions.get(&key).is_some_and(|t| t.stage == Stage::Storing) {
            self.vote_copies(cx);
        } else {
            self.progress_vote(key, cx);
        }
    }

    /// Asks for the votes of what is stored, as far as nothing before it is still being stored.
    fn vote_copies(&mut self, cx: &mut Context<'_>) {
        while let Some(&key) = self.copies.chain.get(self.copies.voting) {
            let stored = |t: &Transaction| t.error.is_none() && t.is_stored() && t.ttid.is_some();
            if !self.transactions.get(&key).is_some_and(stored) {
                return;
            }
            self.copies.voting += 1;
            self.progress_vote(key, cx);
        }
    }

    /// Asks the master to commit what is voted, as far as nothing before it is missing.
    pub(super) fn finish_copies(&mut self, cx: &mut Context<'_>) {
        while let Some(&key) = self.copies.chain.get(self.copies.asked) {
            let voted = |t: &Transaction| t.stage == Stage::Voted && t.error.is_none();
            if !self.transactions.get(&key).is_some_and(voted)
                || (self.copies.asked > 0 && !self.is_together())
            {
                return;
            }
            self.copies.asked += 1;
            self.ask_finish(key, cx);
        }
    }

    /// Whether every partition is on the same nodes.
    fn is_together(&mut self) -> bool {
        let ptid = self.table.ptid();
        if let Some((known, together)) = self.copies.together
            && known == ptid
        {
            return together;
        }
        let nodes = |row: &Vec<neo_wire::Cell>| {
            let mut nodes: Vec<_> = row.iter().map(|cell| cell.nid).collect();
            nodes.sort_unstable();
            nodes
        };
        let first = self.table.rows().first().map(nodes);
        let together = self.table.rows().iter().all(|row| Some(nodes(row)) == first);
        self.copies.together = Some((ptid, together));
        together
    }

    /// A transaction is committed, or will never be.
    pub(super) fn copy_ended(
        &mut self,
        key: TransactionKey,
        committed: bool,
        cx: &mut Context<'_>,
    ) {
        let Some(place) = self.copies.chain.iter().position(|copy| *copy == key) else {
            return;
        };
        if !committed {
            self.fail_copies(key, &broken_chain(), cx);
        }
        self.copies.chain.retain(|copy| *copy != key);
        for count in [&mut self.copies.voting, &mut self.copies.asked] {
            *count -= usize::from(place < *count);
        }
        self.finish_copies(cx);
    }

    /// A copy fails, and so do those after it, but for those whose outcome is the master's to say.
    pub(super) fn fail_copies(
        &mut self,
        key: TransactionKey,
        error: &ClientError,
        cx: &mut Context<'_>,
    ) {
        let Some(place) = self.copies.chain.iter().position(|copy| *copy == key) else {
            return;
        };
        info!(%error, "a transaction is not copied");
        self.copies.last = None;
        let failed = self.copies.chain.split_off(place.max(self.copies.asked));
        self.copies.voting = self.copies.voting.min(self.copies.chain.len());
        let mut reason = error.clone();
        for key in failed {
            if let Some(transaction) = self.transactions.get_mut(&key)
                && let Some(waiting) = transaction.waiting.take()
            {
                let own = transaction.error.clone().unwrap_or_else(|| reason.clone());
                self.answer(waiting.call(), Err(own), cx);
            }
            reason = broken_chain();
            self.abort(key, cx);
        }
    }

    /// Nobody waits for this call any more.
    pub(super) fn cancel_copy(&mut self, call: CallId, cx: &mut Context<'_>) {
        let waits = |t: &Transaction| t.waiting == Some(Waiting::Copy(call));
        let found = self.transactions.iter().find(|(_, transaction)| waits(transaction));
        if let Some((&key, _)) = found {
            self.fail_copies(key, &ClientError::UnknownTransaction, cx);
        }
    }

    pub(super) fn forget_copies(&mut self) {
        self.copies = Copies::default();
    }
}

fn broken_chain() -> ClientError {
    ClientError::Disconnected("a transaction before this one could not be copied".into())
}

/// The revision that a write is based on is another one than the caller thought: it is what the
/// database has. Returns what is to be sent again.
fn rebase(transaction: &mut Transaction) -> Vec<Oid> {
    let mut again = Vec::new();
    for (oid, committed) in std::mem::take(&mut transaction.conflicts) {
        let Some(pending) = transaction.pending.get(&oid) else {
            let text = format!("{oid} was changed by somebody else");
            transaction.error.get_or_insert(ClientError::Storage(text));
            continue;
        };
        let write = super::api::Write { base: committed, ..pending.write.clone() };
        transaction.resolved.insert(oid, committed);
        transaction.add(write);
        again.push(oid);
    }
    again
}
