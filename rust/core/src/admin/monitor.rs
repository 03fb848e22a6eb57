//! Watching the health of a cluster and of its backups (spec tools.md 9).
//!
//! Fresh identifiers are asked whenever something changed or somebody wants to know; whoever asks
//! meanwhile shares the result.

use std::collections::{BTreeMap, BTreeSet};

use neo_wire::{ClusterState, ErrorCode, Packet, Text, Tid, Value};
use tracing::info;

use super::health::{Health, Ids, Lag, Severity};
use super::{Admin, Asker, Effect, MONITOR, Request};
use crate::io::{ConnectionId, Now, Output, Outputs};

/// Who does not answer that soon is disconnected, in milliseconds.
const TIMEOUT_MS: u64 = 60_000;

/// Whose identifiers are asked.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Source {
    /// Our own cluster, through its primary master.
    Main,
    /// A backup, through its admin: its place in the configuration.
    Backup(usize),
}

/// The health of every cluster, at one moment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Report {
    /// The worst of all.
    pub severity: Severity,
    /// Clusters with a warning; none for the cluster of the admin, which comes first.
    pub warning: Vec<Option<Text>>,
    /// Clusters with a problem.
    pub problem: Vec<Option<Text>>,
    /// Those that changed since the last report.
    pub changed: Vec<Option<Text>>,
    /// For people.
    pub summary: String,
}

/// A cluster at one moment, as far as a notification is about it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct View {
    health: Health,
    is_backup: bool,
    /// The lag is too much, or is not known: nobody can say that all is well.
    may_lag: bool,
}

impl View {
    pub(super) fn severity(&self) -> Severity {
        self.health.severity(self.is_backup, self.may_lag)
    }
}

/// Every cluster, our own first.
pub(super) type Views = BTreeMap<Source, View>;

/// A cluster that backs ours up.
#[derive(Debug)]
struct Backup {
    name: Text,
    connection: Option<ConnectionId>,
    health: Health,
    ids: Ids,
}

/// What is known and being asked about the health of clusters.
#[derive(Debug)]
pub(super) struct Monitor {
    main: Health,
    main_ids: Ids,
    backups: Vec<Backup>,
    max_lag_s: f64,
    /// Sources asked since the refresh began.
    asked: BTreeSet<Source>,
    /// How many answers are missing.
    waiting: Vec<(ConnectionId, Source)>,
    refreshing: bool,
    askers: Vec<Asker>,
    changed: BTreeSet<Source>,
}

impl Monitor {
    pub(super) fn new(backups: &[Text], max_lag_s: f64) -> Self {
        let backup = |name: &Text| Backup {
            name: name.clone(),
            connection: None,
            health: Health::default(),
            ids: Ids::default(),
        };
        Self {
            main: Health::default(),
            main_ids: Ids::default(),
            backups: backups.iter().map(backup).collect(),
            max_lag_s,
            asked: BTreeSet::new(),
            waiting: Vec::new(),
            refreshing: false,
            askers: Vec::new(),
            changed: BTreeSet::new(),
        }
    }

    /// Whether this is the connection of the admin of a backup.
    pub(super) fn is_backup(&self, connection: ConnectionId) -> bool {
        self.backup_of(connection).is_some()
    }

    fn backup_of(&self, connection: ConnectionId) -> Option<usize> {
        let mut backups = self.backups.iter();
        backups.position(|backup| backup.connection == Some(connection))
    }

    /// Why the admin of a cluster with this name can not report here (spec protocol.md 7.8), or
    /// its acceptance.
    pub(super) fn accept(&mut self, connection: ConnectionId, name: &Text) -> Result<(), String> {
        let Some(backup) = self.backups.iter_mut().find(|backup| backup.name == *name) else {
            return Err(format!("unknown backup cluster '{name}'"));
        };
        if backup.connection.is_some() {
            return Err("already connected".into());
        }
        info!(%name, "a backup cluster reports");
        backup.connection = Some(connection);
        Ok(())
    }

