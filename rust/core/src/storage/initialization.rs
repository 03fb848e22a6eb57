//! Between identification and operation: recovery and verification, as the master asks
//! (spec storage.md 3.2, 3.3, 10.4, 16.1).

use neo_wire::{Packet, Tid, Ttid};
use tracing::{info, warn};

use super::jobs::{Asked, Job};
use super::master_link::Phase;
use super::queues::Requester;
use super::{Context, Storage};
use crate::database::{LastIds, Query, WriteJob};

impl Storage {
    pub(super) fn initialization_packet(
        &mut self,
        to: Requester,
        packet: Packet,
        cx: &mut Context<'_>,
    ) {
        match packet {
            Packet::AskRecovery {} => {
                let packet = Packet::AnswerRecovery {
                    ptid: self.table.ptid(),
                    backup_tid: self.backup_tid,
                    truncate_tid: self.truncate_tid,
                };
                self.reply(to, packet, cx);
            }
            Packet::AskPartitionTable {} => match self.table.ptid() {
                Some(ptid) => {
                    let packet = Packet::AnswerPartitionTable {
                        ptid,
                        num_replicas: self.table.num_replicas(),
                        rows: self.table.rows().clone(),
                    };
                    self.reply(to, packet, cx);
                }
                None => self.refuse(to, "there is no partition table here", cx),
            },
            Packet::SendPartitionTable { ptid: Some(ptid), num_replicas, rows } => {
                if let Err(reason) = self.full_table((ptid, num_replicas, rows), cx) {
                    warn!(%ptid, "this partition table is refused: {reason}");
                    self.refuse(to, &reason, cx);
                }
            }
            Packet::Truncate { tid } => {
                // Not answered (spec protocol.md 14, trap 6).
                self.backup_tid = None;
                self.truncate_tid = Some(tid);
                self.truncating = false;
                self.ask_write(vec![WriteJob::DecideTruncation(tid)], Job::Nothing, cx);
            }
            Packet::AskLockedTransactions {} => {
                self.ask_read(Query::Unfinished, Job::Read(to, None, Asked::Locked), cx);
            }
            Packet::ValidateTransaction { ttid, tid } => {
                info!(%ttid, %tid, "commit an unfinished transaction");
                self.ask_write(vec![WriteJob::Validate { ttid, tid }], Job::Nothing, cx);
            }
            Packet::AskLastIDs {} => match self.truncate_tid {
                Some(tid) => {
                    info!(%tid, "truncate");
                    self.truncating = true;
                    self.ask_write(vec![WriteJob::Truncate], Job::Truncate(to), cx);
                }
                None => self.ask_last_ids(to, cx),
            },
            Packet::StartOperation { backup } => self.start_operation(backup, cx),
            other => self.unexpected(to, "master, initializing", &other, cx),
        }
    }

    /// The truncation is done.
    pub(super) fn truncated(&mut self, to: Requester, cx: &mut Context<'_>) {
        if std::mem::take(&mut self.truncating)
            && let Some(tid) = self.truncate_tid.take()
        {
            self.own.values_mut().for_each(|cell| cell.tid = cell.tid.min(tid));
        }
        self.ask_last_ids(to, cx);
    }

    fn ask_last_ids(&mut self, to: Requester, cx: &mut Context<'_>) {
        let query = Query::LastIds(self.readable());
        self.ask_read(query, Job::Read(to, None, Asked::LastIds), cx);
    }

    /// The master learns the last pack done here before the last IDs.
    pub(super) fn last_ids(&mut self, to: Requester, ids: LastIds, cx: &mut Context<'_>) {
        self.packs.tell_again();
        self.tell_completed_pack(cx);
        let packet = Packet::AnswerLastIDs {
            last_tid: ids.last_tid,
            last_oid: ids.last_oid,
            first_tid: ids.first_tid,
        };
        self.reply(to, packet, cx);
    }

    /// From the master only what is in the database counts.
    pub(super) fn master_final_tid(&mut self, to: Requester, ttid: Ttid, cx: &mut Context<'_>) {
        self.ask_read(Query::FinalTid(ttid), Job::Read(to, None, Asked::FinalTid), cx);
    }

    pub(super) fn pack_orders(&mut self, to: Requester, min_id: Tid, cx: &mut Context<'_>) {
        let query = Query::PackOrders { min: min_id, partitions: self.readable() };
        self.ask_read(query, Job::Read(to, None, Asked::PackOrders), cx);
    }

    /// In backup mode, clients must find its TID: operation waits until it is known.
    fn start_operation(&mut self, backup: bool, cx: &mut Context<'_>) {
        if backup && self.backup_tid.is_none() {
            self.start_backup(cx);
            return;
        }
        self.phase = Phase::Operating;
        self.replicating = self
            .own
            .values()
            .filter(|cell| cell.state == neo_wire::CellState::OutOfDate)
            .map(|cell| cell.partition)
            .collect();
        let mut jobs = Vec::new();
        if !backup && self.backup_tid.take().is_some() {
            jobs.push(WriteJob::SetBackupTid(None));
        }
        // What had to be committed was validated; the rest was locked nowhere.
        jobs.push(WriteJob::DropUnfinished);
        self.ask_write(jobs, Job::Nothing, cx);
        info!("operation starts");
        self.tell_master(Packet::NotifyReady {}, cx);
        self.maybe_pack(cx);
        self.go_on_repairing(cx);
    }

    /// Backup mode begins where the readable cells are, unless it already was in it.
    pub(super) fn start_backup(&mut self, cx: &mut Context<'_>) {
        if self.backup_tid.is_none() {
            self.ask_write(Vec::new(), Job::BackupTid, cx);
        }
    }

    pub(super) fn start_backup_at(&mut self, tid: Tid, cx: &mut Context<'_>) {
        self.backup_tid = Some(tid);
        self.ask_write(vec![WriteJob::SetBackupTid(Some(tid))], Job::Nothing, cx);
        if !self.is_operational() {
            self.start_operation(true, cx);
        }
    }
}
