//! A client of a cluster, as an application uses it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use neo_core::client::api::{
    Answer, ClientError, Conflict, Content, Event, Metadata, Request, TransactionKey, Write,
};
use neo_core::client::loads::{Loads, Wanted};
use neo_core::client::{Client, Config};
use neo_core::io::{Entropy, Node as _};
use neo_net::Tls;
use neo_wire::{Address, NodeId, Oid, PackRequest, Packet, Tid};

use crate::background::report;
use crate::engine::Engine;
use crate::error::Error;
use crate::load::{Record, SharedLoads};
use crate::prefetch::Prefetcher;
use crate::records::{self, Compress};
use crate::sync::{Condvar, Mutex, MutexGuard};
use crate::wait::{Interrupted, Kick};

/// OIDs are asked by that many (spec client.md 10.1).
const OID_BATCH: u64 = 100;

/// How a client is set up (spec client.md 1.2).
#[derive(Debug, Clone)]
pub struct Options {
    /// Name of the cluster.
    pub name: String,
    /// Known masters.
    pub masters: Vec<Address>,
    /// Compression of records.
    pub compress: Compress,
    /// Size of the record cache in bytes; 0 for none.
    pub cache_size: usize,
    /// Bytes of stores that may wait for their answers.
    pub write_buffer: usize,
    /// Never writes.
    pub read_only: bool,
    /// Corrupted records are returned all the same.
    pub ignore_wrong_checksum: bool,
    /// Certificates.
    pub tls: Option<Tls>,
    /// How long a call may wait for a primary; none: for ever.
    pub wait_timeout: Option<Duration>,
    /// Seed of the choice of cells.
    pub seed: u64,
}

/// Who must know what other clients commit: ZODB, through its `registerDB`.
pub trait Publisher: Send + Sync {
    /// Another client committed (spec client.md 4.2, O3 b). False if that failed: then, anything
    /// may have changed.
    fn invalidate(&self, tid: Tid, oids: &[Oid]) -> bool;
    /// Anything may have changed (O7).
    fn invalidate_cache(&self);
    /// The storage is closed: nobody cares any more.
    fn closed(&self);
}

impl std::fmt::Debug for dyn Publisher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Publisher")
    }
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub name: String,
    pub ignore_wrong_checksum: bool,
    options: Options,
    pub engine: Mutex<Engine>,
    pub kick_leader: Kick,
    pub kick_background: Kick,
    /// Where the background thread sleeps while others read.
    pub idle: Condvar,
    /// Where the publishing thread sleeps.
    pub to_publish: Condvar,
    pub publisher: Mutex<Option<Arc<dyn Publisher>>>,
    pub loads: SharedLoads,
    pub prefetcher: Prefetcher,
    pub oids: Mutex<std::ops::Range<u64>>,
    transactions: AtomicU64,
}

/// See the module. Cheap to clone: clones are the same client.
#[derive(Debug, Clone)]
pub struct Application {
    inner: Arc<Inner>,
}

impl Application {
    /// A client that is not connected: it will be at the first call that needs it.
    ///
    /// # Errors
    /// The system has no descriptor left.
    pub fn new(options: Options) -> std::io::Result<Self> {
        let loads = Loads::new(options.cache_size);
        Self::with_loads(options, loads)
    }

