//! `neosimple`.

use std::ffi::OsString;

use crate::RunError;
use crate::config::SimpleConfig;

/// Runs the command with the words that follow its name.
pub(super) fn main(args: &[OsString]) -> Result<(), RunError> {
    let config = SimpleConfig::load(args)?;
    run_cluster(config)
}

/// Runs the cluster until Ctrl-C.
fn run_cluster(_config: SimpleConfig) -> Result<(), RunError> {
    Err(RunError::not_there_yet("the throw-away cluster"))
}
