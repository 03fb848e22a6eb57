//! What other clients commit, told to ZODB (spec client.md 4.3, 4.4).

use neo_client::Publisher;
use neo_wire::{Oid, Tid};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

use super::arguments::Id;

/// What `registerDB` was given.
#[derive(Debug)]
pub(super) struct Wrapper(pub Py<PyAny>);

impl Wrapper {
    fn invalidate_cache(&self, py: Python<'_>) {
        if let Err(error) = self.0.call_method0(py, "invalidateCache") {
            complain(py, "invalidateCache failed: what ZODB has in memory may be old", error);
        }
    }
}

impl Publisher for Wrapper {
    fn invalidate(&self, tid: Tid, oids: &[Oid]) {
        // Without an interpreter any more, nobody reads.
        Python::try_attach(|py| {
            let result = PyList::new(py, oids.iter().map(|oid| Id::from(*oid)))
                .and_then(|oids| self.0.bind(py).call_method1("invalidate", (Id::from(tid), oids)));
            if let Err(error) = result {
                complain(py, "invalidate failed: everything is invalidated instead", error);
                self.invalidate_cache(py);
            }
        });
    }

    fn invalidate_cache(&self) {
        Python::try_attach(|py| self.invalidate_cache(py));
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
