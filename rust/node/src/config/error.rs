//! How a command line or a configuration file is refused.

use thiserror::Error;

use super::ini::IniError;

/// Why a command does not start (spec tools.md 1, 10).
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ConfigError {
    /// Not an error: help, or a check, was asked. The text to print on stdout, status 0.
    #[error("{0}")]
    Answer(String),
    /// The command line is wrong, status 2.
    #[error("{reason}")]
    Usage {
        /// Text that shows how the command is called.
        usage: String,
        /// One sentence.
        reason: String,
    },
    /// A value, or the configuration file, is wrong, status 1. One sentence.
    #[error("{0}")]
    Invalid(String),
    /// The configuration file is wrong, status 1.
    #[error("{file}: {error}")]
    File {
        /// Path of the file.
        file: String,
        /// What is wrong in it.
        error: IniError,
    },
}

impl ConfigError {
    /// A configuration that cannot be used, in one sentence.
    pub fn invalid(reason: impl Into<String>) -> Self {
        Self::Invalid(reason.into())
    }
}