    fn with_loads(options: Options, loads: Loads) -> std::io::Result<Self> {
        let config = Config {
            cluster: options.name.clone(),
            masters: options.masters.clone(),
            read_only: options.read_only,
            write_buffer: options.write_buffer,
            max_reconnections: None,
        };
        let mut client = Client::new(config, Entropy::new(options.seed));
        client.set_wait_timeout(options.wait_timeout.map(|timeout| {
            // A time of no meaning is as good as none.
            u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX)
        }));
        let inner = Inner {
            name: options.name.clone(),
            ignore_wrong_checksum: options.ignore_wrong_checksum,
            engine: Mutex::new(Engine::new(client, &options.name, options.tls.clone())),
            kick_leader: Kick::new()?,
            kick_background: Kick::new()?,
            idle: Condvar::new(),
            to_publish: Condvar::new(),
            publisher: Mutex::new(None),
            loads: SharedLoads::new(loads),
            prefetcher: Prefetcher::default(),
            oids: Mutex::new(0..0),
            transactions: AtomicU64::new(0),
            options,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    pub(crate) fn call(
        &self,
        request: Request,
        interrupted: Interrupted<'_>,
    ) -> Result<Answer, Error> {
        self.ensure_threads()?;
        self.inner.call(request, interrupted)
    }

    pub(crate) fn ensure_threads(&self) -> Result<(), Error> {
        if self.inner.engine.lock().has_threads {
            return Ok(());
        }
        self.inner.start_threads().map_err(|error| {
            report(&error);
            Error::Client(ClientError::Storage(error.to_string()))
        })
    }

    pub(crate) fn inner(&self) -> &Arc<Inner> {
        &self.inner
    }

    pub(crate) fn new_transaction(&self) -> TransactionKey {
        TransactionKey(self.inner.transactions.fetch_add(1, Ordering::Relaxed))
    }

    /// What it knows and does, in lines of text (spec tools.md 10).
    #[must_use]
    pub fn dump(&self) -> String {
        let state = self.inner.engine.lock().client.dump();
        format!("client of {}\n{state}", self.inner.name)
    }

    /// Who is told about what other clients commit; the last one wins.
    pub fn set_publisher(&self, publisher: Option<Arc<dyn Publisher>>) {
        let former = std::mem::replace(&mut *self.inner.publisher.lock(), publisher);
        // Outside of the lock: whatever it holds may want locks of its own.
        drop(former);
    }

    /// The options it was made with.
    #[must_use]
    pub fn options(&self) -> &Options {
        &self.inner.options
    }

    /// Failed attempts to reach a primary before calls fail; none: never.
    pub fn set_max_reconnections(&self, limit: Option<u32>) {
        self.inner.engine.lock().client.set_max_reconnections(limit);
    }

    /// Its NID, given by the master.
    #[must_use]
    pub fn nid(&self) -> Option<NodeId> {
        self.inner.engine.lock().client.nid()
    }

    /// Known masters.
    #[must_use]
    pub fn masters(&self) -> Vec<Address> {
        self.inner.engine.lock().client.masters().to_vec()
    }

    /// Number of partitions and of replicas, while there is a primary.
    #[must_use]
    pub fn geometry(&self) -> Option<(u32, u32)> {
        self.inner.engine.lock().client.geometry()
    }

    /// Gets in touch with the cluster.
    ///
    /// # Errors
    /// [`Error`]
    pub fn connect(&self, interrupted: Interrupted<'_>) -> Result<(), Error> {
        self.call(Request::Connect, interrupted).map(drop)
    }

    /// The last TID whose effects are visible; connects if that never happened.
    ///
    /// # Errors
    /// [`Error`]
    pub fn last_transaction(&self, interrupted: Interrupted<'_>) -> Result<Tid, Error> {
        if let Some(tid) = self.last_published() {
            return Ok(tid);
        }
        self.connect(interrupted)?;
        Ok(self.last_published().unwrap_or(Tid::ZERO))
    }

    /// The same without connecting.
    #[must_use]
    pub fn last_published(&self) -> Option<Tid> {
        self.inner.loads.with(|loads| loads.last_tid())
    }

    /// The same, if nothing has to be waited for, not even a lock.
    #[must_use]
    pub fn try_last_published(&self) -> Option<Tid> {
        self.inner.loads.try_last_tid()
    }

    /// Waits until everything that was committed before the call is visible.
    ///
    /// # Errors
    /// [`Error`]
    pub fn sync(&self, interrupted: Interrupted<'_>) -> Result<(), Error> {
        self.call(Request::Sync, interrupted).map(drop)
    }

    /// A record of the cache; none if it is not there, or if anything has to be waited for: a
    /// thread that has the GIL may call it.
    #[must_use]
    pub fn load_cached(&self, oid: Oid, wanted: Wanted) -> Option<Record> {
        self.inner.load_cached(oid, wanted)
    }

    /// A record.
    ///
    /// # Errors
    /// [`Error`]
    pub fn load(
        &self,
        oid: Oid,
        wanted: Wanted,
        interrupted: Interrupted<'_>,
    ) -> Result<Record, Error> {
        self.ensure_threads()?;
        self.inner.load(oid, wanted, interrupted)
    }

    /// Any other read, of a readable cell of the partition of `key`.
    ///
    /// # Errors
    /// [`Error`]
    pub fn read(
        &self,
        key: u64,
        packet: Packet,
        interrupted: Interrupted<'_>,
    ) -> Result<Packet, Error> {
        let request = Request::Read { key, packet, except: Vec::new() };
        self.packet(request, interrupted)
    }

    /// A request to the master.
    ///
    /// # Errors
    /// [`Error`]
    pub fn ask_master(
        &self,
        packet: Packet,
        interrupted: Interrupted<'_>,
    ) -> Result<Packet, Error> {
        self.packet(Request::Master { packet }, interrupted)
    }

    fn packet(&self, request: Request, interrupted: Interrupted<'_>) -> Result<Packet, Error> {
        match self.call(request, interrupted)? {
            Answer::Packet { packet, .. } => Ok(packet),
            _ => Err(Error::broken("a request was answered by something else")),
        }
    }

    /// A new OID.
    ///
    /// # Errors
    /// [`Error`]
    pub fn new_oid(&self, interrupted: Interrupted<'_>) -> Result<Oid, Error> {
        if let Some(oid) = self.inner.oids.lock().next() {
            return Ok(Oid(oid));
        }
        let packet =
            self.ask_master(Packet::AskNewOIDs { count: OID_BATCH as u32 }, interrupted)?;
        let Packet::AnswerNewOIDs { oids } = packet else {
            return Err(Error::broken("AskNewOIDs was answered by something else"));
        };
        let (Some(first), Some(last)) = (oids.first(), oids.last()) else {
            return Err(Error::broken("the master gives no OID"));
        };
        let mut range = first.0..last.0.saturating_add(1);
        let oid = range.next().map(Oid).ok_or_else(|| Error::broken("no OID"))?;
        *self.inner.oids.lock() = range;
        Ok(oid)
    }

    fn forget_oids(&self) {
        *self.inner.oids.lock() = 0..0;
    }

    /// Begins a transaction; with a TID, it imposes it.
    ///
    /// # Errors
    /// [`Error`]
    pub fn begin(
        &self,
        tid: Option<Tid>,
        interrupted: Interrupted<'_>,
    ) -> Result<TransactionKey, Error> {
        let transaction = self.new_transaction();
        match self.call(Request::Begin { transaction, tid }, interrupted) {
            Ok(_) => Ok(transaction),
            Err(error) => {
                self.abort(transaction);
                Err(error)
            }
        }
    }

    /// Stores a record. A conflict is to be resolved by the caller, who stores again based on the
    /// committed revision.
    ///
    /// # Errors
    /// [`Error`]
    pub fn store(
        &self,
        transaction: TransactionKey,
        (oid, base): (Oid, Tid),
        record: Bytes,
        data_serial: Option<Tid>,
        interrupted: Interrupted<'_>,
    ) -> Result<Option<Conflict>, Error> {
        let stored = records::store(&record, self.inner.options.compress);
        let content = Content::Data { stored, record };
        self.write(transaction, Write { oid, base, content, data_serial }, interrupted)
    }

    /// Stores, deletes or checks.
    ///
    /// # Errors
    /// [`Error`]
    pub fn write(
        &self,
        transaction: TransactionKey,
        write: Write,
        interrupted: Interrupted<'_>,
    ) -> Result<Option<Conflict>, Error> {
        match self.call(Request::Write { transaction, write }, interrupted)? {
            Answer::Conflict(conflict) => Ok(Some(with_record(*conflict))),
            _ => Ok(None),
        }
    }

    /// Waits until every object written so far is stored. A conflict is to be resolved first.
    ///
    /// # Errors
    /// [`Error`]
    pub fn flush(
        &self,
        transaction: TransactionKey,
        interrupted: Interrupted<'_>,
    ) -> Result<Option<Conflict>, Error> {
        match self.call(Request::Flush { transaction }, interrupted)? {
            Answer::Conflict(conflict) => Ok(Some(with_record(*conflict))),
            _ => Ok(None),
        }
    }

    /// Attaches a pack order.
    ///
    /// # Errors
    /// [`Error`]
    pub fn set_pack(&self, transaction: TransactionKey, pack: PackRequest) -> Result<(), Error> {
        self.call(Request::Pack { transaction, pack }, &|| false).map(drop)
    }

    /// Votes; a conflict is to be resolved first. Else the objects whose conflicts were resolved.
    ///
    /// # Errors
    /// [`Error`]
    pub fn vote(
        &self,
        transaction: TransactionKey,
        metadata: Metadata,
        interrupted: Interrupted<'_>,
    ) -> Result<Result<Vec<Oid>, Conflict>, Error> {
        match self.call(Request::Vote { transaction, metadata }, interrupted)? {
            Answer::Conflict(conflict) => Ok(Err(with_record(*conflict))),
            Answer::Voted(resolved) => Ok(Ok(resolved)),
            _ => Err(Error::broken("a vote was answered by something else")),
        }
    }

    /// Commits. `callback` is called with the TID at its place in the order of publications, by
    /// this thread.
    ///
    /// # Errors
    /// [`Error`]. [`Error::Interrupted`] leaves the commit to the background.
    pub fn finish(
        &self,
        transaction: TransactionKey,
        callback: impl FnOnce(Tid),
        interrupted: Interrupted<'_>,
    ) -> Result<Tid, Error> {
        let answer = self.call(Request::Finish { transaction }, interrupted)?;
        self.publish_commit(answer, callback)
    }

    pub(crate) fn publish_commit(
        &self,
        answer: Answer,
        callback: impl FnOnce(Tid),
    ) -> Result<Tid, Error> {
        match answer {
            Answer::Finished { tid, records } => {
                let published = Published { inner: &self.inner, tid };
                self.inner.loads.begin(|loads| loads.begin_local(tid, records));
                callback(tid);
                drop(published);
                Ok(tid)
            }
            _ => Err(Error::broken("a commit was answered by something else")),
        }
    }

    /// Gives a transaction up. Nothing happens if it is unknown or being finished.
    pub fn abort(&self, transaction: TransactionKey) {
        self.inner.event(Event::Abort { transaction });
    }

    /// Any use of the record cache.
    pub fn with_loads_mut<T>(&self, f: impl FnOnce(&mut Loads) -> T) -> T {
        self.inner.loads.with(f)
    }

    /// Leaves the cluster; later calls fail.
    pub fn close(&self) {
        self.forget_oids();
        self.inner.loads.with(|loads| loads.cache.clear());
        let publisher = self.inner.publisher.lock().clone();
        publisher.iter().for_each(|publisher| publisher.closed());
        let mut engine = self.inner.engine.lock();
        engine.event(Event::Close);
        self.inner.stop_threads(&mut engine);
    }

    /// Holds every lock while the process forks: see [`ForkGuard`].
    #[must_use]
    pub fn before_fork(&self) -> ForkGuard<'_> {
        let engine = self.inner.engine.lock();
        ForkGuard {
            application: self,
            engine,
            loads: self.inner.loads.lock(),
            oids: self.inner.oids.lock(),
            publisher: self.inner.publisher.lock(),
        }
    }

