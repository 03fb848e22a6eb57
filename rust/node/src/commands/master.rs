//! `neomaster`.

use std::ffi::OsString;

use crate::config::MasterConfig;
use crate::{RunError, logging};

/// Runs the command with the words that follow its name.
pub(super) fn main(args: &[OsString]) -> Result<(), RunError> {
    let config = MasterConfig::load(args)?;
    logging::init(config.node.link.logfile.as_deref())?;
    tracing::info!(?config, "Configuration loaded");
    run_node(config)
}

/// Runs the node until the cluster stops it.
fn run_node(_config: MasterConfig) -> Result<(), RunError> {
    Err(RunError::not_there_yet("the master node"))
}
