//! `neostorage` (spec tools.md 6, storage.md 2).

mod database;
#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::time::Duration;

use super::ConfigError;
use super::check;
use super::node::{NodeConfig, NodeDefaults, node_options};
use super::options::{CommandSpec, Kind, OptionSpec};
use super::settings::Settings;

pub use database::{Database, Engine, MysqlDatabase, SqliteDatabase};

const DEFAULTS: NodeDefaults =
    NodeDefaults { section: "storage", bind: "127.0.0.1", masters: Some("127.0.0.1:10000") };

const ADAPTERS: &[&str] = &["Importer", "MySQL", "MySQLdb", "PyMySQL", "SQLite"];

/// How long to try to connect to the database server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// At least once, then until this time is over.
    AtMost(Duration),
    /// Until it answers.
    ForEver,
}

/// Configuration of a storage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StorageConfig {
    /// Common part.
    pub node: NodeConfig,
    /// Where the data is.
    pub database: Database,
    /// How long to wait for the database (MySQL).
    pub wait: Wait,
    /// Whether a new database stores identical data once.
    pub dedup: bool,
    /// Whether the data of discarded cells is kept.
    pub disable_drop_partitions: bool,
    /// Whether pack orders are ignored.
    pub disable_pack: bool,
    /// Whether to only ask a new NID for a copy of a database.
    pub new_nid: bool,
    /// Whether to only erase or create the database.
    pub reset: bool,
}

/// Options of the command.
#[must_use]
pub fn spec() -> CommandSpec {
    let mut options = node_options(DEFAULTS);
    options.extend([
        OptionSpec::new("adapter", Kind::Choice(ADAPTERS), "database backend")
            .short('a')
            .default("MySQL"),
        OptionSpec::new(
            "database",
            Kind::Text,
            "database (mandatory): [user[:password]@]database[socket], path, or URI",
        )
        .short('d'),
        OptionSpec::new("engine", Kind::Text, "MySQL: InnoDB (default) or RocksDB").short('e'),
        OptionSpec::new(
            "wait",
            Kind::Number,
            "MySQL: seconds to wait for the database server, -1 for ever",
        )
        .short('w')
        .default("0"),
        OptionSpec::flag("dedup", "when creating the database: store identical data once"),
        OptionSpec::flag("disable-drop-partitions", "keep the data of discarded cells"),
        OptionSpec::flag("disable-pack", "ignore pack orders"),
        OptionSpec::flag("new-nid", "ask a new NID for this copy of a database, then exit"),
        OptionSpec::flag("reset", "ERASE the database, or create it empty, then exit"),
    ]);
    CommandSpec {
        program: "neostorage",
        prefix: "",
        about: "Storage node of a NEO cluster",
        options,
        positionals: Vec::new(),
    }
}

impl StorageConfig {
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
        let database = database(settings)?;
        let wait = settings.number("wait")?.unwrap_or(0.);
        Ok(Self {
            node,
            database,
            wait: duration(wait).map_err(|reason| settings.reject("wait", reason))?,
            dedup: settings.flag("dedup")?,
            disable_drop_partitions: settings.flag("disable-drop-partitions")?,
            disable_pack: settings.flag("disable-pack")?,
            new_nid: settings.flag("new-nid")?,
            reset: settings.flag("reset")?,
        })
    }
}

fn database(settings: &Settings) -> Result<Database, ConfigError> {
    let text = settings.required_text("database")?;
    let adapter = settings.text("adapter")?.unwrap_or_default();
    let engine = settings.text("engine")?;
    Ok(match adapter.as_str() {
        "MySQL" | "MySQLdb" | "PyMySQL" => {
            let mut mysql = MysqlDatabase::parse(&text)
                .map_err(|reason| settings.invalid("database", reason))?;
            if let Some(engine) = engine {
                mysql.engine =
                    Engine::parse(&engine).map_err(|reason| settings.invalid("engine", reason))?;
            }
            Database::Mysql(mysql)
        }
        "SQLite" | "Importer" if engine.is_some() => {
            let reason = format!("Unsupported engine for {adapter}: only MySQL has engines");
            return Err(settings.invalid("engine", reason));
        }
        "SQLite" => Database::Sqlite(
            SqliteDatabase::parse(&text).map_err(|reason| settings.invalid("database", reason))?,
        ),
        "Importer" => Database::Importer(super::value::expand_user(text.as_ref())),
        _ => {
            let names = ADAPTERS.join(", ");
            let reason =
                format!("Cannot find a database adapter <{adapter}> (known adapters: {names})");
            return Err(settings.invalid("adapter", reason));
        }
    })
}

fn duration(seconds: f64) -> Result<Wait, String> {
    if seconds < 0. {
        return Ok(Wait::ForEver);
    }
    let duration = Duration::try_from_secs_f64(seconds);
    duration.map(Wait::AtMost).map_err(|error| error.to_string())
}
