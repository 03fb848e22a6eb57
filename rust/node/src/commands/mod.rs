//! The commands, one per file. Each has a `main` that parses the whole command line, sets logs up,
//! and hands a typed configuration over to the function that does the work.

mod admin;
mod ctl;
mod daemon;
mod log;
mod master;
mod master_list;
mod migrate;
mod reflink;
mod simple;
mod storage;

use std::ffi::{OsStr, OsString};

use crate::RunError;
use crate::config::ConfigError;

/// A command.
#[derive(Debug, Clone, Copy)]
pub struct Command {
    /// What it is called by.
    pub name: &'static str,
    /// What it does with the words that follow its name.
    pub main: fn(&[OsString]) -> Result<(), RunError>,
}

/// All commands.
pub const COMMANDS: [Command; 8] = [
    Command { name: "neomaster", main: master::main },
    Command { name: "neostorage", main: storage::main },
    Command { name: "neoadmin", main: admin::main },
    Command { name: "neoctl", main: ctl::main },
    Command { name: "neolog", main: log::main },
    Command { name: "neomigrate", main: migrate::main },
    Command { name: "neosimple", main: simple::main },
    Command { name: "reflink", main: reflink::main },
];

/// The command of this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Command> {
    COMMANDS.iter().find(|command| command.name == name)
}

/// What is answered to the name of no command.
///
/// # Errors
/// Always: help if it was asked, else a usage error.
pub fn help(name: &OsStr) -> Result<(), RunError> {
    let names: Vec<&str> = COMMANDS.iter().map(|command| command.name).collect();
    let usage = format!("Usage: neo COMMAND [ARGUMENTS...]\n\nCommands: {}", names.join(", "));
    let reason = match name.to_str() {
        Some("-h" | "--help") => return Err(ConfigError::Answer(usage).into()),
        Some("") => "a command is required".to_owned(),
        _ => format!("no such command: '{}'", name.display()),
    };
    Err(ConfigError::Usage { usage, reason }.into())
}
