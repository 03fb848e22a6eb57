//! One simulation: a cluster is disturbed, then left in peace, then judged; and once more.

use neo_core::admin::Admin;
use neo_core::ctl::{Command, Ctl};
use neo_core::database::CellRow;
use neo_core::master::Master;
use neo_core::storage::Storage;
use neo_wire::{CellState, NodeId, Partition, Ptid, Tid};

use crate::bugs::Bugs;
use crate::host::{Kind, NodeIndex};
use crate::hosts::client::ClientHost;
use crate::hosts::simple::SimpleHost;
use crate::hosts::storage::StorageHost;
use crate::oracle::Violation;
use crate::oracle::history::History;
use crate::random::Random;
use crate::scenario::Scenario;
use crate::schedule::Time;
use crate::trace::Lines;
use crate::world::{Coverage, Event, World};

/// How a simulation is done.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// What decides everything.
    pub seed: u64,
    /// Events during disturbances, at least.
    pub events: u64,
    /// A bug made on purpose.
    pub bugs: Bugs,
    /// What is done with the trace.
    pub lines: Lines,
}

/// What came out of it.
#[derive(Clone, Debug)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// What is wrong.
    pub violations: Vec<Violation>,
    /// How often the creation of the database was interrupted and had to be begun again.
    pub restarts: u64,
    /// Events handled.
    pub events: u64,
    /// Virtual time that passed.
    pub time: Time,
    /// Commits that applications were told.
    pub commits: u64,
    /// Tells whether two runs are the same.
    pub hash: u64,
    /// Faults made.
    pub coverage: Coverage,
}

/// Rounds of disturbance and peace, at least.
const ROUNDS: u64 = 2;
/// Every thread of every application commits once more within this time after the last fault.
const RECOVERED_WITHIN: Time = Time::s(300);
/// Nothing is left within this time after the last commit.
const AT_REST_WITHIN: Time = Time::s(30);
/// A disturbance ends after this time, even if little happened.
const DISTURBED_FOR: Time = Time::s(1_000);

/// Reminders of this module.
const FAULT: u32 = 0;
const LOOK: u32 = 1;

/// What operators ask. Not to start: on a part of the storages, that may lose transactions.
const COMMANDS: [&[&str]; 6] = [
    &["print", "cluster"],
    &["print", "node"],
    &["print", "pt"],
    &["print", "primary"],
    &["print", "ids"],
    &["print", "summary"],
];

/// What a storage knows.
struct StorageView {
    node: NodeIndex,
    operates: bool,
    nid: Option<NodeId>,
    ptid: Option<Ptid>,
    rows: Vec<CellRow>,
}

struct Cluster {
    world: World,
    scenario: Scenario,
    disturbed: bool,
    /// How often an operator began again with empty disks.
    restarts: u64,
}

/// Simulates one seed.
#[must_use]
pub fn run(options: Options) -> Report {
    let mut random = Random::new(options.seed);
    let scenario = Scenario::draw(&mut random);
    let mut world = World::new(random.fork(), scenario.network, options.bugs, options.lines);
    world.trace.line(format_args!("seed {}: {scenario:?}", options.seed));
    add_nodes(&mut world, &scenario);
    let mut cluster = Cluster { world, scenario, disturbed: false, restarts: 0 };
    cluster.boot();
    for round in 1.. {
        cluster.disturb(options.events * round.min(ROUNDS) / ROUNDS);
        if cluster.ok() {
            cluster.recover();
        }
        if cluster.ok() {
            cluster.judge();
        }
        let enough = round >= ROUNDS && cluster.world.events() >= options.events;
        if enough || !cluster.ok() {
            break;
        }
        if round >= ROUNDS {
            // So much goes wrong that hardly anything happens.
            cluster.scenario.calm = Time(cluster.scenario.calm.0 * 4);
        }
    }
    if !cluster.ok() {
        cluster.describe();
    }
    let Cluster { world, restarts, .. } = cluster;
    Report {
        seed: options.seed,
        restarts,
        violations: world.oracle.violations().to_vec(),
        events: world.events(),
        time: world.now(),
        commits: world.oracle.journal.commits(),
        hash: world.trace.hash(),
        coverage: world.coverage,
    }
}

