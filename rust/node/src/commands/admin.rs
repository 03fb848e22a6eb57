//! `neoadmin`.

use std::ffi::OsString;

use neo_core::admin::{Admin, Config, Effect, Report, Severity};
use neo_core::io::Nothing;
use neo_net::{Context, Effects};
use neo_wire::NodeId;
use tracing::{info, warn};

use super::daemon;
use super::master_list::MasterList;
use crate::config::AdminConfig;
use crate::{RunError, logging};

/// Runs the command with the words that follow its name.
pub(super) fn main(args: &[OsString]) -> Result<(), RunError> {
    let config = AdminConfig::load(args)?;
    logging::init(config.node.link.logfile.as_deref())?;
    info!(?config, "Configuration loaded");
    run_node(config)
}

/// Runs the node until the cluster stops it.
fn run_node(config: AdminConfig) -> Result<(), RunError> {
    let AdminConfig { node, monitor } = config;
    if !monitor.emails.is_empty() {
        warn!("notifications are not sent by mail yet: they are only in the log");
    }
    let (list, known) = MasterList::open(node.dynamic_master_list.as_deref())?;
    let shell = daemon::bind::<Nothing>(&node)?;
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
    let exit = shell.run(admin, AdminEffects { list }).map_err(daemon::failed)?;
    daemon::finish(exit)
}

struct AdminEffects {
    list: MasterList,
}

impl Effects<Admin> for AdminEffects {
    fn effect(&mut self, effect: Effect, _context: &mut Context<'_, Nothing>) {
        match effect {
            Effect::SaveMasters(masters) => self.list.save(&masters),
            // Records are written at once.
            Effect::FlushLog => {}
            Effect::Report(report) => log_report(&report),
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
