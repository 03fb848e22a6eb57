//! What all daemons have in common (spec tools.md 4).

use std::net::SocketAddr;
use std::path::PathBuf;

use super::ConfigError;
use super::options::{Kind, OptionSpec};
use super::settings::Settings;

/// The three files of TLS (spec tools.md 4.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsPaths {
    /// Certificates of authorities and revocation lists, PEM.
    pub ca: PathBuf,
    /// Certificate of this node, PEM.
    pub cert: PathBuf,
    /// Its private key, PEM.
    pub key: PathBuf,
}

/// Options of logs and TLS, for every program that speaks to a cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LinkConfig {
    /// Where to log, besides stderr.
    pub logfile: Option<PathBuf>,
    /// TLS, or none.
    pub tls: Option<TlsPaths>,
}

/// What a daemon needs to be in a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeConfig {
    /// Name of the cluster, not empty.
    pub cluster: String,
    /// Known masters, without repetition, with a port. Empty for a master alone only.
    pub masters: Vec<SocketAddr>,
    /// Where to listen, and what is advertised. Port 0: chosen by the system.
    pub bind: SocketAddr,
    /// File where known masters are remembered (spec tools.md 4.1).
    pub dynamic_master_list: Option<PathBuf>,
    /// NID to ask for, signed as on the wire; for tests.
    pub nid: Option<i32>,
    /// What waits in the log at a normal end is not written.
    pub discard_log: bool,
    /// Logs and TLS.
    pub link: LinkConfig,
}

/// Differences between daemons in their common options.
#[derive(Debug, Clone, Copy)]
pub(super) struct NodeDefaults {
    /// Section of the file.
    pub section: &'static str,
    /// Listening address.
    pub bind: &'static str,
    /// List of masters; a daemon without default may have no master.
    pub masters: Option<&'static str>,
}

/// Options of [`LinkConfig`].
pub(super) fn link_options() -> Vec<OptionSpec> {
    vec![
        OptionSpec::new("logfile", Kind::Path, "log to this file, besides stderr").short('l'),
        OptionSpec::new("ca", Kind::Path, "certificate authority, PEM"),
        OptionSpec::new("cert", Kind::Path, "certificate of this node, PEM"),
        OptionSpec::new("key", Kind::Path, "private key of this node, PEM"),
    ]
}

/// Options of [`NodeConfig`].
pub(super) fn node_options(defaults: NodeDefaults) -> Vec<OptionSpec> {
    let mut options = vec![
        OptionSpec::new("file", Kind::Path, "configuration file").short('f'),
        OptionSpec::new("section", Kind::Text, "section of the configuration file to use")
            .short('s')
            .default(defaults.section),
        OptionSpec::new("cluster", Kind::Text, "name of the cluster (mandatory)").short('c'),
        OptionSpec {
            default: defaults.masters,
            ..OptionSpec::new("masters", Kind::List, "masters as host:port, separated by blanks")
                .short('m')
        },
        OptionSpec::new("bind", Kind::Address, "address to listen on")
            .short('b')
            .default(defaults.bind),
        OptionSpec::new("dynamic-master-list", Kind::Path, "JSON file to remember masters in")
            .short('D'),
        OptionSpec::new("nid", Kind::Integer, "force the node identifier (for tests)").short('i'),
    ];
    options.extend(link_options());
    options.push(OptionSpec::flag("discard-log", "forget the log backlog at a normal end"));
    options
        .push(OptionSpec::flag("check", "print the values in effect and their origin, and exit"));
    options
}

impl LinkConfig {
    /// Takes the values of [`link_options`].
    pub(super) fn new(settings: &Settings) -> Result<Self, ConfigError> {
        let files = [settings.path("ca")?, settings.path("cert")?, settings.path("key")?];
        let tls = match files {
            [None, None, None] => None,
            [Some(ca), Some(cert), Some(key)] => Some(TlsPaths { ca, cert, key }),
            files => {
                let names = ["ca", "cert", "key"].into_iter().zip(files);
                let missing: Vec<_> = names.filter(|(_, file)| file.is_none()).collect();
                let missing: Vec<_> = missing.iter().map(|(name, _)| *name).collect();
                return Err(ConfigError::Invalid(format!(
                    "ca, cert and key go together: {} is missing, give all three for TLS or none",
                    missing.join(" and ")
                )));
            }
        };
        Ok(Self { logfile: settings.path("logfile")?, tls })
    }
}

impl NodeConfig {
    /// Takes the values of [`node_options`].
    pub(super) fn new(settings: &Settings, defaults: NodeDefaults) -> Result<Self, ConfigError> {
        let cluster = settings.required_text("cluster")?;
        let masters = settings.masters("masters")?;
        if masters.is_empty() && defaults.masters.is_some() {
            return Err(settings.reject("masters", "value is empty"));
        }
        let bind = settings.address("bind", 0)?;
        Ok(Self {
            cluster,
            masters,
            bind: bind.ok_or_else(|| settings.reject("bind", "value is empty"))?,
            dynamic_master_list: settings.path("dynamic-master-list")?,
            nid: settings.integer("nid")?,
            discard_log: settings.flag("discard-log")?,
            link: LinkConfig::new(settings)?,
        })
    }
}