fn add_nodes(world: &mut World, scenario: &Scenario) {
    for n in 0..scenario.masters {
        let config = scenario.master(n);
        let rest = |master: &Master| match master.is_at_rest() {
            true => Ok(()),
            false => Err("a transaction or a transition is left".into()),
        };
        let make = move |random: &mut Random| Master::new(config.clone(), random.entropy());
        let host = SimpleHost::new(Kind::Master, make, rest);
        world.add(&format!("M{n}"), Scenario::address(Kind::Master, n), Box::new(host));
    }
    for n in 0..scenario.storages {
        let host = StorageHost::new(scenario.storage(n), scenario.disk);
        world.add(&format!("S{n}"), Scenario::address(Kind::Storage, n), Box::new(host));
    }
    for n in 0..scenario.clients {
        let mut workload = scenario.workload;
        // Nobody else can write while one does: others do so when it rests.
        workload.imports &= n == 0;
        let host = ClientHost::new(scenario.client(), workload);
        world.add(&format!("C{n}"), Scenario::address(Kind::Client, n), Box::new(host));
    }
    for n in 0..scenario.admins {
        let config = scenario.admin(n);
        let make = move |_: &mut Random| Admin::new(config.clone());
        let host = SimpleHost::new(Kind::Admin, make, |_| Ok(()));
        world.add(&format!("A{n}"), Scenario::address(Kind::Admin, n), Box::new(host));
        let admin = Scenario::address(Kind::Admin, n);
        let make = move |random: &mut Random| {
            let words = COMMANDS[random.index(COMMANDS.len())];
            let command = Command::parse(words).ok().flatten();
            Ctl::new(admin.clone(), command.unwrap_or(Command::PrintCluster))
        };
        let host = SimpleHost::new(Kind::Operator, make, |_| Ok(()));
        world.add(&format!("O{n}"), Scenario::address(Kind::Operator, n), Box::new(host));
    }
}

impl Cluster {
    fn ok(&self) -> bool {
        self.world.oracle.violations().is_empty()
    }

    /// The state of every node, for who reads the trace of a failure.
    fn describe(&mut self) {
        if self.world.trace.is_verbose() {
            for node in self.world.nodes() {
                let text = self.world.host(node).describe();
                let name = self.world.name(node).to_owned();
                self.world.trace.line(format_args!("{name} is {text}"));
            }
        }
    }

    fn boot(&mut self) {
        for node in self.world.nodes() {
            let delay = self.world.random.scale(Time::s(2));
            self.world.schedule.after(delay, Event::Boot(node));
        }
        self.world.schedule.after(Time::ZERO, Event::Direct(FAULT));
        self.world.schedule.after(Time::ZERO, Event::Direct(LOOK));
    }

    /// One event. True if it is time to look whether something is reached.
    fn step(&mut self) -> bool {
        match self.world.step() {
            Some(FAULT) => {
                if self.disturbed {
                    self.fault();
                }
                let calm = self.scenario.calm;
                let delay = self.world.random.time(Time(calm.0 / 10), calm);
                self.world.schedule.after(delay, Event::Direct(FAULT));
                false
            }
            Some(_) => {
                self.world.schedule.after(Time::ms(50), Event::Direct(LOOK));
                true
            }
            None => false,
        }
    }

    /// One event in peace.
    fn look(&mut self) -> bool {
        let look = self.step();
        if look {
            self.world.notice_half_open();
        }
        look
    }

    fn fault(&mut self) {
        let World { random, .. } = &mut self.world;
        if self.scenario.faults.is_empty() {
            return;
        }
        let kind = self.scenario.faults[random.index(self.scenario.faults.len())];
        let nodes: Vec<_> = self.world.nodes().collect();
        let node = nodes[self.world.random.index(nodes.len())];
        if crate::scenario::faults_of(self.world.host(node).kind()).contains(&kind) {
            self.world.inject(kind, node, None);
        }
    }

    /// Things go wrong until so many events happened.
    fn disturb(&mut self, events: u64) {
        self.disturbed = true;
        self.world.disturb();
        for _ in 0..self.world.random.below(20) {
            let trigger = Scenario::trigger(&mut self.world.random);
            self.world.add_trigger(trigger);
        }
        let end = self.world.now() + DISTURBED_FOR;
        while self.world.events() < events && self.world.now() < end && self.ok() {
            self.step();
        }
        self.disturbed = false;
    }

    /// Nothing goes wrong any more: every thread must commit once more, then nothing is left.
    fn recover(&mut self) {
        self.world.heal();
        for node in self.world.nodes() {
            self.world.host_mut(node).quiet();
        }
        let mut end = self.world.now() + RECOVERED_WITHIN;
        let quiet = |world: &World| world.nodes().all(|node| world.host(node).is_quiet());
        while self.ok() && !(self.look() && quiet(&self.world)) {
            if self.world.now() > end && self.world.oracle.journal.commits() == 0 {
                // The creation of the database was interrupted, and storages do not agree on what
                // there is: an operator looks at it, and begins again with empty disks.
                self.restarts += 1;
                self.world.start_over();
                end = self.world.now() + RECOVERED_WITHIN;
            } else if self.world.now() > end {
                let waiting = self.world.nodes().filter(|node| !self.world.host(*node).is_quiet());
                let names: Vec<&str> = waiting.map(|node| self.world.name(node)).collect();
                let text = format!("{names:?} did not commit within {RECOVERED_WITHIN} s");
                self.world.oracle.violation("the cluster recovers", text);
            }
        }
        self.world.oracle.take_failures();
        let mut end = self.world.now() + AT_REST_WITHIN;
        let mut left = false;
        while self.ok() && !(self.look() && self.rest().is_ok()) {
            if self.world.now() > end && self.help_refused() {
                end = self.world.now() + AT_REST_WITHIN;
            } else if self.world.now() > end && !left {
                // What nobody tells a storage, it learns when the clients leave.
                left = true;
                self.world.stop(Kind::Client);
                end = self.world.now() + AT_REST_WITHIN;
            } else if self.world.now() > end {
                let text = self.rest().err().unwrap_or_default();
                self.world.oracle.violation("nothing is left at rest", text);
            }
        }
        for (node, sentence) in self.world.oracle.take_failures() {
            if self.world.host(node).kind() != Kind::Operator {
                let text = format!("{}: {sentence}", self.world.name(node));
                self.world.oracle.violation("no process fails in peace", text);
            }
        }
    }