    /// A connection ended: what was asked there will not be answered. Returns the backup that was
    /// there.
    pub(super) fn disconnected(&mut self, connection: ConnectionId) -> Option<usize> {
        self.waiting.retain(|(waiting, _)| *waiting != connection);
        let index = self.backup_of(connection)?;
        let backup = &mut self.backups[index];
        info!(name = %backup.name, "a backup cluster does not report any more");
        (backup.connection, backup.health, backup.ids) = (None, Health::default(), Ids::default());
        self.changed.insert(Source::Backup(index));
        Some(index)
    }

    pub(super) fn give_up(&mut self, source: Source) {
        self.waiting.retain(|(_, waiting)| *waiting != source);
    }

    /// Where answers are missing.
    pub(super) fn late(&self) -> BTreeSet<ConnectionId> {
        let waiting = self.waiting.iter();
        waiting.map(|(connection, _)| *connection).collect()
    }

    pub(super) fn has_room(&self, limit: usize) -> bool {
        self.askers.len() < limit
    }

    pub(super) fn take_askers(&mut self) -> Vec<Asker> {
        std::mem::take(&mut self.askers)
    }

    pub(super) fn main(&self) -> &Health {
        &self.main
    }

    fn health(&self, source: Source) -> Option<&Health> {
        match source {
            Source::Main => Some(&self.main),
            Source::Backup(index) => self.backups.get(index).map(|backup| &backup.health),
        }
    }

    fn sources(&self) -> impl Iterator<Item = Source> + use<> {
        std::iter::once(Source::Main).chain((0..self.backups.len()).map(Source::Backup))
    }

    /// Takes what a backup says about itself. Returns whether it changed; none if it makes no
    /// sense.
    fn notified(&mut self, index: usize, entries: &[(Text, Option<Value>)]) -> Option<bool> {
        let backup = self.backups.get_mut(index)?;
        let mut health = backup.health.clone();
        for (key, value) in entries {
            let value = value.as_ref().filter(|value| **value != Value::Nil);
            match key.as_bytes() {
                b"cluster_state" => health.state = cluster_state(value)?,
                b"down" => health.down = value?.as_unsigned()?,
                b"pt_summary" => health.cells = cells(value)?,
                _ => {}
            }
        }
        let changed = health != backup.health;
        backup.health = health;
        if changed {
            self.changed.insert(Source::Backup(index));
        }
        Some(changed)
    }

    fn learn(&mut self, source: Source, packet: &Packet) -> Option<()> {
        let ids = match source {
            Source::Main => &mut self.main_ids,
            Source::Backup(index) => &mut self.backups.get_mut(index)?.ids,
        };
        match packet {
            Packet::AnswerLastTransaction { tid } => ids.last_tid = Some(*tid),
            Packet::AnswerRecovery { backup_tid, .. } => ids.backup_tid = *backup_tid,
            _ => return None,
        }
        Some(())
    }

    /// How much a backup is behind, if that is known.
    fn lag(&self, backup: &Backup) -> Option<Lag> {
        let main_tid: Option<Tid> = self.main.tid(self.main_ids);
        main_tid
            .filter(|_| self.main.is_operational() && backup.health.is_backing_up())
            .zip(backup.ids.backup_tid)
            .and_then(|(main, backup)| Lag::between(main, backup))
    }

    /// Every cluster as it is now.
    pub(super) fn views(&self) -> Views {
        let main = View { health: self.main.clone(), ..View::default() };
        let backups = self.backups.iter().enumerate().map(|(index, backup)| {
            let may_lag = match self.lag(backup) {
                Some(lag) => lag.exceeds(self.max_lag_s),
                None => self.main.is_operational() && backup.health.is_backing_up(),
            };
            // As long as it was never there, it is as at the beginning.
            let is_backup = backup.health != Health::default();
            let view = View { health: backup.health.clone(), is_backup, may_lag };
            (Source::Backup(index), view)
        });
        std::iter::once((Source::Main, main)).chain(backups).collect()
    }

    /// Whether lags are to be looked at.
    pub(super) fn may_lag(&self) -> bool {
        self.main.is_operational() && self.backups.iter().any(|x| x.health.is_operational())
    }

