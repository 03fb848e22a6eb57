//! Many simulations side by side: threads run whole simulations, there is none inside of one.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // see above

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::bugs::Bugs;
use crate::cluster::{Options, Report, run};
use crate::oracle::Violation;
use crate::schedule::Time;
use crate::trace::Lines;
use crate::world::Coverage;

/// Which simulations are done.
#[derive(Clone, Copy, Debug)]
pub struct Batch {
    /// The first seed.
    pub first: u64,
    /// How many seeds.
    pub seeds: u64,
    /// Events of each, at least.
    pub events: u64,
    /// A bug made on purpose.
    pub bugs: Bugs,
    /// Simulations at the same time; 0 for one by processor.
    pub jobs: usize,
    /// Failures after which no other simulation begins.
    pub max_failures: usize,
}

/// What came out of them.
#[derive(Default, Debug)]
pub struct Summary {
    /// Those with violations, by seed.
    pub failures: Vec<Report>,
    /// Simulations that were done.
    pub runs: u64,
    /// Events in all.
    pub events: u64,
    /// The fewest events of a simulation.
    pub least_events: u64,
    /// Commits in all.
    pub commits: u64,
    /// Databases that had to be made again.
    pub restarts: u64,
    /// Virtual time in all.
    pub time: Time,
    /// Faults made.
    pub coverage: Coverage,
    /// Time that passed in this world.
    pub elapsed: Duration,
    /// Simulations at the same time.
    pub jobs: usize,
}

impl Summary {
    fn add(&mut self, report: Report) {
        self.least_events =
            if self.runs == 0 { report.events } else { self.least_events.min(report.events) };
        self.runs += 1;
        self.events += report.events;
        self.commits += report.commits;
        self.restarts += report.restarts;
        self.time = self.time + report.time;
        self.coverage.add(&report.coverage);
        if !report.violations.is_empty() {
            self.failures.push(report);
        }
    }

    /// Events handled by one processor in a second.
    #[must_use]
    pub fn events_per_second(&self) -> f64 {
        self.events as f64 / self.elapsed.as_secs_f64() / self.jobs.max(1) as f64
    }
}

/// Simulates one seed; a panic is a violation like any other.
#[must_use]
pub fn simulate(options: Options) -> Report {
    catch_unwind(AssertUnwindSafe(|| run(options))).unwrap_or_else(|panic| {
        let text = panic
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
        let violation = Violation { invariant: "no panic", text: text.unwrap_or_default() };
        Report {
            seed: options.seed,
            violations: vec![violation],
            restarts: 0,
            events: 0,
            time: Time::ZERO,
            commits: 0,
            hash: 0,
            coverage: Coverage::default(),
        }
    })
}

impl Batch {
    /// Does them.
    #[must_use]
    pub fn run(&self) -> Summary {
        let start = Instant::now();
        let processors = std::thread::available_parallelism().map_or(1, Into::into);
        let jobs = if self.jobs == 0 { processors } else { self.jobs };
        let next = AtomicU64::new(0);
        let failures = AtomicU64::new(0);
        let work = || {
            let mut reports = Vec::new();
            loop {
                let n = next.fetch_add(1, Ordering::Relaxed);
                let failed = failures.load(Ordering::Relaxed) >= self.max_failures as u64;
                if n >= self.seeds || failed {
                    return reports;
                }
                let seed = self.first + n;
                let (events, bugs) = (self.events, self.bugs);
                let report = simulate(Options { seed, events, bugs, lines: Lines::None });
                if !report.violations.is_empty() {
                    failures.fetch_add(1, Ordering::Relaxed);
                }
                reports.push(report);
            }
        };
        let mut summary = Summary { jobs, ..Summary::default() };
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..jobs).map(|_| scope.spawn(work)).collect();
            for thread in threads {
                // Panics of simulations are caught: this thread only fails with the harness.
                thread.join().into_iter().flatten().for_each(|report| summary.add(report));
            }
        });
        summary.failures.sort_by_key(|report| report.seed);
        summary.elapsed = start.elapsed();
        summary
    }
}
