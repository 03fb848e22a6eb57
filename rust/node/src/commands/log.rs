//! `neolog` (spec tools.md 12). Nothing that a log contains is executed.

mod line;
mod packet;
mod source;
mod values;

use std::ffi::OsString;
use std::io::{self, BufWriter, Write};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{SystemTime, UNIX_EPOCH};

use nix::libc;

use crate::RunError;
use crate::config::LogConfig;
use crate::config::log::From;
use line::Lines;
use source::Source;

/// Runs the command with the words that follow its name.
pub(super) fn main(args: &[OsString]) -> Result<(), RunError> {
    let config = LogConfig::load(args)?;
    if config.follow.is_some() {
        // Ctrl-C is how one leaves (spec tools.md 12).
        let always = Arc::new(AtomicBool::new(true));
        let signal = libc::SIGINT;
        signal_hook::flag::register_conditional_shutdown(signal, 0, always)
            .map_err(|error| RunError::Failed(error.to_string()))?;
    }
    match show(&config) {
        Ok(()) => Ok(()),
        // A reader that had enough is not worth a word.
        Err(Failure::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            Err(RunError::Plain(String::new()))
        }
        Err(Failure::Output(error)) => Err(RunError::Failed(format!("cannot write: {error}"))),
        Err(Failure::Input(reason)) => Err(RunError::Failed(reason)),
    }
}

enum Failure {
    Output(io::Error),
    Input(String),
}

impl std::convert::From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

fn show(config: &LogConfig) -> Result<(), Failure> {
    let from = config.from.as_ref().map_or(0., first_date);
    let sources = config.files.iter().map(|path| Source::open(path, from));
    let mut sources = sources.collect::<Result<Vec<_>, _>>().map_err(Failure::Input)?;
    let mut lines = Lines::new(config).map_err(Failure::Input)?;
    let mut out = BufWriter::new(io::stdout().lock());
    loop {
        show_all(&mut sources, &mut lines, &mut out)?;
        out.flush()?;
        let Some(period) = config.follow else { return Ok(()) };
        config.flush.iter().for_each(|pid| ask_to_flush(*pid));
        std::thread::sleep(period);
        sources.iter_mut().for_each(Source::refresh);
    }
}

/// What all files have now, by date.
fn show_all(sources: &mut [Source], lines: &mut Lines<'_>, out: &mut impl Write) -> io::Result<()> {
    loop {
        let dates = sources.iter_mut().enumerate().filter_map(|(i, source)| {
            let date = source.next_date()?;
            Some((date, i))
        });
        let Some((_, index)) = dates.min_by(|a, b| a.0.total_cmp(&b.0)) else { return Ok(()) };
        let Some(source) = sources.get_mut(index) else { return Ok(()) };
        if let Some(row) = source.take() {
            lines.write(source, &row, out)?;
        }
    }
}

fn first_date(from: &From) -> f64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    match from {
        From::Epoch(date) => *date,
        From::Ago(seconds) => now - seconds,
    }
}

/// Sends RTMIN. A process that is gone has nothing to say any more.
#[allow(unsafe_code, reason = "no safe function sends real-time signals")]
fn ask_to_flush(pid: i32) {
    // SAFETY: it has no other effect on this process than its result.
    unsafe { libc::kill(pid, libc::SIGRTMIN()) };
}
