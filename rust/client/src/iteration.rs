//! All transactions between two TIDs, with their records (spec client.md 8.5).
//!
//! Pages of transactions: while one is used, the metadata of the next one travels. Records are
//! asked for several transactions at once, ahead of the one that is read; they belong to the
//! iteration, so that transactions which are kept do not keep them.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Weak};

use bytes::Bytes;
use neo_core::client::api::ClientError;
use neo_core::client::loads::Wanted;
use neo_wire::{Oid, Packet, Partition, Tid};

use crate::application::{Application, Inner};
use crate::error::Error;
use crate::fetch::{Fetched, Group};
use crate::history::{Information, information, information_request, tids_from};
use crate::sync::Mutex;
use crate::wait::{Interrupted, Train};

/// Transactions of a page.
const PAGE: usize = 100;

/// TIDs known ahead, in all partitions together, and the least of each.
const TIDS: usize = 2000;
const MIN_TIDS: usize = 8;

/// A record of a transaction: OID, data or none for a deletion, and the TID of the one that holds
/// the data if it is another one.
pub type Revision = (Oid, Option<Bytes>, Option<Tid>);

/// See the module.
#[derive(Debug)]
pub struct Transactions {
    inner: Arc<Inner>,
    stop: Tid,
    partitions: Vec<Cursor>,
    /// The metadata of the next page.
    travelling: Option<Train>,
    ahead: Arc<Mutex<Ahead>>,
}

/// Where an iteration is in a partition.
#[derive(Debug)]
struct Cursor {
    tids: VecDeque<Tid>,
    /// Where to go on; none at the end.
    next: Option<Tid>,
}

/// Records that were not asked for yet.
#[derive(Debug)]
struct Ahead {
    /// Of the page.
    transactions: VecDeque<Arc<Information>>,
    records: BTreeMap<Tid, Result<Vec<Revision>, Error>>,
    group: Group,
}

/// A transaction of an iteration; it outlives it.
#[derive(Debug)]
pub struct Transaction {
    inner: Arc<Inner>,
    information: Arc<Information>,
    ahead: Weak<Mutex<Ahead>>,
}

impl Application {
    /// The transactions between two included TIDs, ascending; none of those that are committed
    /// after the call.
    ///
    /// # Errors
    /// [`Error`]
    pub fn transactions(
        &self,
        start: Tid,
        stop: Tid,
        interrupted: Interrupted<'_>,
    ) -> Result<Transactions, Error> {
        let stop = stop.min(self.last_transaction(interrupted)?);
        let next = Some(start).filter(|start| *start <= stop);
        let cursor = |_| Cursor { tids: VecDeque::new(), next };
        let count = if next.is_some() { self.partitions(interrupted)? } else { 0 };
        let partitions = (0..count).map(cursor).collect();
        let ahead =
            Ahead { transactions: VecDeque::new(), records: BTreeMap::new(), group: Group::new() };
        let ahead = Arc::new(Mutex::new(ahead));
        let inner = Arc::clone(self.inner());
        Ok(Transactions { inner, stop, partitions, travelling: None, ahead })
    }
}

impl Transactions {
    /// The next ones; none at the end.
    ///
    /// # Errors
    /// [`Error`]
    pub fn page(&mut self, interrupted: Interrupted<'_>) -> Result<Vec<Transaction>, Error> {
        if self.travelling.is_none() {
            self.depart(interrupted)?;
        }
        let Some(train) = self.travelling.take() else { return Ok(Vec::new()) };
        let answers = self.inner.arrive(train, interrupted)?;
        let page: Vec<_> = answers
            .into_iter()
            .map(|answer| information(answer).map(Arc::new))
            .collect::<Result<_, _>>()?;
        self.depart(interrupted)?;
        let mut ahead = self.ahead.lock();
        ahead.transactions = page.iter().map(Arc::clone).collect();
        ahead.records.clear();
        let transaction = |information| Transaction {
            inner: Arc::clone(&self.inner),
            information,
            ahead: Arc::downgrade(&self.ahead),
        };
        Ok(page.into_iter().map(transaction).collect())
    }

    /// Asks for the metadata of the next page.
    fn depart(&mut self, interrupted: Interrupted<'_>) -> Result<(), Error> {
        let mut tids = Vec::with_capacity(PAGE);
        while tids.len() < PAGE {
            self.refill(interrupted)?;
            let first = self.partitions.iter_mut().filter(|cursor| !cursor.tids.is_empty());
            let Some(cursor) = first.min_by_key(|cursor| cursor.tids.front().copied()) else {
                break;
            };
            tids.extend(cursor.tids.pop_front());
        }
        if !tids.is_empty() {
            self.travelling = Some(self.inner.send(tids.into_iter().map(information_request)));
        }
        Ok(())
    }

