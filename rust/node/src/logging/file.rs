//! The log file of this process and the thread that writes it (spec tools.md 11).

use std::collections::HashMap;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use neo_net::packets::{Observer, Passage, observe};
use neo_wire::{NodeId, Packet};
use tracing::warn;

use super::backlog::{Backlog, Content, Entry, now};
use super::bell::{Bell, Wanted, take, watch_signals};
use super::database::Name;
use super::output::Output;

/// How long to wait before another attempt to write to a file that refused.
const RETRY: Duration = Duration::from_secs(10);
/// How long the end of a process waits for its log, at most.
const LAST_CHANCE: Duration = Duration::from_secs(30);

/// Whether there is a log file: the one thing that is looked at for each packet without one.
static ACTIVE: AtomicBool = AtomicBool::new(false);
static DISCARD: AtomicBool = AtomicBool::new(false);
/// The log file; another one after a fork, or when another path is asked for.
static LOG: Mutex<Option<&'static LogFile>> = Mutex::new(None);
static WANTED: OnceLock<io::Result<Wanted>> = OnceLock::new();
/// Called by the thread of the log for RTMIN+2, where nobody else hears it.
static DUMP: OnceLock<fn()> = OnceLock::new();

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn log() -> Option<&'static LogFile> {
    if is_active() { *held(&LOG) } else { None }
}

/// Whether records go to a file.
pub fn is_active() -> bool {
    ACTIVE.load(Ordering::Relaxed)
}

/// A log file and what waits to be written to it. It is never freed: a process rarely has several,
/// and forks hold its locks.
struct LogFile {
    path: PathBuf,
    /// Nothing waits (spec tools.md 11.2: neoctl).
    at_once: bool,
    backlog: Mutex<Backlog>,
    bell: Bell,
    flush_asked: AtomicBool,
    stop_asked: AtomicBool,
    /// Held while the file is used: a fork waits for it.
    file: Mutex<Output>,
    /// How many times everything was written that had been logged before.
    flushed: Mutex<u64>,
    flushes: Condvar,
}

/// The nodes of this process: what entries of the backlog refer to.
#[derive(Default)]
struct Nodes {
    names: Vec<Name>,
    numbers: HashMap<Name, u32>,
}

static NODES: Mutex<Option<Nodes>> = Mutex::new(None);
/// The only node of the process, or [`SEVERAL`]: who writes records that do not say it.
static ONLY: AtomicU32 = AtomicU32::new(NONE);
const NONE: u32 = u32::MAX;
const SEVERAL: u32 = u32::MAX - 1;

struct Packets;

impl Observer for Packets {
    fn node(&self, cluster: Option<&str>, nid: Option<NodeId>) -> u32 {
        let name = (cluster.map(str::to_owned), nid);
        let mut nodes = held(&NODES);
        let nodes = nodes.get_or_insert_default();
        let number = *nodes.numbers.entry(name.clone()).or_insert_with(|| {
            nodes.names.push(name);
            u32::try_from(nodes.names.len() - 1).unwrap_or(NONE)
        });
        // A node takes a NID after it was without; a second one begins without.
        let previous = ONLY.load(Ordering::Relaxed);
        let only = if nid.is_none() && previous != NONE { SEVERAL } else { number };
        if previous != SEVERAL {
            ONLY.store(only, Ordering::Relaxed);
        }
        number
    }

    fn packet(&self, passage: Passage<'_>) {
        if !is_active() {
            return;
        }
        let Some(log) = log() else { return };
        held(&log.backlog).push_packet(&passage);
        let flush = !passage.sent && matches!(passage.packet, Packet::FlushLog {});
        if flush || log.at_once {
            log.flush();
        }
    }
}

fn name(number: u32) -> Name {
    let nodes = held(&NODES);
    nodes.as_ref().and_then(|nodes| nodes.names.get(number as usize)).cloned().unwrap_or_default()
}

/// Prepares for logs, and for their signals: they do not kill the process any more.
///
/// # Errors
/// The system refuses.
pub fn prepare() -> Result<(), String> {
    observe(Box::new(Packets));
    wanted().map(drop)
}

fn wanted() -> Result<&'static Wanted, String> {
    WANTED.get_or_init(watch_signals).as_ref().map_err(ToString::to_string)
}

/// What to do for RTMIN+2 where there is no event loop.
pub fn on_dump(dump: fn()) {
    // The same function, whoever sets it.
    let _ = DUMP.set(dump);
}

/// From now on, everything is logged to this file. It replaces the one of before.
///
/// # Errors
/// What is there is the database of another program, or cannot be made. A disk that refuses to be
/// written is not an error: it is warned about, and tried again. Neither is a damaged file: it is
/// kept under another name.
pub fn open(path: &Path, at_once: bool) -> Result<(), String> {
    let same = |log: &&'static LogFile| log.path == path;
    if held(&LOG).as_ref().is_some_and(same) {
        return Ok(());
    }
    prepare()?;
    let refused = |reason: String| format!("cannot use log file {}: {reason}", path.display());
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    if path.is_dir() {
        return Err(refused("it is a directory".into()));
    }
    if folder.is_some_and(|folder| !folder.is_dir()) {
        return Err(refused("its directory does not exist".into()));
    }
    let mut file = Output::new(path, at_once, name);
    let replaced = file.open().map_err(|error| refused(error.to_string()))?;
    let log = start(path, at_once, file)?;
    let former = held(&LOG).replace(log);
    ACTIVE.store(true, Ordering::Relaxed);
    if let Some(former) = former {
        former.end();
    }
    if let Some(replaced) = replaced {
        // In the new file as well.
        warn!("{replaced}");
    }
    Ok(())
}

