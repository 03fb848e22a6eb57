//! `neo._neo.Client`: what `neo.client.Storage` is around.
//!
//! A call releases the GIL once, and a hit of the cache never. No lock of ours is held while the
//! GIL is acquired or Python runs, for threads that have the GIL take the lock of the cache
//! (spec client.md 4.5).

mod arguments;
mod errors;
mod fork;
mod iteration;
mod logs;
mod past;
mod publisher;
mod reads;
mod wait;

use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use neo_client::records::Compress;
use neo_client::{Application, Conflict, Content, Metadata, Options, Publisher};
use neo_client::{TransactionKey, Write};
use neo_core::client::loads::Wanted;
use neo_net::Tls;
use neo_wire::{Address, PackRequest, Tid};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::PyBytes;

use self::arguments::Id;
use self::fork::Slot;
use self::publisher::Wrapper;
use self::wait::{Failure, call, call_raw};

pub(crate) use self::fork::{before, in_child, in_parent};
pub(crate) use self::iteration::{Iteration, Records};
pub(crate) use self::logs::{set_file as set_logfile, watch_signals};
pub(crate) use self::past::Past;

/// Closes every client and waits for their threads: Python must not be entered once it ends.
pub(crate) fn at_exit(py: Python<'_>) {
    py.detach(|| {
        for application in fork::applications() {
            application.close();
            application.join();
        }
        logs::stop();
    });
}

/// A client of a cluster.
#[derive(Debug)]
#[pyclass(module = "neo._neo", frozen)]
pub(crate) struct Client {
    slot: Arc<Slot>,
}

impl Client {
    fn application(&self, py: Python<'_>) -> PyResult<Application> {
        self.with(py, Clone::clone)
    }

    /// `f` must not wait for anything.
    fn with<T: Send>(
        &self,
        py: Python<'_>,
        f: impl FnOnce(&Application) -> T + Send,
    ) -> PyResult<T> {
        let lost = || errors::storage_error("this process could not take the storage over");
        self.slot.with(py, f).ok_or_else(lost)
    }

    fn write<'py>(
        &self,
        py: Python<'py>,
        transaction: u64,
        write: Write,
    ) -> PyResult<Option<PyConflict<'py>>> {
        let application = self.application(py)?;
        let key = TransactionKey(transaction);
        let conflict = call(py, |interrupted| application.write(key, write, interrupted))?;
        Ok(conflict.map(|conflict| conflict_to_python(py, conflict)))
    }

    /// A record, from the cache without releasing the GIL if possible.
    fn record(
        &self,
        py: Python<'_>,
        oid: Id,
        wanted: Wanted,
    ) -> Result<neo_client::Record, Failure> {
        let cached = self.with(py, |application| application.load_cached(oid.oid(), wanted));
        if let Some(record) = cached.map_err(Failure::Signal)? {
            return Ok(record);
        }
        let application = self.application(py).map_err(Failure::Signal)?;
        call_raw(py, |interrupted| application.load(oid.oid(), wanted, interrupted))
    }
}

/// OID, data or None, whether it is only a check, base, committed, whether to sync first.
type PyConflict<'py> = (Id, Option<Bound<'py, PyBytes>>, bool, Id, Id, bool);