    /// Name of a backup, none for our own cluster.
    pub(super) fn name(&self, source: Source) -> Option<Text> {
        match source {
            Source::Main => None,
            Source::Backup(index) => self.backups.get(index).map(|x| x.name.clone()),
        }
    }

    pub(super) fn report(&self) -> Report {
        let views = self.views();
        let severities = views.iter().map(|(source, view)| (self.name(*source), view.severity()));
        let mut clusters: Vec<_> = severities.collect();
        let mut summary = self.main.summary(self.main_ids, None);
        for backup in &self.backups {
            let text = backup.health.summary(backup.ids, self.lag(backup));
            summary.push_str(&format!("\n\n{}\n    {text}", backup.name));
        }
        // None comes first, then names.
        clusters.sort();
        let with = |severity| {
            let same = clusters.iter().filter(|(_, other)| *other == severity);
            same.map(|(name, _)| name.clone()).collect()
        };
        let worst = clusters.iter().map(|(_, severity)| *severity).max();
        Report {
            severity: worst.unwrap_or(Severity::Ok),
            warning: with(Severity::Warning),
            problem: with(Severity::Problem),
            changed: self.changed.iter().map(|source| self.name(*source)).collect(),
            summary,
        }
    }
}

impl Report {
    /// With what could not be told to people, which is a problem of its own.
    fn with_failure(mut self, failure: Option<String>) -> Self {
        if let Some(failure) = failure {
            self.severity = Severity::Problem;
            self.warning.retain(Option::is_some);
            if self.problem.first() != Some(&None) {
                self.problem.insert(0, None);
            }
            self.summary.push_str(&failure);
        }
        self
    }
}

fn cluster_state(value: Option<&Value>) -> Option<Option<ClusterState>> {
    match value {
        None => Some(None),
        Some(Value::ClusterState(state)) => Some(Some(*state)),
        Some(_) => None,
    }
}

type Cells = BTreeMap<neo_wire::CellState, u64>;

fn cells(value: Option<&Value>) -> Option<Option<Cells>> {
    match value {
        None => Some(None),
        Some(Value::Map(entries)) => {
            let cell = |(state, count): &(Value, Value)| match state {
                Value::CellState(state) => Some((*state, count.as_unsigned()?)),
                _ => None,
            };
            entries.iter().map(cell).collect::<Option<Cells>>().map(Some)
        }
        Some(_) => None,
    }
}

impl Admin {
    /// To be called whenever what is known about our cluster may have changed.
    pub(super) fn health_changed(&mut self, now: Now, out: &mut Outputs<Effect>) {
        let health = self.view.health();
        if health != self.monitor.main {
            if !health.is_operational() {
                self.monitor.main_ids = Ids::default();
            }
            let changes = upstream_changes(&self.monitor.main, &health);
            self.monitor.main = health;
            self.monitor.changed.insert(Source::Main);
            self.upstream.notify(changes, &mut self.links, out);
        }
        if !self.monitor.changed.is_empty() {
            self.notices.changed(now, out);
            self.refresh(now, out);
        }
    }

    /// Somebody wants a summary.
    pub(super) fn ask_monitor(&mut self, now: Now, asker: Asker, out: &mut Outputs<Effect>) {
        self.monitor.askers.push(asker);
        self.refresh(now, out);
    }

