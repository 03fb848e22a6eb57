//! `neomaster` (spec tools.md 5).

use std::ffi::OsString;
use std::net::SocketAddr;

use super::ConfigError;
use super::check;
use super::node::{NodeConfig, NodeDefaults, node_options};
use super::options::{CommandSpec, Kind, OptionSpec};
use super::settings::Settings;

const DEFAULTS: NodeDefaults =
    NodeDefaults { section: "master", bind: "127.0.0.1:10000", masters: None };

/// The cluster that this one backs up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upstream {
    /// Its name, different from ours.
    pub cluster: String,
    /// Its masters, at least one.
    pub masters: Vec<SocketAddr>,
}

/// Configuration of a master.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MasterConfig {
    /// Common part.
    pub node: NodeConfig,
    /// Pending storages with which a new cluster starts by itself, at least 1.
    pub autostart: Option<u32>,
    /// Cluster to back up.
    pub upstream: Option<Upstream>,
    /// Whether an empty cluster goes directly to backup mode. There may be no upstream: this only
    /// matters if the database is found empty.
    pub backup: bool,
    /// Replicas of a new database.
    pub replicas: u32,
    /// Partitions of a new database, at least 1.
    pub partitions: u32,
    /// It was given, on the command line or by the file.
    pub partitions_chosen: bool,
}

/// Options of the command.
#[must_use]
pub fn spec() -> CommandSpec {
    let mut options = node_options(DEFAULTS);
    options.extend([
        OptionSpec::new(
            "autostart",
            Kind::Integer,
            "start a new cluster once so many storages are pending",
        )
        .short('A'),
        OptionSpec::new("upstream-cluster", Kind::Text, "name of the cluster to back up")
            .short('C'),
        OptionSpec::new("upstream-masters", Kind::List, "masters of the cluster to back up")
            .short('M'),
        OptionSpec::flag(
            "backup",
            "if the database is empty, back up the upstream cluster at once",
        )
        .short('B'),
        OptionSpec::new("replicas", Kind::Integer, "replicas of a new database")
            .short('r')
            .default("0"),
        OptionSpec::new("partitions", Kind::Integer, "partitions of a new database")
            .short('p')
            .default("100"),
    ]);
    CommandSpec {
        program: "neomaster",
        prefix: "",
        about: "Master node of a NEO cluster",
        options,
        positionals: Vec::new(),
    }
}

impl MasterConfig {
    /// Parses a command line, given without the name of the program, and its file.
    ///
    /// # Errors
    /// Any [`ConfigError`].
    pub fn load(args: &[OsString]) -> Result<Self, ConfigError> {
        let settings = Settings::load(spec(), DEFAULTS.section, args)?;
        let config = Self::new(&settings)?;
        check::answer(&settings)?;
        Ok(config)
    }

    fn new(settings: &Settings) -> Result<Self, ConfigError> {
        let node = NodeConfig::new(settings, DEFAULTS)?;
        let upstream = upstream(settings, &node)?;
        let backup = settings.flag("backup")?;
        if backup && upstream.is_none() {
            let reason = "No upstream cluster to backup defined in configuration";
            return Err(settings.invalid("backup", reason));
        }
        let autostart = settings.integer::<i64>("autostart")?.unwrap_or(0);
        let Ok(autostart) = u32::try_from(autostart) else {
            return Err(settings.invalid("autostart", "autostart must be a positive integer"));
        };
        let Some(replicas) = small(settings.integer("replicas")?) else {
            return Err(settings.invalid("replicas", "replicas must be a positive integer"));
        };
        let partitions = small(settings.integer("partitions")?);
        let Some(partitions) = partitions.filter(|&partitions| partitions > 0) else {
            return Err(settings.invalid("partitions", "partitions must be more than zero"));
        };
        Ok(Self {
            node,
            autostart: (autostart > 0).then_some(autostart),
            upstream,
            backup,
            replicas,
            partitions,
            partitions_chosen: settings.is_given("partitions")?,
        })
    }
}

fn small(integer: Option<i64>) -> Option<u32> {
    integer.and_then(|integer| u32::try_from(integer).ok())
}

fn upstream(settings: &Settings, node: &NodeConfig) -> Result<Option<Upstream>, ConfigError> {
    let Some(cluster) = settings.text("upstream-cluster")? else {
        return Ok(None);
    };
    if cluster == node.cluster {
        let reason = format!("the upstream cluster must have another name than '{cluster}'");
        return Err(settings.invalid("upstream-cluster", reason));
    }
    let masters = settings.masters("upstream-masters")?;
    if masters.is_empty() {
        let reason = "the masters of the upstream cluster are needed too (-M/--upstream-masters)";
        return Err(settings.reject("upstream-cluster", reason));
    }
    Ok(Some(Upstream { cluster, masters }))
}

#[cfg(test)]
mod tests;
