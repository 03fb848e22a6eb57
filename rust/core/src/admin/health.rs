//! The health of one cluster, in words and by severity (spec tools.md 9.1, 9.2).

use std::collections::BTreeMap;

use neo_wire::{CellState, ClusterState, Tid};

use crate::dates::format_tid;

/// How bad it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Severity {
    /// Nothing to do.
    Ok = 0,
    /// Redundancy or a backup is not what it should be.
    Warning = 1,
    /// The cluster or one of its storages does not work.
    Problem = 2,
}

/// What is known about a cluster, its own one or a backup.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Health {
    /// None for a cluster that is not connected.
    pub(super) state: Option<ClusterState>,
    /// How many storages having cells are not RUNNING.
    pub(super) down: u64,
    /// How many cells are in each state; none without partition table.
    pub(super) cells: Option<BTreeMap<CellState, u64>>,
}

/// The last identifiers that a cluster answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Ids {
    pub(super) last_tid: Option<Tid>,
    pub(super) backup_tid: Option<Tid>,
}

/// How far a backup is behind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Lag {
    /// Microseconds between the dates of two TIDs.
    Microseconds(i64),
    /// The same date, to the microsecond, but not the same TID.
    Epsilon,
}

impl Lag {
    /// None if a TID has no date that exists.
    pub(super) fn between(main: Tid, backup: Tid) -> Option<Self> {
        let microseconds = |tid: Tid| {
            let (seconds, microseconds) = tid.to_unix_microseconds()?;
            seconds.checked_mul(1_000_000)?.checked_add(i64::from(microseconds))
        };
        let lag = microseconds(main)?.checked_sub(microseconds(backup)?)?;
        if lag == 0 && backup < main {
            return Some(Self::Epsilon);
        }
        Some(Self::Microseconds(lag))
    }

    pub(super) fn exceeds(self, max_lag_s: f64) -> bool {
        match self {
            Self::Microseconds(lag) => lag as f64 / 1e6 > max_lag_s,
            Self::Epsilon => max_lag_s <= 0.0,
        }
    }
}

impl std::fmt::Display for Lag {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self::Microseconds(lag) = self else {
            return f.write_str("ε");
        };
        let sign = if *lag < 0 { "-" } else { "" };
        let lag = lag.unsigned_abs();
        let fraction = format!("{:06}", lag % 1_000_000);
        let fraction = match fraction.trim_end_matches('0') {
            "" => "0",
            fraction => fraction,
        };
        write!(f, "{sign}{}.{fraction}", lag / 1_000_000)
    }
}

impl Health {
    /// Whether it is in service: only then has it identifiers worth asking.
    pub(super) fn is_operational(&self) -> bool {
        matches!(self.state, Some(ClusterState::Running | ClusterState::BackingUp))
    }

    pub(super) fn is_backing_up(&self) -> bool {
        self.state == Some(ClusterState::BackingUp)
    }

    /// The TID up to which it has data.
    pub(super) fn tid(&self, ids: Ids) -> Option<Tid> {
        if self.is_backing_up() { ids.backup_tid } else { ids.last_tid }
    }

    /// `lags` and `is_backup` for a cluster that is expected to be a backup.
    pub(super) fn severity(&self, is_backup: bool, lags: bool) -> Severity {
        let outdated = |cells: &BTreeMap<CellState, u64>| {
            cells.iter().any(|(state, count)| *state != CellState::UpToDate && *count > 0)
        };
        if !self.is_operational() || self.down > 0 {
            Severity::Problem
        } else if self.cells.as_ref().is_some_and(outdated)
            || is_backup && (lags || !self.is_backing_up())
        {
            Severity::Warning
        } else {
            Severity::Ok
        }
    }

