//! Begin, vote, finish, recovery of an unknown outcome, abort (spec client.md 7.2, 7.9 - 7.11).

use std::collections::BTreeSet;

use neo_wire::{ErrorCode, NodeId, NodeState, PackRequest, Packet, Tid, Ttid};
use tracing::{error, info};

use super::api::{Answer, CallId, ClientError, Metadata, TransactionKey};
use super::limits::{check_metadata, check_objects};
use super::reads::error_of;
use super::transaction::{DoneContent, Stage, Transaction, Waiting};
use super::{Asked, Caller, Client, Context, Item};

impl Client {
    /// The application begins a transaction; the link to the master is there.
    ///
    /// The answer of the master is only waited for when it can refuse: else the application may
    /// prepare its objects meanwhile.
    pub(super) fn begin(
        &mut self,
        call: CallId,
        key: TransactionKey,
        tid: Option<Tid>,
        cx: &mut Context<'_>,
    ) {
        let mut transaction = Transaction::new();
        if tid.is_some() {
            transaction.imposed = true;
            transaction.waiting = Some(Waiting::Begin(call));
        }
        self.transactions.insert(key, transaction);
        self.ask_master(Packet::AskBeginTransaction { tid }, Asked::Begin(key), cx);
        if tid.is_none() {
            self.answer(call, Ok(Answer::Done), cx);
        }
    }

    /// The master answered a begin.
    pub(super) fn begun(&mut self, key: TransactionKey, packet: Packet, cx: &mut Context<'_>) {
        let Some(transaction) = self.transactions.get_mut(&key) else {
            if let Packet::AnswerBeginTransaction { ttid } = packet {
                self.notify_master(Packet::AbortTransaction { ttid, nids: Vec::new() }, cx);
            }
            return;
        };
        let result = match packet {
            Packet::AnswerBeginTransaction { ttid } => {
                transaction.ttid = Some(ttid);
                Ok(Answer::Begun(ttid))
            }
            Packet::Error { code, message } => Err(error_of(code, message.to_string())),
            other => Err(ClientError::Storage(format!("unexpected {}", other.name()))),
        };
        if let Err(error) = &result {
            transaction.error.get_or_insert(error.clone());
        }
        if let Some(Waiting::Begin(call)) = transaction.waiting {
            transaction.waiting = None;
            self.answer(call, result, cx);
        }
        self.send_all_writes(key, cx);
        self.lose_requests(cx);
        self.progress(key, cx);
    }

    /// The link to the master was lost before it answered a begin.
    pub(super) fn begin_lost(&mut self, key: TransactionKey, cx: &mut Context<'_>) {
        match self.transactions.get(&key) {
            None => {}
            Some(transaction) if transaction.imposed => {
                let text = "the link to the primary master was lost at the begin";
                self.fail_begin(key, ClientError::Disconnected(text.into()), cx);
            }
            Some(_) => {
                // Nothing was sent for it yet: it begins when there is a primary.
                self.beginning.insert(key);
                self.want_master(cx);
            }
        }
    }

    /// A transaction can not begin.
    pub(super) fn fail_begin(
        &mut self,
        key: TransactionKey,
        error: ClientError,
        cx: &mut Context<'_>,
    ) {
        let Some(transaction) = self.transactions.get_mut(&key) else {
            return;
        };
        transaction.error.get_or_insert(error.clone());
        if let Some(Waiting::Begin(call)) = transaction.waiting {
            transaction.waiting = None;
            self.answer(call, Err(error), cx);
        }
        self.progress(key, cx);
    }

    /// There is a primary again: begins what could not be.
    pub(super) fn begin_again(&mut self, cx: &mut Context<'_>) {
        for key in std::mem::take(&mut self.beginning) {
            if self.transactions.contains_key(&key) {
                self.ask_master(Packet::AskBeginTransaction { tid: None }, Asked::Begin(key), cx);
            }
        }
    }

    /// Attaches a pack order.
    pub(super) fn set_pack(
        &mut self,
        key: TransactionKey,
        pack: PackRequest,
    ) -> Result<(), ClientError> {
        let transaction = self.transactions.get_mut(&key).ok_or(ClientError::UnknownTransaction)?;
        check_objects(pack.oids.as_ref().map_or(0, Vec::len))?;
        transaction.pack = Some(pack);
        Ok(())
    }

    /// The application wants to know the TTID.
    pub(super) fn ttid(&mut self, call: CallId, key: TransactionKey, cx: &mut Context<'_>) {
        let result = match self.transactions.get_mut(&key) {
            None => Err(ClientError::UnknownTransaction),
            Some(Transaction { error: Some(error), .. }) => Err(error.clone()),
            Some(Transaction { ttid: Some(ttid), .. }) => Ok(Answer::Begun(*ttid)),
            Some(transaction) => {
                transaction.waiting = Some(Waiting::Begin(call));
                return;
            }
        };
        self.answer(call, result, cx);
    }

