//! Jobs of the foreground.

use neo_core::database::cells::{changed, renamed};
use neo_core::database::{
    DataId, JobOutput, JobResult, Payload, Refusal, StoredObject, TableChange, TransactionMetadata,
    Vote, WriteJob,
};
use neo_wire::{NodeId, Partition, Tid, Ttid};

use super::columns::{concatenated, data_id, id, sql};
use super::failure::Doing;
use super::schema::drop_tables;
use super::work::{Voted, Work};
use crate::StoreError;
use crate::traits::after_erasure;

const VOTING: &str = "writing a vote";

impl Work<'_> {
    pub fn job(&mut self, job: WriteJob) -> Result<JobResult, StoreError> {
        if let Err(refusal) = job.check() {
            return Ok(Err(refusal));
        }
        if self.memory.erased {
            return after_erasure(&job);
        }
        let result = match job {
            WriteJob::SetName(name) => self.set("name", Some(name)),
            WriteJob::SetNodeId(nid) => self.set_node_id(nid),
            WriteJob::SetBackupTid(tid) => self.set_backup_tid(tid),
            WriteJob::DecideTruncation(tid) => self.decide_truncation(tid),
            WriteJob::ChangeTable(change) => {
                let output = self.change_table(&change);
                return output.doing("writing the partition table").map(Ok);
            }
            WriteJob::Spill { ttid, oid, data } => {
                if self.memory.partitions == 0 {
                    return Ok(Err(Refusal::NoPartitionTable));
                }
                let data = self.add_data(oid.partition(self.memory.partitions), &data)?;
                let name = self.spill(ttid, data).doing("writing data")?;
                return Ok(Ok(JobOutput::Spilled(name)));
            }
            WriteJob::ReleaseSpilled(names) => self.release_spilled(&names),
            WriteJob::Vote(vote) => return self.vote(vote),
            WriteJob::Lock { ttid, tid, approve_pack } => self.lock(ttid, tid, approve_pack),
            WriteJob::Unlock { ttid, tid } => self.unlock(ttid, tid),
            WriteJob::Abort { ttid } => self.abort(ttid),
            WriteJob::Validate { ttid, tid } => {
                self.lock(ttid, tid, true).and_then(|()| self.unlock(ttid, tid))
            }
            WriteJob::DiscardUnfinished(partitions) => self.discard_unfinished(&partitions),
            WriteJob::DropUnfinished => self.drop_unfinished(),
            WriteJob::Erase => {
                self.memory.erased = true;
                drop_tables(self.connection)
            }
            job => return self.background_job(job),
        };
        result.doing("a write").map(|()| Ok(JobOutput::Done))
    }

    fn set_node_id(&mut self, nid: NodeId) -> rusqlite::Result<()> {
        if let Some(old) = self.memory.nid
            && old != nid
        {
            let rows = renamed(&self.memory.rows, old, nid);
            self.write_rows(rows)?;
        }
        self.memory.nid = Some(nid);
        self.set("nid", Some(nid.0.to_string()))
    }

    fn set_backup_tid(&mut self, tid: Option<Tid>) -> rusqlite::Result<()> {
        self.memory.backup_tid = tid;
        self.set("backup_tid", tid.map(|tid| tid.to_string()))
    }

    fn decide_truncation(&mut self, tid: Tid) -> rusqlite::Result<()> {
        self.set_backup_tid(None)?;
        self.memory.truncate_tid = Some(tid);
        self.set("truncate_tid", Some(tid.to_string()))
    }

    fn change_table(&mut self, change: &TableChange) -> rusqlite::Result<JobOutput> {
        let own = self.memory.nid;
        let rows = changed(&self.memory.rows, change, own, |partition| -> rusqlite::Result<Tid> {
            match self.memory.backup_tid {
                Some(tid) if tid != Tid::ZERO => Ok(tid),
                _ => {
                    let last = super::reader::last_tids(self.connection, partition)?;
                    Ok(last.transactions.max(last.objects).unwrap_or(Tid::ZERO))
                }
            }
        })?;
        self.write_rows(rows)?;
        self.set("ptid", Some(change.ptid.to_string()))?;
        self.set("replicas", Some(change.replicas.to_string()))?;
        let rows = self.memory.rows.values();
        let own_rows = rows.filter(|row| Some(row.nid) == own);
        Ok(JobOutput::OwnCells(own_rows.copied().collect()))
    }

    fn spill(&mut self, ttid: Ttid, data: DataId) -> rusqlite::Result<DataId> {
        self.memory.last_spilled += 1;
        let name = DataId(self.memory.last_spilled);
        self.memory.spilled.insert(name, (ttid, data));
        self.memory.hold(data);
        let row = (sql(name.0)?, sql(data.0)?);
        self.execute("INSERT INTO neo_spilled VALUES (?, ?)", row)?;
        Ok(name)
    }

    fn spilled_by(&self, ttid: Ttid, name: DataId) -> Option<DataId> {
        let (owner, data) = self.memory.spilled.get(&name)?;
        (*owner == ttid).then_some(*data)
    }

    /// Their data is still to be released.
    fn take_spilled(&mut self, names: &[DataId]) -> rusqlite::Result<Vec<DataId>> {
        let mut taken = Vec::new();
        for name in names {
            if let Some((_, data)) = self.memory.spilled.remove(name) {
                self.execute("DELETE FROM neo_spilled WHERE name = ?", [sql(name.0)?])?;
                taken.push(data);
            }
        }
        Ok(taken)
    }

    fn take_spilled_by(&mut self, ttid: Ttid) -> rusqlite::Result<Vec<DataId>> {
        let spilled = self.memory.spilled.iter();
        let of_it = spilled.filter(|(_, (owner, _))| *owner == ttid);
        let names: Vec<_> = of_it.map(|(name, _)| *name).collect();
        self.take_spilled(&names)
    }

    fn release_spilled(&mut self, names: &[DataId]) -> rusqlite::Result<()> {
        let released = self.take_spilled(names)?;
        self.release(released)
    }

    fn vote(&mut self, vote: Vote) -> Result<JobResult, StoreError> {
        let ttid = vote.ttid;
        let partitions = self.memory.partitions;
        if partitions == 0 {
            return Ok(Err(Refusal::NoPartitionTable));
        }
        let mut targets = Vec::with_capacity(vote.objects.len());
        for object in &vote.objects {
            match self.target(ttid, object).doing(VOTING)? {
                Ok(target) => targets.push(target),
                Err(refusal) => return Ok(Err(refusal)),
            }
        }
        // What it had already is released at the end, for the new vote may use it.
        let mut released = Vec::new();
        if let Some(voted) = self.memory.voted.remove(&ttid) {
            self.delete_voted(ttid, &voted).doing(VOTING)?;
            released.extend(voted.data);
        }
        let mut voted = Voted::default();
        for (object, target) in vote.objects.into_iter().zip(targets) {
            let partition = object.oid.partition(partitions);
            let data = match (target, &object.payload) {
                (Some(data), _) => data,
                (None, Payload::Nothing) => None,
                (None, Payload::Data(data)) => Some(self.add_data(partition, data)?),
                (None, Payload::Spilled(name)) => self.spilled_by(ttid, *name),
            };
            self.vote_object(ttid, partition, &object, data).doing(VOTING)?;
            if let Some(data) = data {
                self.memory.hold(data);
                voted.data.push(data);
            }
        }
        if !released.is_empty() {
            self.release(released).doing(VOTING)?;
        }
        if let Some(metadata) = vote.transaction {
            voted.pack = metadata.pack.is_some();
            voted.metadata = Some(self.vote_metadata(ttid, &metadata).doing(VOTING)?);
        }
        self.memory.voted.insert(ttid, voted);
        Ok(Ok(JobOutput::Done))
    }

    /// The data of the record that an undo goes back to; none if `payload` is to be used.
    fn target(
        &self,
        ttid: Ttid,
        object: &StoredObject,
    ) -> rusqlite::Result<Result<Option<Option<DataId>>, Refusal>> {
        if let Some(tid) = object.value_tid {
            let found = self.record_data(object.oid, tid)?;
            if found.is_some() {
                return Ok(Ok(found));
            }
            if object.value_required {
                return Ok(Err(Refusal::UndoPacked(object.oid)));
            }
        }
        if let Payload::Spilled(name) = object.payload
            && self.spilled_by(ttid, name).is_none()
        {
            return Ok(Err(Refusal::NotSpilled(name)));
        }
        Ok(Ok(None))
    }

    fn vote_object(
        &self,
        ttid: Ttid,
        partition: Partition,
        object: &StoredObject,
        data: Option<DataId>,
    ) -> rusqlite::Result<()> {
        let data = data.map(|data| sql(data.0)).transpose()?;
        let value_tid = object.value_tid.map(|tid| sql(tid.0)).transpose()?;
        let statement = "INSERT INTO tobj VALUES (?, ?, ?, ?, ?)";
        let row = (partition.0, sql(object.oid.0)?, sql(ttid.0)?, data, value_tid);
        self.execute(statement, row).map(|_| ())
    }

    /// Returns the row of `ttrans`.
    fn vote_metadata(&self, ttid: Ttid, metadata: &TransactionMetadata) -> rusqlite::Result<i64> {
        let key = sql(ttid.0)?;
        let row = (
            ttid.partition(self.memory.partitions).0,
            concatenated(&metadata.oids),
            &metadata.user[..],
            &metadata.description[..],
            &metadata.extension[..],
            key,
        );
        self.execute("INSERT INTO ttrans VALUES (?, NULL, 0, ?, ?, ?, ?, ?)", row)?;
        let voted = self.connection.last_insert_rowid();
        if let Some(pack) = &metadata.pack {
            let oids = pack.oids.as_ref().filter(|oids| !oids.is_empty());
            let row =
                (key, oids.is_some(), oids.map(|oids| concatenated(oids)), sql(pack.pack_tid.0)?);
            self.execute("INSERT OR REPLACE INTO pack VALUES (?, NULL, ?, ?, ?)", row)?;
        }
        Ok(voted)
    }

    /// Deletes its rows. The pack order goes with the transaction that carries it.
    fn delete_voted(&self, ttid: Ttid, voted: &Voted) -> rusqlite::Result<()> {
        let key = sql(ttid.0)?;
        self.execute("DELETE FROM tobj WHERE tid = ?", [key])?;
        if let Some(row) = voted.metadata {
            self.execute("DELETE FROM ttrans WHERE rowid = ?", [row])?;
        }
        if voted.pack {
            self.execute("DELETE FROM pack WHERE tid = ?", [key])?;
        }
        Ok(())
    }

    fn lock(&mut self, ttid: Ttid, tid: Tid, approve_pack: bool) -> rusqlite::Result<()> {
        let (key, tid) = (sql(ttid.0)?, sql(tid.0)?);
        let Some(voted) = self.memory.voted.get_mut(&ttid) else {
            return Ok(());
        };
        let Some(row) = voted.metadata else {
            return Ok(());
        };
        voted.locked = true;
        let approve = approve_pack && voted.pack;
        self.execute("UPDATE ttrans SET tid = ? WHERE rowid = ?", (tid, row))?;
        if approve {
            self.execute("UPDATE pack SET approved = 1 WHERE tid = ?", [key])?;
        }
        Ok(())
    }

    fn unlock(&mut self, ttid: Ttid, tid: Tid) -> rusqlite::Result<()> {
        let spilled = self.take_spilled_by(ttid)?;
        if !spilled.is_empty() {
            self.release(spilled)?;
        }
        let Some(voted) = self.memory.voted.remove(&ttid) else {
            return Ok(());
        };
        let (key, tid) = (sql(ttid.0)?, sql(tid.0)?);
        if let Some(row) = voted.metadata {
            // Replication may have brought it already, as well as objects below.
            let statement = "INSERT OR IGNORE INTO trans
                SELECT partition, ?1, packed, oids, user, description, ext, ttid
                FROM ttrans WHERE rowid = ?2";
            self.execute(statement, (tid, row))?;
            self.execute("DELETE FROM ttrans WHERE rowid = ?", [row])?;
        }
        if voted.pack && tid != key {
            let statement = "UPDATE OR REPLACE pack SET tid = ? WHERE tid = ?";
            self.execute(statement, (tid, key))?;
        }
        let statement = "INSERT OR IGNORE INTO obj
            SELECT partition, oid, ?1, data_id, value_tid FROM tobj WHERE tid = ?2";
        let moved = self.execute(statement, (tid, key))?;
        let deleted = self.execute("DELETE FROM tobj WHERE tid = ?", [key])?;
        if moved < deleted {
            return self.release(voted.data);
        }
        for data in voted.data {
            self.memory.unhold(data);
        }
        Ok(())
    }

    fn abort(&mut self, ttid: Ttid) -> rusqlite::Result<()> {
        if self.memory.voted.get(&ttid).is_some_and(|voted| voted.locked) {
            return Ok(());
        }
        let mut released = self.take_spilled_by(ttid)?;
        if let Some(voted) = self.memory.voted.remove(&ttid) {
            self.delete_voted(ttid, &voted)?;
            released.extend(voted.data);
        }
        self.release(released)
    }

    fn discard_unfinished(&mut self, partitions: &[Partition]) -> rusqlite::Result<()> {
        let mut released = Vec::new();
        for partition in partitions.iter().map(|partition| partition.0) {
            let mut statement =
                self.statement("SELECT tid, data_id FROM tobj WHERE partition = ?")?;
            let rows = statement
                .query_map([partition], |row| Ok((Ttid(id(row, 0)?), data_id(row, 1)?)))?;
            for row in rows {
                let (ttid, data) = row?;
                let Some(data) = data else { continue };
                if let Some(voted) = self.memory.voted.get_mut(&ttid)
                    && let Some(place) = voted.data.iter().position(|held| *held == data)
                {
                    voted.data.swap_remove(place);
                    released.push(data);
                }
            }
            self.execute("DELETE FROM tobj WHERE partition = ?", [partition])?;
            let ttids = self.column("SELECT ttid FROM ttrans WHERE partition = ?", [partition])?;
            for ttid in ttids {
                self.execute("DELETE FROM ttrans WHERE ttid = ?", [sql(ttid)?])?;
                if let Some(voted) = self.memory.voted.get_mut(&Ttid(ttid)) {
                    voted.metadata = None;
                    voted.locked = false;
                    if std::mem::take(&mut voted.pack) {
                        self.execute("DELETE FROM pack WHERE tid = ?", [sql(ttid)?])?;
                    }
                }
            }
        }
        self.release(released)
    }

    fn drop_unfinished(&mut self) -> rusqlite::Result<()> {
        for table in ["tobj", "ttrans", "neo_spilled"] {
            self.execute(&format!("DELETE FROM {table}"), [])?;
        }
        self.memory.voted.clear();
        self.memory.spilled.clear();
        let released = self.memory.take_holds();
        self.prune(released)?;
        // Spec storage.md 15.8.
        let statement = "DELETE FROM pack WHERE NOT EXISTS (SELECT 1 FROM trans
            WHERE trans.partition = pack.tid % max(?, 1) AND trans.tid = pack.tid)";
        self.execute(statement, [self.memory.partitions]).map(|_| ())
    }
}