    /// One line.
    pub(super) fn summary(&self, ids: Ids, lag: Option<Lag>) -> String {
        let Some(state) = self.state else {
            return "None".into();
        };
        let mut text = state.to_string();
        let counts: Vec<String> = self
            .cells
            .iter()
            .flatten()
            .filter(|(_, count)| **count > 0)
            .map(|(state, count)| format!("{state}={count}"))
            .collect();
        if !counts.is_empty() {
            text = format!("{text}; {}", counts.join(", "));
        }
        if self.down > 0 {
            text = format!("{text}; DOWN={}", self.down);
        }
        if let Some(tid) = self.tid(ids).filter(|_| self.is_operational()) {
            text = match lag {
                Some(lag) => format!("{text}; ltid={tid}; lag={lag}"),
                None => format!("{text}; ltid={tid} ({})", format_tid(tid)),
            };
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn health(state: ClusterState, down: u64, cells: &[(CellState, u64)]) -> Health {
        Health { state: Some(state), down, cells: Some(cells.iter().copied().collect()) }
    }

    fn last(tid: u64) -> Ids {
        Ids { last_tid: Some(Tid(tid)), backup_tid: None }
    }

    #[test]
    fn summaries_of_the_specification() {
        let (out_of_date, up_to_date) = (CellState::OutOfDate, CellState::UpToDate);
        let running = health(ClusterState::Running, 1, &[(up_to_date, 16), (out_of_date, 8)]);
        assert_eq!(
            running.summary(last(0x040d_30b7_2ff2_e94a), None),
            "RUNNING; OUT_OF_DATE=8, UP_TO_DATE=16; DOWN=1; \
             ltid=040d30b72ff2e94a (2026-11-22 16:23:11.238016)"
        );
        let recovering = health(ClusterState::Recovering, 1, &[(up_to_date, 12)]);
        let text = "RECOVERING; UP_TO_DATE=12; DOWN=1";
        assert_eq!(recovering.summary(last(5), None), text);
        let recovering = health(ClusterState::Recovering, 0, &[]);
        assert_eq!(recovering.summary(Ids::default(), None), "RECOVERING");
        assert_eq!(Health::default().summary(last(5), None), "None");
        let backup = health(ClusterState::BackingUp, 0, &[(up_to_date, 2)]);
        let ids = Ids { last_tid: Some(Tid(1)), backup_tid: Some(Tid(0x040d_30cd_873d_34b9)) };
        let lag = Lag::between(Tid(0x040d_30cd_9298_00dd), Tid(0x040d_30cd_873d_34b9));
        assert_eq!(
            backup.summary(ids, lag),
            "BACKINGUP; UP_TO_DATE=2; ltid=040d30cd873d34b9; lag=2.661253"
        );
    }

    #[test]
    fn lags() {
        let main = Tid(0x040d_30bb_2d59_f7d4);
        let lag = |backup| Lag::between(main, backup).unwrap();
        assert_eq!(lag(Tid::ZERO).to_string(), "4004353630.629243");
        assert_eq!(lag(main).to_string(), "0.0");
        assert!(!lag(main).exceeds(0.0));
        assert_eq!(lag(Tid(main.0 - 1)), Lag::Epsilon);
        assert_eq!(lag(Tid(main.0 - 1)).to_string(), "ε");
        assert!(lag(Tid(main.0 - 1)).exceeds(0.0));
        assert!(!lag(Tid(main.0 - 1)).exceeds(0.1));
        assert_eq!(Lag::Microseconds(-1_500_000).to_string(), "-1.5");
        assert!(Lag::Microseconds(1_500_000).exceeds(1.4));
    }

    #[test]
    fn severities() {
        let up_to_date = &[(CellState::UpToDate, 2)];
        let severity = |state, down, cells: &[_], is_backup, lags| {
            health(state, down, cells).severity(is_backup, lags)
        };
        use ClusterState::{BackingUp, Recovering, Running};
        assert_eq!(severity(Running, 0, up_to_date, false, false), Severity::Ok);
        assert_eq!(severity(BackingUp, 0, up_to_date, true, false), Severity::Ok);
        assert_eq!(severity(Running, 1, up_to_date, false, false), Severity::Problem);
        assert_eq!(severity(Recovering, 0, up_to_date, false, false), Severity::Problem);
        let feeding = &[(CellState::UpToDate, 2), (CellState::Feeding, 1)];
        assert_eq!(severity(Running, 0, feeding, false, false), Severity::Warning);
        assert_eq!(severity(Running, 0, up_to_date, true, false), Severity::Warning);
        assert_eq!(severity(BackingUp, 0, up_to_date, true, true), Severity::Warning);
        assert_eq!(Health::default().severity(true, false), Severity::Problem);
    }
}
