//! `neoctl`.

use std::ffi::OsString;

use crate::config::CtlConfig;
use crate::{RunError, logging};

/// Runs the command with the words that follow its name.
pub(super) fn main(args: &[OsString]) -> Result<(), RunError> {
    let config = CtlConfig::load(args)?;
    logging::init(config.link.logfile.as_deref())?;
    run_command(config)
}

/// Sends the command to the admin and prints the answer.
fn run_command(_config: CtlConfig) -> Result<(), RunError> {
    Err(RunError::not_there_yet("sending commands to an admin"))
}
