//! Commands of NEO: configuration, logs, processes.
//!
//! All commands are in one binary or extension module; [`run`] does what its name says.

pub mod commands;
pub mod config;
mod error;
pub mod logging;
mod systemd;

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::Path;

pub use error::RunError;

/// Runs a command: the base name of the first word if it is one of ours (`/usr/bin/neomaster`),
/// else the second word (`neo neomaster`). Returns the status of the process: 0, 1 for a failure,
/// 2 for a usage error (spec tools.md 10). Messages are already printed.
#[must_use]
pub fn run(argv: Vec<OsString>) -> i32 {
    let mut words = argv.into_iter();
    let called = words.next().unwrap_or_default();
    let base = Path::new(&called).file_name().and_then(|name| name.to_str()).unwrap_or_default();
    if let Some(command) = commands::find(base) {
        return finish(command.name, (command.main)(&words.collect::<Vec<_>>()));
    }
    let name = words.next().unwrap_or_default();
    match name.to_str().and_then(commands::find) {
        Some(command) => finish(command.name, (command.main)(&words.collect::<Vec<_>>())),
        None => finish("neo", commands::help(&name)),
    }
}

/// Tells the outcome of a command and gives its status.
fn finish(program: &str, result: Result<(), RunError>) -> i32 {
    let Err(error) = result else {
        logging::close(None);
        return 0;
    };
    let (text, status) = error.report(program);
    logging::close((status != 0).then_some(&text));
    if text.is_empty() {
        return status;
    }
    let printed = match status {
        _ if text.is_empty() => Ok(()),
        0 => print(&mut io::stdout(), &text),
        _ => print(&mut io::stderr(), &text),
    };
    // Nobody can be told when the standard streams are closed; only the status is left.
    if printed.is_err() && status == 0 { 1 } else { status }
}

fn print(stream: &mut dyn Write, text: &str) -> io::Result<()> {
    writeln!(stream, "{}", text.trim_end())?;
    stream.flush()
}