    /// The application wants its transaction voted.
    pub(super) fn vote(
        &mut self,
        call: CallId,
        key: TransactionKey,
        metadata: Metadata,
        cx: &mut Context<'_>,
    ) {
        let Some(transaction) = self.transactions.get_mut(&key) else {
            self.answer(call, Err(ClientError::UnknownTransaction), cx);
            return;
        };
        if let Err(error) = check_metadata(&metadata) {
            self.answer(call, Err(error), cx);
            return;
        }
        transaction.metadata = metadata;
        transaction.waiting = Some(Waiting::Vote(call));
        self.progress(key, cx);
    }

    /// Takes the vote one step further if it can be.
    pub(super) fn progress_vote(&mut self, key: TransactionKey, cx: &mut Context<'_>) {
        let Some(transaction) = self.transactions.get_mut(&key) else {
            return;
        };
        match transaction.stage {
            Stage::Storing => {
                if let (true, Some(ttid)) = (transaction.is_stored(), transaction.ttid) {
                    transaction.stage = Stage::Voting;
                    self.ask_votes(key, ttid, cx);
                    self.lose_requests(cx);
                    self.progress(key, cx);
                }
            }
            Stage::Voting if transaction.votes.is_empty() => self.voted(key, cx),
            Stage::Voted => self.end_vote(key, cx),
            _ => {}
        }
    }

    fn ask_votes(&mut self, key: TransactionKey, ttid: Ttid, cx: &mut Context<'_>) {
        let row = self.table.row(self.table.partition(ttid.0));
        let nodes = &self.nodes;
        let metadata_nodes: BTreeSet<NodeId> = row
            .iter()
            .map(|cell| cell.nid)
            .filter(|nid| nodes.get(nid).is_some_and(|n| n.state == NodeState::Running))
            .collect();
        let Some(transaction) = self.transactions.get_mut(&key) else {
            return;
        };
        for nid in &metadata_nodes {
            transaction.nodes.entry(*nid).or_insert(true);
        }
        let live: Vec<NodeId> = transaction.live_nodes().collect();
        transaction.votes.extend(&live);
        if !live.iter().any(|nid| metadata_nodes.contains(nid)) {
            let text = "no storage available for the metadata of the transaction".to_string();
            transaction.error.get_or_insert(ClientError::Disconnected(text));
            return;
        }
        let metadata = transaction.metadata.clone();
        let store = Packet::AskStoreTransaction {
            ttid,
            user: metadata.user,
            description: metadata.description,
            extension: metadata.extension,
            oids: transaction.oids(),
            pack: transaction.pack.clone(),
        };
        for nid in live {
            let packet = if metadata_nodes.contains(&nid) {
                store.clone()
            } else {
                Packet::AskVoteTransaction { ttid }
            };
            self.ask_storage(nid, packet, Asked::Vote { transaction: key, nid }, cx);
        }
    }

    /// A storage voted, or refused to.
    pub(super) fn vote_answered(
        &mut self,
        key: TransactionKey,
        nid: NodeId,
        packet: Packet,
        cx: &mut Context<'_>,
    ) {
        let Some(transaction) = self.transactions.get_mut(&key) else {
            return;
        };
        transaction.votes.remove(&nid);
        if let Packet::Error { code, message } = packet {
            let error = error_of(code, message.to_string());
            transaction.error.get_or_insert(error);
        }
        self.progress(key, cx);
    }

    /// Every node that is not lost voted.
    fn voted(&mut self, key: TransactionKey, cx: &mut Context<'_>) {
        let Some(transaction) = self.transactions.get_mut(&key) else {
            return;
        };
        if let Some(oid) = transaction.unlocked.first() {
            let text = format!("object {oid} could not be write-locked");
            transaction.error.get_or_insert(ClientError::Disconnected(text));
            self.progress(key, cx);
            return;
        }
        let lost: BTreeSet<NodeId> = transaction.lost_nodes().collect();
        if lost.is_empty() {
            transaction.stage = Stage::Voted;
            self.end_vote(key, cx);
            return;
        }
        let np = self.table.partitions();
        let Some(ttid) = transaction.ttid else { return };
        let mut partitions: BTreeSet<_> =
            transaction.done.keys().map(|oid| oid.partition(np)).collect();
        partitions.insert(ttid.partition(np));
        // A node that is not running any more is not in the list of those that failed, although
        // it may have been the only one.
        for partition in partitions {
            let lockless = transaction.lockless.get(&partition);
            let locked = self.table.row(partition).iter().any(|cell| {
                !lost.contains(&cell.nid)
                    && lockless.is_none_or(|lockless| !lockless.contains(&cell.nid))
                    && transaction.nodes.contains_key(&cell.nid)
            });
            if !locked {
                let text = format!("partition {partition} not fully write-locked");
                transaction.error.get_or_insert(ClientError::Disconnected(text));
                self.progress(key, cx);
                return;
            }
        }
        let running =
            |nid: &NodeId| self.nodes.get(nid).is_some_and(|node| node.state == NodeState::Running);
        let failed: Vec<NodeId> = lost.into_iter().filter(running).collect();
        if failed.is_empty() {
            transaction.stage = Stage::Voted;
            self.end_vote(key, cx);
        } else {
            info!(%ttid, ?failed, "storages failed to store or vote");
            transaction.stage = Stage::Arbitrating;
            self.ask_master(Packet::FailedVote { ttid, nids: failed }, Asked::FailedVote(key), cx);
        }
    }

