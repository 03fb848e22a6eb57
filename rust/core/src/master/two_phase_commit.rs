//! How a transaction is finished: locked on every storage that takes part, then committed in the
//! order of TIDs (spec master.md 10.4, 10.6, 10.8).

use std::collections::BTreeSet;

use neo_wire::{ErrorCode, NodeId, NodeType, PackRequest, Packet, Partition, Text, Tid, Ttid};
use tracing::{debug, warn};

use super::transactions::{Delayed, Finishing, Transaction};
use super::{Asker, Master, Question, Turn};
use crate::nodes::NodeKey;

/// What AskFinishTransaction gives.
struct Finish {
    ttid: Ttid,
    oids: Vec<neo_wire::Oid>,
    modified: BTreeSet<Partition>,
    concerned: BTreeSet<Partition>,
    pack: Option<PackRequest>,
}

impl Master {
    /// Handles AskFinishTransaction. Returns false if a transaction with a lower imposed TID has to
    /// be locked before.
    pub(super) fn finish(&mut self, turn: &mut Turn<'_>, delayed: &Delayed) -> bool {
        let from = delayed.asker;
        match self.examine_finish(delayed) {
            Ok((finish, failed)) => self.try_finish(turn, from, finish, &failed),
            Err(text) => {
                self.protocol_error(turn, from, &text);
                true
            }
        }
    }

    fn try_finish(
        &mut self,
        turn: &mut Turn<'_>,
        from: Asker,
        finish: Finish,
        failed: &BTreeSet<NodeId>,
    ) -> bool {
        let ttid = finish.ttid;
        let is_doomed = self.transactions.get(ttid).is_none_or(|x| x.is_doomed);
        let excluded: Vec<_> = failed.iter().copied().collect();
        if is_doomed || !excluded.is_empty() && !self.is_operational(&excluded) {
            self.give_up(turn, from, ttid);
            return true;
        }
        if !self.is_in_order(&finish) {
            if let Some(transaction) = self.transactions.get_mut(ttid) {
                transaction.held = Some(from);
            }
            return false;
        }
        self.disconnect_failed(turn, &finish, failed);
        let involved = self.involved(&finish);
        if self.leaving.is_some() || involved.is_empty() {
            self.give_up(turn, from, ttid);
        } else {
            self.lock(turn, from, finish, &involved);
        }
        true
    }

    /// Whether no crash can leave a transaction whose TID is imposed without the one before it:
    /// that one is locked everywhere, or every storage that is asked to lock this one was asked to
    /// lock the other, and would tell its TID.
    fn is_in_order(&self, finish: &Finish) -> bool {
        let Some((lower, transaction)) = self.transactions.predecessor(finish.ttid) else {
            return true;
        };
        let Some(finishing) = &transaction.finishing else {
            return false;
        };
        let row = self.table.row(lower.partition(self.table.partitions()));
        let tells = |nid: &NodeId| {
            finishing.involved.contains(nid) && row.iter().any(|cell| cell.nid == *nid)
        };
        finishing.locking.is_empty() || self.involved(finish).iter().all(tells)
    }

    fn lock(
        &mut self,
        turn: &mut Turn<'_>,
        from: Asker,
        finish: Finish,
        involved: &BTreeSet<NodeId>,
    ) {
        let ttid = finish.ttid;
        let partitions = self.table.partitions();
        let wall_s = turn.now.wall_s;
        let tid = match self.transactions.allocate(ttid, partitions, wall_s) {
            Ok(tid) => tid,
            Err(error) => return self.protocol_error(turn, from, &error.to_string()),
        };
        self.transactions.use_oids(&finish.oids);
        let pack = finish.pack.is_some_and(|pack| self.packs.order(tid, pack));
        debug!(%ttid, %tid, ?involved, "lock");
        if let Some(transaction) = self.transactions.get_mut(ttid) {
            transaction.held = None;
            transaction.finishing = Some(Finishing {
                tid,
                oids: finish.oids,
                modified: finish.modified,
                asker: from,
                involved: involved.clone(),
                locking: involved.clone(),
                ptid: self.table.ptid(),
            });
        }
        for nid in involved {
            if let Some(connection) = self.storage_connection(*nid) {
                let packet = Packet::AskLockInformation { ttid, tid, pack };
                self.ask(turn, connection, packet, Question::Lock(ttid));
            }
        }
    }

