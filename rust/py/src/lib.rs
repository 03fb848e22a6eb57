//! The extension module `neo._neo`: the only crate that knows Python.

mod client;
mod command;

/// The client and the commands of NEO, compiled.
#[pyo3::pymodule(gil_used = false)]
mod _neo {
    use std::ffi::OsString;
    use std::io::{stderr, stdout};
    use std::path::PathBuf;

    use pyo3::exceptions::PyOSError;
    use pyo3::prelude::*;

    use crate::{client, command};

    #[pymodule_export]
    use crate::client::{Client, Iteration, Past, Records};

    /// Version of the package.
    #[pymodule_export]
    #[allow(non_upper_case_globals)]
    const __version__: &str = env!("CARGO_PKG_VERSION");

    /// Runs a command of NEO and returns its exit status.
    ///
    /// The first item of `argv` is the name of the command. To be called by the main thread of
    /// a process that does nothing else: Ctrl-C gets back its default action, for no Python code
    /// runs that could see KeyboardInterrupt.
    #[pyfunction]
    fn run(py: Python<'_>, argv: Vec<OsString>) -> PyResult<i32> {
        let signal = py.import("signal")?;
        signal.call_method1("signal", (signal.getattr("SIGINT")?, signal.getattr("SIG_DFL")?))?;
        Ok(py.detach(|| command::run(argv, neo_node::run, &mut stdout(), &mut stderr())))
    }

    /// Logs everything to this file too, from now on, in the whole process.
    #[pyfunction]
    fn set_logfile(py: Python<'_>, path: PathBuf) -> PyResult<()> {
        py.detach(|| client::set_logfile(&path)).map_err(PyOSError::new_err)
    }

    /// From now on, signals of logs do not kill the process.
    #[pyfunction]
    fn watch_signals() -> PyResult<()> {
        client::watch_signals().map_err(PyOSError::new_err)
    }

    /// Closes every client and waits for their threads.
    #[pyfunction]
    fn at_exit(py: Python<'_>) {
        client::at_exit(py);
    }

    /// To be called before a fork.
    #[pyfunction]
    fn before_fork(py: Python<'_>) {
        py.detach(client::before);
    }

    /// To be called in the parent after a fork.
    #[pyfunction]
    fn after_fork_in_parent() {
        client::in_parent();
    }

    /// To be called in the child after a fork.
    #[pyfunction]
    fn after_fork_in_child() {
        client::in_child();
    }
}
