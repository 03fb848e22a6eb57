//! What wakes the thread of the log: other threads, and signals (spec tools.md 10).

use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::libc;
use signal_hook::SigId;
use signal_hook::{flag, low_level};

/// What is asked of the thread.
#[derive(Debug, Default, Clone)]
pub(super) struct Wanted {
    /// Write the backlog (RTMIN).
    pub flush: Arc<AtomicBool>,
    /// Open the file again (RTMIN+1).
    pub reopen: Arc<AtomicBool>,
    /// Dump the state of the process (RTMIN+2, RTMIN+3).
    pub dump: Arc<AtomicBool>,
}

/// Whether it was asked; it is then forgotten.
pub(super) fn take(flag: &AtomicBool) -> bool {
    flag.swap(false, Ordering::AcqRel)
}

/// Signals that write the backlog and open the file again.
fn log_signals() -> [i32; 2] {
    [libc::SIGRTMIN(), libc::SIGRTMIN() + 1]
}

/// Signals that dump the state.
#[must_use]
pub fn dump_signals() -> Vec<i32> {
    vec![libc::SIGRTMIN() + 2, libc::SIGRTMIN() + 3]
}

/// A byte here wakes the thread.
#[derive(Debug)]
pub(super) struct Bell {
    pub wanted: Wanted,
    ring: UnixStream,
    hear: UnixStream,
    signals: Vec<SigId>,
}

impl Bell {
    /// A bell that the signals of `wanted` will ring too.
    ///
    /// # Errors
    /// The system has no descriptor left, or refuses the signals.
    pub fn new(wanted: &Wanted) -> io::Result<Self> {
        let (ring, hear) = UnixStream::pair()?;
        ring.set_nonblocking(true)?;
        let mut bell = Self { wanted: wanted.clone(), ring, hear, signals: Vec::new() };
        for signal in log_signals().into_iter().chain(dump_signals()) {
            bell.signals.push(low_level::pipe::register(signal, bell.ring.try_clone()?)?);
        }
        Ok(bell)
    }

    /// Signals do not ring it any more.
    pub fn mute(&self) {
        for signal in &self.signals {
            low_level::unregister(*signal);
        }
    }

    /// Wakes the thread.
    pub fn ring(&self) {
        // When there is no room, it has much to hear already.
        let _ = (&self.ring).write(&[0]);
    }

    /// Sleeps until somebody rings or `patience` is over.
    pub fn wait(&self, patience: Option<Duration>) {
        let mut heard = [0; 64];
        // Nothing can be done about a socket pair that fails, but not to loop for it.
        if self.hear.set_read_timeout(patience).is_err() {
            std::thread::sleep(Duration::from_secs(1));
            return;
        }
        match (&self.hear).read(&mut heard) {
            Ok(_) => {}
            Err(error) if is_timeout(&error) => {}
            Err(_) => std::thread::sleep(Duration::from_secs(1)),
        }
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

/// From now on, the signals of logs do not kill the process. They do nothing without a log.
///
/// # Errors
/// The system refuses.
pub(super) fn watch_signals() -> io::Result<Wanted> {
    let wanted = Wanted::default();
    let [flush, reopen] = log_signals();
    flag::register(flush, wanted.flush.clone())?;
    flag::register(reopen, wanted.reopen.clone())?;
    for signal in dump_signals() {
        flag::register(signal, wanted.dump.clone())?;
    }
    Ok(wanted)
}
