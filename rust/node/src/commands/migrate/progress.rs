//! How far it is: a bar on a terminal, lines with `-v`, nothing otherwise.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::config::MigrateConfig;

/// Between two lines.
const LINES: Duration = Duration::from_secs(10);

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Bytes of a file.
    Bytes,
    /// Transactions.
    Transactions,
}

/// See the module.
pub struct Progress {
    bar: ProgressBar,
    lines: bool,
    last: Instant,
    start: (Instant, Option<u64>),
    total: u64,
    unit: Unit,
}

/// Whether it is worth knowing how much there is.
pub fn is_shown(config: &MigrateConfig) -> bool {
    !config.quiet && (config.verbose || std::io::stderr().is_terminal())
}

impl Progress {
    /// Of so many.
    pub fn new(config: &MigrateConfig, total: u64, unit: Unit) -> Self {
        let target = if config.quiet || !std::io::stderr().is_terminal() {
            ProgressDrawTarget::hidden()
        } else {
            ProgressDrawTarget::stderr()
        };
        let bar = ProgressBar::with_draw_target(Some(total), target);
        let template = match unit {
            Unit::Bytes => {
                "{percent:>3}% {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta} left"
            }
            Unit::Transactions => "{percent:>3}% {wide_bar} {pos}/{len} {per_sec} {eta} left",
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        let lines = config.verbose && !config.quiet;
        let now = Instant::now();
        Self { bar, lines, last: now, start: (now, None), total, unit }
    }

    /// It is there now.
    pub fn set(&mut self, position: u64) {
        if self.start.1.is_none() {
            // What was there already does not count for the rate.
            self.start = (Instant::now(), Some(position));
            self.bar.set_position(position);
            self.bar.reset_eta();
        }
        self.bar.set_position(position);
        if self.lines && self.last.elapsed() >= LINES {
            self.last = Instant::now();
            // A line that can not be written is one less.
            let _ = super::say(false, &self.line(position, self.start.0.elapsed()));
        }
    }

    fn line(&self, position: u64, elapsed: Duration) -> String {
        let done = position.saturating_sub(self.start.1.unwrap_or(position)) as f64;
        let rate = done / elapsed.as_secs_f64().max(1e-3);
        let left = self.total.saturating_sub(position) as f64 / rate.max(1e-9);
        let percent = 100.0 * position as f64 / self.total.max(1) as f64;
        match self.unit {
            Unit::Bytes => {
                format!("{percent:.1} %, {:.1} MB/s, {left:.0} s left", rate / 1e6)
            }
            Unit::Transactions => {
                format!("{percent:.1} %, {rate:.0} transactions/s, {left:.0} s left")
            }
        }
    }

    /// Nothing more comes.
    pub fn end(&self) {
        self.bar.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_the_rate_and_the_time_left_without_what_was_there() {
        let args = ["-vc", "test", env!("CARGO_MANIFEST_DIR"), "127.0.0.1:1"];
        let args: Vec<std::ffi::OsString> = args.iter().map(Into::into).collect();
        let config = MigrateConfig::load(&args).unwrap();
        let line = |unit| {
            let mut progress = Progress::new(&config, 100_000_000, unit);
            progress.set(20_000_000);
            progress.line(50_000_000, Duration::from_secs(10))
        };
        assert_eq!(line(Unit::Bytes), "50.0 %, 3.0 MB/s, 17 s left");
        assert_eq!(line(Unit::Transactions), "50.0 %, 3000000 transactions/s, 17 s left");
    }
}
