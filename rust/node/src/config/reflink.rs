//! `reflink` (spec tools.md 14.2).

use std::ffi::OsString;
use std::path::PathBuf;

use super::ConfigError;
use super::options::{self, CommandSpec, Kind, OptionSpec, Positional};
use super::settings::Settings;
use super::value;

/// Most deletions in a transaction.
const TXN_SIZE_MAX: u32 = 2_097_151;

/// What `run` does when garbage can be collected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GcMode {
    /// Collect, and go on.
    Collect,
    /// Exit instead of collecting.
    ExitBefore,
    /// Exit after having collected.
    ExitAfter,
    /// Only track.
    Never,
}

/// Options of garbage collections.
#[derive(Debug, Clone, PartialEq)]
pub struct GcConfig {
    /// Whether all collections are full.
    pub full: bool,
    /// Concurrent reads of the main database, at least 1.
    pub jobs: u32,
    /// Most deletions per transaction, at least 1.
    pub max_txn_size: u32,
    /// New file where to write what would be deleted.
    pub dry_run: Option<PathBuf>,
    /// Grace period in seconds, 0 or more.
    pub period_s: f64,
    /// URI of the main database.
    pub main_uri: String,
}

/// Commands.
#[derive(Debug, Clone, PartialEq)]
pub enum ReflinkCommand {
    /// Track for ever.
    Run {
        /// Collections.
        gc: GcConfig,
        /// What to do when something can be collected.
        mode: GcMode,
        /// Seconds of work between commits, more than 0.
        commit_interval_s: f64,
        /// Time of a pack of refs to order, in seconds since the epoch.
        pack_neo: Option<f64>,
    },
    /// Collect once.
    Gc(GcConfig),
    /// Start from this TID.
    Bootstrap {
        /// TID.
        tid: u64,
    },
    /// Show why an object is alive.
    Path {
        /// The object.
        oid: u64,
        /// Graph at this time.
        tid: Option<u64>,
        /// URI of the main database, to show classes.
        main_uri: Option<String>,
    },
    /// Show all.
    Dump {
        /// Graph at this time.
        tid: Option<u64>,
    },
}

/// What `reflink` is asked.
#[derive(Debug, Clone, PartialEq)]
pub struct ReflinkConfig {
    /// Whether INFO records are shown on stderr.
    pub verbose: bool,
    /// URI of the refs database.
    pub refs_uri: String,
    /// Command.
    pub command: ReflinkCommand,
}

fn top() -> CommandSpec {
    CommandSpec {
        program: "reflink",
        prefix: "",
        about: "Track references between objects and collect garbage",
        options: vec![OptionSpec::flag("verbose", "show more on stderr").short('v')],
        positionals: vec![Positional::new("REFS_URI", "database of references")],
    }
}

/// Specification of each command, without and with what comes before it.
#[must_use]
pub fn specs() -> Vec<CommandSpec> {
    let optional = |name, help| Positional { required: false, ..Positional::new(name, help) };
    let main_uri = Positional::new("MAIN_URI", "main database");
    let tid = |name, help| OptionSpec::new(name, Kind::Text, help).value_name("TID");
    let mut run = gc_options("86400");
    run.extend([
        OptionSpec::flag("exit-before-gc", "exit instead of doing a GC").short('0'),
        OptionSpec::flag("exit-after-gc", "exit after a GC").short('1'),
        OptionSpec::flag("no-gc", "only track").short('N'),
        OptionSpec::new("commit-interval", Kind::Number, "commit every so many seconds of work")
            .short('i')
            .value_name("S")
            .default("60"),
        OptionSpec::new("pack-neo", Kind::Number, "order a pack of refs at this time")
            .value_name("EPOCH"),
    ]);
    let spec = |program, about, options, positionals| CommandSpec {
        program,
        prefix: "reflink <REFS_URI> ",
        about,
        options,
        positionals,
    };
    vec![
        spec("run", "track references, and collect garbage", run, vec![main_uri.clone()]),
        spec("gc", "collect garbage once", gc_options("0"), vec![main_uri]),
        spec(
            "bootstrap",
            "start from a TID instead of the beginning of history",
            vec![],
            vec![Positional::new("TID", "first TID, as an integer")],
        ),
        spec(
            "path",
            "show how an object is reached from the root",
            vec![tid("tid", "look at this time")],
            vec![
                Positional::new("OID", "object, as an integer"),
                optional("MAIN_URI", "main database, to show classes"),
            ],
        ),
        spec("dump", "show all references", vec![], vec![optional("TID", "look at this time")]),
    ]
}

