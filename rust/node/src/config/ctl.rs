//! `neoctl` (spec tools.md 8).

use std::ffi::OsString;
use std::net::SocketAddr;
use std::time::Duration;

use super::ConfigError;
use super::node::{LinkConfig, link_options};
use super::options::{self, CommandSpec, Kind, OptionSpec};
use super::settings::Settings;

/// Port of an admin when it is not given.
const ADMIN_PORT: u16 = 9999;

/// What `neoctl` is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CtlConfig {
    /// The admin.
    pub address: SocketAddr,
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
        OptionSpec::new("address", Kind::Address, "address of an admin node")
            .short('a')
            .default("127.0.0.1:9999"),
        OptionSpec::new("timeout", Kind::Number, "give up after so many seconds")
            .value_name("SECONDS"),
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
        let address = settings.address("address", ADMIN_PORT)?;
        let timeout = settings.parsed("timeout", |text| {
            let seconds = super::value::number(text)?;
            let duration = Duration::try_from_secs_f64(seconds).ok();
            let positive = duration.filter(|duration| !duration.is_zero());
            positive.ok_or_else(|| "timeout must be positive".to_owned())
        })?;
        Ok(Self {
            address: address.ok_or_else(|| settings.reject("address", "value is empty"))?,
            timeout,
            link: LinkConfig::new(&settings)?,
            command,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(args: &[&str]) -> Result<CtlConfig, ConfigError> {
        let args: Vec<OsString> = args.iter().map(Into::into).collect();
        CtlConfig::load(&args)
    }

    #[test]
    fn words_after_the_first_belong_to_the_command() {
        let ctl = load(&["-a", "127.0.0.1:1", "tweak", "-n", "--address", "S1"]).unwrap();
        assert_eq!(ctl.command, ["tweak", "-n", "--address", "S1"]);
        assert_eq!(ctl.address.to_string(), "127.0.0.1:1");
        let ctl = load(&["set", "replicas", "-1"]).unwrap();
        assert_eq!(ctl.command, ["set", "replicas", "-1"]);
        assert_eq!(load(&["print", "-h"]).unwrap().command, ["print", "-h"]);
    }

    #[test]
    fn no_command_is_no_error() {
        let ctl = load(&[]).unwrap();
        assert!(ctl.command.is_empty());
        assert_eq!((ctl.address.to_string().as_str(), ctl.timeout), ("127.0.0.1:9999", None));
        assert_eq!(load(&["-a", "127.0.0.2"]).unwrap().address.to_string(), "127.0.0.2:9999");
    }

    #[test]
    fn unknown_options_are_a_usage_error() {
        for args in [&["--bogus", "print"][..], &["-n", "tweak"], &["--timeout", "0"], &["-a"]] {
            assert!(matches!(load(args), Err(ConfigError::Usage { .. })), "{args:?}");
        }
        assert!(matches!(load(&["--ca", "x", "start"]), Err(ConfigError::Invalid(_))));
    }
}
