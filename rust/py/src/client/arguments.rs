//! Identifiers between Python and Rust: 8 bytes, big-endian (spec client.md 1).

use std::convert::Infallible;

use neo_wire::{Oid, Tid};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

/// An OID or a TID given by the application.
#[derive(Debug, Clone, Copy)]
pub(super) struct Id(pub u64);

impl Id {
    pub fn oid(self) -> Oid {
        Oid(self.0)
    }

    pub fn tid(self) -> Tid {
        Tid(self.0)
    }
}

impl<'py> FromPyObject<'_, 'py> for Id {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        let object = object.cast::<PyBytes>()?;
        let bytes = object.as_bytes();
        let bytes: [u8; 8] = bytes.try_into().map_err(|_| {
            PyValueError::new_err(format!("8 bytes are required, not {}", bytes.len()))
        })?;
        Ok(Self(u64::from_be_bytes(bytes)))
    }
}

impl<'py> IntoPyObject<'py> for Id {
    type Target = PyBytes;
    type Output = Bound<'py, PyBytes>;
    type Error = Infallible;

    fn into_pyobject(self, py: Python<'py>) -> Result<Self::Output, Infallible> {
        Ok(PyBytes::new(py, &self.0.to_be_bytes()))
    }
}

impl From<Oid> for Id {
    fn from(oid: Oid) -> Self {
        Self(oid.0)
    }
}

impl From<Tid> for Id {
    fn from(tid: Tid) -> Self {
        Self(tid.0)
    }
}