fn gc_options(period: &'static str) -> Vec<OptionSpec> {
    vec![
        OptionSpec::flag("full", "always do full GCs").short('f'),
        OptionSpec::new("jobs", Kind::Integer, "concurrent reads of the main database")
            .short('j')
            .default("1"),
        OptionSpec::new("max-txn-size", Kind::Integer, "maximum number of deletions at once")
            .short('m')
            .default("2097151"),
        OptionSpec::new("dry-run", Kind::Path, "write what would be deleted in this new file")
            .short('n')
            .value_name("DUMP"),
        OptionSpec::new("period", Kind::Number, "grace period in seconds")
            .short('p')
            .value_name("S")
            .default(period),
    ]
}

impl ReflinkConfig {
    /// Parses a command line, given without the name of the program.
    ///
    /// # Errors
    /// [`ConfigError::Answer`], [`ConfigError::Usage`].
    pub fn load(args: &[OsString]) -> Result<Self, ConfigError> {
        let specs = specs();
        let commands = specs.iter().map(|spec| spec.command().no_binary_name(false));
        let command = top().command().subcommands(commands).subcommand_required(true);
        let matches = options::parse(command, args)?;
        let chosen = matches.subcommand().and_then(|(name, matches)| {
            let spec = specs.into_iter().find(|spec| spec.program == name)?;
            Some((name.to_owned(), Settings::new(spec, matches.clone())))
        });
        let top = Settings::new(top(), matches);
        let Some((name, settings)) = chosen else {
            return Err(top.usage("the following arguments are required: COMMAND"));
        };
        Ok(Self {
            verbose: top.flag("verbose")?,
            refs_uri: uri(&top, "REFS_URI")?,
            command: load_command(&name, &settings)?,
        })
    }
}

fn load_command(name: &str, settings: &Settings) -> Result<ReflinkCommand, ConfigError> {
    let optional = |name| {
        let given = !settings.words(name).is_empty();
        given.then(|| integer(settings, name)).transpose()
    };
    Ok(match name {
        "run" => ReflinkCommand::Run {
            gc: gc(settings)?,
            mode: mode(settings)?,
            commit_interval_s: match settings.number("commit-interval")? {
                Some(seconds) if seconds > 0. => seconds,
                _ => return Err(settings.reject("commit-interval", "must be more than zero")),
            },
            pack_neo: settings.number("pack-neo")?,
        },
        "gc" => ReflinkCommand::Gc(gc(settings)?),
        "bootstrap" => ReflinkCommand::Bootstrap { tid: integer(settings, "TID")? },
        "path" => ReflinkCommand::Path {
            oid: integer(settings, "OID")?,
            tid: settings.parsed("tid", value::unsigned_literal)?,
            main_uri: match settings.words("MAIN_URI").is_empty() {
                true => None,
                false => Some(uri(settings, "MAIN_URI")?),
            },
        },
        _ => ReflinkCommand::Dump { tid: optional("TID")? },
    })
}

