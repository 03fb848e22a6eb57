//! `neomigrate`.

use std::ffi::OsString;

use crate::RunError;
use crate::config::MigrateConfig;

/// Runs the command with the words that follow its name.
pub(super) fn main(args: &[OsString]) -> Result<(), RunError> {
    let config = MigrateConfig::load(args)?;
    migrate(config)
}

/// Copies all transactions.
fn migrate(_config: MigrateConfig) -> Result<(), RunError> {
    Err(RunError::not_there_yet("the migration of data"))
}
