//! Tables of options, from which come the command line, its help, and the keys of the file.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, ArgMatches, Command};

use super::ConfigError;

/// What the argument of an option is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Any text but the empty one.
    Text,
    /// A list of words or any other text that may be empty.
    List,
    /// An integer, in Python's decimal syntax.
    Integer,
    /// A number, possibly with a fraction.
    Number,
    /// A path where `~` is expanded; empty for none.
    Path,
    /// `host:port`.
    Address,
    /// No argument.
    Flag,
    /// One of these names (any name in a file, where it is checked when it is used).
    Choice(&'static [&'static str]),
    /// A text that may be given several times.
    Repeated,
}

/// An option of a command.
#[derive(Debug, Clone)]
pub struct OptionSpec {
    /// One letter or digit, without dash.
    pub short: Option<char>,
    /// Long name, without dashes.
    pub long: &'static str,
    /// What its argument is.
    pub kind: Kind,
    /// Value when it is given nowhere, in the syntax of the command line.
    pub default: Option<&'static str>,
    /// Name of its argument in the help.
    pub value_name: &'static str,
    /// Its line in the help.
    pub help: &'static str,
}

impl OptionSpec {
    /// An option with an argument.
    #[must_use]
    pub const fn new(long: &'static str, kind: Kind, help: &'static str) -> Self {
        let value_name = match kind {
            Kind::Text | Kind::Repeated => "TEXT",
            Kind::List => "LIST",
            Kind::Integer => "N",
            Kind::Number => "NUMBER",
            Kind::Path => "PATH",
            Kind::Address => "ADDRESS",
            Kind::Choice(_) => "NAME",
            Kind::Flag => "",
        };
        Self { short: None, long, kind, default: None, value_name, help }
    }

    /// An option without argument.
    #[must_use]
    pub const fn flag(long: &'static str, help: &'static str) -> Self {
        Self::new(long, Kind::Flag, help)
    }

    /// Gives it a short name.
    #[must_use]
    pub const fn short(mut self, short: char) -> Self {
        self.short = Some(short);
        self
    }

    /// Gives it a default value.
    #[must_use]
    pub const fn default(mut self, default: &'static str) -> Self {
        self.default = Some(default);
        self
    }

    /// Names its argument in the help.
    #[must_use]
    pub const fn value_name(mut self, value_name: &'static str) -> Self {
        self.value_name = value_name;
        self
    }

    /// Key in a configuration file.
    #[must_use]
    pub fn key(&self) -> String {
        self.long.replace('-', "_")
    }

    /// How it is named in messages, as `-c/--cluster`.
    #[must_use]
    pub fn display(&self) -> String {
        match self.short {
            Some(short) => format!("-{short}/--{}", self.long),
            None => format!("--{}", self.long),
        }
    }

    fn arg(&self) -> Arg {
        let action = match self.kind {
            Kind::Flag => ArgAction::SetTrue,
            Kind::Repeated => ArgAction::Append,
            _ => ArgAction::Set,
        };
        let takes_value = self.kind != Kind::Flag;
        let mut arg = Arg::new(self.long).long(self.long).action(action);
        let mut help = self.help.to_owned();
        if let Kind::Choice(names) = self.kind {
            help = format!("{help}, one of: {}", names.join(", "));
        }
        if let Some(default) = self.default {
            help = format!("{help} [default: {default}]");
        }
        arg = arg.help(help);
        if let Some(short) = self.short {
            arg = arg.short(short);
        }
        if takes_value {
            arg = arg.value_name(self.value_name).value_parser(clap::value_parser!(OsString));
        }
        arg.allow_negative_numbers(matches!(self.kind, Kind::Integer | Kind::Number))
    }
}

/// A word of the command line that is not an option.
#[derive(Debug, Clone)]
pub struct Positional {
    /// Its name in the help.
    pub name: &'static str,
    /// Its line in the help.
    pub help: &'static str,
    /// Whether it must be given.
    pub required: bool,
    /// Whether it may be given several times.
    pub several: bool,
}

impl Positional {
    /// A word that must be given once.
    #[must_use]
    pub const fn new(name: &'static str, help: &'static str) -> Self {
        Self { name, help, required: true, several: false }
    }

    fn arg(&self) -> Arg {
        let action = if self.several { ArgAction::Append } else { ArgAction::Set };
        let arg = Arg::new(self.name).value_name(self.name).help(self.help);
        let arg = arg.required(self.required).action(action);
        let arg = arg.value_parser(clap::value_parser!(OsString));
        if self.several { arg.num_args(1..) } else { arg }
    }
}

/// What a command accepts.
#[derive(Debug, Clone)]
pub struct CommandSpec {
    /// Name of the command.
    pub program: &'static str,
    /// Words that precede it, for a command inside another one.
    pub prefix: &'static str,
    /// What it is for, in one line.
    pub about: &'static str,
    /// Its options.
    pub options: Vec<OptionSpec>,
    /// Its words.
    pub positionals: Vec<Positional>,
}