fn gc(settings: &Settings) -> Result<GcConfig, ConfigError> {
    let jobs = settings.integer("jobs")?.filter(|&jobs| jobs > 0);
    let size = settings.integer("max-txn-size")?;
    let size = size.filter(|size| (1..=TXN_SIZE_MAX).contains(size));
    let period_s = settings.number("period")?.filter(|&period| period >= 0.);
    Ok(GcConfig {
        full: settings.flag("full")?,
        jobs: jobs.ok_or_else(|| settings.reject("jobs", "must be more than zero"))?,
        max_txn_size: size.ok_or_else(|| {
            settings.reject("max-txn-size", format!("must be from 1 to {TXN_SIZE_MAX}"))
        })?,
        dry_run: settings.path("dry-run")?,
        period_s: period_s.ok_or_else(|| settings.reject("period", "must not be negative"))?,
        main_uri: uri(settings, "MAIN_URI")?,
    })
}

fn mode(settings: &Settings) -> Result<GcMode, ConfigError> {
    let flags = [settings.flag("exit-before-gc")?, settings.flag("exit-after-gc")?];
    match (flags, settings.flag("no-gc")?) {
        ([false, false], false) => Ok(GcMode::Collect),
        ([true, false], false) => Ok(GcMode::ExitBefore),
        ([false, true], false) => Ok(GcMode::ExitAfter),
        ([false, false], true) => Ok(GcMode::Never),
        _ => Err(settings.usage("only one of -0, -1 and -N can be given")),
    }
}

fn integer(settings: &Settings, name: &str) -> Result<u64, ConfigError> {
    let text = settings.text_word(name)?;
    value::unsigned_literal(&text)
        .map_err(|reason| settings.usage(format!("argument {name}: {reason}")))
}

fn uri(settings: &Settings, name: &str) -> Result<String, ConfigError> {
    let uri = settings.text_word(name)?;
    if uri.contains("://") {
        return Ok(uri);
    }
    Err(settings.usage(format!("argument {name}: No resolver found for uri: {uri}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(args: &str) -> Result<ReflinkConfig, ConfigError> {
        let args: Vec<OsString> = args.split(' ').map(Into::into).collect();
        ReflinkConfig::load(&args)
    }

    #[test]
    fn run_has_options_that_are_digits() {
        let config = load("-v neo://a@b:1 run -1fj 4 -i 5 --pack-neo 1e9 file://main").unwrap();
        let ReflinkCommand::Run { gc, mode, commit_interval_s, pack_neo } = config.command else {
            panic!("not run")
        };
        assert!(config.verbose && gc.full);
        assert_eq!((gc.jobs, gc.max_txn_size, mode), (4, TXN_SIZE_MAX, GcMode::ExitAfter));
        assert_eq!((commit_interval_s, pack_neo, gc.period_s), (5., Some(1e9), 86400.));
        assert_eq!(gc.main_uri, "file://main");
    }

    #[test]
    fn each_command_has_its_arguments() {
        let command = |args: &str| load(args).unwrap().command;
        assert!(matches!(command("a://b gc c://d"), ReflinkCommand::Gc(gc) if gc.period_s == 0.));
        assert_eq!(command("a://b bootstrap 0x10"), ReflinkCommand::Bootstrap { tid: 16 });
        assert_eq!(command("a://b dump"), ReflinkCommand::Dump { tid: None });
        assert_eq!(command("a://b dump 7"), ReflinkCommand::Dump { tid: Some(7) });
        let path = ReflinkCommand::Path { oid: 5, tid: Some(8), main_uri: Some("c://d".into()) };
        assert_eq!(command("a://b path --tid 8 5 c://d"), path);
    }

    #[test]
    fn wrong_command_lines_are_refused() {
        for args in [
            "a://b",
            "run a://b",
            "a://b fly",
            "a://b run",
            "a://b run -0 -1 c://d",
            "a://b run -i 0 c://d",
            "a://b gc -0 c://d",
            "a://b gc -m 2097152 c://d",
            "a://b gc -p -1 c://d",
            "a://b bootstrap x",
            "b dump",
        ] {
            assert!(matches!(load(args), Err(ConfigError::Usage { .. })), "{args}");
        }
    }
}
