//! A storage node: its core, its writer, its readers, and the disk that outlives them.

use std::collections::{BTreeMap, VecDeque};

use neo_core::database::{self, CellRow, JobOutput, JobResult, Query, WriteJob};
use neo_core::io::{Input, Nothing};
use neo_core::storage::{Config, Effect, Event, JobTicket, Storage};
use neo_store::memory::{CommitFault, MemoryDisk, MemoryWriter};
use neo_store::{Batch, Durability, Failure, Policy, Reader, Submission, Ticket, Writer};

use neo_wire::{NodeId, Ptid, Tid};

use crate::bugs::Bugs;
use crate::host::{DiskFault, Host, Kind, Turn, Wake, common_input, drive};
use crate::schedule::Time;

/// How fast a disk is.
#[derive(Clone, Copy, Debug)]
pub struct DiskProfile {
    /// A durable commit, at least.
    pub commit_min: Time,
    /// A durable commit, at most.
    pub commit_max: Time,
    /// A read in the pool, at most.
    pub read_max: Time,
    /// Reads are done at once, by the thread of the node; else by a pool.
    pub inline_reads: bool,
}

/// What the machine does meanwhile.
enum Work {
    /// The writer commits this.
    Commit(Batch),
    /// The node is told.
    Written(Ticket, Vec<JobResult>),
    /// A thread of the pool looks something up.
    Read(JobTicket, Query),
    /// The node is told.
    Answered(JobTicket, database::Answer),
}

struct Process {
    core: Storage,
    writer: MemoryWriter,
    reader: Box<dyn Reader>,
    policy: Policy,
    busy: bool,
    /// When the last completion reaches the node: they keep their order.
    last_completion: Time,
    work: BTreeMap<Wake, Work>,
}

/// See the module.
pub struct StorageHost {
    config: Config,
    profile: DiskProfile,
    disk: MemoryDisk,
    process: Option<Process>,
    next_wake: u64,
    slow: (Time, Time),
    full_until: Time,
    /// How the next commit fails.
    fault: Option<CommitFault>,
}

impl StorageHost {
    /// With an empty disk.
    #[must_use]
    pub fn new(config: Config, profile: DiskProfile) -> Self {
        Self {
            config,
            profile,
            disk: MemoryDisk::new(),
            process: None,
            next_wake: 0,
            slow: (Time::ZERO, Time::ZERO),
            full_until: Time::ZERO,
            fault: None,
        }
    }

    /// Its core, while the process lives.
    #[must_use]
    pub fn core(&self) -> Option<&Storage> {
        self.process.as_ref().map(|process| &process.core)
    }

    /// Reads its database, while the process lives.
    #[must_use]
    pub fn reader(&self) -> Option<&dyn Reader> {
        self.process.as_ref().map(|process| &*process.reader)
    }

    /// What it knows of the cells of the cluster, with its NID and the version of its table.
    #[must_use]
    pub fn cells(&self) -> Option<(Option<NodeId>, Option<Ptid>, Vec<CellRow>)> {
        let reader = self.reader()?;
        let settings = reader.configuration().ok()?;
        Some((settings.nid, settings.ptid, reader.table().ok()?))
    }

    /// Whether all its cells are readable. Others learn the outcome of transactions that began
    /// before the node did when they are replicated, and not before.
    fn is_complete(&self) -> bool {
        self.cells().is_some_and(|(own, _, rows)| {
            rows.iter().all(|row| Some(row.nid) != own || row.state.is_readable())
        })
    }

    fn later(&mut self, delay: Time, work: Work, turn: &mut Turn<'_>) {
        self.next_wake += 1;
        let wake = Wake(self.next_wake);
        if let Some(process) = &mut self.process {
            process.work.insert(wake, work);
            turn.wake(delay, wake);
        }
    }