    /// Checks AskFinishTransaction; returns it with the storages that its client could not write
    /// to.
    fn examine_finish(&self, delayed: &Delayed) -> Result<(Finish, BTreeSet<NodeId>), String> {
        let Packet::AskFinishTransaction { ttid, oids, deleted, checked, pack } =
            delayed.packet.clone()
        else {
            return Err(String::new());
        };
        let last_tid = self.transactions.last_tid();
        let is_past = |pack: &PackRequest| Tid::ZERO < pack.pack_tid && pack.pack_tid <= last_tid;
        if !pack.as_ref().is_none_or(is_past) {
            return Err("invalid pack time".into());
        }
        let Some(transaction) = self.owned(ttid, delayed.client) else {
            return Err(format!("unknown ttid {ttid}"));
        };
        if transaction.is_asked() && transaction.held != Some(delayed.asker) {
            return Err(format!("commit already requested for ttid {ttid}"));
        }
        let partitions = self.table.partitions();
        let mut given = deleted.iter().chain(&checked);
        if given.any(|partition| partition.0 >= partitions) {
            return Err("invalid partition".into());
        }
        let modified = oids.iter().map(|oid| oid.partition(partitions));
        let modified: BTreeSet<_> = modified.chain(deleted).collect();
        let mut concerned = modified.clone();
        concerned.extend(checked);
        concerned.insert(ttid.partition(partitions));
        let finish = Finish { ttid, oids, modified, concerned, pack };
        Ok((finish, transaction.failed.clone()))
    }

    /// Aborts a transaction that would not be readable.
    fn give_up(&mut self, turn: &mut Turn<'_>, from: Asker, ttid: Ttid) {
        self.error(turn, from, ErrorCode::IncompleteTransaction, "");
        if let Some(transaction) = self.transactions.get_mut(ttid) {
            transaction.held = None;
        }
        let ready: Vec<_> = self.readiness.ready().collect();
        self.abort_transaction(turn, ttid, ready.into_iter());
        self.retry_delayed(turn);
    }

    /// Ends the connections of the storages that miss the transaction, so that others record that
    /// they are out of date before it gets locked: verification relies on it.
    fn disconnect_failed(
        &mut self,
        turn: &mut Turn<'_>,
        finish: &Finish,
        failed: &BTreeSet<NodeId>,
    ) {
        let concerned = finish.concerned.iter();
        let cells = concerned.flat_map(|partition| self.table.row(*partition));
        let concerned: BTreeSet<_> = cells.map(|cell| cell.nid).collect();
        for nid in concerned.intersection(failed) {
            if let Some(connection) = self.storage_connection(*nid) {
                warn!(%nid, "disconnected: it misses a transaction");
                self.cut(turn, connection);
            }
        }
    }

    /// The storages that have to lock: those that got the whole transaction, in whatever state
    /// their cells are.
    fn involved(&self, finish: &Finish) -> BTreeSet<NodeId> {
        let Some(transaction) = self.transactions.get(finish.ttid) else {
            return BTreeSet::new();
        };
        let readiness = transaction.readiness;
        let cells = finish.concerned.iter();
        cells
            .flat_map(|partition| self.table.row(*partition))
            .map(|cell| cell.nid)
            .filter(|nid| self.readiness.is_ready_since(*nid, readiness))
            .filter(|nid| self.storage_connection(*nid).is_some())
            .collect()
    }