    fn rest(&self) -> Result<(), String> {
        for node in self.world.nodes() {
            let result = self.world.host(node).check_rest();
            result.map_err(|text| format!("{}: {text}", self.world.name(node)))?;
        }
        if !self.world.is_silent() {
            return Err("messages are on their way".into());
        }
        self.all_packed()?;
        self.all_operate()
    }

    /// Every approved pack order is executed on every cell that can be packed.
    fn all_packed(&self) -> Result<(), String> {
        let storages = self.storages();
        let serving: Vec<_> = storages.iter().filter(|storage| storage.operates).collect();
        let partitions: Vec<_> = (0..self.scenario.partitions).map(Partition).collect();
        let mut last = None;
        for storage in &serving {
            let host = self.world.host(storage.node).storage();
            let Some(reader) = host.and_then(StorageHost::reader) else { continue };
            let orders = reader.pack_orders(Tid::ZERO, &partitions);
            let orders = orders.map_err(|error| error.to_string())?.into_iter();
            last = last.max(orders.filter(|x| x.approved == Some(true)).map(|x| x.tid).max());
        }
        for storage in &serving {
            let own = storage.rows.iter().filter(|row| Some(row.nid) == storage.nid);
            let mut cells = own.filter(|row| row.state == CellState::UpToDate);
            if let Some(cell) = cells.find(|cell| cell.pack < last) {
                let name = self.world.name(storage.node);
                let partition = cell.partition;
                return Err(format!("{name} has not packed partition {partition} to {last:?}"));
            }
        }
        Ok(())
    }

    /// Every storage operates that has cells in the partition table of those that operate.
    fn all_operate(&self) -> Result<(), String> {
        let storages = self.storages();
        let serving = storages.iter().filter(|storage| storage.operates);
        let rows = serving.max_by_key(|storage| storage.ptid).map_or(&[][..], |x| &x.rows);
        for storage in &storages {
            if !storage.operates && rows.iter().any(|row| Some(row.nid) == storage.nid) {
                return Err(format!("{} does not operate", self.world.name(storage.node)));
            }
        }
        Ok(())
    }

    fn storages(&self) -> Vec<StorageView> {
        let nodes = self.world.nodes();
        nodes
            .filter_map(|node| {
                let storage = self.world.host(node).storage()?;
                let (nid, ptid, rows) = storage.cells()?;
                let operates = storage.core().is_some_and(Storage::is_operational);
                Some(StorageView { node, operates, nid, ptid, rows })
            })
            .collect()
    }

    /// Storages that a primary master refuses because they know a newer partition table. It was
    /// told to them alone, at a moment when everybody else failed: they have nothing that others
    /// do not have, but only an operator can know. True if there was one.
    fn help_refused(&mut self) -> bool {
        let storages = self.storages();
        let serving = storages.iter().filter(|x| x.operates).filter_map(|x| x.ptid).max();
        let refused = |x: &&StorageView| !x.operates && serving.is_some() && x.ptid > serving;
        let refused: Vec<NodeIndex> =
            storages.iter().filter(refused).map(|storage| storage.node).collect();
        for node in &refused {
            self.restarts += 1;
            self.world.empty(*node);
        }
        !refused.is_empty()
    }

    /// Compares what was seen with the databases; then applications go on.
    fn judge(&mut self) {
        let mut replicas = Vec::new();
        for storage in self.storages().into_iter().filter(|storage| storage.operates) {
            let host = self.world.host(storage.node).storage();
            if let Some(reader) = host.and_then(StorageHost::reader) {
                replicas.push((self.world.name(storage.node).to_owned(), reader));
            }
        }
        match History::collect(&replicas) {
            Ok(mut history) => {
                self.world.oracle.judge(&mut history, self.scenario.partitions);
            }
            Err(text) => self.world.oracle.violation("databases agree at rest", text),
        }
        self.world.resume();
    }
}
