//! Many clusters, with every fault: nothing that was promised may break.

use std::collections::BTreeSet;

use neo_sim::batch::{Batch, simulate};
use neo_sim::bugs::Bugs;
use neo_sim::cluster::Options;
use neo_sim::scenario::{STEPS, faults_of};
use neo_sim::trace::Lines;

const SEEDS: u64 = 2_000;
const EVENTS: u64 = 20_000;

fn from_environment(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

#[test]
fn no_seed_breaks_an_invariant_and_every_fault_was_made_at_every_step() {
    let batch = Batch {
        first: from_environment("SIM_FIRST", 1),
        seeds: from_environment("SIM_SEEDS", SEEDS),
        events: EVENTS,
        bugs: Bugs::None,
        jobs: 0,
        max_failures: 5,
    };
    let summary = batch.run();
    for report in &summary.failures {
        for violation in &report.violations {
            println!("seed {}: {}: {}", report.seed, violation.invariant, violation.text);
        }
        println!("replay it: make sim SEED={} ARGS=--trace", report.seed);
    }
    assert!(summary.failures.is_empty(), "{} seeds failed", summary.failures.len());
    println!(
        "{} seeds, {} events, {} commits, {:.0} events/s by each of {} threads",
        summary.runs,
        summary.events,
        summary.commits,
        summary.events_per_second(),
        summary.jobs
    );
    assert!(summary.least_events >= EVENTS, "a simulation ended early");
    assert!(summary.commits > 100 * summary.runs, "applications hardly did anything");
    assert!(summary.restarts * 50 <= summary.runs, "{} creations failed", summary.restarts);
    if batch.seeds < SEEDS {
        return;
    }
    let made: BTreeSet<_> = summary.coverage.0.keys().copied().collect();
    let mut missing = Vec::new();
    for (kind, code) in STEPS {
        for fault in faults_of(kind) {
            if !made.contains(&(kind, code, fault)) {
                missing.push((kind, code, fault));
            }
        }
    }
    assert!(missing.is_empty(), "never happened: {missing:x?}");
}

#[test]
fn the_same_seed_makes_the_same_trace() {
    for seed in 1..=5 {
        let (events, bugs, lines) = (EVENTS, Bugs::None, Lines::None);
        let options = Options { seed, events, bugs, lines };
        let (one, other) = (simulate(options), simulate(options));
        assert_eq!((one.hash, one.events, one.time), (other.hash, other.events, other.time));
        let kept = simulate(Options { lines: Lines::Keep, ..options });
        assert_eq!(one.hash, kept.hash, "whether somebody reads the trace changes nothing");
        let next = simulate(Options { seed: seed + 1, ..options });
        assert_ne!(one.hash, next.hash);
    }
}
