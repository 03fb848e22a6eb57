//! `reflink`.

use std::ffi::OsString;

use crate::RunError;
use crate::config::ReflinkConfig;

/// Runs the command with the words that follow its name.
pub(super) fn main(args: &[OsString]) -> Result<(), RunError> {
    let config = ReflinkConfig::load(args)?;
    run_command(config)
}

/// Executes the command on the references.
fn run_command(_config: ReflinkConfig) -> Result<(), RunError> {
    Err(RunError::not_there_yet("the tracking of references"))
}
