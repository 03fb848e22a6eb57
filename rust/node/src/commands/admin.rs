//! `neoadmin`.

mod identity;
mod smtp;

use std::ffi::OsString;
use std::thread;

use neo_core::admin::{Admin, Config, Effect, Event, Mail, MailConfig, Report, Severity};
use neo_net::{Context, Effects, Handle};
use neo_wire::NodeId;
use tracing::{info, warn};

use super::daemon;
use super::master_list::MasterList;
use crate::config::AdminConfig;
use crate::config::admin::{MonitorConfig, SmtpConfig};
use crate::{RunError, logging};

/// Runs the command with the words that follow its name.
pub(super) fn main(args: &[OsString]) -> Result<(), RunError> {
    let config = AdminConfig::load(args)?;
    daemon::start_log(&config.node)?;
    info!(?config, "Configuration loaded");
    run_node(config)
}

/// Runs the node until the cluster stops it.
fn run_node(config: AdminConfig) -> Result<(), RunError> {
    let AdminConfig { node, monitor } = config;
    let (list, known) = MasterList::open(node.dynamic_master_list.as_deref())?;
    let shell = daemon::bind::<Event>(&node)?;
    let mut masters = daemon::addresses(&node.masters);
    masters.extend(known);
    let admin = Admin::new(Config {
        cluster: node.cluster.as_str().into(),
        address: Some(daemon::advertised(&shell, &node)),
        nid: node.nid.map(NodeId),
        masters,
        backups: monitor.backups.iter().map(|name| name.as_str().into()).collect(),
        max_lag_s: monitor.max_lag_s,
    });
    let host = identity::host();
    let admin = admin.with_mail(Some(mail_config(&monitor, &host)));
    let effects = AdminEffects { list, smtp: monitor.smtp, host, handle: shell.handle() };
    let exit = daemon::run(shell, admin, effects)?;
    daemon::finish(exit)
}

fn mail_config(monitor: &MonitorConfig, host: &str) -> MailConfig {
    let from = monitor.sender.clone().unwrap_or_else(|| identity::sender(host));
    MailConfig { from, to: monitor.emails.clone() }
}

struct AdminEffects {
    list: MasterList,
    smtp: SmtpConfig,
    /// Name of this machine.
    host: String,
    handle: Handle<Event>,
}

impl AdminEffects {
    /// Sends a mail from another thread: the server may be slow.
    fn send(&self, mail: Mail) {
        let (smtp, host, handle) = (self.smtp.clone(), self.host.clone(), self.handle.clone());
        let work = move || {
            let result = smtp::send(&smtp, &host, &mail).map(|refused| {
                for reason in refused {
                    warn!("a recipient of notifications is refused: {reason}");
                }
            });
            handle.send(Event::Mailed(result));
        };
        let spawned = thread::Builder::new().name("mail".into()).spawn(work);
        if let Err(error) = spawned {
            self.handle.send(Event::Mailed(Err(format!("no thread can be started: {error}"))));
        }
    }
}

impl Effects<Admin> for AdminEffects {
    fn effect(&mut self, effect: Effect, _context: &mut Context<'_, Event>) {
        match effect {
            Effect::SaveMasters(masters) => self.list.save(&masters),
            Effect::FlushLog => logging::file::flush(),
            Effect::Report(report) => log_report(&report),
            Effect::Mail(mail) => self.send(mail),
        }
    }
}

fn log_report(report: &Report) {
    let severity = match report.severity {
        Severity::Ok => "OK",
        Severity::Warning => "WARNING",
        Severity::Problem => "PROBLEM",
    };
    info!("monitoring: {severity}\n{}", report.summary);
}
