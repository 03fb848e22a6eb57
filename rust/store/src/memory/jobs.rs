//! Jobs of the foreground.

use neo_core::database::cells::{changed, renamed};
use neo_core::database::{
    CellRow, DataId, JobOutput, JobResult, Payload, Refusal, StoredObject, TableChange,
    TransactionInfo, TransactionMetadata, Vote, WriteJob,
};
use neo_wire::{CellState, NodeId, Oid, OidList, PackOrder, Partition, Tid, Ttid};

use super::state::{Record, State, Voted};
use crate::StoreError;
use crate::traits::after_erasure;

impl State {
    pub fn job(&mut self, job: WriteJob) -> Result<JobResult, StoreError> {
        if let Err(refusal) = job.check() {
            return Ok(Err(refusal));
        }
        if self.erased {
            return after_erasure(&job);
        }
        match job {
            WriteJob::SetName(name) => self.configuration.name = Some(name),
            WriteJob::SetNodeId(nid) => self.set_node_id(nid),
            WriteJob::SetBackupTid(tid) => self.configuration.backup_tid = tid,
            WriteJob::DecideTruncation(tid) => {
                self.configuration.backup_tid = None;
                self.configuration.truncate_tid = Some(tid);
            }
            WriteJob::ChangeTable(change) => return Ok(Ok(self.change_table(&change))),
            WriteJob::Spill { ttid, oid, data } => {
                let partitions = self.partitions();
                if partitions == 0 {
                    return Ok(Err(Refusal::NoPartitionTable));
                }
                let id = self.add_data(oid.partition(partitions), data);
                self.last_spilled += 1;
                let name = DataId(self.last_spilled);
                self.spilled.insert(name, (ttid, id));
                return Ok(Ok(JobOutput::Spilled(name)));
            }
            WriteJob::ReleaseSpilled(names) => {
                for name in names {
                    if let Some((_, id)) = self.spilled.remove(&name) {
                        self.release(Some(id));
                    }
                }
            }
            WriteJob::Vote(vote) => return self.vote(vote),
            WriteJob::Lock { ttid, tid, approve_pack } => self.lock(ttid, tid, approve_pack),
            WriteJob::Unlock { ttid, tid } => self.unlock(ttid, tid),
            WriteJob::Abort { ttid } => self.abort(ttid),
            WriteJob::Validate { ttid, tid } => {
                self.lock(ttid, tid, true);
                self.unlock(ttid, tid);
            }
            WriteJob::DiscardUnfinished(partitions) => self.discard_unfinished(&partitions),
            WriteJob::DropUnfinished => self.drop_unfinished(),
            WriteJob::Erase => {
                *self = Self::default();
                self.erased = true;
            }
            job => return self.background_job(job),
        }
        Ok(Ok(JobOutput::Done))
    }

    fn set_node_id(&mut self, nid: NodeId) {
        if let Some(old) = self.configuration.nid
            && old != nid
        {
            self.rows = renamed(&self.rows, old, nid);
        }
        self.configuration.nid = Some(nid);
    }

    fn change_table(&mut self, change: &TableChange) -> JobOutput {
        let backup_tid = self.configuration.backup_tid;
        let up_to = |partition| -> Result<Tid, std::convert::Infallible> {
            Ok(match backup_tid {
                Some(tid) if tid != Tid::ZERO => tid,
                _ => {
                    let last = self.last_tids(partition);
                    last.transactions.max(last.objects).unwrap_or(Tid::ZERO)
                }
            })
        };
        let own = self.configuration.nid;
        let Ok(rows) = changed(&self.rows, change, own, up_to);
        self.rows = rows;
        self.configuration.ptid = Some(change.ptid);
        self.configuration.replicas = Some(change.replicas);
        let own_rows = self.rows.values().filter(|row| Some(row.nid) == own);
        JobOutput::OwnCells(own_rows.copied().collect())
    }

    fn vote(&mut self, vote: Vote) -> Result<JobResult, StoreError> {
        let ttid = vote.ttid;
        let partitions = self.partitions();
        if partitions == 0 {
            return Ok(Err(Refusal::NoPartitionTable));
        }
        for object in &vote.objects {
            if let Err(refusal) = self.check_object(ttid, object) {
                return Ok(Err(refusal));
            }
        }
        // What it had already is released at the end, for the new vote may use it.
        let old_records = self.take_voted_records(ttid);
        self.remove_voted(ttid);
        for object in vote.objects {
            let partition = object.oid.partition(partitions);
            let target = object.value_tid.and_then(|tid| self.record(object.oid, tid));
            let data = match (target, object.payload) {
                (Some(record), _) => {
                    self.hold(record.data)?;
                    record.data
                }
                (None, Payload::Nothing) => None,
                (None, Payload::Data(data)) => Some(self.add_data(partition, data)),
                (None, Payload::Spilled(name)) => {
                    let data = self.spilled_by(ttid, name);
                    self.hold(data)?;
                    data
                }
            };
            let value_tid = object.value_tid;
            let record = (partition, Record { data, value_tid });
            self.voted_records.insert((ttid, object.oid), record);
        }
        for data in old_records {
            self.release(data);
        }
        if let Some(metadata) = vote.transaction {
            self.vote_metadata(ttid, ttid.partition(partitions), metadata);
        }
        Ok(Ok(JobOutput::Done))
    }

    fn check_object(&self, ttid: Ttid, object: &StoredObject) -> Result<(), Refusal> {
        if let Some(tid) = object.value_tid {
            if self.record(object.oid, tid).is_some() {
                return Ok(());
            }
            if object.value_required {
                return Err(Refusal::UndoPacked(object.oid));
            }
        }
        match object.payload {
            Payload::Spilled(name) if self.spilled_by(ttid, name).is_none() => {
                Err(Refusal::NotSpilled(name))
            }
            _ => Ok(()),
        }
    }

