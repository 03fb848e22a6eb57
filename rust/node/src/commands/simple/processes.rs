//! Processes of the nodes.

use std::future::poll_fn;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::task::Poll;
use std::time::Duration;

use nix::sys::signal::{Signal as Number, kill};
use nix::unistd::Pid;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::timeout;

use super::launcher::cannot;
use crate::RunError;

/// How often something that gives no signal is looked at.
const TICK: Duration = Duration::from_millis(50);

/// How long a node may take to stop. It ends what it is writing.
const PATIENCE_TICKS: u32 = 20_000 / 50;

/// Why the cluster ends.
pub(super) enum End {
    /// A signal.
    Asked,
    /// All nodes did.
    All,
    /// A node failed.
    Failed(String),
}

/// Signals that say that something happened.
pub(super) struct Signals {
    stop: Vec<Signal>,
    child: Signal,
}

impl Signals {
    pub(super) fn new() -> Result<Self, RunError> {
        let open = |kind| signal(kind).map_err(|error| RunError::Failed(error.to_string()));
        let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
        let stop: Result<_, _> = kinds.into_iter().map(open).collect();
        Ok(Self { stop: stop?, child: open(SignalKind::child())? })
    }

    /// Waits for a signal, for some time only if `tick`. Whether it asks to stop.
    pub(super) async fn next(&mut self, tick: bool) -> bool {
        let next = poll_fn(|context| {
            // All are polled: each one must wake this task.
            let mut stop = false;
            for signal in &mut self.stop {
                stop |= signal.poll_recv(context).is_ready();
            }
            let child = self.child.poll_recv(context).is_ready();
            if stop || child { Poll::Ready(stop) } else { Poll::Pending }
        });
        if tick { timeout(TICK, next).await.unwrap_or(false) } else { next.await }
    }
}

struct Process {
    name: String,
    child: Child,
    /// A sentence, once it ended otherwise than by success.
    ended: Option<Option<String>>,
}

impl Process {
    fn look(&mut self) {
        if self.ended.is_none() {
            self.ended = match self.child.try_wait() {
                Ok(None) => None,
                Ok(Some(status)) if status.success() => Some(None),
                Ok(Some(status)) => Some(Some(format!("{} ended: {status}", self.name))),
                Err(error) => Some(Some(format!("{}: {error}", self.name))),
            };
        }
    }

    fn signal(&self, number: Number) {
        // A process that is not waited for yet keeps its number, so that nobody else is hit; it
        // cannot fail but for one that ended, which is seen later.
        if let (None, Ok(pid)) = (&self.ended, i32::try_from(self.child.id())) {
            let _ = kill(Pid::from_raw(pid), number);
        }
    }
}

/// All nodes, in the order of their start.
#[derive(Default)]
pub(super) struct Processes(Vec<Process>);

impl Processes {
    pub(super) fn start(&mut self, name: &str, mut command: Command) -> Result<(), RunError> {
        // In a group of its own, Ctrl-C reaches us alone: we say when each node stops.
        command.stdin(Stdio::null()).process_group(0);
        let child = command.spawn().map_err(|error| cannot(name, &error))?;
        self.0.push(Process { name: name.to_owned(), child, ended: None });
        Ok(())
    }

    /// Why there is nothing more to wait for, if so.
    pub(super) fn look(&mut self) -> Option<End> {
        self.0.iter_mut().for_each(Process::look);
        let failed = self.0.iter().find_map(|process| process.ended.clone().flatten());
        let all = self.0.iter().all(|process| process.ended.is_some());
        failed.map(End::Failed).or(all.then_some(End::All))
    }

    /// Waits for the end of all nodes, which were asked to stop, unless that is `hopeless`.
    pub(super) async fn wait(&mut self, signals: &mut Signals, hopeless: impl Fn() -> bool) {
        for _ in 0..PATIENCE_TICKS {
            if self.look().is_some() || hopeless() || signals.next(true).await {
                return;
            }
        }
    }

    /// Stops nodes one after the other, the last one first. A signal kills those that are left.
    pub(super) async fn stop(mut self, signals: &mut Signals) -> Result<(), RunError> {
        let mut failures = Vec::new();
        while let Some(mut process) = self.0.pop() {
            process.look();
            process.signal(Number::SIGTERM);
            let mut ticks = 0;
            while process.ended.is_none() {
                if signals.next(true).await || ticks == PATIENCE_TICKS {
                    process.signal(Number::SIGKILL);
                    self.0.iter().for_each(|process| process.signal(Number::SIGKILL));
                }
                ticks += 1;
                process.look();
            }
            failures.extend(process.ended.flatten());
        }
        if failures.is_empty() {
            return Ok(());
        }
        Err(RunError::Failed(failures.join("; ")))
    }
}
