//! The only way to wait: without the GIL, and so that Ctrl-C ends it (spec client.md 4.5, G1, G5).

use std::sync::{Mutex, PoisonError};

use neo_client::{Error, Interrupted};
use nix::unistd::{getpid, gettid};
use pyo3::prelude::*;

use super::errors::to_python;

/// Calls `f` without the GIL. It may give up when what it is given says so; the exception that a
/// signal handler of Python raised is then raised.
pub(super) fn call<T: Send>(
    py: Python<'_>,
    f: impl FnOnce(Interrupted<'_>) -> Result<T, Error> + Send,
) -> PyResult<T> {
    call_raw(py, f).map_err(|failure| match failure {
        Failure::Error(error) => to_python(error),
        Failure::Signal(exception) => exception,
    })
}

/// Why a call failed.
pub(super) enum Failure {
    Error(Error),
    Signal(PyErr),
}

/// The same for who looks at the error.
pub(super) fn call_raw<T: Send>(
    py: Python<'_>,
    f: impl FnOnce(Interrupted<'_>) -> Result<T, Error> + Send,
) -> Result<T, Failure> {
    let raised = Mutex::new(None);
    let result = py.detach(|| f(&|| is_interrupted(&raised)));
    result.map_err(|error| {
        let raised = raised.into_inner().unwrap_or_else(PoisonError::into_inner);
        match (error, raised) {
            (Error::Interrupted, Some(exception)) => Failure::Signal(exception),
            (error, _) => Failure::Error(error),
        }
    })
}

fn is_interrupted(raised: &Mutex<Option<PyErr>>) -> bool {
    // Python handles signals in the main thread only: the others need not ask for the GIL.
    if gettid() != getpid() {
        return false;
    }
    let exception = Python::try_attach(|py| py.check_signals().err()).flatten();
    let interrupted = exception.is_some();
    if interrupted {
        *raised.lock().unwrap_or_else(PoisonError::into_inner) = exception;
    }
    interrupted
}