    /// The master decided about failed nodes.
    pub(super) fn arbitrated(&mut self, key: TransactionKey, packet: Packet, cx: &mut Context<'_>) {
        let Some(transaction) = self.transactions.get_mut(&key) else {
            return;
        };
        transaction.stage = Stage::Voted;
        match packet {
            Packet::Error { code: ErrorCode::Ack, .. } => {}
            Packet::Error { code: ErrorCode::IncompleteTransaction, message } => {
                let text = format!("the transaction can not be completed: {message}");
                transaction.error.get_or_insert(ClientError::Disconnected(text));
            }
            Packet::Error { code, message } => {
                transaction.error.get_or_insert(error_of(code, message.to_string()));
            }
            _ => {}
        }
        self.progress(key, cx);
    }

    fn end_vote(&mut self, key: TransactionKey, cx: &mut Context<'_>) {
        let Some(transaction) = self.transactions.get_mut(&key) else {
            return;
        };
        let call = match transaction.waiting {
            Some(Waiting::Vote(call)) => call,
            Some(Waiting::Copy(_)) => return self.finish_copies(cx),
            _ => return,
        };
        transaction.waiting = None;
        let result = match &transaction.error {
            Some(error) => Err(error.clone()),
            None => Ok(Answer::Voted(transaction.resolved.keys().copied().collect())),
        };
        self.answer(call, result, cx);
    }

    /// The application wants its voted transaction committed. From here on it can not be aborted.
    pub(super) fn finish(&mut self, call: CallId, key: TransactionKey, cx: &mut Context<'_>) {
        let Some(transaction) = self.transactions.get_mut(&key) else {
            self.answer(call, Err(ClientError::UnknownTransaction), cx);
            return;
        };
        let refusal = match (&transaction.error, transaction.stage) {
            (Some(error), _) => Some(error.clone()),
            (None, Stage::Voted) => None,
            _ => Some(ClientError::Storage("the transaction is not voted".into())),
        };
        if let Some(error) = refusal {
            self.answer(call, Err(error), cx);
            return;
        }
        transaction.waiting = Some(Waiting::Finish(call));
        self.ask_finish(key, cx);
    }

    /// Asks the master to commit a voted transaction.
    pub(super) fn ask_finish(&mut self, key: TransactionKey, cx: &mut Context<'_>) {
        let np = self.table.partitions();
        let Some(transaction) = self.transactions.get_mut(&key) else { return };
        let Some(ttid) = transaction.ttid else { return };
        let (mut checked, mut deleted) = (BTreeSet::new(), BTreeSet::new());
        let mut written = Vec::new();
        for oid in transaction.oids() {
            match transaction.done.get(&oid).map(|done| &done.content) {
                Some(DoneContent::Checked) => drop(checked.insert(oid.partition(np))),
                Some(DoneContent::Garbage) => drop(deleted.insert(oid.partition(np))),
                // Other deleted objects too, so that every client learns about them.
                _ => written.push(oid),
            }
        }
        let packet = Packet::AskFinishTransaction {
            ttid,
            oids: written,
            deleted: deleted.into_iter().collect(),
            checked: checked.into_iter().collect(),
            pack: transaction.pack.clone(),
        };
        transaction.stage = Stage::Finishing;
        self.ask_master(packet, Asked::Finish(key), cx);
    }

    /// The master answered: the transaction is committed, or not.
    pub(super) fn finished(&mut self, key: TransactionKey, packet: Packet, cx: &mut Context<'_>) {
        match packet {
            Packet::AnswerTransactionFinished { tid, .. } => self.committed(key, tid, true, cx),
            Packet::Error { code, message } => {
                let error = match code {
                    ErrorCode::IncompleteTransaction => {
                        ClientError::Disconnected(format!("transaction aborted: {message}"))
                    }
                    code => error_of(code, message.to_string()),
                };
                self.not_committed(key, error, cx);
            }
            other => {
                let text = format!("unexpected {}", other.name());
                self.not_committed(key, ClientError::Storage(text), cx);
            }
        }
    }

