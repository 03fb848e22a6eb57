//! Logs (spec tools.md 11).
//!
//! - stderr gets records of level WARNING and above, always.
//! - The file of `-l/--logfile`, if any, gets records of level DEBUG and above in the same form, as
//!   plain text, appended and written at once. It is not yet the SQLite database that `neolog`
//!   reads: packets are not in it, and nothing waits in memory. An existing SQLite file is refused
//!   rather than damaged.
//!
//! A record is a line per line of its message, in local time:
//! `YYYY-MM-DD HH:MM:SS.ffff LEVEL     NEO        [        module:line] message key=value`.

mod record;
#[cfg(test)]
mod tests;

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tracing::{Event, Subscriber, span};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

use crate::RunError;
use record::{Fields, Record};

/// First bytes of an SQLite file.
const SQLITE_MAGIC: &[u8] = b"SQLite format 3\0";

/// Sets up the logs of this process, once and for all.
///
/// # Errors
/// The log file cannot be opened, or logs are already set up.
pub fn init(logfile: Option<&Path>) -> Result<(), RunError> {
    let file = logfile.map(LogFile::open).transpose().map_err(RunError::Failed)?;
    let file = file.map(|file| Lines(file).with_filter(LevelFilter::DEBUG));
    let subscriber = tracing_subscriber::registry()
        .with(Lines(Stderr).with_filter(LevelFilter::WARN))
        .with(file);
    tracing::subscriber::set_global_default(subscriber)
        .map_err(|error| RunError::Failed(format!("logs: {error}")))
}

/// Where lines go. A failure to log must never stop a node, so that none is returned.
trait Sink: Send + Sync + 'static {
    fn write(&self, lines: &str);
}

struct Stderr;

impl Sink for Stderr {
    fn write(&self, lines: &str) {
        // Nobody is left to be told when stderr is closed.
        let _ = io::stderr().write_all(lines.as_bytes());
    }
}

/// A text file that is appended to.
pub(crate) struct LogFile {
    path: PathBuf,
    state: Mutex<State>,
}

struct State {
    file: File,
    failing: bool,
}

impl LogFile {
    /// Opens the file, created if needed.
    ///
    /// # Errors
    /// A reason.
    pub(crate) fn open(path: &Path) -> Result<Self, String> {
        let file = append(path)?;
        Ok(Self { path: path.to_owned(), state: Mutex::new(State { file, failing: false }) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sink for LogFile {
    fn write(&self, lines: &str) {
        let mut state = self.state();
        let result = state.file.write_all(lines.as_bytes());
        let failed_before = std::mem::replace(&mut state.failing, result.is_err());
        if let Err(error) = result
            && !failed_before
        {
            let path = self.path.display();
            Stderr.write(&format!("cannot write to log file {path}: {error}: records are lost\n"));
        }
    }
}

fn append(path: &Path) -> Result<File, String> {
    let refuse = |error: io::Error| format!("cannot open log file {}: {error}", path.display());
    let file = OpenOptions::new().create(true).append(true).read(true).open(path);
    let mut file = file.map_err(refuse)?;
    let mut start = Vec::new();
    // What is not a regular file has nothing to damage, and reading it may block.
    if file.metadata().map_err(refuse)?.is_file() {
        let length = SQLITE_MAGIC.len() as u64;
        Read::by_ref(&mut file).take(length).read_to_end(&mut start).map_err(refuse)?;
    }
    if start == SQLITE_MAGIC {
        return Err(format!(
            "log file {} is an SQLite database, which this version does not write yet: give \
             another path",
            path.display()
        ));
    }
    Ok(file)
}

/// Writes records as lines of text.
struct Lines<S>(S);

impl<T: Sink, S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Lines<T> {
    fn on_new_span(&self, attributes: &span::Attributes<'_>, id: &span::Id, ctx: Context<'_, S>) {
        let Some(span) = ctx.span(id) else { return };
        let mut extensions = span.extensions_mut();
        if extensions.get_mut::<Fields>().is_none() {
            let mut fields = Fields::default();
            attributes.record(&mut fields);
            extensions.insert(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, ctx: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        for span in ctx.event_scope(event).into_iter().flatten() {
            if let Some(outer) = span.extensions().get::<Fields>() {
                fields.extend(outer);
            }
        }
        self.0.write(&Record::now(event.metadata(), &fields).to_string());
    }
}
