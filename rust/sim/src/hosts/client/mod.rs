//! An application: a client core, its cache, and threads that use them as an application does.

mod lists;
mod packs;
mod publishing;
pub mod record;
mod threads;
mod undo;

use std::collections::{BTreeMap, VecDeque};

use neo_core::client::api::{CallId, Effect, Event, Request};
use neo_core::client::loads::Loads;
use neo_core::client::{Client, Config};
use neo_core::io::{Input, Nothing};

use self::publishing::Publishing;
use self::threads::Thread;
use crate::host::{Host, Kind, Turn, Wake, common_input, drive};
use crate::schedule::Time;

/// What the application does.
#[derive(Clone, Copy, Debug)]
pub struct Workload {
    /// Accounts, shared by all clients.
    pub objects: u64,
    /// Threads of each client.
    pub threads: usize,
    /// Rest between two transactions, at most.
    pub think_max: Time,
    /// How long callbacks of a publication last, at most.
    pub publish_max: Time,
    /// How long the resolution of a conflict lasts, at most.
    pub resolve_max: Time,
    /// Bytes of records beside what matters, at most.
    pub padding: usize,
    /// Bytes of the cache.
    pub cache: usize,
    /// Partitions of the cluster.
    pub partitions: u32,
    /// The client imposes the TIDs of its transactions.
    pub imports: bool,
    /// Somebody packs now and then.
    pub packs: bool,
}

/// What a thread asked to be reminded of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Reminder {
    /// A thread goes on.
    Think(usize),
    /// A thread has resolved its conflict.
    Resolved(usize),
    /// A thread does not wait any more for this call.
    Cancel(usize, CallId),
    /// The callbacks of the publication have returned.
    Published,
}

/// See the module.
pub struct ClientHost {
    config: Config,
    workload: Workload,
    core: Option<Client>,
    loads: Loads,
    threads: Vec<Thread>,
    effects: VecDeque<Effect>,
    calls: BTreeMap<CallId, usize>,
    reminders: BTreeMap<Wake, Reminder>,
    /// Threads that wait for the end of a fetch or of a publication.
    waiters: Vec<usize>,
    publishing: Option<Publishing>,
    numbers: u64,
    quiet: bool,
    /// A transaction with an imposed TID failed: no other one begins before those after it end.
    broken: bool,
}

impl ClientHost {
    /// An application that is not started.
    #[must_use]
    pub fn new(config: Config, workload: Workload) -> Self {
        Self {
            config,
            workload,
            core: None,
            loads: Loads::new(workload.cache),
            threads: Vec::new(),
            effects: VecDeque::new(),
            calls: BTreeMap::new(),
            reminders: BTreeMap::new(),
            waiters: Vec::new(),
            publishing: None,
            numbers: 0,
            quiet: false,
            broken: false,
        }
    }

    /// A number that was not used yet.
    fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    fn remind(&mut self, delay: Time, reminder: Reminder, turn: &mut Turn<'_>) {
        let wake = Wake(self.number());
        self.reminders.insert(wake, reminder);
        turn.wake(delay, wake);
    }

    fn drive(&mut self, input: Input<Event>, turn: &mut Turn<'_>) {
        if let Some(core) = &mut self.core {
            let mut effects = Vec::new();
            drive(core, turn, input, &mut effects);
            self.effects.extend(effects);
        }
    }

    fn call(&mut self, thread: usize, request: Request, turn: &mut Turn<'_>) -> CallId {
        let call = CallId(self.number());
        self.calls.insert(call, thread);
        turn.note(format_args!("thread {thread}: {call:?} {request:?}"));
        self.drive(Input::Own(Event::Call { call, request: Box::new(request) }), turn);
        call
    }

    /// Carries out what the core wants, until it wants nothing more.
    fn settle(&mut self, turn: &mut Turn<'_>) {
        while let Some(effect) = self.effects.pop_front() {
            match effect {
                Effect::Return { call, result } => {
                    // Who does not wait any more is not told.
                    if let Some(thread) = self.calls.remove(&call) {
                        turn.note(format_args!("thread {thread}: {call:?} = {result:?}"));
                        self.returned(thread, result, turn);
                    }
                }
                Effect::Publish(publication) => self.publish(publication, turn),
            }
        }
    }
}

impl Host for ClientHost {
    fn kind(&self) -> Kind {
        Kind::Client
    }

    fn boot(&mut self, turn: &mut Turn<'_>) -> Result<(), String> {
        self.core = Some(Client::new(self.config.clone(), turn.random.entropy()));
        self.loads = Loads::new(self.workload.cache);
        self.threads = (0..self.workload.threads).map(|_| Thread::default()).collect();
        for thread in 0..self.threads.len() {
            self.think(thread, turn);
        }
        Ok(())
    }

    fn handle(&mut self, turn: &mut Turn<'_>, input: Input<Nothing>) -> Result<(), String> {
        self.drive(common_input(input), turn);
        self.settle(turn);
        Ok(())
    }

    fn wake(&mut self, turn: &mut Turn<'_>, wake: Wake) -> Result<(), String> {
        match self.reminders.remove(&wake) {
            Some(Reminder::Think(thread)) => self.start(thread, turn),
            Some(Reminder::Resolved(thread)) => self.resolved(thread, turn),
            Some(Reminder::Cancel(thread, call)) => self.cancel(thread, call, turn),
            Some(Reminder::Published) => self.published(turn),
            None => {}
        }
        self.settle(turn);
        Ok(())
    }

    fn crash(&mut self, _machine: bool, _turn: &mut Turn<'_>) {
        self.core = None;
        self.threads.clear();
        self.effects.clear();
        self.calls.clear();
        self.reminders.clear();
        self.waiters.clear();
        self.publishing = None;
    }

    fn quiet(&mut self) {
        self.quiet = true;
    }

    fn go_on(&mut self) {
        self.quiet = false;
    }

    fn resume(&mut self, turn: &mut Turn<'_>) {
        self.go_on();
        for thread in 0..self.threads.len() {
            self.think(thread, turn);
        }
    }

    fn is_quiet(&self) -> bool {
        self.core.is_some() && self.threads.iter().all(Thread::is_over) && self.publishing.is_none()
    }

    fn describe(&self) -> String {
        format!("{:#?}\n{:#?}\n{:#?}", self.core, self.threads, self.publishing)
    }

    fn check_rest(&self) -> Result<(), String> {
        match self.calls.len() {
            0 => Ok(()),
            count => Err(format!("{count} calls are not answered")),
        }
    }
}
