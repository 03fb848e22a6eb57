//! `neomigrate` (spec tools.md 13.1).

use std::ffi::OsString;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::ConfigError;
use super::node::{LinkConfig, link_options};
use super::options::{CommandSpec, Kind, OptionSpec, Positional};
use super::settings::Settings;
use super::value;

/// In which direction data goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Direction {
    /// From an existing FileStorage to NEO.
    Import,
    /// From NEO to a FileStorage, created or appended to.
    Export,
}

/// What `neomigrate` is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MigrateConfig {
    /// Name of the cluster.
    pub cluster: String,
    /// Its masters, at least one.
    pub masters: Vec<SocketAddr>,
    /// Path of the FileStorage.
    pub file: PathBuf,
    /// What is copied where.
    pub direction: Direction,
    /// Whether nothing is printed.
    pub quiet: bool,
    /// Whether lines tell how far it is.
    pub verbose: bool,
    /// Logs and TLS.
    pub link: LinkConfig,
}

/// Options of the command.
#[must_use]
pub fn spec() -> CommandSpec {
    let mut options = vec![
        OptionSpec::new("cluster", Kind::Text, "name of the NEO cluster (mandatory)").short('c'),
        OptionSpec::flag("quiet", "print nothing").short('q'),
        OptionSpec::flag("verbose", "tell how far it is by lines").short('v'),
    ];
    options.extend(link_options());
    CommandSpec {
        program: "neomigrate",
        prefix: "",
        about: "Copy a FileStorage to NEO, or NEO to a FileStorage",
        options,
        positionals: vec![
            Positional::new("SOURCE", "path of a FileStorage, or else masters of a cluster"),
            Positional::new("DESTINATION", "the other one of both"),
        ],
    }
}

impl MigrateConfig {
    /// Parses a command line, given without the name of the program.
    ///
    /// # Errors
    /// Any [`ConfigError`] but about files.
    pub fn load(args: &[OsString]) -> Result<Self, ConfigError> {
        let settings = Settings::parse(spec(), args)?;
        let cluster = settings.required_text("cluster")?;
        let source = PathBuf::from(settings.word("SOURCE")?);
        let (direction, masters_word) = if is_file(&source)? {
            (Direction::Import, "DESTINATION")
        } else {
            (Direction::Export, "SOURCE")
        };
        let text = settings.text_word(masters_word)?;
        if direction == Direction::Export && !are_masters(&text) {
            return Err(neither(&text, "no such file"));
        }
        let masters = value::masters(&text).and_then(|masters| {
            if masters.is_empty() { Err("value is empty".to_owned()) } else { Ok(masters) }
        });
        let masters = masters.map_err(|reason| {
            ConfigError::Invalid(match direction {
                Direction::Import => format!("masters of the cluster: {reason}"),
                Direction::Export => return neither(&text, &reason),
            })
        })?;
        let file = match direction {
            Direction::Import => source,
            Direction::Export => settings.word("DESTINATION")?.into(),
        };
        let (quiet, verbose) = (settings.flag("quiet")?, settings.flag("verbose")?);
        let link = LinkConfig::new(&settings)?;
        Ok(Self { cluster, masters, file, direction, quiet, verbose, link })
    }
}

/// Whether the source is a path. What can not be looked at is one, and must not be taken for the
/// name of a host.
fn is_file(source: &Path) -> Result<bool, ConfigError> {
    match source.symlink_metadata() {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        // A list of masters is longer than the name of a file may be.
        Err(error) if error.kind() == ErrorKind::InvalidFilename => Ok(false),
        Err(error) => {
            Err(ConfigError::Invalid(format!("cannot read {}: {error}", source.display())))
        }
    }
}

/// Whether a text has the form of masters: hosts with ports, which are not looked for.
fn are_masters(text: &str) -> bool {
    let mut words = text.split_whitespace().peekable();
    words.peek().is_some()
        && words.all(|word| {
            let parsed = value::host_port(word);
            !word.contains('/') && parsed.is_ok_and(|parsed| parsed.port.is_some())
        })
}

fn neither(text: &str, reason: &str) -> ConfigError {
    ConfigError::Invalid(format!(
        "'{text}' is neither an existing FileStorage nor masters of a cluster: {reason}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(args: &[&str]) -> Result<MigrateConfig, ConfigError> {
        let args: Vec<OsString> = args.iter().map(Into::into).collect();
        MigrateConfig::load(&args)
    }

    #[test]
    fn an_existing_source_is_imported() {
        let here = env!("CARGO_MANIFEST_DIR");
        let config = load(&["-qc", "test", here, "127.0.0.1:1 127.0.0.1:2"]).unwrap();
        assert_eq!((config.direction, config.quiet), (Direction::Import, true));
        assert_eq!((config.file, config.masters.len()), (here.into(), 2));
    }

    #[test]
    fn anything_else_is_exported() {
        let config = load(&["-c", "test", "127.0.0.1:1", "out.fs"]).unwrap();
        assert_eq!((config.direction, config.file), (Direction::Export, "out.fs".into()));
        for source in ["mistyped.fs", "no.such.folder/x:1", "localhost", "127.0.0.1:1 x"] {
            let error = load(&["-c", "test", source, "127.0.0.1:1"]).unwrap_err();
            assert!(error.to_string().contains("neither an existing FileStorage"), "{error}");
        }
    }

    #[test]
    fn what_can_not_be_looked_at_is_not_a_host() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml/x:1");
        let error = load(&["-c", "test", file, "127.0.0.1:1"]).unwrap_err();
        assert!(error.to_string().contains("cannot read"), "{error}");
    }

    #[test]
    fn both_ends_and_the_name_are_mandatory() {
        for args in [&["-c", "test", "a"][..], &["127.0.0.1:1", "b"], &["-c", "", "a", "b"]] {
            assert!(matches!(load(args), Err(ConfigError::Usage { .. })), "{args:?}");
        }
    }
}
