//! The extension module `neo._neo`: the only crate that knows Python.

mod command;

/// The commands of NEO, compiled.
#[pyo3::pymodule(gil_used = false)]
mod _neo {
    use std::ffi::OsString;
    use std::io::{stderr, stdout};

    use pyo3::prelude::*;

    use crate::command;

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
        signal.call_method1(
            "signal",
            (signal.getattr("SIGINT")?, signal.getattr("SIG_DFL")?),
        )?;
        Ok(py.detach(|| command::run(argv, neo_node::run, &mut stdout(), &mut stderr())))
    }
}