    fn vote_metadata(&mut self, ttid: Ttid, partition: Partition, metadata: TransactionMetadata) {
        let pack = metadata.pack.is_some();
        if let Some(pack) = metadata.pack {
            let partial = pack.oids.as_ref().is_some_and(|oids| !oids.is_empty());
            let order = PackOrder {
                tid: ttid.as_tid(),
                approved: None,
                partial,
                oids: pack.oids.filter(|_| partial).map(OidList::List),
                pack_tid: pack.pack_tid,
            };
            self.packs.insert(order.tid, order);
        }
        let info = TransactionInfo {
            tid: ttid.as_tid(),
            ttid,
            packed: false,
            user: metadata.user,
            description: metadata.description,
            extension: metadata.extension,
            oids: metadata.oids,
        };
        let voted = Voted { partition, tid: None, pack, info };
        self.voted.insert(ttid, voted);
    }

    fn take_voted_records(&mut self, ttid: Ttid) -> Vec<Option<DataId>> {
        let keys: Vec<_> = self
            .voted_records
            .range((ttid, Oid::ZERO)..=(ttid, Oid::INVALID))
            .map(|(key, _)| *key)
            .collect();
        keys.iter()
            .filter_map(|key| self.voted_records.remove(key))
            .map(|(_, record)| record.data)
            .collect()
    }

    fn spilled_by(&self, ttid: Ttid, name: DataId) -> Option<DataId> {
        let (owner, data) = self.spilled.get(&name)?;
        (*owner == ttid).then_some(*data)
    }

    fn release_spilled(&mut self, ttid: Ttid) {
        let of_it = self.spilled.extract_if(.., |_, (owner, _)| *owner == ttid);
        let taken: Vec<_> = of_it.map(|(_, (_, data))| data).collect();
        for data in taken {
            self.release(Some(data));
        }
    }

    /// The pack order goes with the transaction that carries it.
    fn remove_voted(&mut self, ttid: Ttid) {
        if self.voted.remove(&ttid).is_some_and(|voted| voted.pack) {
            self.packs.remove(&ttid.as_tid());
        }
    }

    fn lock(&mut self, ttid: Ttid, tid: Tid, approve_pack: bool) {
        let Some(voted) = self.voted.get_mut(&ttid) else {
            return;
        };
        voted.tid = Some(tid);
        if approve_pack
            && voted.pack
            && let Some(pack) = self.packs.get_mut(&ttid.as_tid())
        {
            pack.approved = Some(true);
        }
    }

    fn unlock(&mut self, ttid: Ttid, tid: Tid) {
        if let Some(voted) = self.voted.remove(&ttid) {
            if voted.pack
                && let Some(pack) = self.packs.remove(&ttid.as_tid())
            {
                self.packs.insert(tid, PackOrder { tid, ..pack });
            }
            let info = TransactionInfo { tid, ..voted.info };
            self.transactions.entry((voted.partition, tid)).or_insert(info);
        }
        let keys: Vec<_> = self
            .voted_records
            .range((ttid, Oid::ZERO)..=(ttid, Oid::INVALID))
            .map(|(key, _)| *key)
            .collect();
        for key in keys {
            let Some((partition, record)) = self.voted_records.remove(&key) else {
                continue;
            };
            // Replication may have brought it already.
            if self.records.contains_key(&(partition, key.1, tid)) {
                self.release(record.data);
            } else {
                self.put_record(partition, key.1, tid, record);
            }
        }
        self.release_spilled(ttid);
    }

    fn abort(&mut self, ttid: Ttid) {
        if self.voted.get(&ttid).is_some_and(|row| row.tid.is_some()) {
            return;
        }
        self.remove_voted(ttid);
        for data in self.take_voted_records(ttid) {
            self.release(data);
        }
        self.release_spilled(ttid);
    }

    fn discard_unfinished(&mut self, partitions: &[Partition]) {
        let keys: Vec<_> = self
            .voted_records
            .iter()
            .filter(|(_, (partition, _))| partitions.contains(partition))
            .map(|(key, _)| *key)
            .collect();
        for key in keys {
            let removed = self.voted_records.remove(&key);
            self.release(removed.and_then(|(_, record)| record.data));
        }
        let ttids: Vec<_> = self
            .voted
            .iter()
            .filter(|(_, voted)| partitions.contains(&voted.partition))
            .map(|(ttid, _)| *ttid)
            .collect();
        for ttid in ttids {
            self.remove_voted(ttid);
        }
    }

    fn drop_unfinished(&mut self) {
        self.voted.clear();
        for (_, record) in std::mem::take(&mut self.voted_records).into_values() {
            self.release(record.data);
        }
        for (_, data) in std::mem::take(&mut self.spilled).into_values() {
            self.release(Some(data));
        }
        let partitions = self.partitions();
        let transactions = &self.transactions;
        self.packs.retain(|tid, _| transactions.contains_key(&(tid.partition(partitions), *tid)));
    }

    pub fn set_own_cell(&mut self, partition: Partition, set: impl Fn(&mut CellRow)) {
        if let Some(nid) = self.configuration.nid
            && let Some(row) = self.rows.get_mut(&(partition, nid))
        {
            set(row);
        }
    }

    pub fn set_cell_tid(&mut self, partition: Partition, tid: Tid) {
        self.set_own_cell(partition, |row| {
            if row.state == CellState::OutOfDate {
                row.tid = tid;
            }
        });
    }
}
