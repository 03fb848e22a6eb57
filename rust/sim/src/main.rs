//! `neo-sim`: simulates clusters, seed after seed, and says how to replay a failure.

use std::process::ExitCode;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use neo_sim::batch::{Batch, simulate};
use neo_sim::bugs::Bugs;
use neo_sim::cluster::{Options, Report};
use neo_sim::trace::Lines;

mod logs;

const EVENTS: u64 = 20_000;

fn command() -> Command {
    let number = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_parser(value_parser!(u64)).help(help)
    };
    let names = std::iter::once(Bugs::None).chain(Bugs::ALL).map(Bugs::name);
    Command::new("neo-sim")
        .about("Simulate NEO clusters with faults; every seed is another cluster")
        .arg(number("seed", "Simulate this seed only").conflicts_with("seeds"))
        .arg(number("seeds", "Simulate so many seeds").default_value("100"))
        .arg(number("first", "The first of these seeds").default_value("1"))
        .arg(number("events", "Events of each simulation, at least").default_value("20000"))
        .arg(number("jobs", "Simulations at the same time; 0: one by processor").default_value("0"))
        .arg(number("failures", "Stop after so many failures").default_value("10"))
        .arg(
            Arg::new("bug")
                .long("bug")
                .default_value(Bugs::None.name())
                .value_parser(clap::builder::PossibleValuesParser::new(names))
                .help("Make a bug on purpose, that is to be found"),
        )
        .arg(
            Arg::new("trace")
                .long("trace")
                .action(ArgAction::SetTrue)
                .help("Print everything that happens"),
        )
}

fn main() -> ExitCode {
    let matches = command().get_matches();
    let bugs = matches.get_one::<String>("bug").and_then(|name| Bugs::named(name));
    let bugs = bugs.unwrap_or_default();
    if let Some(seed) = matches.get_one::<u64>("seed") {
        one(*seed, bugs, &matches)
    } else {
        many(bugs, &matches)
    }
}

fn number(matches: &ArgMatches, name: &str) -> u64 {
    matches.get_one(name).copied().unwrap_or_default()
}

fn one(seed: u64, bugs: Bugs, matches: &ArgMatches) -> ExitCode {
    let lines = if matches.get_flag("trace") {
        logs::print();
        Lines::Print
    } else {
        Lines::None
    };
    let report = simulate(Options { seed, events: number(matches, "events"), bugs, lines });
    println!(
        "seed {seed}: {} events in {} s of virtual time, {} commits, trace {:016x}",
        report.events, report.time, report.commits, report.hash
    );
    show(&report, bugs, matches);
    if report.violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn many(bugs: Bugs, matches: &ArgMatches) -> ExitCode {
    let batch = Batch {
        first: number(matches, "first"),
        seeds: number(matches, "seeds"),
        events: number(matches, "events"),
        bugs,
        jobs: usize::try_from(number(matches, "jobs")).unwrap_or_default(),
        max_failures: usize::try_from(number(matches, "failures")).unwrap_or(usize::MAX),
    };
    let summary = batch.run();
    for report in &summary.failures {
        show(report, bugs, matches);
    }
    println!(
        "{} seeds, {} events, {} commits, {} s of virtual time, {:.1} s, \
         {:.0} events/s by each of {} threads, {} kinds of fault x step, {} failures",
        summary.runs,
        summary.events,
        summary.commits,
        summary.time.0 / 1_000_000,
        summary.elapsed.as_secs_f64(),
        summary.events_per_second(),
        summary.jobs,
        summary.coverage.0.len(),
        summary.failures.len(),
    );
    if summary.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn show(report: &Report, bugs: Bugs, matches: &ArgMatches) {
    for violation in &report.violations {
        println!("seed {}: {}: {}", report.seed, violation.invariant, violation.text);
    }
    if report.violations.is_empty() {
        return;
    }
    let mut command = format!("make sim SEED={}", report.seed);
    let mut arguments = Vec::new();
    if number(matches, "events") != EVENTS {
        arguments.push(format!("--events {}", number(matches, "events")));
    }
    if bugs != Bugs::None {
        arguments.push(format!("--bug {}", bugs.name()));
    }
    arguments.push("--trace".into());
    command += &format!(" ARGS=\"{}\"", arguments.join(" "));
    println!("replay it: {command}");
}
