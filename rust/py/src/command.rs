//! The way from a command to an exit status, whatever happens on it.

use std::any::Any;
use std::ffi::OsString;
use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Exit status of a bug of ours: `EX_SOFTWARE` of sysexits.h.
pub const SOFTWARE: i32 = 70;

/// Runs `command` with `argv` and returns the exit status of the process.
///
/// A panic becomes a sentence on `err` and [`SOFTWARE`]. What is still buffered in `out` is
/// written, for Python ends the process without flushing the stdout of Rust; output that is lost
/// makes a success a failure.
pub fn run(
    argv: Vec<OsString>,
    command: impl FnOnce(Vec<OsString>) -> i32,
    out: &mut impl Write,
    err: &mut impl Write,
) -> i32 {
    let name = argv.first().map_or_else(|| "neo".into(), |x| x.to_string_lossy().into_owned());
    let status = match catch_unwind(AssertUnwindSafe(|| command(argv))) {
        Ok(status) => status,
        Err(panic) => {
            complain(err, &name, &format!("internal error, please report it: {}", cause(&*panic)));
            SOFTWARE
        }
    };
    match out.flush() {
        Ok(()) => status,
        Err(error) => {
            // A reader that had enough (`| head`) is not worth a word.
            if error.kind() != io::ErrorKind::BrokenPipe {
                complain(err, &name, &format!("cannot write output: {error}"));
            }
            if status == 0 { 1 } else { status }
        }
    }
}

fn complain(err: &mut impl Write, name: &str, what: &str) {
    // Without stderr there is nobody left to tell; the status remains. `eprintln!` would panic.
    let _ = writeln!(err, "{name}: {what}");
}

fn cause(panic: &(dyn Any + Send)) -> &str {
    if let Some(text) = panic.downcast_ref::<&str>() {
        text
    } else if let Some(text) = panic.downcast_ref::<String>() {
        text
    } else {
        "unknown panic"
    }
}