    /// Asks fresh identifiers to the clusters in service that were not asked yet.
    pub(super) fn refresh(&mut self, now: Now, out: &mut Outputs<Effect>) {
        if !self.monitor.refreshing {
            self.monitor.refreshing = true;
            self.monitor.asked.clear();
        }
        for source in self.monitor.sources() {
            let connection = match source {
                Source::Main => self.search.attached(),
                Source::Backup(index) => self.monitor.backups[index].connection,
            };
            let health = self.monitor.health(source);
            let asks = health.is_some_and(Health::is_operational);
            let backing_up = health.is_some_and(Health::is_backing_up);
            let Some(connection) = connection.filter(|_| asks) else {
                continue;
            };
            if !self.monitor.asked.insert(source) {
                continue;
            }
            if self.monitor.waiting.is_empty() {
                let (timer, delay_ms) = (MONITOR, TIMEOUT_MS);
                out.push(Output::SetTimer { timer, delay_ms });
            }
            let recovery = backing_up.then_some(Packet::AskRecovery {});
            let last = Some(Packet::AskLastTransaction {});
            for packet in recovery.into_iter().chain(last) {
                let context = Request::Ids(source);
                if self.links.request(connection, packet, context, out).is_ok() {
                    self.monitor.waiting.push((connection, source));
                }
            }
        }
        self.refresh_progress(now, out);
    }

    /// Ends the refresh once every answer has come.
    pub(super) fn refresh_progress(&mut self, now: Now, out: &mut Outputs<Effect>) {
        if !self.monitor.refreshing || !self.monitor.waiting.is_empty() {
            return;
        }
        self.monitor.refreshing = false;
        if !self.monitor.asked.is_empty() {
            out.push(Output::CancelTimer { timer: MONITOR });
        }
        let changed = !self.monitor.changed.is_empty();
        let report = self.monitor.report();
        self.monitor.changed.clear();
        let report = report.with_failure(self.notices.failure());
        for Asker { connection, msg_id } in self.monitor.take_askers() {
            let answer = Packet::AnswerMonitorInformation {
                warning: report.warning.clone(),
                problem: report.problem.clone(),
                summary: report.summary.clone().into(),
            };
            self.links.answer(connection, msg_id, answer, out);
        }
        if changed {
            out.push(Output::Own(Effect::Report(report)));
        }
        self.notify_changes(now, out);
    }

    pub(super) fn on_ids(
        &mut self,
        now: Now,
        (connection, source): (ConnectionId, Source),
        packet: Packet,
        out: &mut Outputs<Effect>,
    ) {
        let mut waiting = self.monitor.waiting.iter();
        if let Some(index) = waiting.position(|waiting| *waiting == (connection, source)) {
            self.monitor.waiting.remove(index);
        }
        if self.monitor.learn(source, &packet).is_none() {
            // An Error: whoever can not tell its identifiers is not the peer we think.
            info!(?connection, packet = packet.name(), "no identifiers");
            let lost = self.links.close(connection, out);
            self.ended(now, connection, lost, out);
        }
        self.refresh_progress(now, out);
    }

    /// A backup says how it is.
    pub(super) fn on_monitor_information(
        &mut self,
        now: Now,
        asker: Asker,
        entries: &[(Text, Option<Value>)],
        out: &mut Outputs<Effect>,
    ) {
        let Some(index) = self.monitor.backup_of(asker.connection) else {
            return;
        };
        self.notices.backup_back(index);
        match self.monitor.notified(index, entries) {
            Some(true) => self.health_changed(now, out),
            Some(false) => {}
            None => {
                let reason = (ErrorCode::ProtocolError, "invalid monitor information");
                self.refuse(now, asker, reason, out);
            }
        }
    }
}

/// What a backup tells the admin of its upstream cluster: everything, or what is not as before.
pub(super) fn upstream_information(health: &Health) -> Vec<(Text, Option<Value>)> {
    let cells = health.cells.as_ref().map(|cells| {
        let cells = cells.iter().filter(|(_, count)| **count > 0);
        let cell = |(state, count): (&neo_wire::CellState, &u64)| {
            (Value::CellState(*state), Value::Unsigned(*count))
        };
        Value::Map(cells.map(cell).collect())
    });
    vec![
        ("cluster_state".into(), health.state.map(Value::ClusterState)),
        ("down".into(), Some(Value::Unsigned(health.down))),
        ("pt_summary".into(), cells),
    ]
}

fn upstream_changes(before: &Health, after: &Health) -> Vec<(Text, Option<Value>)> {
    let before = upstream_information(before);
    let after = upstream_information(after).into_iter();
    after.filter(|entry| !before.contains(entry)).collect()
}