    /// AnswerInformationLocked.
    pub(super) fn on_locked(
        &mut self,
        turn: &mut Turn<'_>,
        key: NodeKey,
        ttid: Ttid,
        packet: Packet,
    ) {
        let Packet::AnswerInformationLocked { ttid: answered } = packet else {
            return;
        };
        let Some((nid, connection)) =
            self.nodes.get(key).and_then(|record| Some((record.nid()?, record.connection()?)))
        else {
            return;
        };
        if answered != ttid {
            warn!(%nid, %ttid, %answered, "another transaction was to be locked");
            return self.hang_up(turn, connection);
        }
        let finishing = self.transactions.get_mut(ttid);
        if let Some(finishing) = finishing.and_then(|x| x.finishing.as_mut()) {
            finishing.locking.remove(&nid);
            let is_locked = finishing.locking.is_empty();
            if !self.commit_locked(turn) && is_locked {
                self.retry_delayed(turn);
            }
        }
    }

    /// A storage is lost: transactions do not wait for it (10.8).
    pub(super) fn on_participant_lost(&mut self, turn: &mut Turn<'_>, nid: NodeId) {
        self.transactions.lose_storage(nid);
        self.commit_locked(turn);
    }

    /// Commits what can be; returns whether something was.
    pub(super) fn commit_locked(&mut self, turn: &mut Turn<'_>) -> bool {
        let mut any = false;
        while let Some((ttid, transaction, finishing)) = self.transactions.take_committed() {
            self.commit(turn, ttid, transaction, &finishing);
            any = true;
        }
        if any {
            self.retry_delayed(turn);
        }
        any
    }

    /// Announces a commit, to clients first.
    fn commit(
        &mut self,
        turn: &mut Turn<'_>,
        ttid: Ttid,
        transaction: Transaction,
        finishing: &Finishing,
    ) {
        let tid = finishing.tid;
        debug!(%ttid, %tid, "commit");
        self.least_ptid = self.least_ptid.max(finishing.ptid);
        self.commit_ptid = self.table.ptid();
        let signed = self
            .packs
            .is_approved(tid)
            .then(|| Packet::NotifyPackSigned { approved: vec![tid], rejected: Vec::new() });
        let mut backups = Vec::new();
        for (key, connection) in self.connected(&[NodeType::Client]) {
            if transaction.owner == Some(key) {
                let answer = Packet::AnswerTransactionFinished { ttid, tid };
                self.answer(turn, finishing.asker, answer);
            } else if self.is_backup(key) {
                let partitions = finishing.modified.iter().copied().collect();
                let packet = Packet::InvalidatePartitions { tid, partitions };
                self.notify(turn, connection, packet);
                backups.push(connection);
            } else {
                let oids = finishing.oids.clone();
                self.notify(turn, connection, Packet::InvalidateObjects { tid, oids });
            }
        }
        for nid in &finishing.involved {
            if let Some(connection) = self.storage_connection(*nid) {
                self.notify(turn, connection, Packet::NotifyUnlockInformation { ttid });
            }
        }
        if let Some(signed) = signed {
            let ready = self.readiness.ready();
            let ready = ready.filter_map(|nid| self.storage_connection(nid));
            for connection in ready.chain(backups).collect::<Vec<_>>() {
                self.notify(turn, connection, signed.clone());
            }
        }
        for nid in transaction.registered {
            if let Some(connection) = self.storage_connection(nid) {
                let max_tid = tid;
                let packet = Packet::NotifyTransactionFinished { ttid, max_tid };
                self.notify(turn, connection, packet);
            }
        }
        for asker in transaction.waiting {
            self.answer(turn, asker, Packet::AnswerFinalTID { tid: Some(tid) });
        }
    }

    /// Whether a client is the master of a cluster that backs this one up.
    fn is_backup(&self, client: NodeKey) -> bool {
        let key = Text::from("backup");
        let record = self.nodes.get(client);
        record.is_some_and(|record| record.extra.get(&key).is_some())
    }
}
