//! Watching the health of a cluster and of its backups (spec tools.md 9).
//!
//! Fresh identifiers are asked whenever something changed or somebody wants to know; whoever asks
//! meanwhile shares the result.

use std::collections::BTreeSet;

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

    /// A connection ended: what was asked there will not be answered. Returns whether the health
    /// of a backup changed by that.
    pub(super) fn disconnected(&mut self, connection: ConnectionId) -> bool {
        self.waiting.retain(|(waiting, _)| *waiting != connection);
        let Some(index) = self.backup_of(connection) else {
            return false;
        };
        let backup = &mut self.backups[index];
        info!(name = %backup.name, "a backup cluster does not report any more");
        (backup.connection, backup.health, backup.ids) = (None, Health::default(), Ids::default());
        self.changed.insert(Source::Backup(index));
        true
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

    fn report(&mut self) -> Report {
        let main_tid: Option<Tid> = self.main.tid(self.main_ids);
        let main_tid = main_tid.filter(|_| self.main.is_operational());
        let mut clusters = vec![(None, self.main.severity(false, false))];
        let mut summary = self.main.summary(self.main_ids, None);
        for backup in &self.backups {
            let lag = main_tid
                .filter(|_| backup.health.is_backing_up())
                .zip(backup.ids.backup_tid)
                .and_then(|(main, backup)| Lag::between(main, backup));
            let lags = lag.is_some_and(|lag| lag.exceeds(self.max_lag_s));
            clusters.push((Some(backup.name.clone()), backup.health.severity(true, lags)));
            let text = backup.health.summary(backup.ids, lag);
            summary.push_str(&format!("\n\n{}\n    {text}", backup.name));
        }
        // None comes first, then names.
        clusters.sort();
        let with = |severity| {
            let same = clusters.iter().filter(|(_, other)| *other == severity);
            same.map(|(name, _)| name.clone()).collect()
        };
        let name = |source: &Source| match source {
            Source::Main => None,
            Source::Backup(index) => self.backups.get(*index).map(|x| x.name.clone()),
        };
        let changed = self.changed.iter().map(name).collect();
        let worst = clusters.iter().map(|(_, severity)| *severity).max();
        let report = Report {
            severity: worst.unwrap_or(Severity::Ok),
            warning: with(Severity::Warning),
            problem: with(Severity::Problem),
            changed,
            summary,
        };
        self.changed.clear();
        report
    }
}

fn cluster_state(value: Option<&Value>) -> Option<Option<ClusterState>> {
    match value {
        None => Some(None),
        Some(Value::ClusterState(state)) => Some(Some(*state)),
        Some(_) => None,
    }
}

type Cells = std::collections::BTreeMap<neo_wire::CellState, u64>;

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
    pub(super) fn health_changed(&mut self, _now: Now, out: &mut Outputs<Effect>) {
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
            self.refresh(out);
        }
    }

    /// Somebody wants a summary.
    pub(super) fn ask_monitor(&mut self, asker: Asker, out: &mut Outputs<Effect>) {
        self.monitor.askers.push(asker);
        self.refresh(out);
    }

    /// Asks fresh identifiers to the clusters in service that were not asked yet.
    fn refresh(&mut self, out: &mut Outputs<Effect>) {
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
        self.refresh_progress(out);
    }

    /// Ends the refresh once every answer has come.
    pub(super) fn refresh_progress(&mut self, out: &mut Outputs<Effect>) {
        if !self.monitor.refreshing || !self.monitor.waiting.is_empty() {
            return;
        }
        self.monitor.refreshing = false;
        if !self.monitor.asked.is_empty() {
            out.push(Output::CancelTimer { timer: MONITOR });
        }
        let changed = !self.monitor.changed.is_empty();
        let report = self.monitor.report();
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
        self.refresh_progress(out);
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
