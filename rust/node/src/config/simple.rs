//! `neosimple` (spec tools.md 13.2).

use std::env;
use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use super::ConfigError;
use super::options::{CommandSpec, Kind, OptionSpec, Positional};
use super::settings::Settings;

const ADAPTERS: &[&str] = &["MySQL", "SQLite"];

/// Variable of the environment that gives the default backend.
const ADAPTER_VARIABLE: &str = "NEO_TESTS_ADAPTER";

/// Backend of the storages of a throw-away cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SimpleAdapter {
    /// A local MySQL server.
    Mysql,
    /// Files.
    Sqlite,
}

/// What `neosimple` is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SimpleConfig {
    /// Backend.
    pub adapter: SimpleAdapter,
    /// Makes the name of the cluster reproducible.
    pub seed: Option<String>,
    /// Name of the cluster; none: `neo_<0-100>`.
    pub name: Option<String>,
    /// Address that nodes listen on.
    pub bind_ip: IpAddr,
    /// Whether the cluster starts by itself once all storages are there.
    pub autostart: bool,
    /// Whether databases are erased first.
    pub clear_databases: bool,
    /// Whether the directory is removed at the end.
    pub cleanup_on_delete: bool,
    /// Whether each node has a log file.
    pub logger: bool,
    /// Number of masters, at least 1.
    pub masters: u16,
    /// Partitions of a new database, at least 1.
    pub partitions: u32,
    /// Replicas of a new database.
    pub replicas: u32,
    /// Where files and logs go; none: a new directory.
    pub temp_dir: Option<PathBuf>,
    /// One database per storage, at least one.
    pub databases: Vec<String>,
}

/// Options of the command.
#[must_use]
pub fn spec() -> CommandSpec {
    let count = |long, help, default| OptionSpec::new(long, Kind::Integer, help).default(default);
    CommandSpec {
        program: "neosimple",
        prefix: "",
        about: "Run a throw-away NEO cluster for tests, until Ctrl-C",
        options: vec![
            OptionSpec::new("seed", Kind::List, "make the name of the cluster reproducible"),
            OptionSpec::new(
                "adapter",
                Kind::Choice(ADAPTERS),
                "database backend (default: $NEO_TESTS_ADAPTER, else MySQL)",
            ),
            count("address_type", "address family: 2 for IPv4, 10 for IPv6", "2"),
            OptionSpec::flag("autostart", "start when all storages are there (the default)"),
            OptionSpec::flag("no_autostart", "stay in RECOVERING until 'neoctl start'"),
            OptionSpec::new("bind_ip", Kind::Text, "address to listen on (default: loopback)"),
            OptionSpec::flag("clear_databases", "erase databases first"),
            OptionSpec::flag("cleanup_on_delete", "remove the directory at exit"),
            OptionSpec::new("importer", Kind::List, "not usable from a command line"),
            OptionSpec::flag("logger", "one log file per node, in the directory"),
            count("master_count", "number of masters", "1"),
            OptionSpec::new("name", Kind::Text, "name of the cluster (default: neo_<number>)"),
            count("partitions", "number of partitions", "1"),
            count("replicas", "number of replicas", "0"),
            OptionSpec::new("storage_kw", Kind::List, "not usable from a command line"),
            OptionSpec::new("temp_dir", Kind::Path, "directory of files and logs (default: new)"),
        ],
        positionals: vec![Positional { several: true, ..Positional::new("DB", "databases") }],
    }
}