    fn input(&mut self, input: Input<Event>, turn: &mut Turn<'_>) -> Result<(), String> {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            let Some(process) = &mut self.process else { return Ok(()) };
            let mut effects = Vec::new();
            drive(&mut process.core, turn, input, &mut effects);
            for effect in effects {
                match effect {
                    Effect::Write { ticket, jobs } => {
                        inputs.extend(self.write(ticket, jobs, turn));
                    }
                    // The list of masters only matters to the next process of a real machine.
                    Effect::SaveMasters(_) => {}
                    Effect::Read { ticket, query } if self.profile.inline_reads => {
                        let answer = self.read(&query, turn.bugs)?;
                        inputs.push_back(Input::Own(Event::Answered { ticket, answer }));
                    }
                    Effect::Read { ticket, query } => {
                        let delay = turn.random.time(Time(1), self.profile.read_max);
                        self.later(delay, Work::Read(ticket, query), turn);
                    }
                }
            }
        }
        Ok(())
    }

    /// Queues jobs. With a bug made on purpose, gives what is told to the node at once.
    fn write(
        &mut self,
        JobTicket(number): JobTicket,
        mut jobs: Vec<WriteJob>,
        turn: &mut Turn<'_>,
    ) -> Option<Input<Event>> {
        let early = match (turn.bugs, jobs.first_mut()) {
            (Bugs::EarlyDurable, Some(WriteJob::Vote(_) | WriteJob::Lock { .. })) => true,
            (Bugs::EarlyUnlock, Some(WriteJob::Unlock { .. })) => true,
            (Bugs::LostLock, Some(WriteJob::Lock { .. })) => {
                jobs.clear();
                true
            }
            (Bugs::ForgottenOrigin, Some(WriteJob::Vote(vote))) => {
                vote.objects.iter_mut().for_each(|object| object.value_tid = None);
                false
            }
            _ => false,
        };
        if turn.bugs == Bugs::GreedyPack {
            for job in &mut jobs {
                if let WriteJob::PackObjects { pack_tid, .. } = job {
                    *pack_tid = Tid::MAX;
                }
            }
        }
        let results = vec![Ok(JobOutput::Done); 1];
        // What is written without being asked has a ticket that nobody knows.
        let ticket = Ticket(if early { u64::MAX } else { number });
        if let Some(process) = &mut self.process {
            process.policy.push(Submission { ticket, jobs });
        }
        self.next_commit(turn);
        early.then(|| Input::Own(Event::Written { ticket: JobTicket(number), results }))
    }

    /// Lets the writer begin a commit, if it has nothing to do.
    fn next_commit(&mut self, turn: &mut Turn<'_>) {
        let Some(process) = &mut self.process else { return };
        if process.busy {
            return;
        }
        let Some(batch) = process.policy.next_batch() else { return };
        process.busy = true;
        let DiskProfile { commit_min, commit_max, .. } = self.profile;
        let mut delay = match &batch {
            Batch::Foreground(_, Durability::Lazy) => commit_min,
            _ => turn.random.time(commit_min, commit_max),
        };
        let (latency, until) = self.slow;
        if until > turn.time {
            delay = delay + turn.random.time(Time::ZERO, latency);
        }
        self.later(delay, Work::Commit(batch), turn);
    }

    /// The writer commits.
    fn commit(&mut self, batch: Batch, turn: &mut Turn<'_>) -> Result<(), String> {
        if self.full_until > turn.time {
            self.disk.fail_next_commit(CommitFault::Nothing(Failure::DiskFull));
        } else if let Some(fault) = self.fault.take() {
            self.disk.fail_next_commit(fault);
        }
        let Some(process) = &mut self.process else { return Ok(()) };
        let (submissions, durability) = match batch {
            Batch::Foreground(submissions, durability) => (submissions, durability),
            Batch::Background => {
                let mut submissions = Vec::new();
                // A slice ends when the foreground waits, or by chance instead of by time.
                loop {
                    let time =
                        if turn.random.one_in(4) { Policy::SLICE } else { Default::default() };
                    match process.policy.next_of_slice(time) {
                        Some(submission) => submissions.push(submission),
                        None => break (submissions, Durability::Durable),
                    }
                }
            }
        };
        let counts: Vec<(Ticket, usize)> =
            submissions.iter().map(|s| (s.ticket, s.jobs.len())).collect();
        let mut jobs = submissions.into_iter().flat_map(|submission| submission.jobs);
        let results = process.writer.commit(durability, &mut jobs);
        let mut results = match results {
            Ok(results) => results.into_iter(),
            Err(error) => return Err(error.to_string()),
        };
        process.busy = false;
        for (ticket, count) in counts {
            let own: Vec<JobResult> = results.by_ref().take(count).collect();
            if ticket.0 == u64::MAX {
                continue;
            }
            let arrival = turn.time + turn.random.time(Time(1), Time(100));
            let Some(process) = &mut self.process else { return Ok(()) };
            process.last_completion = process.last_completion.max(arrival);
            let delay = process.last_completion - turn.time;
            self.later(delay, Work::Written(ticket, own), turn);
        }
        self.next_commit(turn);
        Ok(())
    }

    fn read(&self, query: &Query, bugs: Bugs) -> Result<database::Answer, String> {
        let Some(process) = &self.process else {
            return Err("the process is gone".into());
        };
        if let (Bugs::StaleSerial, Query::LastSerial(oid)) = (bugs, query) {
            let revisions = process.reader.revisions(*oid).map_err(|error| error.to_string())?;
            let stale = revisions.iter().rev().nth(1).or(revisions.last());
            return Ok(database::Answer::LastSerial(stale.map(|(tid, _)| *tid)));
        }
        let mut answer = process.reader.answer(query).map_err(|error| error.to_string())?;
        if let (Bugs::ShortList, Query::TidsFrom { .. }, database::Answer::Tids(tids)) =
            (bugs, query, &mut answer)
        {
            tids.pop();
        }
        Ok(answer)
    }
}

