//! The model: the same database over ordered maps, with a disk that can fail.
//!
//! Deterministic and without threads. The simulator keeps the [`MemoryDisk`] of each storage node,
//! opens it when the node starts, and crashes it with the node.

mod background;
mod jobs;
mod reader;
mod state;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use neo_core::database::{JobResult, WriteJob};

use self::reader::MemoryReader;
use self::state::State;
use crate::traits::after_erasure;
use crate::{Durability, Failure, Jobs, Reader, StoreError, Writer};

/// A disk: what remains when the node that used it is gone. Clones are the same disk.
#[derive(Clone, Default)]
pub struct MemoryDisk(Arc<Mutex<Disk>>);

/// How the next commit fails. In both cases the writer gives up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CommitFault {
    /// Nothing of it is there afterwards.
    Nothing(Failure),
    /// The error is reported although everything is durable: the outcome that nobody may guess.
    Everything(Failure),
}

#[derive(Default)]
struct Disk {
    /// What readers see.
    current: State,
    /// What survives a crash of the machine: `current` without the steps of `lazy`.
    durable: State,
    lazy: Vec<Step>,
    commit_fault: Option<CommitFault>,
    read_fault: Option<Failure>,
    /// Number of times it was opened: the writer of a previous life can not write any more.
    life: u64,
    commits: u64,
}

/// What changes a state.
enum Step {
    Open,
    Jobs(Vec<WriteJob>),
}

impl Step {
    fn apply(self, state: &mut State) -> Result<Vec<JobResult>, StoreError> {
        match self {
            Self::Open => {
                state.open();
                Ok(Vec::new())
            }
            Self::Jobs(jobs) => jobs.into_iter().map(|job| state.job(job)).collect(),
        }
    }
}

impl Disk {
    /// Makes everything durable.
    fn sync(&mut self) -> Result<(), StoreError> {
        for step in std::mem::take(&mut self.lazy) {
            step.apply(&mut self.durable)?;
        }
        Ok(())
    }
}

impl MemoryDisk {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn lock(&self) -> MutexGuard<'_, Disk> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens the database that is on it, or makes a new one.
    ///
    /// # Errors
    /// None so far.
    pub fn open(&self) -> Result<MemoryWriter, StoreError> {
        let mut disk = self.lock();
        disk.life += 1;
        Step::Open.apply(&mut disk.current)?;
        disk.lazy.push(Step::Open);
        Ok(MemoryWriter { life: disk.life, disk: self.clone(), given_up: None })
    }

    /// The machine stops: of the commits that were not durable yet, only the `kept` first ones
    /// remain. With [`usize::MAX`], it is only the process that stops.
    ///
    /// # Errors
    /// None, unless the model is wrong.
    pub fn crash(&self, kept: usize) -> Result<(), StoreError> {
        let mut disk = self.lock();
        disk.life += 1;
        if kept == usize::MAX {
            return Ok(());
        }
        let mut jobs = 0;
        for step in std::mem::take(&mut disk.lazy) {
            if matches!(step, Step::Jobs(_)) {
                jobs += 1;
                if jobs > kept {
                    break;
                }
            }
            step.apply(&mut disk.durable)?;
        }
        disk.current = disk.durable.clone();
        Ok(())
    }

    /// Makes the next commit fail.
    pub fn fail_next_commit(&self, fault: CommitFault) {
        self.lock().commit_fault = Some(fault);
    }

    /// Makes the next read fail.
    pub fn fail_next_read(&self, failure: Failure) {
        self.lock().read_fault = Some(failure);
    }

    /// Another disk with the same contents, as a backup of the machine makes it.
    #[must_use]
    pub fn copy(&self) -> Self {
        let disk = self.lock();
        Self(Arc::new(Mutex::new(Disk {
            current: disk.current.clone(),
            durable: disk.current.clone(),
            ..Disk::default()
        })))
    }

    /// Forgets everything, as a new disk in place of the old one.
    pub fn wipe(&self) {
        let mut disk = self.lock();
        let life = disk.life + 1;
        *disk = Disk { life, ..Disk::default() };
    }

    /// Commits since it exists, failed ones left out.
    #[must_use]
    pub fn commits(&self) -> u64 {
        self.lock().commits
    }
}

/// The writer of a [`MemoryDisk`].
pub struct MemoryWriter {
    disk: MemoryDisk,
    life: u64,
    given_up: Option<StoreError>,
}

impl MemoryWriter {
    fn try_commit(
        &mut self,
        durability: Durability,
        jobs: Jobs<'_>,
    ) -> Result<Vec<JobResult>, StoreError> {
        let mut disk = self.disk.lock();
        if disk.life != self.life {
            return Err(StoreError::Locked);
        }
        if disk.current.is_erased() {
            return jobs.map(|job| after_erasure(&job)).collect();
        }
        let failed = |failure| StoreError::Failed { what: "commit", failure };
        let fault = disk.commit_fault.take();
        if let Some(CommitFault::Nothing(failure)) = fault {
            return Err(failed(failure));
        }
        let mut results = Vec::new();
        let mut done = Vec::new();
        for job in jobs {
            results.push(disk.current.job(job.clone())?);
            done.push(job);
        }
        disk.lazy.push(Step::Jobs(done));
        if durability == Durability::Durable {
            disk.sync()?;
        }
        if let Some(CommitFault::Everything(failure)) = fault {
            return Err(failed(failure));
        }
        disk.commits += 1;
        Ok(results)
    }
}

impl Writer for MemoryWriter {
    fn commit(
        &mut self,
        durability: Durability,
        jobs: Jobs<'_>,
    ) -> Result<Vec<JobResult>, StoreError> {
        if let Some(error) = &self.given_up {
            return Err(StoreError::GivenUp(error.to_string()));
        }
        let result = self.try_commit(durability, jobs);
        if let Err(error) = &result {
            self.given_up = Some(error.clone());
        }
        result
    }

    fn reader(&self) -> Result<Box<dyn Reader>, StoreError> {
        Ok(Box::new(MemoryReader { disk: self.disk.clone() }))
    }

    fn close(self: Box<Self>) -> Result<(), StoreError> {
        self.disk.lock().sync()
    }
}
