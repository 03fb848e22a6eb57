//! Iteration over transactions and their records (spec client.md 8.5).
//!
//! What was begun before a fork belongs to the parent: in the child it neither is used nor dropped,
//! for its locks may be counted on by threads that are gone.

use std::mem::ManuallyDrop;
use std::sync::{Mutex, PoisonError};

use neo_client::{Transaction, Transactions};
use nix::unistd::{Pid, getpid};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::arguments::Id;
use super::errors;
use super::wait::call;

/// Something of this process only.
#[derive(Debug)]
struct Owned<T> {
    owner: Pid,
    value: ManuallyDrop<T>,
}

impl<T> Owned<T> {
    fn new(value: T) -> Self {
        Self { owner: getpid(), value: ManuallyDrop::new(value) }
    }

    fn get(&self) -> PyResult<&T> {
        if self.owner == getpid() {
            Ok(&self.value)
        } else {
            Err(errors::storage_error("an iteration can not go on in another process"))
        }
    }
}

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        if self.owner == getpid() {
            // SAFETY: nothing uses it any more.
            #[allow(unsafe_code, reason = "the child of a fork must not drop it")]
            unsafe {
                ManuallyDrop::drop(&mut self.value);
            }
        }
    }
}

/// Transactions, by pages.
#[derive(Debug)]
#[pyclass(module = "neo._neo", frozen)]
pub(crate) struct Iteration {
    transactions: Owned<Mutex<Option<Transactions>>>,
}

/// TID, user, description, extension, whether it is packed, records.
type PyTransaction<'py> =
    (Id, Bound<'py, PyBytes>, Bound<'py, PyBytes>, Bound<'py, PyBytes>, bool, Records);

impl Iteration {
    pub fn new(transactions: Transactions) -> Self {
        Self { transactions: Owned::new(Mutex::new(Some(transactions))) }
    }
}

#[pymethods]
impl Iteration {
    /// The next transactions; none at the end.
    fn page<'py>(&self, py: Python<'py>) -> PyResult<Vec<PyTransaction<'py>>> {
        let transactions = self.transactions.get()?;
        let page = call(py, |interrupted| {
            let mut transactions = transactions.lock().unwrap_or_else(PoisonError::into_inner);
            transactions.as_mut().map_or(Ok(Vec::new()), |some| some.page(interrupted))
        })?;
        let bytes = |bytes: &[u8]| PyBytes::new(py, bytes);
        let transaction = |transaction: Transaction| {
            let information = transaction.information();
            (
                information.tid.into(),
                bytes(&information.user),
                bytes(&information.description),
                bytes(&information.extension),
                information.packed,
                Records { transaction: Owned::new(transaction) },
            )
        };
        Ok(page.into_iter().map(transaction).collect())
    }

    /// Frees everything: there are no more pages.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        let transactions = self.transactions.get()?;
        py.detach(|| {
            let mut transactions = transactions.lock().unwrap_or_else(PoisonError::into_inner);
            drop(transactions.take());
        });
        Ok(())
    }
}

/// The records of a transaction.
#[derive(Debug)]
#[pyclass(module = "neo._neo", frozen)]
pub(crate) struct Records {
    transaction: Owned<Transaction>,
}

/// OID, data or None for a deletion, TID of the record that holds the data if it is another one.
type PyRevision<'py> = (Id, Option<Bound<'py, PyBytes>>, Option<Id>);

#[pymethods]
impl Records {
    /// Objects that the transaction stored, deleted or checked.
    #[getter]
    fn oids(&self) -> PyResult<Vec<Id>> {
        let information = self.transaction.get()?.information();
        Ok(information.oids.iter().copied().map(Id::from).collect())
    }

    /// Some records from a place of that list on, and the place to go on with, or None at the end.
    #[pyo3(signature = (first=0))]
    fn some<'py>(
        &self,
        py: Python<'py>,
        first: usize,
    ) -> PyResult<(Vec<PyRevision<'py>>, Option<usize>)> {
        let transaction = self.transaction.get()?;
        let (records, next) = call(py, |interrupted| transaction.records(first, interrupted))?;
        let revision = |(oid, data, data_serial): neo_client::Revision| {
            let data = data.map(|data| PyBytes::new(py, &data));
            (Id::from(oid), data, data_serial.map(Id::from))
        };
        let length = transaction.information().oids.len();
        let next = Some(next).filter(|next| *next < length);
        Ok((records.into_iter().map(revision).collect(), next))
    }
}
