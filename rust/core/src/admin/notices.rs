//! When people are told (spec tools.md 9.4): whatever changed, once it has settled.
//!
//! Changes are gathered for a few seconds, and compared with what was told last: a state that was
//! only passed through is not told. A backup that does not report any more has some time to come
//! back. What could not be told is told again later, and the summary says so meanwhile.

use std::collections::BTreeMap;

use neo_wire::Timestamp;
use tracing::{info, warn};

use super::health::Severity;
use super::mail::{MailConfig, Notice};
use super::monitor::{Source, View, Views};
use super::{Admin, Effect, NOT_CONNECTED, NOTICE};
use crate::dates::format_timestamp;
use crate::io::{Now, Output, Outputs};

/// How long changes are gathered, in milliseconds.
const GATHER_MS: u64 = 3_000;

/// How long a backup that does not report any more may take to come back, in milliseconds.
const ABSENCE_MS: u64 = 30_000;

/// When everything is looked at again, to detect lags and to tell what could not be told, in
/// milliseconds.
const AGAIN_MS: u64 = 600_000;

/// What was told, and what is to be.
#[derive(Debug, Default)]
pub(super) struct Notices {
    config: Option<MailConfig>,
    /// What was told last, or is being told.
    told: Views,
    /// What was told before, for a mail that is not sent.
    before: Views,
    /// When everything is looked at, on the monotonic clock.
    due_ms: Option<u64>,
    /// It is time, and identifiers are being asked.
    is_due: bool,
    is_sending: bool,
    /// When each backup was lost.
    absent: BTreeMap<usize, u64>,
    /// The last mail could not be sent: when and why.
    failure: Option<(f64, String)>,
}

impl Notices {
    pub(super) fn new(config: Option<MailConfig>) -> Self {
        let config = config.filter(|config| !config.to.is_empty());
        Self { config, ..Self::default() }
    }

    /// What the summary adds, if the last mail could not be sent.
    pub(super) fn failure(&self) -> Option<String> {
        self.failure.as_ref().map(|(time_s, cause)| {
            let date = format_timestamp(Timestamp(time_s.floor()));
            format!("\n\nA notification could not be sent at {date}:\n\n{cause}")
        })
    }

    /// How a cluster was when people were told last.
    fn last(&self, source: Source) -> View {
        self.told.get(&source).cloned().unwrap_or_default()
    }

    pub(super) fn backup_lost(&mut self, index: usize, now: Now) {
        self.absent.insert(index, now.monotonic_ms);
    }

    pub(super) fn backup_back(&mut self, index: usize) {
        self.absent.remove(&index);
    }

    /// Looks at everything so soon, or sooner if that was decided already.
    fn schedule(&mut self, now: Now, delay_ms: u64, out: &mut Outputs<Effect>) {
        if self.config.is_none() {
            return;
        }
        let due_ms = now.monotonic_ms + delay_ms;
        if self.due_ms.is_none_or(|current| due_ms < current) {
            self.due_ms = Some(due_ms);
            let timer = NOTICE;
            out.push(Output::SetTimer { timer, delay_ms });
        }
    }

    /// Something changed.
    pub(super) fn changed(&mut self, now: Now, out: &mut Outputs<Effect>) {
        self.schedule(now, GATHER_MS, out);
    }
}

impl Admin {
    /// It is time to look: identifiers are asked first.
    pub(super) fn on_notice(&mut self, now: Now, out: &mut Outputs<Effect>) {
        self.notices.due_ms = None;
        self.notices.is_due = true;
        self.refresh(now, out);
    }

    /// Tells what changed since last time, if it is time to.
    pub(super) fn notify_changes(&mut self, now: Now, out: &mut Outputs<Effect>) {
        if !self.notices.is_due || self.notices.is_sending {
            return;
        }
        self.notices.is_due = false;
        let mut views = self.monitor.views();
        // Who may be back soon is as it was.
        let absent = self.notices.absent.iter();
        let absent: Vec<_> = absent
            .map(|(index, lost_ms)| (Source::Backup(*index), lost_ms + ABSENCE_MS))
            .filter(|(_, end_ms)| *end_ms > now.monotonic_ms)
            .collect();
        for (source, end_ms) in absent {
            views.insert(source, self.notices.last(source));
            self.notices.schedule(now, end_ms - now.monotonic_ms, out);
        }
        let is_new = |(source, view): &(&Source, &View)| self.notices.last(**source) != **view;
        let changed: Vec<Source> = views.iter().filter(is_new).map(|(x, _)| *x).collect();
        if changed.is_empty() && self.notices.failure.is_none() {
            return self.look_again(now, out);
        }
        self.send_notice(now, views, &changed, out);
    }

    fn send_notice(
        &mut self,
        now: Now,
        views: Views,
        changed: &[Source],
        out: &mut Outputs<Effect>,
    ) {
        let Some(config) = &self.notices.config else {
            return;
        };
        let report = self.monitor.report();
        let mut names: Vec<String> = changed
            .iter()
            .filter(|source| views.get(source).is_some_and(|view| view.severity() != Severity::Ok))
            .map(|source| match self.monitor.name(*source) {
                Some(name) => name.to_string(),
                None => self.config.cluster.to_string(),
            })
            .collect();
        names.sort();
        let is_connected = self.search.attached().is_some();
        let text = if is_connected { &report.summary } else { NOT_CONNECTED };
        let severity = report.severity;
        let notice = Notice { cluster: &self.config.cluster, severity, names, text };
        let mail = notice.mail(config, now.wall_s);
        info!(?severity, "a notification is being sent");
        self.notices.before = std::mem::replace(&mut self.notices.told, views);
        self.notices.is_sending = true;
        out.push(Output::Own(Effect::Mail(mail)));
    }

    /// A mail was sent, or could not be.
    pub(super) fn on_mailed(
        &mut self,
        now: Now,
        result: Result<(), String>,
        out: &mut Outputs<Effect>,
    ) {
        self.notices.is_sending = false;
        match result {
            Ok(()) => {
                self.notices.failure = None;
                self.look_again(now, out);
            }
            Err(cause) => {
                warn!(%cause, "a notification could not be sent");
                self.notices.told = std::mem::take(&mut self.notices.before);
                self.notices.failure = Some((now.wall_s, cause));
                self.notices.schedule(now, AGAIN_MS, out);
            }
        }
        self.notify_changes(now, out);
    }

    /// Lags grow without anything else changing.
    fn look_again(&mut self, now: Now, out: &mut Outputs<Effect>) {
        if self.monitor.may_lag() {
            self.notices.schedule(now, AGAIN_MS, out);
        }
    }
}
