//! `neo._neo.Past`: lists of what is held, records loaded ahead (spec client.md 8, 16).

use neo_client::Application;
use neo_wire::PackOrder;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyIterator};

use super::arguments::Id;
use super::iteration::Iteration;
use super::reads::{PyInformation, information_to_python};
use super::wait::call;
use super::{Client, Failure, raise_not_found};

/// What a client reads besides revisions of objects.
#[derive(Debug)]
#[pyclass(module = "neo._neo", frozen)]
pub(crate) struct Past {
    client: Py<Client>,
}

/// OID, serial and data.
type PyRecord<'py> = (Id, Id, Bound<'py, PyBytes>);

/// Identifier, whether it is approved, whether it is for some objects only, TID.
type PyPackOrder = (Id, Option<bool>, bool, Id);

impl Past {
    fn application(&self, py: Python<'_>) -> PyResult<Application> {
        self.client.get().application(py)
    }
}

#[pymethods]
impl Past {
    #[new]
    fn new(client: Py<Client>) -> Self {
        Self { client }
    }

    /// The transactions between two included TIDs, by pages.
    fn iterate(&self, py: Python<'_>, start: Id, stop: Id) -> PyResult<Iteration> {
        let application = self.application(py)?;
        let (start, stop) = (start.tid(), stop.tid());
        call(py, |interrupted| application.transactions(start, stop, interrupted))
            .map(Iteration::new)
    }

    /// User, description, extension of transactions, whether they are packed, their OIDs.
    fn transactions<'py>(
        &self,
        py: Python<'py>,
        tids: Vec<Id>,
    ) -> PyResult<Vec<PyInformation<'py>>> {
        let application = self.application(py)?;
        let tids: Vec<_> = tids.into_iter().map(Id::tid).collect();
        let informations = call(py, |interrupted| {
            application.informations(&tids, interrupted)?.into_iter().collect::<Result<Vec<_>, _>>()
        })?;
        let mut informations = informations.into_iter();
        Ok(informations.by_ref().map(|one| information_to_python(py, one)).collect())
    }

    /// TIDs of each partition from the newest one, between two places of that list.
    fn last_tids(&self, py: Python<'_>, first: u64, last: u64) -> PyResult<Vec<Vec<Id>>> {
        let application = self.application(py)?;
        let tids = call(py, |interrupted| application.last_tids((first, last), interrupted))?;
        Ok(tids.into_iter().map(|tids| tids.into_iter().map(Id::from).collect()).collect())
    }

    /// Data of revisions, or None where that is no data.
    fn revisions<'py>(
        &self,
        py: Python<'py>,
        revisions: Vec<(Id, Id)>,
    ) -> PyResult<Vec<Option<Bound<'py, PyBytes>>>> {
        let application = self.application(py)?;
        let wanted: Vec<_> =
            revisions.into_iter().map(|(oid, tid)| (oid.oid(), tid.tid())).collect();
        let found = call(py, |interrupted| application.revisions(&wanted, interrupted))?;
        Ok(found.into_iter().map(|data| data.map(|data| PyBytes::new(py, &data))).collect())
    }

    /// Some OIDs from `first` on that exist as of a TID, ascending, and the one to go on with, or
    /// None at the end.
    fn oids(
        &self,
        py: Python<'_>,
        tid: Id,
        first: Id,
        length: u64,
    ) -> PyResult<(Vec<Id>, Option<Id>)> {
        let application = self.application(py)?;
        let (tid, first) = (tid.tid(), first.oid());
        let (oids, next) =
            call(py, |interrupted| application.oids(tid, first, length, interrupted))?;
        Ok((oids.into_iter().map(Id::from).collect(), next.map(Id::from)))
    }

    /// The same with serials and data.
    fn records<'py>(
        &self,
        py: Python<'py>,
        tid: Id,
        first: Id,
        length: u64,
    ) -> PyResult<(Vec<PyRecord<'py>>, Option<Id>)> {
        let application = self.application(py)?;
        let (tid, first) = (tid.tid(), first.oid());
        let (records, next) =
            call(py, |interrupted| application.records(tid, first, length, interrupted))?;
        let record = |(oid, serial, data): (_, _, bytes::Bytes)| {
            (Id::from(oid), Id::from(serial), PyBytes::new(py, &data))
        };
        Ok((records.into_iter().map(record).collect(), next.map(Id::from)))
    }

    /// Serials of an object, with stored lengths, newest first, between two places of that list.
    fn history(&self, py: Python<'_>, oid: Id, first: u64, last: u64) -> PyResult<Vec<(Id, u64)>> {
        let application = self.application(py)?;
        let places = (first, last);
        let history = super::wait::call_raw(py, |interrupted| {
            application.history(oid.oid(), places, interrupted)
        });
        let history = history.map_err(raise_not_found(oid))?;
        Ok(history.into_iter().map(|(tid, length)| (tid.into(), length)).collect())
    }

    /// Pack orders, from one on.
    fn pack_orders(&self, py: Python<'_>, min_id: Id) -> PyResult<Vec<PyPackOrder>> {
        let application = self.application(py)?;
        let min_id = min_id.tid();
        let orders = call(py, |interrupted| application.pack_orders(min_id, interrupted))?;
        let order = |order: PackOrder| {
            (order.tid.into(), order.approved, order.partial, order.pack_tid.into())
        };
        Ok(orders.into_iter().map(order).collect())
    }

    /// The last OID that the cluster gave or stored.
    fn last_oid(&self, py: Python<'_>) -> PyResult<Id> {
        let application = self.application(py)?;
        call(py, |interrupted| application.last_oid(interrupted)).map(Id::from)
    }

    /// Waits until what is being published is visible.
    fn settle(&self, py: Python<'_>) -> PyResult<()> {
        let application = self.application(py)?;
        call(py, |interrupted| application.settle(interrupted))
    }

    /// Has the last revisions before a TID of some objects loaded ahead. Nothing is waited for.
    fn prefetch(&self, py: Python<'_>, oids: &Bound<'_, PyIterator>, tid: Id) -> PyResult<()> {
        let oids = oids
            .clone()
            .map(|oid| oid?.extract::<Id>().map(Id::oid))
            .collect::<PyResult<Vec<_>>>()?;
        let application = self.application(py)?;
        py.detach(|| application.prefetch(oids, tid.tid()));
        Ok(())
    }
}

impl From<Failure> for PyErr {
    fn from(failure: Failure) -> Self {
        failure.into_exception()
    }
}
