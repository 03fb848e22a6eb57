//! `neolog`.

use std::ffi::OsString;

use crate::RunError;
use crate::config::LogConfig;

/// Runs the command with the words that follow its name.
pub(super) fn main(args: &[OsString]) -> Result<(), RunError> {
    let config = LogConfig::load(args)?;
    show(config)
}

/// Shows the files.
fn show(_config: LogConfig) -> Result<(), RunError> {
    Err(RunError::not_there_yet("reading logs"))
}
