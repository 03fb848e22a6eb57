//! `neoadmin` (spec tools.md 7, 9).

use std::env;
use std::ffi::OsString;
use std::fmt;

use super::ConfigError;
use super::check;
use super::node::{NodeConfig, NodeDefaults, node_options};
use super::options::{CommandSpec, Kind, OptionSpec};
use super::settings::Settings;
use super::value::{HostPort, host_port};

const DEFAULTS: NodeDefaults =
    NodeDefaults { section: "admin", bind: "127.0.0.1:9999", masters: Some("127.0.0.1:10000") };

/// Port of a mail server when it is not given.
const SMTP_PORT: u16 = 25;

/// Credentials for the mail server.
#[derive(Clone, PartialEq, Eq)]
pub struct SmtpAuth {
    /// User.
    pub user: String,
    /// Password.
    pub password: String,
}

impl fmt::Debug for SmtpAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SmtpAuth({}:***)", self.user)
    }
}

/// How notifications are sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SmtpConfig {
    /// Name or address of the mail server, resolved when a mail is sent.
    pub host: String,
    /// Its TCP port.
    pub port: u16,
    /// Whether to use STARTTLS.
    pub tls: bool,
    /// Credentials.
    pub auth: Option<SmtpAuth>,
}

/// What is watched, and who is told.
#[derive(Debug, Clone, PartialEq)]
pub struct MonitorConfig {
    /// Names of the backup clusters that are expected to report here, in this order.
    pub backups: Vec<String>,
    /// Lag of a backup that is not a warning, in seconds, 0 or more.
    pub max_lag_s: f64,
    /// Recipients of notifications. Nobody: nothing is sent.
    pub emails: Vec<String>,
    /// Sender, from the variable `EMAIL` of the environment; `<user>@<fqdn>` otherwise.
    pub sender: Option<String>,
    /// Mail server.
    pub smtp: SmtpConfig,
}

/// Configuration of an admin.
#[derive(Debug, Clone, PartialEq)]
pub struct AdminConfig {
    /// Common part.
    pub node: NodeConfig,
    /// Monitoring.
    pub monitor: MonitorConfig,
}

/// Options of the command.
#[must_use]
pub fn spec() -> CommandSpec {
    let mut options = node_options(DEFAULTS);
    options.extend([
        OptionSpec::new("monitor-backup", Kind::Repeated, "backup cluster expected to report here")
            .value_name("NAME"),
        OptionSpec::new("monitor-maxlag", Kind::Number, "tolerated lag of a backup, in seconds")
            .value_name("SECONDS")
            .default("0"),
        OptionSpec::new("monitor-email", Kind::Repeated, "recipient of notifications")
            .value_name("EMAIL"),
        OptionSpec::new("smtp", Kind::Address, "mail server (port 25 if none is given)")
            .value_name("HOST[:PORT]")
            .default("localhost"),
        OptionSpec::flag(
            "smtp-tls",
            "encrypt with STARTTLS; the certificate of the server is not checked",
        ),
        OptionSpec::new("smtp-auth", Kind::Text, "credentials for the mail server")
            .value_name("USER:PASS"),
    ]);
    CommandSpec {
        program: "neoadmin",
        prefix: "",
        about: "Admin node of a NEO cluster: what neoctl talks to, and monitoring",
        options,
        positionals: Vec::new(),
    }
}

impl AdminConfig {
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
        let max_lag_s = settings.number("monitor-maxlag")?.unwrap_or(0.);
        if max_lag_s < 0. {
            return Err(settings.reject("monitor-maxlag", "a lag can not be negative"));
        }
        let monitor = MonitorConfig {
            backups: settings.list("monitor-backup")?,
            max_lag_s,
            emails: settings.list("monitor-email")?,
            sender: env::var("EMAIL").ok().filter(|email| !email.is_empty()),
            smtp: smtp(settings)?,
        };
        Ok(Self { node, monitor })
    }
}

fn smtp(settings: &Settings) -> Result<SmtpConfig, ConfigError> {
    let text = settings.text("smtp")?.unwrap_or_default();
    let HostPort { host, port } =
        host_port(&text).map_err(|reason| settings.invalid("smtp", reason))?;
    let auth = settings.parsed("smtp-auth", |text| match text.split_once(':') {
        Some((user, password)) => {
            Ok(SmtpAuth { user: user.to_owned(), password: password.to_owned() })
        }
        None => Err("credentials must be written USER:PASS".to_owned()),
    })?;
    Ok(SmtpConfig { host, port: port.unwrap_or(SMTP_PORT), tls: settings.flag("smtp-tls")?, auth })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(args: &str) -> Result<AdminConfig, ConfigError> {
        let args: Vec<OsString> = args.split(' ').map(Into::into).collect();
        AdminConfig::load(&args)
    }

    #[test]
    fn monitoring_is_off_by_default() {
        let admin = load("-c test").unwrap();
        assert_eq!(admin.node.bind.to_string(), "127.0.0.1:9999");
        assert_eq!(admin.node.masters, ["127.0.0.1:10000".parse().unwrap()]);
        assert!(admin.monitor.backups.is_empty() && admin.monitor.emails.is_empty());
        let smtp = admin.monitor.smtp;
        assert_eq!((smtp.host.as_str(), smtp.port, smtp.tls), ("localhost", 25, false));
    }

    #[test]
    fn mail_options_are_parsed() {
        let admin = load(
            "-c test --monitor-backup b1 --monitor-email a@x --monitor-email b@x --smtp mx:2525 \
             --smtp-auth user:pa:ss --smtp-tls --monitor-maxlag 0.5 --monitor-backup b2",
        );
        let monitor = admin.unwrap().monitor;
        assert_eq!(monitor.backups, ["b1", "b2"]);
        assert_eq!(monitor.emails, ["a@x", "b@x"]);
        assert!((monitor.max_lag_s - 0.5).abs() < f64::EPSILON);
        assert_eq!((monitor.smtp.host.as_str(), monitor.smtp.port), ("mx", 2525));
        let auth = monitor.smtp.auth.unwrap();
        assert_eq!((auth.user.as_str(), auth.password.as_str()), ("user", "pa:ss"));
        assert!(!format!("{auth:?}").contains("pa:ss"));
    }

    #[test]
    fn credentials_without_password_are_a_usage_error() {
        let error = load("-c test --smtp-auth user").unwrap_err();
        assert!(
            matches!(&error, ConfigError::Usage { reason, .. } if reason.contains("USER:PASS"))
        );
    }

    #[test]
    fn an_admin_needs_masters() {
        let arguments = ["-c", "test", "-m", " "].map(OsString::from);
        let error = AdminConfig::load(&arguments).unwrap_err();
        assert!(matches!(error, ConfigError::Usage { reason, .. } if reason.contains("empty")));
    }
}