fn start(path: &Path, at_once: bool, file: Output) -> Result<&'static LogFile, String> {
    let bell = Bell::new(wanted()?).map_err(|error| error.to_string())?;
    let log: &'static LogFile = Box::leak(Box::new(LogFile {
        path: path.to_owned(),
        at_once,
        backlog: Mutex::default(),
        bell,
        flush_asked: AtomicBool::new(false),
        stop_asked: AtomicBool::new(false),
        file: Mutex::new(file),
        flushed: Mutex::default(),
        flushes: Condvar::new(),
    }));
    std::thread::Builder::new()
        .name("NEO log file".into())
        .spawn(|| log.run())
        .map_err(|error| error.to_string())?;
    Ok(log)
}

/// Logs a record.
pub(super) fn record(level: u8, path: &'static str, line: u32, text: &str) {
    let Some(log) = log() else { return };
    let node = ONLY.load(Ordering::Relaxed);
    let node = (node < SEVERAL).then_some(node);
    let content = Content::Record { level, path, line, text: text.into() };
    held(&log.backlog).push(Entry { date: now(), node, content });
    if level >= 30 || log.at_once {
        log.flush();
    }
}

/// What waits when the process ends well is not to be written.
pub fn discard_at_exit() {
    DISCARD.store(true, Ordering::Relaxed);
}

pub(super) fn is_discarded() -> bool {
    DISCARD.load(Ordering::Relaxed)
}

/// Asks for the backlog to be written, and does not wait for it.
pub fn flush() {
    if let Some(log) = log() {
        log.flush();
    }
}

/// Writes the backlog, and waits for it as long as the end of a process may.
pub fn flush_now() {
    if let Some(log) = log() {
        log.flush_now();
    }
}

/// What is held during a fork, by the thread that forks: nobody uses the log meanwhile.
pub struct ForkGuard {
    file: Option<MutexGuard<'static, Output>>,
    backlog: Option<MutexGuard<'static, Backlog>>,
    log: MutexGuard<'static, Option<&'static LogFile>>,
    _nodes: MutexGuard<'static, Option<Nodes>>,
}

/// To be called before a fork. In the parent, the guard is simply dropped.
#[must_use]
pub fn before_fork() -> ForkGuard {
    let file = log().map(|log| held(&log.file));
    let log = held(&LOG);
    let backlog = log.map(|log| held(&log.backlog));
    ForkGuard { file, backlog, log, _nodes: held(&NODES) }
}

impl ForkGuard {
    /// In the child, where the thread does not exist and the database must not be used: a log of
    /// its own, in the same file. What waited is written by the parent.
    ///
    /// # Errors
    /// There is no log in this process.
    pub fn in_child(mut self) -> Result<(), String> {
        std::mem::forget((self.file.take(), self.backlog.take()));
        let Some(former) = self.log.take() else { return Ok(()) };
        former.bell.mute();
        ACTIVE.store(false, Ordering::Relaxed);
        let file = Output::new(&former.path, former.at_once, name);
        *self.log = Some(start(&former.path, former.at_once, file)?);
        ACTIVE.store(true, Ordering::Relaxed);
        Ok(())
    }
}

impl LogFile {
    fn flush(&self) {
        self.flush_asked.store(true, Ordering::Release);
        self.bell.ring();
    }

    fn flush_now(&self) {
        let mut flushed = held(&self.flushed);
        // What is being written may have been taken before our last words.
        let enough = *flushed + 2;
        self.flush();
        let end = std::time::Instant::now() + LAST_CHANCE;
        while *flushed < enough {
            let Some(left) = end.checked_duration_since(std::time::Instant::now()) else { return };
            if *flushed + 1 == enough {
                self.flush();
            }
            let wait = self.flushes.wait_timeout(flushed, left.min(Duration::from_secs(1)));
            flushed = wait.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn end(&self) {
        self.stop_asked.store(true, Ordering::Release);
        self.flush();
    }

    /// The thread.
    fn run(&self) {
        let wanted = &self.bell.wanted;
        loop {
            let failing = held(&self.file).is_failing();
            self.bell.wait(failing.then_some(RETRY));
            if take(&wanted.dump)
                && let Some(dump) = DUMP.get()
            {
                dump();
            }
            if take(&wanted.reopen) {
                held(&self.file).reopen();
            }
            let stop = take(&self.stop_asked);
            if take(&self.flush_asked) | take(&wanted.flush) || failing {
                self.write();
            }
            *held(&self.flushed) += 1;
            self.flushes.notify_all();
            if stop {
                self.bell.mute();
                return;
            }
        }
    }

    fn write(&self) {
        let mut file = held(&self.file);
        let mut waiting = false;
        loop {
            let entries = held(&self.backlog).take();
            let Err(error) = file.write(&entries) else { break };
            held(&self.backlog).restore(entries);
            if error.is_locked() {
                // Here and not as a record, which would only wait too.
                if !waiting {
                    say("database is locked: retrying to emit log...");
                }
                waiting = true;
                continue;
            }
            file.failed(&error);
            return;
        }
        if waiting {
            say(" ok\n");
        }
    }
}

fn say(text: &str) {
    // Nobody is left to be told when stderr is closed.
    let _ = io::stderr().write_all(text.as_bytes());
}