impl SimpleConfig {
    /// Parses a command line, given without the name of the program. Names of options may be
    /// written with dashes.
    ///
    /// # Errors
    /// [`ConfigError::Answer`], [`ConfigError::Usage`], [`ConfigError::Invalid`].
    pub fn load(args: &[OsString]) -> Result<Self, ConfigError> {
        let args: Vec<OsString> = args.iter().map(underscored).collect();
        let settings = Settings::parse(spec(), &args)?;
        for long in ["importer", "storage_kw"] {
            if settings.text(long)?.is_some() {
                return Err(settings.reject(long, "not usable from a command line"));
            }
        }
        if settings.flag("autostart")? && settings.flag("no_autostart")? {
            return Err(settings.reject("no_autostart", "not allowed with argument --autostart"));
        }
        let databases = settings.words("DB").into_iter().map(OsString::into_string);
        let databases = databases.collect::<Result<_, _>>();
        Ok(Self {
            adapter: adapter(&settings)?,
            seed: settings.text("seed")?,
            name: settings.text("name")?,
            bind_ip: bind_ip(&settings)?,
            autostart: !settings.flag("no_autostart")?,
            clear_databases: settings.flag("clear_databases")?,
            cleanup_on_delete: settings.flag("cleanup_on_delete")?,
            logger: settings.flag("logger")?,
            masters: positive(settings.integer("master_count")?)
                .ok_or_else(|| settings.reject("master_count", "must be more than zero"))?,
            partitions: positive(settings.integer("partitions")?)
                .ok_or_else(|| settings.reject("partitions", "must be more than zero"))?,
            replicas: settings.integer("replicas")?.unwrap_or(0),
            temp_dir: settings.path("temp_dir")?,
            databases: databases.map_err(|word: OsString| {
                settings.usage(format!("argument DB: not UTF-8: {}", word.display()))
            })?,
        })
    }
}

fn positive<T: PartialOrd + From<u8>>(number: Option<T>) -> Option<T> {
    number.filter(|number| *number > T::from(0))
}

fn underscored(arg: &OsString) -> OsString {
    let mut bytes = arg.as_bytes().to_vec();
    if bytes.len() > 2 && bytes.starts_with(b"--") {
        let end = bytes.iter().position(|&byte| byte == b'=').unwrap_or(bytes.len());
        for byte in bytes.iter_mut().take(end).skip(2).filter(|byte| **byte == b'-') {
            *byte = b'_';
        }
    }
    OsString::from_vec(bytes)
}

fn adapter(settings: &Settings) -> Result<SimpleAdapter, ConfigError> {
    let (name, from) = match settings.text("adapter")? {
        Some(name) => (name, "--adapter"),
        None => (env::var(ADAPTER_VARIABLE).unwrap_or_default(), ADAPTER_VARIABLE),
    };
    match name.as_str() {
        "" | "MySQL" => Ok(SimpleAdapter::Mysql),
        "SQLite" => Ok(SimpleAdapter::Sqlite),
        _ => Err(ConfigError::Invalid(format!(
            "{from}: Cannot find a database adapter <{name}> (choose from {})",
            ADAPTERS.join(", ")
        ))),
    }
}

fn bind_ip(settings: &Settings) -> Result<IpAddr, ConfigError> {
    let loopback = match settings.integer::<i64>("address_type")? {
        Some(2) => IpAddr::from(Ipv4Addr::LOCALHOST),
        Some(10) => IpAddr::from(Ipv6Addr::LOCALHOST),
        _ => return Err(settings.reject("address_type", "must be 2 (IPv4) or 10 (IPv6)")),
    };
    let ip = settings.parsed("bind_ip", |text| {
        text.parse::<IpAddr>().map_err(|_| format!("not a numeric IP address: '{text}'"))
    })?;
    Ok(ip.unwrap_or(loopback))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(args: &str) -> Result<SimpleConfig, ConfigError> {
        let args: Vec<OsString> = args.split(' ').map(Into::into).collect();
        SimpleConfig::load(&args)
    }

    #[test]
    fn names_take_underscores_or_dashes() {
        let simple = load("--master-count=3 --clear_databases --temp-dir a-b --adapter SQLite x-y");
        let simple = simple.unwrap();
        assert_eq!((simple.masters, simple.clear_databases), (3, true));
        assert_eq!(simple.temp_dir, Some("a-b".into()));
        assert_eq!((simple.adapter, simple.databases), (SimpleAdapter::Sqlite, vec!["x-y".into()]));
        assert!(simple.autostart);
    }

    #[test]
    fn the_family_gives_the_loopback() {
        let simple = load("--adapter SQLite --address_type 10 --no-autostart db").unwrap();
        assert_eq!((simple.bind_ip.to_string().as_str(), simple.autostart), ("::1", false));
    }

    #[test]
    fn wrong_command_lines_are_refused() {
        for args in [
            "--seed 1",
            "--storage_kw x db",
            "--master_count 0 db",
            "--replicas -1 db",
            "--address_type 3 db",
            "--adapter Importer db",
            "--autostart --no-autostart db",
        ] {
            assert!(matches!(load(args), Err(ConfigError::Usage { .. })), "{args}");
        }
    }
}