    /// Asks for TIDs if some partition has told all it knows.
    fn refill(&mut self, interrupted: Interrupted<'_>) -> Result<(), Error> {
        let length = (TIDS / self.partitions.len().max(1)).max(MIN_TIDS);
        while self.partitions.iter().any(|cursor| cursor.tids.is_empty() && cursor.next.is_some()) {
            // The others soon will be there too.
            let low = self.partitions.iter_mut().zip(0..).filter_map(|(cursor, number)| {
                let next = cursor.next.filter(|_| cursor.tids.len() <= length / 4)?;
                Some((cursor, next, Partition(number)))
            });
            let low: Vec<_> = low.collect();
            let requests = low.iter().map(|(_, min_tid, partition)| {
                let (min_tid, partition) = (*min_tid, *partition);
                let length = length as u64;
                (partition, Packet::AskTIDsFrom { min_tid, max_tid: self.stop, length, partition })
            });
            let answers = self.inner.ask_partitions(requests, interrupted, tids_from)?;
            for ((cursor, _, _), tids) in low.into_iter().zip(answers) {
                let last = tids.last().filter(|_| tids.len() >= length);
                cursor.next = last.map(|last| last.next()).filter(|next| *next <= self.stop);
                cursor.tids.extend(tids);
            }
        }
        Ok(())
    }
}

impl Drop for Transactions {
    fn drop(&mut self) {
        if let Some(train) = self.travelling.take() {
            self.inner.cancel(&train);
        }
    }
}

impl Transaction {
    /// Its metadata.
    #[must_use]
    pub fn information(&self) -> &Information {
        &self.information
    }

    /// Some of its records, from a place of its list of objects on, with the place to go on with:
    /// at the end, the length of that list. Objects without a record (only checked, or packed) are
    /// skipped.
    ///
    /// # Errors
    /// [`Error`]
    pub fn records(
        &self,
        from: usize,
        interrupted: Interrupted<'_>,
    ) -> Result<(Vec<Revision>, usize), Error> {
        let oids = &self.information.oids;
        let ahead = self.ahead.upgrade();
        let mut group = Group::new();
        let mut wanted = Vec::new();
        let mut transactions = Vec::new();
        if let Some(ahead) = &ahead {
            let mut ahead = ahead.lock();
            group = ahead.group;
            let found = (from == 0).then(|| ahead.records.remove(&self.information.tid)).flatten();
            if let Some(records) = found {
                return Ok((records?, oids.len()));
            }
            if from == 0 {
                transactions = ahead.following(self.information.tid);
            }
        }
        let end = oids.len().min(from.saturating_add(group.len()));
        let of = |information: &Information, oids: &[Oid]| {
            let wanted = oids.iter().map(|oid| (*oid, Wanted::Exact(information.tid)));
            wanted.collect::<Vec<_>>()
        };
        wanted.extend(of(&self.information, oids.get(from..end).unwrap_or_default()));
        transactions.iter().for_each(|other| wanted.extend(of(other, &other.oids)));
        let (mut records, bytes) = self.fetch_records(&wanted, interrupted)?;
        group.learn(wanted.len(), bytes);
        let own = records.remove(&self.information.tid).unwrap_or_else(|| Ok(Vec::new()));
        if let Some(ahead) = ahead {
            let mut ahead = ahead.lock();
            ahead.group = group;
            for other in transactions {
                let tid = other.tid;
                let found = records.remove(&tid).unwrap_or_else(|| Ok(Vec::new()));
                ahead.records.insert(tid, found);
            }
        }
        Ok((own?, end))
    }

    /// Records by transaction, and how many bytes they have. What is wrong with a record is the
    /// matter of those who want its transaction.
    #[expect(clippy::type_complexity, reason = "a map and a number")]
    fn fetch_records(
        &self,
        wanted: &[(Oid, Wanted)],
        interrupted: Interrupted<'_>,
    ) -> Result<(BTreeMap<Tid, Result<Vec<Revision>, Error>>, usize), Error> {
        let mut records = BTreeMap::new();
        let mut bytes = 0;
        self.inner.fetch_each(wanted, interrupted, |place, fetched| {
            let (oid, Wanted::Exact(tid)) = wanted[place] else { return };
            let entry = records.entry(tid).or_insert_with(|| Ok(Vec::new()));
            match (fetched, &mut *entry) {
                (_, Err(_)) => {}
                (Err(error), _) if is_missing(&error) => {}
                (Err(error), _) => *entry = Err(error),
                (Ok(Fetched { data, data_serial, .. }), Ok(list)) => {
                    bytes += data.as_ref().map_or(0, Bytes::len);
                    let data_serial = data_serial.filter(|_| data.is_some());
                    list.push((oid, data, data_serial));
                }
            }
        })?;
        Ok((records, bytes))
    }
}

fn is_missing(error: &Error) -> bool {
    matches!(error, Error::Client(ClientError::NotFound(_) | ClientError::DoesNotExist(_)))
}

impl Ahead {
    /// The transactions of the page after this one that can be asked together with it. Those before
    /// were read, or will not be.
    fn following(&mut self, tid: Tid) -> Vec<Arc<Information>> {
        while self.transactions.front().is_some_and(|first| first.tid < tid) {
            self.transactions.pop_front();
        }
        let Some(own) = self.transactions.pop_front_if(|first| first.tid == tid) else {
            return Vec::new();
        };
        let mut count = own.oids.len();
        let mut following = Vec::new();
        while let Some(next) = self.transactions.front() {
            count += next.oids.len();
            if count > self.group.len() {
                break;
            }
            following.extend(self.transactions.pop_front());
        }
        following
    }
}