impl CommandSpec {
    /// The parser of its command line.
    #[must_use]
    pub fn command(&self) -> Command {
        let command = Command::new(self.program)
            .bin_name(format!("{}{}", self.prefix, self.program))
            .about(self.about)
            .no_binary_name(true)
            .infer_long_args(true)
            .args_override_self(true)
            .disable_help_subcommand(true);
        let command = command.args(self.options.iter().map(OptionSpec::arg));
        command.args(self.positionals.iter().map(Positional::arg))
    }

    /// Parses a command line, given without the name of the program.
    ///
    /// # Errors
    /// [`ConfigError::Answer`], [`ConfigError::Usage`].
    pub fn parse(&self, args: &[OsString]) -> Result<ArgMatches, ConfigError> {
        parse(self.command(), args)
    }

    /// Text that shows how the command is called.
    #[must_use]
    pub fn usage(&self) -> String {
        self.command().render_usage().to_string()
    }
}

/// Parses a command line with any parser.
///
/// # Errors
/// [`ConfigError::Answer`], [`ConfigError::Usage`].
pub fn parse(mut command: Command, args: &[OsString]) -> Result<ArgMatches, ConfigError> {
    let result = command.try_get_matches_from_mut(args);
    result.map_err(|error| match error.kind() {
        ErrorKind::DisplayHelp => ConfigError::Answer(error.to_string()),
        _ => usage_error(&error, &mut command),
    })
}

fn usage_error(error: &clap::Error, command: &mut Command) -> ConfigError {
    let text = error.to_string();
    let reason = ambiguity(error, command).unwrap_or_else(|| one_sentence(&text));
    // The usage that clap gives with the error is the only one for a command inside another one.
    let usage = text.lines().find(|line| line.starts_with("Usage:"));
    let usage = match usage.filter(|_| command.has_subcommands()) {
        Some(usage) => usage.to_owned(),
        None => command.render_usage().to_string(),
    };
    ConfigError::Usage { usage, reason }
}

/// Says what an abbreviation could mean, which clap takes for an unknown option.
fn ambiguity(error: &clap::Error, command: &Command) -> Option<String> {
    let Some(ContextValue::String(option)) = error.get(ContextKind::InvalidArg) else {
        return None;
    };
    let prefix =
        option.strip_prefix("--").filter(|_| error.kind() == ErrorKind::UnknownArgument)?;
    let longs = command.get_arguments().filter_map(Arg::get_long);
    let candidates: Vec<_> = longs.filter(|long| long.starts_with(prefix)).collect();
    let candidates = candidates.iter().map(|long| format!("--{long}")).collect::<Vec<_>>();
    (candidates.len() > 1)
        .then(|| format!("ambiguous option: {option} could match {}", candidates.join(", ")))
}

/// Makes one sentence of what clap prints on several lines.
fn one_sentence(text: &str) -> String {
    let lines = text.lines().map(str::trim);
    let lines = lines.take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For "));
    let words: Vec<&str> = lines.filter(|line| !line.is_empty()).collect();
    let reason = words.join(" ");
    reason.strip_prefix("error: ").unwrap_or(&reason).replace(" tip: ", "; ")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::config;

    fn all() -> Vec<CommandSpec> {
        let mut specs = vec![
            config::master::spec(),
            config::storage::spec(),
            config::admin::spec(),
            config::ctl::spec(),
            config::log::spec(),
            config::migrate::spec(),
            config::simple::spec(),
        ];
        specs.extend(config::reflink::specs());
        specs
    }

    #[test]
    fn names_are_unique_in_each_command() {
        for spec in all() {
            let mut names = BTreeSet::from(["h".to_owned(), "help".to_owned()]);
            for option in &spec.options {
                assert!(names.insert(option.long.to_owned()), "{} {}", spec.program, option.long);
                let short = option.short.map(String::from);
                assert!(short.is_none_or(|short| names.insert(short)), "{}", option.display());
            }
            for positional in &spec.positionals {
                assert!(names.insert(positional.name.to_owned()), "{}", positional.name);
            }
        }
    }

    #[test]
    fn help_is_asked_not_an_error() {
        for spec in all() {
            for word in ["-h", "--help", "--hel"] {
                let result = spec.parse(&[word.into()]);
                let Err(ConfigError::Answer(text)) = result else { panic!("{result:?}") };
                for option in &spec.options {
                    assert!(text.contains(&format!("--{}", option.long)), "{text}");
                }
            }
        }
    }

    #[test]
    fn a_usage_error_is_one_line() {
        for spec in all() {
            let result = spec.parse(&["--no-such-option".into()]);
            let Err(ConfigError::Usage { usage, reason }) = result else { panic!("{result:?}") };
            assert!(usage.starts_with("Usage: "), "{usage}");
            assert!(reason.contains("'--no-such-option'"), "{reason}");
            assert!(!reason.contains('\n') && !reason.contains("error:"), "{reason}");
        }
    }

    #[test]
    fn abbreviations_must_have_one_meaning() {
        let spec = config::master::spec();
        assert!(spec.parse(&["--clu".into(), "test".into()]).is_ok());
        let result = spec.parse(&["--c".into(), "test".into()]);
        let Err(ConfigError::Usage { reason, .. }) = result else { panic!("{result:?}") };
        let expected = "ambiguous option: --c could match --cluster, --ca, --cert, --check";
        assert_eq!(reason, expected);
    }
}
