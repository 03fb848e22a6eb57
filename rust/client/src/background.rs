//! The two threads of a client: one reads sockets when nobody else does, one publishes what other
//! clients commit (spec client.md 4.2, 4.5).

use std::sync::Arc;
use std::time::Duration;

use neo_core::client::api::{Event, Publication};
use neo_wire::{Oid, Tid};
use tracing::error;

use crate::application::Inner;
use crate::engine::{Engine, Leader};
use crate::sync::MutexGuard;
use crate::wait::poll_turn;

/// How long nobody must have waited before the background thread reads: between two calls of a
/// busy application it would only be in the way.
const GRACE: Duration = Duration::from_millis(2);

impl Inner {
    /// Starts the threads, once there is something to read.
    ///
    /// # Errors
    /// The system has no thread left.
    pub(crate) fn start_threads(self: &Arc<Self>) -> std::io::Result<()> {
        let mut engine = self.engine.lock();
        if engine.has_threads || engine.closed {
            return Ok(());
        }
        let reader = Arc::clone(self);
        let reader = std::thread::Builder::new()
            .name(format!("NEO {}", self.name))
            .spawn(move || reader.read_when_idle())?;
        engine.threads.push(reader);
        let publisher = Arc::clone(self);
        let publisher = std::thread::Builder::new()
            .name("NEO publisher".into())
            .spawn(move || publisher.dispatch())?;
        engine.threads.push(publisher);
        engine.has_threads = true;
        Ok(())
    }

    fn read_when_idle(&self) {
        let mut engine = self.engine.lock();
        while !engine.closed {
            match engine.leader {
                Leader::Nobody(since) if since.elapsed() >= GRACE => {
                    engine.leader = Leader::Background;
                }
                Leader::Background => {
                    poll_turn(&mut engine, &self.kick_background, None);
                    self.tell(&mut engine, None);
                }
                Leader::Nobody(_) => {
                    self.idle.wait_for(&mut engine, GRACE);
                }
                // Nothing tells when a call ends, which would cost each of them a wake-up.
                Leader::Call(_) => {
                    self.idle.wait_for(&mut engine, 5 * GRACE);
                }
            }
        }
    }

    /// Publications are there: without a wrapper they cost nothing and are done at once.
    pub(crate) fn publish_or_dispatch(&self, engine: &mut MutexGuard<'_, Engine>) {
        if self.publisher.lock().is_some() {
            self.to_publish.notify_one();
            return;
        }
        while let Some(publication) = engine.publications.pop_front() {
            self.publish(publication, None);
            engine.event(Event::Published);
        }
    }

    fn dispatch(&self) {
        let mut engine = self.engine.lock();
        while !engine.closed {
            let Some(publication) = engine.publications.pop_front() else {
                self.to_publish.wait(&mut engine);
                continue;
            };
            MutexGuard::unlocked(&mut engine, || {
                let publisher = self.publisher.lock().clone();
                self.publish(publication, publisher.as_deref());
            });
            engine.event(Event::Published);
            self.tell(&mut engine, None);
        }
    }

    /// Makes something visible, in the order of rules O3 and O4 of spec client.md 4.2.
    fn publish(
        &self,
        publication: Publication,
        publisher: Option<&dyn crate::application::Publisher>,
    ) {
        match publication {
            Publication::Foreign { tid, oids } => {
                self.loads.begin(|loads| loads.begin_foreign(tid, &oids));
                self.announce(tid, &oids, publisher);
            }
            Publication::Abandoned { tid, records } => {
                let oids: Vec<_> = records.iter().map(|(oid, _)| *oid).collect();
                self.loads.begin(|loads| loads.begin_local(tid, records));
                self.announce(tid, &oids, publisher);
            }
            Publication::Reset { last_tid } => {
                // Another primary may not know them.
                *self.oids.lock() = 0..0;
                let changed = self.loads.begin(|loads| loads.begin_reset(last_tid));
                let publisher = publisher.filter(|_| changed);
                if let Some(publisher) = publisher {
                    publisher.invalidate_cache();
                    // Also to who asked for the last TID before, and did not forget anything yet.
                    publisher.invalidate(last_tid, &[]);
                }
                self.end_unknown(last_tid, publisher);
            }
        }
    }

    fn announce(
        &self,
        tid: Tid,
        oids: &[Oid],
        publisher: Option<&dyn crate::application::Publisher>,
    ) {
        let failed = publisher.filter(|publisher| !publisher.invalidate(tid, oids));
        self.end_unknown(tid, failed);
    }

    /// Ends a publication about which `publisher`, if there is one, was only told that anything
    /// may have changed: it does not know at which TID. Who asked for the last TID between that
    /// and the end forgot everything, then may have loaded what was valid before: so it is told
    /// again. A sync waits for that.
    fn end_unknown(&self, tid: Tid, publisher: Option<&dyn crate::application::Publisher>) {
        self.loads.end(tid);
        publisher.iter().for_each(|publisher| publisher.invalidate_cache());
    }

    /// Ends the threads.
    pub(crate) fn stop_threads(&self, engine: &mut MutexGuard<'_, Engine>) {
        engine.closed = true;
        self.to_publish.notify_all();
        self.idle.notify_all();
        self.kick_background.kick();
        self.kick_leader.kick();
        for slot in engine.slots.values() {
            slot.condvar.notify_one();
        }
    }
}

/// Logs that threads can not be made.
pub(crate) fn report(error: &std::io::Error) {
    error!(%error, "the threads of the client can not be started");
}