    /// Waits for the end of the threads of a closed client; not to be called by one of them.
    pub fn join(&self) {
        let threads = std::mem::take(&mut self.inner.engine.lock().threads);
        let own = std::thread::current().id();
        for thread in threads.into_iter().filter(|thread| thread.thread().id() != own) {
            if thread.join().is_err() {
                tracing::error!("a thread of the client panicked");
            }
        }
    }
}

/// Ends the publication of a commit, whatever its callback does.
struct Published<'a> {
    inner: &'a Inner,
    tid: Tid,
}

impl Drop for Published<'_> {
    fn drop(&mut self) {
        self.inner.loads.end(self.tid);
        self.inner.event(Event::Published);
    }
}

/// Everything is quiet while it lives. Drop it in the parent.
pub struct ForkGuard<'a> {
    application: &'a Application,
    engine: MutexGuard<'a, Engine>,
    loads: MutexGuard<'a, crate::load::State>,
    #[expect(dead_code, reason = "held")]
    oids: MutexGuard<'a, std::ops::Range<u64>>,
    publisher: MutexGuard<'a, Option<Arc<dyn Publisher>>>,
}

impl ForkGuard<'_> {
    /// In the child: a client with the same options, cache and publisher, and none of the links
    /// and transactions. The old one must not be used any more, nor dropped: threads that are gone
    /// may be counted on by its locks.
    ///
    /// # Errors
    /// The system has no descriptor left.
    pub fn child(mut self) -> std::io::Result<Application> {
        let options = self.application.inner.options.clone();
        let publisher = self.publisher.clone();
        let transactions = self.application.inner.transactions.load(Ordering::Relaxed);
        self.engine.forget_links();
        let loads = self.loads.take();
        std::mem::forget(self);
        let child = Application::with_loads(options, loads)?;
        child.set_publisher(publisher);
        // Keys of the parent's transactions must stay unknown.
        child.inner.transactions.store(transactions, Ordering::Relaxed);
        Ok(child)
    }
}

/// The record of a conflict may only be there as it was stored.
fn with_record(mut conflict: Conflict) -> Conflict {
    if let Content::Data { stored, record } = &mut conflict.content
        && record.is_empty()
        && !stored.data.is_empty()
    {
        *record = records::load(stored.compression, &stored.data).unwrap_or_default();
    }
    conflict
}