fn conflict_to_python(py: Python<'_>, conflict: Conflict) -> PyConflict<'_> {
    let Conflict { oid, content, base, committed, unpublished } = conflict;
    let (data, checked) = match content {
        Content::Data { record, .. } => (Some(PyBytes::new(py, &record)), false),
        Content::Deleted | Content::Garbage => (None, false),
        Content::Checked => (None, true),
    };
    (oid.into(), data, checked, base.into(), committed.into(), unpublished)
}

fn raise_not_found(oid: Id) -> impl FnOnce(Failure) -> PyErr {
    move |failure| match failure {
        Failure::Error(error) if errors::is_not_found(&error) => errors::pos_key_error(oid),
        failure => failure.into_exception(),
    }
}

#[pymethods]
impl Client {
    /// `compress` is the level of zlib, 0 for its default, -1 not to compress; `wait_timeout`:
    /// seconds that a call may wait for a primary master.
    #[new]
    #[pyo3(signature = (
        name, masters, *, compress=0, cache_size=20 << 20, write_buffer=20 << 20,
        read_only=false, ignore_wrong_checksum=false, tls=None, wait_timeout=None,
    ))]
    #[expect(clippy::too_many_arguments, reason = "keywords of Python")]
    fn new(
        py: Python<'_>,
        name: String,
        masters: Vec<(String, u16)>,
        compress: i32,
        cache_size: usize,
        write_buffer: usize,
        read_only: bool,
        ignore_wrong_checksum: bool,
        tls: Option<(PathBuf, PathBuf, PathBuf)>,
        wait_timeout: Option<f64>,
    ) -> PyResult<Self> {
        let masters = masters
            .iter()
            .map(|(host, port)| Ok(Address::from_socket(SocketAddr::new(host.parse()?, *port))))
            .collect::<Result<_, std::net::AddrParseError>>()?;
        let compress = match compress {
            -1 => Compress::No,
            0 => Compress::Zlib(None),
            level @ 1..=9 => Compress::Zlib(Some(level.unsigned_abs())),
            _ => return Err(PyValueError::new_err("level of compression out of range")),
        };
        let tls = tls
            .map(|(ca, cert, key)| py.detach(|| Tls::open(&ca, &cert, &key)))
            .transpose()
            .map_err(|error| PyValueError::new_err(error.to_string()))?;
        let wait_timeout = wait_timeout
            .map(Duration::try_from_secs_f64)
            .transpose()
            .map_err(|error| PyValueError::new_err(format!("wait_timeout: {error}")))?;
        let options = Options {
            name,
            masters,
            compress,
            cache_size,
            write_buffer,
            read_only,
            ignore_wrong_checksum,
            tls,
            wait_timeout,
            seed: RandomState::new().hash_one(0),
        };
        logs::start(py)?;
        let slot = py.detach(|| Application::new(options).map(Slot::new))?;
        Ok(Self { slot })
    }

    /// Leaves the cluster, for ever.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        let application = self.application(py)?;
        py.detach(|| {
            application.close();
            application.set_publisher(None);
        });
        Ok(())
    }

    /// Who is told about the commits of others: has `invalidate` and `invalidateCache`.
    fn register(&self, py: Python<'_>, wrapper: Option<Py<PyAny>>) -> PyResult<()> {
        let application = self.application(py)?;
        let publisher =
            wrapper.map(|wrapper| Arc::new(Wrapper::new(wrapper)) as Arc<dyn Publisher>);
        py.detach(|| application.set_publisher(publisher));
        Ok(())
    }

    /// Gets in touch with the cluster, unless it is.
    fn connect(&self, py: Python<'_>) -> PyResult<()> {
        let application = self.application(py)?;
        call(py, |interrupted| application.connect(interrupted))
    }

    /// Waits until everything committed before is visible.
    fn sync(&self, py: Python<'_>) -> PyResult<()> {
        let application = self.application(py)?;
        call(py, |interrupted| application.sync(interrupted))
    }

    /// The last TID whose effects are visible; connects if that never happened.
    fn last_transaction(&self, py: Python<'_>) -> PyResult<Id> {
        if let Some(tid) = self.with(py, Application::try_last_published)? {
            return Ok(tid.into());
        }
        let application = self.application(py)?;
        call(py, |interrupted| application.last_transaction(interrupted)).map(Id::from)
    }

    /// Data and serial of the current revision; POSKeyError if there is none.
    fn load<'py>(&self, py: Python<'py>, oid: Id) -> PyResult<(Bound<'py, PyBytes>, Id)> {
        let record = self.record(py, oid, Wanted::Current).map_err(raise_not_found(oid))?;
        Ok((PyBytes::new(py, &record.data), record.serial.into()))
    }

    /// Data, serial and next serial of the last revision before a TID, or None; POSKeyError if the
    /// object does not exist.
    #[expect(clippy::type_complexity, reason = "a tuple of Python")]
    fn load_before<'py>(
        &self,
        py: Python<'py>,
        oid: Id,
        tid: Id,
    ) -> PyResult<Option<(Bound<'py, PyBytes>, Id, Option<Id>)>> {
        match self.record(py, oid, Wanted::Before(tid.tid())) {
            Ok(record) => Ok(Some((
                PyBytes::new(py, &record.data),
                record.serial.into(),
                record.next_serial.map(Id::from),
            ))),
            Err(Failure::Error(error)) if errors::does_not_exist(&error) => {
                Err(errors::pos_key_error(oid))
            }
            Err(Failure::Error(error)) if errors::is_not_found(&error) => Ok(None),
            Err(failure) => Err(failure.into_exception()),
        }
    }

    /// Data of a revision; POSKeyError if it is not there.
    fn load_serial<'py>(
        &self,
        py: Python<'py>,
        oid: Id,
        serial: Id,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let record =
            self.record(py, oid, Wanted::Exact(serial.tid())).map_err(raise_not_found(oid))?;
        Ok(PyBytes::new(py, &record.data))
    }

    /// As `load_before` or `load_serial`, with the exceptions of NEO.
    #[pyo3(signature = (oid, tid=None, before_tid=None))]
    fn load_revision<'py>(
        &self,
        py: Python<'py>,
        oid: Id,
        tid: Option<Id>,
        before_tid: Option<Id>,
    ) -> PyResult<(Bound<'py, PyBytes>, Id, Option<Id>)> {
        let wanted = match (tid, before_tid) {
            (Some(tid), _) => Wanted::Exact(tid.tid()),
            (None, Some(tid)) => Wanted::Before(tid.tid()),
            (None, None) => Wanted::Current,
        };
        let record = self.record(py, oid, wanted).map_err(Failure::into_exception)?;
        let next = record.next_serial.map(Id::from);
        Ok((PyBytes::new(py, &record.data), record.serial.into(), next))
    }

    /// An OID that nobody else has.
    fn new_oid(&self, py: Python<'_>) -> PyResult<Id> {
        let application = self.application(py)?;
        call(py, |interrupted| application.new_oid(interrupted)).map(Id::from)
    }

    /// Begins a transaction, with an imposed TID if one is given; a number that stands for it.
    #[pyo3(signature = (tid=None))]
    fn begin(&self, py: Python<'_>, tid: Option<Id>) -> PyResult<u64> {
        let application = self.application(py)?;
        let tid = tid.map(Id::tid);
        call(py, |interrupted| application.begin(tid, interrupted)).map(|key| key.0)
    }

    /// Stores a record, or deletes the object if there is none. For an undo, `data_serial` is the
    /// revision that the data comes from. Returns a conflict to resolve.
    #[pyo3(signature = (transaction, oid, base, data, data_serial=None))]
    fn store<'py>(
        &self,
        py: Python<'py>,
        transaction: u64,
        oid: Id,
        base: Option<Id>,
        data: Option<PyBackedBytes>,
        data_serial: Option<Id>,
    ) -> PyResult<Option<PyConflict<'py>>> {
        let application = self.application(py)?;
        let key = TransactionKey(transaction);
        let (oid, base) = (oid.oid(), base.map_or(Tid::ZERO, Id::tid));
        let data_serial = data_serial.map(Id::tid);
        let conflict = call(py, |interrupted| match data.as_deref() {
            Some(data) => {
                let record = Bytes::copy_from_slice(data);
                application.store(key, (oid, base), record, data_serial, interrupted)
            }
            None => {
                let write = Write { oid, base, content: Content::Deleted, data_serial };
                application.write(key, write, interrupted)
            }
        })?;
        Ok(conflict.map(|conflict| conflict_to_python(py, conflict)))
    }

    /// Deletes an object. If it is `garbage`, which nobody reads any more, other clients are not
    /// told. Returns a conflict, that can not be resolved.
    fn delete<'py>(
        &self,
        py: Python<'py>,
        transaction: u64,
        oid: Id,
        base: Option<Id>,
        garbage: bool,
    ) -> PyResult<Option<PyConflict<'py>>> {
        let content = if garbage { Content::Garbage } else { Content::Deleted };
        let (oid, base) = (oid.oid(), base.map_or(Tid::ZERO, Id::tid));
        self.write(py, transaction, Write { oid, base, content, data_serial: None })
    }

    /// Requires that a revision is the current one.
    fn check<'py>(
        &self,
        py: Python<'py>,
        transaction: u64,
        oid: Id,
        serial: Id,
    ) -> PyResult<Option<PyConflict<'py>>> {
        let (oid, base) = (oid.oid(), serial.tid());
        self.write(
            py,
            transaction,
            Write { oid, base, content: Content::Checked, data_serial: None },
        )
    }

    /// Waits until everything is stored. Returns a conflict to resolve before.
    fn flush<'py>(&self, py: Python<'py>, transaction: u64) -> PyResult<Option<PyConflict<'py>>> {
        let application = self.application(py)?;
        let conflict =
            call(py, |interrupted| application.flush(TransactionKey(transaction), interrupted))?;
        Ok(conflict.map(|conflict| conflict_to_python(py, conflict)))
    }

    /// What a transaction stored for an object; None if that is no data.
    fn stored<'py>(
        &self,
        py: Python<'py>,
        transaction: u64,
        oid: Id,
    ) -> PyResult<Option<Bound<'py, PyBytes>>> {
        let application = self.application(py)?;
        let key = TransactionKey(transaction);
        let data = call(py, |interrupted| application.stored(key, oid.oid(), interrupted))?;
        Ok(data.map(|data| PyBytes::new(py, &data)))
    }

    /// For each object that a transaction wrote: its current revision, the one to go back to, and
    /// whether the former is of that transaction.
    fn undo_serials(
        &self,
        py: Python<'_>,
        transaction: u64,
        undone_tid: Id,
        oids: Vec<Id>,
    ) -> PyResult<Vec<reads::UndoSerial>> {
        let application = self.application(py)?;
        let oids = oids.into_iter().map(Id::oid).collect();
        let key = TransactionKey(transaction);
        let serials = call(py, |interrupted| {
            application.undo_serials(key, undone_tid.tid(), oids, interrupted)
        })?;
        Ok(serials.into_iter().map(reads::undo_serial_to_python).collect())
    }

    /// Attaches a pack order.
    #[pyo3(signature = (transaction, tid, oids=None))]
    fn set_pack(
        &self,
        py: Python<'_>,
        transaction: u64,
        tid: Id,
        oids: Option<Vec<Id>>,
    ) -> PyResult<()> {
        let application = self.application(py)?;
        let oids = oids.map(|oids| {
            let mut oids: Vec<_> = oids.into_iter().map(Id::oid).collect();
            oids.sort_unstable();
            oids
        });
        let pack = PackRequest { oids, pack_tid: tid.tid() };
        call(py, |_| application.set_pack(TransactionKey(transaction), pack))
    }

    /// Votes. Returns a conflict to resolve before voting again, or None and the OIDs of the
    /// conflicts that were resolved.
    fn vote<'py>(
        &self,
        py: Python<'py>,
        transaction: u64,
        user: &[u8],
        description: &[u8],
        extension: &[u8],
    ) -> PyResult<(Option<PyConflict<'py>>, Vec<Id>)> {
        let application = self.application(py)?;
        let metadata = Metadata {
            user: Bytes::copy_from_slice(user),
            description: Bytes::copy_from_slice(description),
            extension: Bytes::copy_from_slice(extension),
        };
        let voted = call(py, |interrupted| {
            application.vote(TransactionKey(transaction), metadata, interrupted)
        })?;
        Ok(match voted {
            Ok(resolved) => (None, resolved.into_iter().map(Id::from).collect()),
            Err(conflict) => (Some(conflict_to_python(py, conflict)), Vec::new()),
        })
    }

    /// Commits what was voted, and returns the TID. `callback` is given it before anybody else
    /// sees the transaction; what it raises is raised when everything is done.
    fn finish(
        &self,
        py: Python<'_>,
        transaction: u64,
        callback: Option<Py<PyAny>>,
    ) -> PyResult<Id> {
        let application = self.application(py)?;
        let mut raised = None;
        let publish = |tid: Tid| {
            Python::try_attach(|py| {
                if let Some(callback) = callback {
                    raised = callback.call1(py, (Id::from(tid),)).err();
                }
            });
        };
        let tid = call(py, |interrupted| {
            application.finish(TransactionKey(transaction), publish, interrupted)
        })?;
        raised.map_or(Ok(tid.into()), Err)
    }

    /// Gives a transaction up.
    fn abort(&self, py: Python<'_>, transaction: u64) -> PyResult<()> {
        let application = self.application(py)?;
        py.detach(|| application.abort(TransactionKey(transaction)));
        Ok(())
    }

    /// Attempts to reach a primary master before calls fail; None: never.
    fn set_max_reconnections(&self, py: Python<'_>, limit: Option<u32>) -> PyResult<()> {
        let application = self.application(py)?;
        py.detach(|| application.set_max_reconnections(limit));
        Ok(())
    }

    /// Its NID, given by the master.
    #[getter]
    fn nid(&self, py: Python<'_>) -> PyResult<Option<i32>> {
        let application = self.application(py)?;
        Ok(py.detach(|| application.nid()).map(|nid| nid.0))
    }

    /// Addresses of the masters.
    #[getter]
    fn masters(&self, py: Python<'_>) -> PyResult<Vec<(String, u16)>> {
        let application = self.application(py)?;
        let masters = py.detach(|| application.masters());
        let sockets = masters.iter().filter_map(Address::to_socket);
        Ok(sockets.map(|address| (address.ip().to_string(), address.port())).collect())
    }

    /// Numbers of partitions and of replicas, or None while not connected.
    #[getter]
    fn geometry(&self, py: Python<'_>) -> PyResult<Option<(u32, u32)>> {
        let application = self.application(py)?;
        Ok(py.detach(|| application.geometry()))
    }

    /// Empties the cache of records.
    fn clear_cache(&self, py: Python<'_>) -> PyResult<()> {
        let application = self.application(py)?;
        py.detach(|| application.with_loads_mut(|loads| loads.cache.clear()));
        Ok(())
    }

    /// User, description, extension of a transaction, whether it is packed, its OIDs.
    fn transaction<'py>(&self, py: Python<'py>, tid: Id) -> PyResult<reads::PyInformation<'py>> {
        reads::information(self, py, tid)
    }

    /// Waits until a pack order is carried out.
    fn wait_for_pack(&self, py: Python<'_>, tid: Id) -> PyResult<()> {
        reads::wait_for_pack(self, py, tid)
    }

    /// State of the cache of records, in words.
    fn describe_cache(&self, py: Python<'_>) -> PyResult<String> {
        let application = self.application(py)?;
        Ok(py.detach(|| application.with_loads_mut(|loads| loads.cache.to_string())))
    }
}

impl Failure {
    fn into_exception(self) -> PyErr {
        match self {
            Self::Error(error) => errors::to_python(error),
            Self::Signal(exception) => exception,
        }
    }
}
