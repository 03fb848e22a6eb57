//! Logs (spec tools.md 10, 11).
//!
//! - stderr gets records of level WARNING and above, always.
//! - The file of `-l/--logfile`, if any, gets everything, packets included. It is an SQLite
//!   database that `neolog` reads. What is not urgent waits in memory ([`backlog`]), and a thread
//!   writes it ([`file`]): a disk that is slow, full or broken never stops a node.
//!
//! On stderr, a record is a line per line of its message, in local time:
//! `YYYY-MM-DD HH:MM:SS.ffff LEVEL     NEO        [        module:line] message key=value`.

mod backlog;
mod bell;
mod database;
pub mod file;
mod output;
pub(crate) mod protocol;
mod record;
#[cfg(test)]
mod tests;

use std::io::{self, Write};
use std::path::Path;

use tracing::{Event, Level, Metadata, Subscriber, span};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{FilterFn, LevelFilter, filter_fn};
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

use crate::RunError;
pub use bell::dump_signals;
pub use record::Fields;
use record::{Record, level_number};

/// Sets up the logs of this process, once and for all.
///
/// # Errors
/// The log file is the database of another program, or logs are already set up.
pub fn init(logfile: Option<&Path>) -> Result<(), RunError> {
    let subscriber = tracing_subscriber::registry()
        .with(Lines(Stderr).with_filter(LevelFilter::WARN))
        .with(to_file());
    tracing::subscriber::set_global_default(subscriber)
        .map_err(|error| RunError::Failed(format!("logs: {error}")))?;
    open(logfile, false)
}

/// For a command that ends soon: nothing is said on stderr, and everything is written at once.
///
/// # Errors
/// As [`init`].
pub fn init_at_once(logfile: &Path) -> Result<(), RunError> {
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(to_file()))
        .map_err(|error| RunError::Failed(format!("logs: {error}")))?;
    open(Some(logfile), true)
}

fn open(logfile: Option<&Path>, at_once: bool) -> Result<(), RunError> {
    match logfile {
        Some(path) => file::open(path, at_once),
        None => file::prepare(),
    }
    .map_err(RunError::Failed)?;
    // What is logged depends on whether there is a file.
    tracing::callsite::rebuild_interest_cache();
    Ok(())
}

/// The layer that gives records to the log file, once there is one.
pub fn to_file<S: Subscriber + for<'a> LookupSpan<'a>>() -> impl Layer<S> {
    let filter: FilterFn = filter_fn(is_kept);
    ToFile.with_filter(filter)
}

/// Callsites ask it once: call `tracing::callsite::rebuild_interest_cache` when it changes.
fn is_kept(metadata: &Metadata<'_>) -> bool {
    *metadata.level() <= Level::DEBUG && metadata.target().starts_with("neo") && file::is_active()
}

/// Ends the log with the process: what waits is written, unless the process ends well and was told
/// to discard it ([`file::discard_at_exit`]).
pub fn close(failure: Option<&str>) {
    match failure {
        Some(reason) => fatal(reason),
        None if file::is_discarded() => {}
        None => file::flush_now(),
    }
}

/// Logs why the process ends, and waits until it is in the log file.
pub fn fatal(reason: &str) {
    file::record(50, file!(), line!(), reason);
    file::flush_now();
}

/// Text of an event with the fields of its spans.
fn fields<S: Subscriber + for<'a> LookupSpan<'a>>(
    event: &Event<'_>,
    ctx: &Context<'_, S>,
) -> Fields {
    let mut fields = Fields::default();
    event.record(&mut fields);
    for span in ctx.event_scope(event).into_iter().flatten() {
        if let Some(outer) = span.extensions().get::<Fields>() {
            fields.extend(outer);
        }
    }
    fields
}

fn remember<S: Subscriber + for<'a> LookupSpan<'a>>(
    attributes: &span::Attributes<'_>,
    id: &span::Id,
    ctx: &Context<'_, S>,
) {
    let Some(span) = ctx.span(id) else { return };
    let mut extensions = span.extensions_mut();
    if extensions.get_mut::<Fields>().is_none() {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        extensions.insert(fields);
    }
}

struct ToFile;

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for ToFile {
    fn on_new_span(&self, attributes: &span::Attributes<'_>, id: &span::Id, ctx: Context<'_, S>) {
        remember(attributes, id, &ctx);
    }

    fn on_event(&self, event: &Event<'_>, ctx: Context<'_, S>) {
        let metadata = event.metadata();
        let text = fields(event, &ctx).to_string();
        let path = metadata.file().unwrap_or(metadata.target());
        file::record(level_number(metadata.level()), path, metadata.line().unwrap_or(0), &text);
    }
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

/// Writes records as lines of text.
struct Lines<S>(S);

impl<T: Sink, S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Lines<T> {
    fn on_new_span(&self, attributes: &span::Attributes<'_>, id: &span::Id, ctx: Context<'_, S>) {
        remember(attributes, id, &ctx);
    }

    fn on_event(&self, event: &Event<'_>, ctx: Context<'_, S>) {
        self.0.write(&Record::now(event.metadata(), &fields(event, &ctx)).to_string());
    }
}
