//! Configuration of every command: options, configuration file, and the typed result.
//!
//! Each command has a module with its table of options and a `load` function that turns a command
//! line into its structure, or into a [`ConfigError`] to be shown as it is.

pub mod admin;
mod check;
pub mod ctl;
mod date;
mod error;
pub mod ini;
pub mod log;
pub mod master;
pub mod migrate;
pub mod node;
pub mod options;
pub mod reflink;
pub mod settings;
pub mod simple;
pub mod storage;
pub mod value;

pub use admin::AdminConfig;
pub use ctl::CtlConfig;
pub use error::ConfigError;
pub use log::LogConfig;
pub use master::MasterConfig;
pub use migrate::MigrateConfig;
pub use node::{NodeConfig, TlsPaths};
pub use reflink::ReflinkConfig;
pub use simple::SimpleConfig;
pub use storage::StorageConfig;
