//! `neomigrate`: every transaction, from a FileStorage to a cluster or back (spec tools.md 13.1).
//!
//! Both ways are a line of work: one thread reads in order, as many as there are cores compress or
//! decompress and check, one writes in order. What is between them is bounded in bytes.

mod cluster;
mod export;
mod fetch;
mod import;
mod ordered;
mod prepare;
mod progress;
mod retry;
mod stream;
mod unpack;

use std::ffi::OsString;
use std::io::{self, Write};
use std::time::{Duration, Instant};

use crate::config::MigrateConfig;
use crate::config::migrate::Direction;
use crate::{RunError, logging};
use cluster::Cluster;

/// Runs the command with the words that follow its name.
pub(super) fn main(args: &[OsString]) -> Result<(), RunError> {
    let config = MigrateConfig::load(args)?;
    logging::init(config.link.logfile.as_deref())?;
    migrate(&config)
}

/// What was copied, and what the user has to know about it.
#[derive(Debug, Default)]
struct Summary {
    transactions: u64,
    records: u64,
    /// As they are in the file.
    bytes: u64,
    notes: Vec<String>,
}

/// Copies all transactions.
fn migrate(config: &MigrateConfig) -> Result<(), RunError> {
    let start = Instant::now();
    let masters: Vec<String> = config.masters.iter().map(ToString::to_string).collect();
    let (file, masters) = (config.file.display().to_string(), masters.join(" "));
    let (from, to) = match config.direction {
        Direction::Import => (&file, &masters),
        Direction::Export => (&masters, &file),
    };
    // Before anything of the cluster: a file that can not be used is told at once.
    let source = match config.direction {
        Direction::Import => Some(import::open(&config.file)?),
        Direction::Export => None,
    };
    say(config.quiet, &format!("Migrating from {from} to {to}"))?;
    let cluster = Cluster::connect(config)?;
    let result = match source {
        Some(source) => import::run(config, &cluster, source),
        None => export::run(config, &cluster),
    };
    cluster.close();
    let summary = result?;
    for note in &summary.notes {
        say(config.quiet, note)?;
    }
    say(config.quiet, &speed(&summary, start.elapsed()))?;
    say(config.quiet, &format!("Migration done in {:.5}", start.elapsed().as_secs_f64()))
}

fn speed(summary: &Summary, elapsed: Duration) -> String {
    let megabytes = summary.bytes as f64 / 1e6;
    format!(
        "{} transactions, {} records, {megabytes:.1} MB, {:.1} MB/s",
        summary.transactions,
        summary.records,
        megabytes / elapsed.as_secs_f64().max(1e-3),
    )
}

/// Tells the user, unless nothing is to be printed.
fn say(quiet: bool, line: &str) -> Result<(), RunError> {
    if quiet {
        return Ok(());
    }
    let mut stdout = io::stdout().lock();
    let result = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
    result.map_err(|error| RunError::Failed(format!("cannot write output: {error}")))
}

/// A number of things, in words.
fn count(number: u64, one: &str, several: &str) -> String {
    if number == 1 { format!("1 {one}") } else { format!("{number} {several}") }
}
