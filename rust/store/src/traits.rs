//! The surface of a database.

use std::collections::BTreeMap;

use neo_core::database::{
    Answer, CellRow, Class, Configuration, DataId, DataStatistics, JobOutput, JobResult, LastIds,
    LastTids, Loaded, OidsFrom, Query, Revision, TransactionInfo, WriteJob,
};
use neo_wire::{Oid, PackOrder, Partition, StoredData, Tid, Ttid};

use crate::StoreError;

/// What a commit promises.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Durability {
    /// Survives a crash of the process; a crash of the machine may undo it, together with
    /// everything that was committed after it. The next durable commit carries it.
    Lazy,
    /// Survives everything once the commit returned.
    Durable,
}

/// A job that comes once the tables are dropped: the rest of work that was begun before is nothing
/// any more, and nobody may be promised anything.
pub(crate) fn after_erasure(job: &WriteJob) -> Result<JobResult, StoreError> {
    match job.class() {
        Class::Background => Ok(Ok(JobOutput::Done)),
        _ => Err(StoreError::Erased),
    }
}

/// What these jobs need: [`Durability::Lazy`] only if all of them are lazy.
#[must_use]
pub fn durability_of<'a>(jobs: impl IntoIterator<Item = &'a WriteJob>) -> Durability {
    if jobs.into_iter().all(|job| job.class() == Class::Lazy) {
        Durability::Lazy
    } else {
        Durability::Durable
    }
}

/// The jobs of one commit, taken one by one: the next one is asked for when the previous one was
/// carried out, so that the source can end the commit when it took long enough.
pub type Jobs<'a> = &'a mut dyn Iterator<Item = WriteJob>;

/// The owner of a database: all writes.
pub trait Writer: Send {
    /// Carries out the jobs in order and makes them durable by one commit. Results are in the
    /// same order. Readers see all of them or none.
    ///
    /// # Errors
    /// After an error nothing is known of these jobs; every later call fails. A job that is
    /// refused is no error: it has no effect, and the others are carried out.
    fn commit(
        &mut self,
        durability: Durability,
        jobs: Jobs<'_>,
    ) -> Result<Vec<JobResult>, StoreError>;

    /// A new reader, independent of the writer where the database can do that.
    ///
    /// # Errors
    /// If the database can not be opened once more.
    fn reader(&self) -> Result<Box<dyn Reader>, StoreError>;

    /// Commits jobs with the durability they need.
    ///
    /// # Errors
    /// Those of [`Writer::commit`].
    fn run(&mut self, jobs: Vec<WriteJob>) -> Result<Vec<JobResult>, StoreError> {
        let durability = durability_of(&jobs);
        self.commit(durability, &mut jobs.into_iter())
    }

    /// A clean stop: leaves everything in one file, as it was configured. Dropping the writer is
    /// as safe, only less tidy.
    ///
    /// # Errors
    /// If that failed; nothing that was committed is lost.
    fn close(self: Box<Self>) -> Result<(), StoreError>;
}

/// Reads. Every call sees what was committed before it. Identifiers of 2^63 and more are in no
/// database: they are not found.
pub trait Reader: Send {
    /// Settings (spec storage.md 4.1).
    fn configuration(&self) -> Result<Configuration, StoreError>;

    /// The partition table (spec storage.md 4.2), by partition then node.
    fn table(&self) -> Result<Vec<CellRow>, StoreError>;

    /// Over these cells only (spec storage.md 3.3).
    fn last_ids(&self, partitions: &[Partition]) -> Result<LastIds, StoreError>;

    /// Of one cell.
    fn last_tids(&self, partition: Partition) -> Result<LastTids, StoreError>;

    /// Voted transactions (spec storage.md 10.4).
    fn unfinished(&self) -> Result<BTreeMap<Ttid, Option<Tid>>, StoreError>;

    /// TID of a committed transaction (spec storage.md 12.7).
    fn final_tid(&self, ttid: Ttid) -> Result<Option<Tid>, StoreError>;

    /// One revision of an object (spec storage.md 12.2).
    fn load(&self, oid: Oid, revision: Revision) -> Result<Loaded, StoreError>;

    /// TID of the last record of an object.
    fn last_serial(&self, oid: Oid) -> Result<Option<Tid>, StoreError>;

    /// Whether a record exists.
    fn has_record(&self, oid: Oid, tid: Tid) -> Result<bool, StoreError>;

