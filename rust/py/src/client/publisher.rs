//! What other clients commit, told to ZODB (spec client.md 4.3, 4.4).

use std::sync::atomic::{AtomicBool, Ordering};

use neo_client::Publisher;
use neo_wire::{Oid, Tid};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

use super::arguments::Id;

/// What `registerDB` was given.
#[derive(Debug)]
pub(super) struct Wrapper {
    object: Py<PyAny>,
    /// The storage is closed: it may be half gone, and what it raises means nothing.
    closed: AtomicBool,
}

impl Wrapper {
    pub fn new(object: Py<PyAny>) -> Self {
        Self { object, closed: AtomicBool::new(false) }
    }

    fn complain(&self, py: Python<'_>, text: &str, error: PyErr) {
        if !self.closed.load(Ordering::Relaxed) {
            complain(py, text, error);
        }
    }
}

impl Publisher for Wrapper {
    fn invalidate(&self, tid: Tid, oids: &[Oid]) -> bool {
        // Without an interpreter any more, nobody reads.
        let invalidated = Python::try_attach(|py| {
            let result = PyList::new(py, oids.iter().map(|oid| Id::from(*oid))).and_then(|oids| {
                self.object.bind(py).call_method1("invalidate", (Id::from(tid), oids))
            });
            if let Err(error) = result {
                self.complain(py, "invalidate failed: everything is invalidated instead", error);
                return false;
            }
            true
        });
        if invalidated == Some(false) {
            self.invalidate_cache();
        }
        invalidated.unwrap_or(true)
    }

    fn invalidate_cache(&self) {
        Python::try_attach(|py| {
            if let Err(error) = self.object.call_method0(py, "invalidateCache") {
                let text = "invalidateCache failed: what ZODB has in memory may be old";
                self.complain(py, text, error);
            }
        });
    }

    fn closed(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }
}

/// Logs an exception of somebody else, that has no caller to go to.
fn complain(py: Python<'_>, text: &str, error: PyErr) {
    let logged = py.import("logging").and_then(|logging| {
        let options = PyDict::new(py);
        options.set_item("exc_info", error.value(py))?;
        let logger = logging.call_method1("getLogger", ("NEO",))?;
        logger.call_method("error", (text,), Some(&options))
    });
    if let Err(error) = logged {
        error.write_unraisable(py, None);
    }
}