impl Host for StorageHost {
    fn kind(&self) -> Kind {
        Kind::Storage
    }

    fn boot(&mut self, _turn: &mut Turn<'_>) -> Result<(), String> {
        let text = |error: neo_store::StoreError| error.to_string();
        let writer = self.disk.open().map_err(text)?;
        let reader = writer.reader().map_err(text)?;
        let settings = reader.configuration().map_err(text)?;
        let rows = reader.table().map_err(text)?;
        self.process = Some(Process {
            core: Storage::new(self.config.clone(), &settings, rows),
            writer,
            reader,
            policy: Policy::default(),
            busy: false,
            last_completion: Time::ZERO,
            work: BTreeMap::new(),
        });
        Ok(())
    }

    fn handle(&mut self, turn: &mut Turn<'_>, input: Input<Nothing>) -> Result<(), String> {
        self.input(common_input(input), turn)
    }

    fn wake(&mut self, turn: &mut Turn<'_>, wake: Wake) -> Result<(), String> {
        let Some(process) = &mut self.process else { return Ok(()) };
        let Some(work) = process.work.remove(&wake) else { return Ok(()) };
        match work {
            Work::Commit(batch) => self.commit(batch, turn),
            Work::Written(Ticket(number), results) => {
                let ticket = JobTicket(number);
                self.input(Input::Own(Event::Written { ticket, results }), turn)
            }
            Work::Read(ticket, query) => {
                let answer = self.read(&query, turn.bugs)?;
                let delay = turn.random.time(Time(1), self.profile.read_max);
                self.later(delay, Work::Answered(ticket, answer), turn);
                Ok(())
            }
            Work::Answered(ticket, answer) => {
                self.input(Input::Own(Event::Answered { ticket, answer }), turn)
            }
        }
    }

    fn crash(&mut self, machine: bool, turn: &mut Turn<'_>) {
        if let Some(process) = self.process.take() {
            // The system may have written any number of the commits that nobody waits for.
            let kept = if machine { turn.random.index(3) } else { usize::MAX };
            drop(process);
            if let Err(error) = self.disk.crash(kept) {
                // The model refuses its own history: nothing else can be trusted.
                assert!(error.to_string().is_empty(), "the disk: {error}");
            }
        }
    }

    fn disk_fault(&mut self, fault: DiskFault) {
        let failure = || Failure::Io("a simulated failure".into());
        match fault {
            DiskFault::Slow(latency, until) => self.slow = (latency, until),
            DiskFault::FailedCommit => {
                self.fault = Some(CommitFault::Nothing(failure()));
            }
            DiskFault::LyingCommit => {
                self.fault = Some(CommitFault::Everything(failure()));
            }
            DiskFault::Full(until) => self.full_until = until,
        }
    }

    fn heal(&mut self) {
        self.slow = (Time::ZERO, Time::ZERO);
        self.full_until = Time::ZERO;
        self.fault = None;
    }

    fn wipe(&mut self) {
        self.disk.wipe();
    }

    fn check_rest(&self) -> Result<(), String> {
        let Some(process) = &self.process else {
            return Err("there is no process".into());
        };
        if !process.core.is_idle() && self.is_complete() {
            return Err("a transaction, a lock or a request is left".into());
        }
        if !process.policy.is_empty() || process.busy || !process.work.is_empty() {
            return Err("its database has something to do".into());
        }
        Ok(())
    }

    fn describe(&self) -> String {
        format!("{:#?}", self.core())
    }

    fn storage(&self) -> Option<&StorageHost> {
        Some(self)
    }
}