    /// `last` tells that nothing was committed after: only then, data can enter the cache.
    fn committed(&mut self, key: TransactionKey, tid: Tid, last: bool, cx: &mut Context<'_>) {
        let Some(mut transaction) = self.transactions.remove(&key) else {
            return;
        };
        let mut records = transaction.records();
        if !last {
            records.iter_mut().for_each(|(_, data)| *data = None);
        }
        let call = transaction.waiting.map(|waiting| waiting.call());
        self.publications.push_back(Item::Local { call, tid, records });
        self.publish(cx);
        self.copy_ended(key, true, cx);
    }

    fn not_committed(&mut self, key: TransactionKey, error: ClientError, cx: &mut Context<'_>) {
        let Some(transaction) = self.transactions.remove(&key) else {
            return;
        };
        if let Some(waiting) = transaction.waiting {
            self.answer(waiting.call(), Err(error), cx);
        }
        self.copy_ended(key, false, cx);
    }

    /// The link was lost after AskFinishTransaction was sent: nobody knows yet.
    pub(super) fn finish_lost(&mut self, key: TransactionKey, cx: &mut Context<'_>) {
        let Some(transaction) = self.transactions.get_mut(&key) else {
            return;
        };
        transaction.stage = Stage::Recovering;
        let Some(ttid) = transaction.ttid else { return };
        info!(%ttid, "the master was lost while committing: asking what happened");
        self.recover(key, cx);
    }

    /// Asks the master what became of a transaction, as soon as there is one.
    pub(super) fn recover(&mut self, key: TransactionKey, cx: &mut Context<'_>) {
        let Some(ttid) = self.transactions.get(&key).and_then(|t| t.ttid) else {
            return;
        };
        if self.is_operational() {
            self.ask_master(Packet::AskFinalTID { ttid }, Asked::FinalTid(key), cx);
        } else {
            self.recovering.insert(key);
            self.want_master(cx);
        }
    }

    /// The master tells the final TID, or that storages know.
    pub(super) fn master_final_tid(
        &mut self,
        key: TransactionKey,
        packet: Packet,
        cx: &mut Context<'_>,
    ) {
        let Some(ttid) = self.transactions.get(&key).and_then(|t| t.ttid) else {
            return;
        };
        match packet {
            Packet::AnswerFinalTID { tid: Some(Tid::MAX) } => {
                let packet = Packet::AskFinalTID { ttid };
                self.start_read(Caller::Recovery(key), ttid.0, packet, Vec::new(), cx);
            }
            Packet::AnswerFinalTID { tid } => self.outcome(key, tid, cx),
            Packet::Error { code, message } => {
                error!(%ttid, ?code, %message, "the final TID can not be known");
                self.not_committed(key, error_of(code, message.to_string()), cx);
            }
            _ => {}
        }
    }

    /// A storage tells the final TID.
    pub(super) fn storage_final_tid(
        &mut self,
        key: TransactionKey,
        result: Result<Answer, ClientError>,
        cx: &mut Context<'_>,
    ) {
        match result {
            Ok(Answer::Packet { packet: Packet::AnswerFinalTID { tid }, .. }) => {
                self.outcome(key, tid, cx);
            }
            // Whatever went wrong, the question stays: the master is asked again, which paces it.
            _ => self.recover(key, cx),
        }
    }

    fn outcome(&mut self, key: TransactionKey, tid: Option<Tid>, cx: &mut Context<'_>) {
        match tid {
            Some(tid) => self.committed(key, tid, false, cx),
            None => {
                let text = "the master was lost while committing: the transaction was aborted";
                self.not_committed(key, ClientError::Disconnected(text.into()), cx);
            }
        }
    }

    /// The application gives a transaction up; nothing happens if it is unknown or being finished.
    pub(super) fn abort(&mut self, key: TransactionKey, cx: &mut Context<'_>) {
        let finishing = |transaction: &Transaction| {
            matches!(transaction.stage, Stage::Finishing | Stage::Recovering)
        };
        if self.transactions.get(&key).is_none_or(finishing) {
            return;
        }
        let Some(transaction) = self.transactions.remove(&key) else {
            return;
        };
        if let Some(waiting) = &transaction.waiting {
            self.answer(waiting.call(), Err(ClientError::UnknownTransaction), cx);
        }
        self.beginning.remove(&key);
        self.unqueue(|asked| asked.transaction() == Some(key));
        let Some(ttid) = transaction.ttid else { return };
        for nid in transaction.live_nodes() {
            self.notify_storage(nid, Packet::AbortTransaction { ttid, nids: Vec::new() }, cx);
        }
        let nids = transaction.nodes.keys().copied().collect();
        self.notify_master(Packet::AbortTransaction { ttid, nids }, cx);
    }
}
