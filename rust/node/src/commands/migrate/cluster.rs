//! The cluster, and the list of its transactions.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use neo_client::records::Compress;
use neo_client::{Application, Error, Options};
use neo_wire::{Packet, Partition, Tid};

use super::super::daemon;
use crate::RunError;
use crate::config::MigrateConfig;
use crate::config::migrate::Direction;

/// TIDs asked at once, of all partitions.
const PAGE: usize = 20_000;
/// Failed attempts to reach the cluster before it is given up.
const ATTEMPTS: u32 = 20;
/// Bytes of a transaction that is written in pieces which may wait for their answers.
const WRITE_BUFFER: usize = 8 << 20;

/// See the module.
pub struct Cluster {
    /// The client of it.
    pub application: Application,
    partitions: u32,
    /// The last transaction when it was connected.
    pub last: Tid,
}

impl Cluster {
    /// Gets in touch with it.
    pub fn connect(config: &MigrateConfig) -> Result<Self, RunError> {
        let options = Options {
            name: config.cluster.clone(),
            masters: daemon::addresses(&config.masters),
            compress: Compress::Zlib(None),
            cache_size: 0,
            write_buffer: WRITE_BUFFER,
            read_only: config.direction == Direction::Export,
            ignore_wrong_checksum: false,
            tls: daemon::tls(&config.link)?,
            wait_timeout: None,
            seed: std::process::id().into(),
        };
        let application = Application::new(options).map_err(daemon::failed)?;
        application.set_max_reconnections(Some(ATTEMPTS));
        let failed = |error| {
            let masters: Vec<String> = config.masters.iter().map(ToString::to_string).collect();
            let masters = masters.join(" ");
            RunError::Failed(format!("cluster {} at {masters}: {error}", config.cluster))
        };
        application.sync(&never).map_err(failed)?;
        let last = application.last_transaction(&never).map_err(failed)?;
        let (partitions, _) = application
            .geometry()
            .ok_or_else(|| daemon::failed("the cluster has no partition table yet"))?;
        Ok(Self { application, partitions, last })
    }

    /// The last transaction now, after a failure.
    pub fn last_now(&self) -> Result<Tid, Error> {
        self.application.sync(&never)?;
        self.application.last_transaction(&never)
    }

    /// Its transactions up to [`Self::last`], in order.
    pub fn tids(&self, last: Tid) -> Tids<'_> {
        let page = (PAGE / self.partitions.max(1) as usize).clamp(10, 5000);
        let queue = || Queue { tids: VecDeque::new(), next: Some(Tid::ZERO) };
        let queues = (0..self.partitions).map(|_| queue()).collect();
        Tids { cluster: self, last, page, queues, heads: BinaryHeap::new(), started: false }
    }

    /// How many transactions it has.
    pub fn count(&self) -> Result<u64, Error> {
        let mut count = 0;
        for tid in self.tids(self.last) {
            tid?;
            count += 1;
        }
        Ok(count)
    }

    /// Leaves it.
    pub fn close(&self) {
        self.application.close();
        self.application.join();
    }
}

/// Nothing but a signal ends a command, and that ends the process.
pub fn never() -> bool {
    false
}

/// Transactions of all partitions, merged.
pub struct Tids<'a> {
    cluster: &'a Cluster,
    last: Tid,
    page: usize,
    queues: Vec<Queue>,
    /// The first one of each queue.
    heads: BinaryHeap<Reverse<(Tid, u32)>>,
    started: bool,
}

struct Queue {
    tids: VecDeque<Tid>,
    /// Where to ask from; none if there are no more.
    next: Option<Tid>,
}

impl Tids<'_> {
    fn start(&mut self) -> Result<(), Error> {
        self.started = true;
        for partition in 0..self.queues.len() as u32 {
            self.pull(partition)?;
        }
        Ok(())
    }

    /// Puts the first one of a queue in the heap.
    fn pull(&mut self, partition: u32) -> Result<(), Error> {
        let Some(queue) = self.queues.get_mut(partition as usize) else {
            return Ok(());
        };
        if let (true, Some(min_tid)) = (queue.tids.is_empty(), queue.next) {
            let packet = Packet::AskTIDsFrom {
                min_tid,
                max_tid: self.last,
                length: self.page as u64,
                partition: Partition(partition),
            };
            let answer = self.cluster.application.read(u64::from(partition), packet, &never)?;
            if let Packet::AnswerTIDsFrom { tids } = answer {
                let full = tids.len() >= self.page;
                queue.next = tids.last().filter(|_| full).map(|last| last.next());
                queue.tids = tids.into();
            }
        }
        if let Some(tid) = queue.tids.pop_front() {
            self.heads.push(Reverse((tid, partition)));
        }
        Ok(())
    }
}

impl Iterator for Tids<'_> {
    type Item = Result<Tid, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if !self.started
            && let Err(error) = self.start()
        {
            return Some(Err(error));
        }
        let Reverse((tid, partition)) = self.heads.pop()?;
        Some(self.pull(partition).map(|()| tid))
    }
}
