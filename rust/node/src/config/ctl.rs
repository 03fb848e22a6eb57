//! `neoctl` (spec tools.md 8).

use std::env;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::time::Duration;

use super::ConfigError;
use super::node::{LinkConfig, link_options};
use super::options::{self, CommandSpec, Kind, OptionSpec};
use super::settings::Settings;
use super::value;

/// Port of an admin when it is not given.
const ADMIN_PORT: u16 = 9999;

/// Where an admin is, if nobody says it.
const DEFAULT_ADMIN: &str = "127.0.0.1:9999";

/// Variable of the environment that says where admins are.
const ADMIN_VARIABLE: &str = "NEO_ADMIN";

/// What `neoctl` is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CtlConfig {
    /// Admins, at least one, to be tried in this order.
    pub addresses: Vec<SocketAddr>,
    /// Whether outputs are for programs.
    pub json: bool,
    /// Whether nothing is to be confirmed.
    pub yes: bool,
    /// How long the command may take; for ever if none is given.
    pub timeout: Option<Duration>,
    /// Logs and TLS.
    pub link: LinkConfig,
    /// The words of the command, not parsed. None at all: list the commands.
    pub command: Vec<String>,
}

/// Options of the command.
#[must_use]
pub fn spec() -> CommandSpec {
    let mut options = vec![
        OptionSpec {
            value_name: "ADDRESSES",
            ..OptionSpec::new(
                "address",
                Kind::Address,
                "admins, tried in this order; NEO_ADMIN in the environment replaces the default",
            )
        }
        .short('a')
        .default(DEFAULT_ADMIN),
        OptionSpec::new("timeout", Kind::Number, "give up after so many seconds")
            .value_name("SECONDS"),
        OptionSpec::flag("json", "print one object for programs, with more statuses"),
        OptionSpec::flag("yes", "ask for no confirmation").short('y'),
    ];
    options.extend(link_options());
    CommandSpec {
        program: "neoctl",
        prefix: "",
        about: "Control a NEO cluster; without command, the list of commands is printed",
        options,
        positionals: Vec::new(),
    }
}

impl CtlConfig {
    /// Parses a command line, given without the name of the program. All that follows the first
    /// word of the command belongs to it, even what looks like an option.
    ///
    /// # Errors
    /// Any [`ConfigError`].
    pub fn load(args: &[OsString]) -> Result<Self, ConfigError> {
        let spec = spec();
        let command = spec
            .command()
            .allow_external_subcommands(true)
            .override_usage("neoctl [OPTIONS] [COMMAND...]");
        let matches = options::parse(command, args)?;
        let words = matches.subcommand().map(|(first, matches)| {
            let others = matches.try_get_many::<OsString>("").ok().flatten();
            let others = others.into_iter().flatten().cloned();
            [OsString::from(first)].into_iter().chain(others).collect::<Vec<_>>()
        });
        let settings = Settings::new(spec, matches);
        let words = words.unwrap_or_default().into_iter().map(OsString::into_string);
        let command = words.collect::<Result<_, _>>().map_err(|word| {
            settings.usage(format!("a word of the command is not UTF-8: {}", word.display()))
        })?;
        let addresses = addresses(&settings)?;
        let timeout = settings.parsed("timeout", |text| {
            let seconds = value::number(text)?;
            let duration = Duration::try_from_secs_f64(seconds).ok();
            let positive = duration.filter(|duration| !duration.is_zero());
            positive.ok_or_else(|| "timeout must be positive".to_owned())
        })?;
        Ok(Self {
            addresses,
            json: settings.flag("json")?,
            yes: settings.flag("yes")?,
            timeout,
            link: LinkConfig::new(&settings)?,
            command,
        })
    }
}

fn addresses(settings: &Settings) -> Result<Vec<SocketAddr>, ConfigError> {
    let variable = env::var(ADMIN_VARIABLE).ok().filter(|text| !text.trim().is_empty());
    let (text, origin) = match (settings.on_command_line("address"), variable) {
        (false, Some(text)) => (text, Some(ADMIN_VARIABLE)),
        _ => (settings.text("address")?.unwrap_or_else(|| DEFAULT_ADMIN.into()), None),
    };
    let separators = |c: char| c.is_whitespace() || c == ',';
    let words = text.split(separators).filter(|word| !word.is_empty());
    let addresses = words.map(|word| value::address(word, ADMIN_PORT)).collect::<Result<_, _>>();
    let addresses: Vec<_> = addresses.map_err(|reason| match origin {
        Some(variable) => ConfigError::invalid(format!("{variable}: {reason}")),
        None => settings.invalid("address", reason),
    })?;
    if addresses.is_empty() {
        return Err(settings.reject("address", "value is empty"));
    }
    Ok(addresses)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(args: &[&str]) -> Result<CtlConfig, ConfigError> {
        let args: Vec<OsString> = args.iter().map(Into::into).collect();
        CtlConfig::load(&args)
    }

    fn admins(ctl: &CtlConfig) -> Vec<String> {
        ctl.addresses.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn words_after_the_first_belong_to_the_command() {
        let ctl = load(&["-a", "127.0.0.1:1", "tweak", "-n", "--address", "S1"]).unwrap();
        assert_eq!(ctl.command, ["tweak", "-n", "--address", "S1"]);
        assert_eq!(admins(&ctl), ["127.0.0.1:1"]);
        let ctl = load(&["set", "replicas", "-1"]).unwrap();
        assert_eq!(ctl.command, ["set", "replicas", "-1"]);
        assert_eq!(load(&["print", "-h"]).unwrap().command, ["print", "-h"]);
    }

    #[test]
    fn no_command_is_no_error() {
        let ctl = load(&[]).unwrap();
        assert!(ctl.command.is_empty());
        assert_eq!((admins(&ctl), ctl.timeout), (vec!["127.0.0.1:9999".to_owned()], None));
        assert_eq!((ctl.json, ctl.yes), (false, false));
    }

    #[test]
    fn several_admins_may_be_given() {
        let ctl = load(&["-a", "127.0.0.2, [::1]:5 127.0.0.3:7"]).unwrap();
        assert_eq!(admins(&ctl), ["127.0.0.2:9999", "[::1]:5", "127.0.0.3:7"]);
        let error = load(&["-a", " , "]).unwrap_err();
        assert!(matches!(error, ConfigError::Usage { reason, .. } if reason.contains("empty")));
    }

    #[test]
    fn unknown_options_are_a_usage_error() {
        for args in [&["--bogus", "print"][..], &["-n", "tweak"], &["--timeout", "0"], &["-a"]] {
            assert!(matches!(load(args), Err(ConfigError::Usage { .. })), "{args:?}");
        }
        assert!(matches!(load(&["--ca", "x", "start"]), Err(ConfigError::Invalid(_))));
    }
}
