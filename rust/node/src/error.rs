//! How commands fail.

use thiserror::Error;

use crate::config::ConfigError;

/// Why a command does not succeed. It never holds more than what the user is told.
#[derive(Debug, Error)]
pub enum RunError {
    /// The command line or the configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Anything that fails later, in one sentence that is printed after the name of the program.
    /// Status 1.
    #[error("{0}")]
    Failed(String),
    /// A text that is printed alone, for what scripts match. Status 1.
    #[error("{0}")]
    Plain(String),
    /// The user already knows, in another form. The status.
    #[error("status {0}")]
    Told(i32),
}

impl RunError {
    /// For a command of which only the command line exists.
    #[must_use]
    pub fn not_there_yet(what: &str) -> Self {
        Self::Failed(format!(
            "the command line and the configuration are right, but {what} is not there yet in \
             this version of NEO"
        ))
    }

    /// Text for the user, maybe empty, and status of the process. Status 0 is for a text that was
    /// asked.
    #[must_use]
    pub fn report(&self, program: &str) -> (String, i32) {
        match self {
            Self::Config(ConfigError::Answer(text)) => (text.clone(), 0),
            Self::Config(ConfigError::Usage { usage, reason }) => {
                (format!("{}\n{program}: error: {reason}", usage.trim_end()), 2)
            }
            Self::Config(error) => (format!("{program}: error: {error}"), 1),
            Self::Failed(reason) => (format!("{program}: error: {reason}"), 1),
            Self::Plain(text) => (text.clone(), 1),
            Self::Told(status) => (String::new(), *status),
        }
    }
}
