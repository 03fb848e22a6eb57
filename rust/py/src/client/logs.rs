//! Events of the client in the logger `NEO` of Python (spec client.md 13.3).
//!
//! Whoever logs only puts a line into a queue. A thread that does nothing else gives it to Python:
//! neither the links nor a call ever wait for a handler, or for the GIL.
//!
//! Independently, everything goes to the log file of the process, if there is one (spec tools.md
//! 11): see [`neo_node::logging`].

use std::collections::VecDeque;
use std::fmt::{self, Write as _};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, Once, PoisonError};
use std::thread::JoinHandle;

use neo_node::logging::{self, file};
use pyo3::prelude::*;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber, info};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::{Context, SubscriberExt};

/// Lines that wait at most: the others are counted.
const LIMIT: usize = 10_000;

struct Line {
    level: u8,
    text: String,
}

#[derive(Default)]
struct Queue {
    lines: VecDeque<Line>,
    lost: usize,
    thread: Option<JoinHandle<()>>,
    stopping: bool,
}

static QUEUE: Mutex<Queue> =
    Mutex::new(Queue { lines: VecDeque::new(), lost: 0, thread: None, stopping: false });
static FILLED: Condvar = Condvar::new();
static INSTALL: Once = Once::new();
/// Whether DEBUG is wanted. What is above is rare enough for Python to choose.
static DEBUG: AtomicBool = AtomicBool::new(false);

fn queue() -> MutexGuard<'static, Queue> {
    QUEUE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn push(level: u8, text: String) {
    let mut queue = queue();
    if queue.lines.len() < LIMIT {
        queue.lines.push_back(Line { level, text });
    } else {
        queue.lost += 1;
    }
    FILLED.notify_one();
}

/// Queues an error.
pub(super) fn error(text: String) {
    push(40, text);
}

/// From now on, events are logged. To be called whenever a client is made.
///
/// # Errors
/// Python's `logging` is broken.
pub(super) fn start(py: Python<'_>) -> PyResult<()> {
    let debug = logger(py)?.call_method1("isEnabledFor", (10,))?.is_truthy()?;
    INSTALL.call_once(|| {
        let queue = ToQueue.with_filter(filter_fn(is_queued));
        let subscriber = tracing_subscriber::registry().with(queue).with(logging::to_file());
        // Another subscriber is somebody else's choice, as in the commands of NEO.
        let _ = tracing::subscriber::set_global_default(subscriber);
    });
    if DEBUG.swap(debug, Ordering::Relaxed) != debug {
        tracing::callsite::rebuild_interest_cache();
    }
    py.detach(start_thread)?;
    Ok(())
}

fn start_thread() -> std::io::Result<()> {
    let mut queue = queue();
    if queue.thread.is_none() && !queue.stopping {
        let thread = std::thread::Builder::new().name("NEO log".into()).spawn(emit_all)?;
        queue.thread = Some(thread);
    }
    Ok(())
}

/// Ends the thread, once everything was given to Python. To be called without the GIL.
pub(super) fn stop() {
    let thread = {
        let mut queue = queue();
        queue.stopping = true;
        FILLED.notify_one();
        queue.thread.take()
    };
    // A panic there has already been told.
    let _ = thread.map(JoinHandle::join);
    logging::close(None);
}

/// The queue and the log file, held during a fork.
pub(super) struct Guard(MutexGuard<'static, Queue>, file::ForkGuard);

/// Holds them.
pub(super) fn lock() -> Guard {
    let file = file::before_fork();
    Guard(queue(), file)
}

impl Guard {
    /// In the child, where the thread does not exist. What it had to say, it says in the parent.
    pub fn in_child(self) {
        let Self(mut queue, file) = self;
        queue.lines.clear();
        std::mem::forget(queue.thread.take());
        drop(queue);
        if let Err(reason) = file.in_child() {
            error(format!("this process has no log file: {reason}"));
        }
    }
}

fn logger(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    py.import("logging")?.call_method1("getLogger", ("NEO",))
}

fn emit_all() {
    let mut queue = queue();
    loop {
        let lines = std::mem::take(&mut queue.lines);
        let lost = std::mem::take(&mut queue.lost);
        if lines.is_empty() && lost == 0 {
            if queue.stopping {
                return;
            }
            queue = FILLED.wait(queue).unwrap_or_else(PoisonError::into_inner);
            continue;
        }
        drop(queue);
        Python::try_attach(|py| {
            if let Err(error) = emit(py, &lines, lost) {
                error.write_unraisable(py, None);
            }
        });
        queue = self::queue();
    }
}

fn emit(py: Python<'_>, lines: &VecDeque<Line>, lost: usize) -> PyResult<()> {
    let logger = logger(py)?;
    for line in lines {
        logger.call_method1("log", (line.level, "%s", &line.text))?;
    }
    if lost > 0 {
        logger.call_method1("log", (30, "%s", format!("{lost} lines were not logged")))?;
    }
    Ok(())
}

/// The log file of this process, from now on.
///
/// # Errors
/// It is not a log, or cannot be made.
pub(crate) fn set_file(path: &Path) -> Result<(), String> {
    file::open(path, false)?;
    tracing::callsite::rebuild_interest_cache();
    Ok(())
}

/// Signals of logs do not kill the process any more.
///
/// # Errors
/// The system refuses.
pub(crate) fn watch_signals() -> Result<(), String> {
    file::on_dump(dump);
    file::prepare()
}

fn dump() {
    for application in super::fork::applications() {
        info!("{}", application.dump());
    }
}

/// Asked once for each place that logs, until [`start`] says otherwise.
fn is_queued(metadata: &Metadata<'_>) -> bool {
    let level = if DEBUG.load(Ordering::Relaxed) { Level::DEBUG } else { Level::INFO };
    metadata.target().starts_with("neo") && *metadata.level() <= level
}

struct ToQueue;

impl<S: Subscriber> Layer<S> for ToQueue {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut text = Text::default();
        event.record(&mut text);
        let level = match *event.metadata().level() {
            Level::ERROR => 40,
            Level::WARN => 30,
            Level::INFO => 20,
            _ => 10,
        };
        push(level, text.message + &text.fields);
    }
}

/// The message, then the fields with their names.
#[derive(Default)]
struct Text {
    message: String,
    fields: String,
}

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a String does not fail.
        let _ = if field.name() == "message" && self.message.is_empty() {
            write!(self.message, "{value:?}")
        } else {
            write!(self.fields, " {field}={value:?}")
        };
    }
}