    /// TIDs of the records of an object with their `value_tid`, ascending.
    fn revisions(&self, oid: Oid) -> Result<Vec<(Tid, Option<Tid>)>, StoreError>;

    /// The greatest `pack_tid` of the orders that were executed on this object, or that are being
    /// executed; zero if there is none (spec storage.md 12.6).
    fn pack_tid(&self, oid: Oid) -> Result<Tid, StoreError>;

    /// Data written before a vote.
    fn spilled(&self, data: DataId) -> Result<Option<StoredData>, StoreError>;

    /// A committed transaction (spec storage.md 12.3).
    fn transaction(&self, tid: Tid) -> Result<Option<TransactionInfo>, StoreError>;

    /// Revisions with the length of their stored value, descending (spec storage.md 12.5).
    fn history(&self, oid: Oid, offset: u64, length: u64) -> Result<Vec<(Tid, u64)>, StoreError>;

    /// Descending (spec storage.md 12.4).
    fn tids(
        &self,
        partitions: &[Partition],
        offset: u64,
        length: u64,
    ) -> Result<Vec<Tid>, StoreError>;

    /// Ascending, bounds included (spec storage.md 12.4, 13.7).
    fn tids_from(
        &self,
        partition: Partition,
        min: Tid,
        max: Tid,
        length: u64,
    ) -> Result<Vec<Tid>, StoreError>;

    /// Objects that exist at a TID (spec storage.md 12.8).
    fn oids_from(
        &self,
        partition: Partition,
        min_oid: Oid,
        length: u64,
        tid: Tid,
    ) -> Result<OidsFrom, StoreError>;

    /// Keys of records, ascending (spec storage.md 13.8).
    fn records_from(
        &self,
        partition: Partition,
        min: (Tid, Oid),
        max_tid: Tid,
        length: u64,
    ) -> Result<Vec<(Tid, Oid)>, StoreError>;

    /// Pack orders of these cells, ascending (spec storage.md 15.2).
    fn pack_orders(&self, min: Tid, partitions: &[Partition])
    -> Result<Vec<PackOrder>, StoreError>;

    /// Reads all rows of `data`: slow.
    fn data_statistics(&self) -> Result<DataStatistics, StoreError>;

    /// Whatever is asked.
    ///
    /// # Errors
    /// A failed read: the node must stop.
    fn answer(&self, query: &Query) -> Result<Answer, StoreError> {
        Ok(match query {
            Query::Configuration => Answer::Configuration(self.configuration()?),
            Query::Table => Answer::Table(self.table()?),
            Query::LastIds(partitions) => Answer::LastIds(self.last_ids(partitions)?),
            Query::LastTids(partition) => Answer::LastTids(self.last_tids(*partition)?),
            Query::Unfinished => Answer::Unfinished(self.unfinished()?),
            Query::FinalTid(ttid) => Answer::FinalTid(self.final_tid(*ttid)?),
            Query::Load { oid, revision } => Answer::Loaded(self.load(*oid, *revision)?),
            Query::LastSerial(oid) => Answer::LastSerial(self.last_serial(*oid)?),
            Query::HasRecord { oid, tid } => Answer::HasRecord(self.has_record(*oid, *tid)?),
            Query::Revisions(oid) => Answer::Revisions(self.revisions(*oid)?),
            Query::PackTid(oid) => Answer::PackTid(self.pack_tid(*oid)?),
            Query::Spilled(data) => Answer::Spilled(self.spilled(*data)?),
            Query::Transaction(tid) => Answer::Transaction(self.transaction(*tid)?),
            Query::History { oid, offset, length } => {
                Answer::History(self.history(*oid, *offset, *length)?)
            }
            Query::Tids { partitions, offset, length } => {
                Answer::Tids(self.tids(partitions, *offset, *length)?)
            }
            Query::TidsFrom { partition, min, max, length } => {
                Answer::Tids(self.tids_from(*partition, *min, *max, *length)?)
            }
            Query::OidsFrom { partition, min_oid, length, tid } => {
                Answer::OidsFrom(self.oids_from(*partition, *min_oid, *length, *tid)?)
            }
            Query::RecordsFrom { partition, min_tid, min_oid, max_tid, length } => Answer::Records(
                self.records_from(*partition, (*min_tid, *min_oid), *max_tid, *length)?,
            ),
            Query::PackOrders { min, partitions } => {
                Answer::PackOrders(self.pack_orders(*min, partitions)?)
            }
            Query::DataStatistics => Answer::DataStatistics(self.data_statistics()?),
        })
    }
}
