//! `neosimple`: a throw-away cluster (spec tools.md 13.2).
//!
//! It stays until Ctrl-C, then stops the cluster as an operator does; nodes that do not stop are
//! told one by one, in the reverse order of their start. It ends as well when all nodes did
//! (`neoctl set cluster STOPPING`), and when one failed.

mod directory;
mod launcher;
mod plan;
mod processes;
mod watch;

use std::ffi::OsString;
use std::io::{self, Write};

use crate::RunError;
use crate::config::SimpleConfig;
use directory::Directory;
use launcher::Launcher;
use plan::{NodePlan, Plan};
use processes::{End, Processes, Signals};
use watch::{Shutdown, Watch};

/// Runs the command with the words that follow its name.
pub(super) fn main(args: &[OsString]) -> Result<(), RunError> {
    let config = SimpleConfig::load(args)?;
    run_cluster(&config)
}

/// Runs the cluster until Ctrl-C.
fn run_cluster(config: &SimpleConfig) -> Result<(), RunError> {
    let launcher = Launcher::of_this_process();
    let directory = Directory::open(config.temp_dir.as_deref(), config.cleanup_on_delete)?;
    let plan = Plan::new(config, directory.path())?;
    if config.clear_databases {
        for node in plan.nodes.iter().filter(|node| node.command == "neostorage") {
            reset(&launcher, node)?;
        }
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| RunError::Failed(error.to_string()))?;
    let ended = runtime.block_on(serve(&launcher, &plan, &directory));
    let removed = directory.close();
    ended.and(removed)
}

async fn serve(launcher: &Launcher, plan: &Plan, directory: &Directory) -> Result<(), RunError> {
    // Before the first process: a signal that comes meanwhile must not leave it behind.
    let mut signals = Signals::new()?;
    let mut processes = Processes::default();
    let end = match start(launcher, plan, directory, &mut processes) {
        Ok(()) => Ok(wait(plan, &mut processes, &mut signals).await),
        Err(error) => Err(error),
    };
    if matches!(end, Ok(End::Asked)) {
        let shutdown = Shutdown::start(plan.admin);
        processes.wait(&mut signals, || shutdown.is_refused()).await;
    }
    let stopped = processes.stop(&mut signals).await;
    match end? {
        End::Failed(reason) => Err(RunError::Failed(reason)),
        End::Asked | End::All => stopped,
    }
}

fn start(
    launcher: &Launcher,
    plan: &Plan,
    directory: &Directory,
    processes: &mut Processes,
) -> Result<(), RunError> {
    say(&format!("Using temp directory {}", directory.path().display()))?;
    for node in &plan.nodes {
        let command = launcher.command(node.command, &node.args);
        say(&format!("{}: {} {}", node.name, node.command, plan::quoted(&node.args)))?;
        processes.start(&node.name, command)?;
    }
    say(&format!("Name of the cluster: {}", plan.cluster))?;
    say(&format!("Masters: {}", plan.master_nodes()))?;
    say(&format!("Admin: {}", plan.admin))?;
    say(&format!("Clients: {}", plan.uri()))?;
    if !plan.autostart {
        say(&format!("Cluster not started: neoctl -a {} start", plan.admin))?;
    }
    Ok(())
}

/// Waits for the end of a node or a signal, and tells when the cluster runs.
async fn wait(plan: &Plan, processes: &mut Processes, signals: &mut Signals) -> End {
    let mut watch = Some(Watch::start(plan.admin));
    loop {
        if let Some(end) = processes.look() {
            return end;
        }
        if watch.as_ref().is_some_and(Watch::is_running) {
            watch = None;
            if let Err(error) = say("Cluster running ...") {
                return End::Failed(error.to_string());
            }
        }
        if signals.next(watch.is_some()).await {
            return End::Asked;
        }
    }
}

fn reset(launcher: &Launcher, node: &NodePlan) -> Result<(), RunError> {
    let mut args = node.args.clone();
    args.push("--reset".into());
    let status = launcher.command(node.command, &args).status();
    let status = status.map_err(|error| launcher::cannot(node.command, &error))?;
    if status.success() {
        return Ok(());
    }
    Err(RunError::Failed(format!("{}: the database was not cleared: {status}", node.name)))
}

/// Tells the user, at once: what starts us may read it through a pipe.
fn say(line: &str) -> Result<(), RunError> {
    let mut stdout = io::stdout().lock();
    let result = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
    result.map_err(|error| RunError::Failed(format!("cannot write output: {error}")))
}
