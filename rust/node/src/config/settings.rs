//! Values of options wherever they come from: command line, then section of the configuration
//! file, then its `[DEFAULT]`, then the default of the option (spec tools.md 2.4).

use std::ffi::OsString;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::ArgMatches;
use clap::parser::ValueSource;

use super::ConfigError;
use super::ini::{Ini, IniError};
use super::options::{CommandSpec, Kind, OptionSpec};
use super::value;

/// Where a value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Nobody gave it.
    Default,
    /// The configuration file.
    File,
    /// The command line.
    CommandLine,
}

/// A value before its syntax is looked at.
#[derive(Debug, Clone)]
struct Raw {
    text: OsString,
    source: Source,
}

pub(super) struct File {
    pub(super) path: PathBuf,
    pub(super) section: String,
    pub(super) ini: Ini,
}

/// The values of one command line.
pub struct Settings {
    pub(super) spec: CommandSpec,
    matches: ArgMatches,
    pub(super) file: Option<File>,
}

impl Settings {
    /// Parses the command line of a command that reads no file.
    ///
    /// # Errors
    /// [`ConfigError::Answer`], [`ConfigError::Usage`].
    pub fn parse(spec: CommandSpec, args: &[OsString]) -> Result<Self, ConfigError> {
        let matches = spec.parse(args)?;
        Ok(Self::new(spec, matches))
    }

    /// Parses the command line of a daemon, and its configuration file.
    ///
    /// # Errors
    /// Any [`ConfigError`].
    pub fn load(
        spec: CommandSpec,
        default_section: &str,
        args: &[OsString],
    ) -> Result<Self, ConfigError> {
        let mut settings = Self::parse(spec, args)?;
        if let Some(path) = settings.path("file")? {
            let section = settings.text("section")?.unwrap_or_else(|| default_section.to_owned());
            settings.file = Some(File::open(path, section)?);
        }
        Ok(settings)
    }

    /// Values of a command line that is already parsed.
    #[must_use]
    pub fn new(spec: CommandSpec, matches: ArgMatches) -> Self {
        Self { spec, matches, file: None }
    }

    /// A flag, set by the command line or by the file.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`], [`ConfigError::File`].
    pub fn flag(&self, long: &'static str) -> Result<bool, ConfigError> {
        if self.matches.try_get_one(long).ok().flatten() == Some(&true) {
            return Ok(true);
        }
        let raw = self.in_file(self.spec_of(long)?)?;
        let Some(raw) = raw else { return Ok(false) };
        value::boolean(&self.utf8(long, &raw)?).map_err(|reason| self.refuse(long, &raw, reason))
    }

    /// Whether the command line or the file gives an option.
    ///
    /// # Errors
    /// [`ConfigError::File`].
    pub fn is_given(&self, long: &'static str) -> Result<bool, ConfigError> {
        Ok(self.raw(long)?.is_some_and(|raw| raw.source != Source::Default))
    }

    /// A text, or the name of a choice. The empty text is refused, but for lists.
    ///
    /// # Errors
    /// Any [`ConfigError`] but help.
    pub fn text(&self, long: &'static str) -> Result<Option<String>, ConfigError> {
        let Some(raw) = self.raw(long)? else {
            return Ok(None);
        };
        let text = self.utf8(long, &raw)?;
        let spec = self.spec_of(long)?;
        if text.is_empty() && spec.kind != Kind::List {
            return Err(self.refuse(long, &raw, "value is empty".to_owned()));
        }
        if let Kind::Choice(names) = spec.kind
            && raw.source == Source::CommandLine
            && !names.contains(&text.as_str())
        {
            let names = names.join(", ");
            let reason = format!("invalid choice: '{text}' (choose from {names})");
            return Err(self.refuse(long, &raw, reason));
        }
        Ok(Some(text))
    }

    /// A text that must be given by the command line or by the file.
    ///
    /// # Errors
    /// Any [`ConfigError`] but help.
    pub fn required_text(&self, long: &'static str) -> Result<String, ConfigError> {
        match self.text(long)? {
            Some(text) => Ok(text),
            None => {
                let option = self.spec_of(long)?;
                let remedy = match &self.file {
                    _ if !self.spec.options.iter().any(|option| option.long == "file") => {
                        String::new()
                    }
                    None => format!(" (or '{}' in a file given by -f)", option.key()),
                    Some(file) => format!(
                        " (or '{}' in section [{}] of {})",
                        option.key(),
                        file.section,
                        file.path.display()
                    ),
                };
                let option = option.display();
                Err(self.usage(format!("the following arguments are required: {option}{remedy}")))
            }
        }
    }

    /// An integer that fits the type wanted.
    ///
    /// # Errors
    /// Any [`ConfigError`] but help.
    pub fn integer<T: TryFrom<i64>>(&self, long: &'static str) -> Result<Option<T>, ConfigError> {
        self.parsed(long, |text| {
            let integer = value::integer(text)?;
            T::try_from(integer).map_err(|_| format!("int value out of range: '{text}'"))
        })
    }

    /// A number, possibly with a fraction.
    ///
    /// # Errors
    /// Any [`ConfigError`] but help.
    pub fn number(&self, long: &'static str) -> Result<Option<f64>, ConfigError> {
        self.parsed(long, value::number)
    }

    /// A path, where `~` is expanded. Empty: none.
    ///
    /// # Errors
    /// [`ConfigError::File`].
    pub fn path(&self, long: &'static str) -> Result<Option<PathBuf>, ConfigError> {
        let raw = self.raw(long)?.filter(|raw| !raw.text.is_empty());
        Ok(raw.map(|raw| value::expand_user(&raw.text)))
    }

    /// An address, resolved. What is wrong in it is an error of configuration even when it comes
    /// from the command line (spec tools.md 3.1).
    ///
    /// # Errors
    /// Any [`ConfigError`] but help.
    pub fn address(
        &self,
        long: &'static str,
        default_port: u16,
    ) -> Result<Option<SocketAddr>, ConfigError> {
        let Some(text) = self.text(long)? else {
            return Ok(None);
        };
        let address = value::address(&text, default_port);
        address.map(Some).map_err(|reason| self.invalid(long, reason))
    }

    /// A list of masters, resolved, maybe empty.
    ///
    /// # Errors
    /// As [`Settings::address`].
    pub fn masters(&self, long: &'static str) -> Result<Vec<SocketAddr>, ConfigError> {
        let text = self.text(long)?.unwrap_or_default();
        value::masters(&text).map_err(|reason| self.invalid(long, reason))
    }

    /// Texts given one per line in the file, then those of the command line.
    ///
    /// # Errors
    /// Any [`ConfigError`] but help.
    pub fn list(&self, long: &'static str) -> Result<Vec<String>, ConfigError> {
        let mut list = Vec::new();
        if let Some(raw) = self.in_file(self.spec_of(long)?)? {
            let text = self.utf8(long, &raw)?;
            list.extend(
                text.lines().map(str::trim).filter(|line| !line.is_empty()).map(Into::into),
            );
        }
        for text in self.words(long) {
            let raw = Raw { text, source: Source::CommandLine };
            let text = self.utf8(long, &raw)?;
            if text.is_empty() {
                return Err(self.refuse(long, &raw, "value is empty".to_owned()));
            }
            list.push(text);
        }
        Ok(list)
    }

    /// The words of a positional argument, or of a repeated option, on the command line.
    #[must_use]
    pub fn words(&self, name: &str) -> Vec<OsString> {
        let words = self.matches.try_get_many::<OsString>(name).ok().flatten();
        words.into_iter().flatten().cloned().collect()
    }

    /// The only word of a positional argument, which the parser saw.
    ///
    /// # Errors
    /// [`ConfigError::Usage`].
    pub fn word(&self, name: &str) -> Result<OsString, ConfigError> {
        let word = self.words(name).pop();
        word.ok_or_else(|| self.usage(format!("the following arguments are required: {name}")))
    }

    /// Like [`Settings::word`], as a text.
    ///
    /// # Errors
    /// [`ConfigError::Usage`].
    pub fn text_word(&self, name: &str) -> Result<String, ConfigError> {
        let word = self.word(name)?;
        word.into_string()
            .map_err(|word| self.usage(format!("argument {name}: not UTF-8: {}", word.display())))
    }

    /// Parses a value given as a text.
    ///
    /// # Errors
    /// Any [`ConfigError`] but help.
    pub fn parsed<T>(
        &self,
        long: &'static str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<Option<T>, ConfigError> {
        let Some(text) = self.text(long)? else {
            return Ok(None);
        };
        parse(&text).map(Some).map_err(|reason| self.reject(long, reason))
    }

    /// Refuses the value of an option: a usage error if it comes from the command line, an error
    /// of configuration otherwise.
    pub fn reject(&self, long: &'static str, reason: impl Into<String>) -> ConfigError {
        match self.raw(long) {
            Ok(Some(raw)) => self.refuse(long, &raw, reason.into()),
            Ok(None) => self.usage(format!("argument --{long}: {}", reason.into())),
            Err(error) => error,
        }
    }

    /// Refuses the value of an option as an error of configuration, wherever it comes from.
    pub fn invalid(&self, long: &'static str, reason: impl Into<String>) -> ConfigError {
        match self.reject(long, reason) {
            ConfigError::Usage { reason, .. } => ConfigError::Invalid(reason),
            error => error,
        }
    }

    /// Refuses the command line.
    pub fn usage(&self, reason: impl Into<String>) -> ConfigError {
        ConfigError::Usage { usage: self.spec.usage(), reason: reason.into() }
    }

    /// Whether the command line alone gives this option.
    pub(super) fn on_command_line(&self, long: &str) -> bool {
        self.matches.value_source(long) == Some(ValueSource::CommandLine)
    }

    fn spec_of(&self, long: &str) -> Result<&OptionSpec, ConfigError> {
        let found = self.spec.options.iter().find(|option| option.long == long);
        found.ok_or_else(|| self.usage(format!("{} has no option --{long}", self.spec.program)))
    }

    fn raw(&self, long: &'static str) -> Result<Option<Raw>, ConfigError> {
        let option = self.spec_of(long)?;
        if let Some(text) = self.words(long).pop() {
            return Ok(Some(Raw { text, source: Source::CommandLine }));
        }
        if let Some(raw) = self.in_file(option)? {
            return Ok(Some(raw));
        }
        Ok(option.default.map(|text| Raw { text: text.into(), source: Source::Default }))
    }

    fn in_file(&self, option: &OptionSpec) -> Result<Option<Raw>, ConfigError> {
        let Some(file) = &self.file else {
            return Ok(None);
        };
        let value = file.ini.get(&file.section, &option.key());
        let value = value.map_err(|error| file.error(error))?;
        Ok(value.map(|text| Raw { text: text.into(), source: Source::File }))
    }

    fn utf8(&self, long: &'static str, raw: &Raw) -> Result<String, ConfigError> {
        match raw.text.to_str() {
            Some(text) => Ok(text.to_owned()),
            None => Err(self.refuse(long, raw, format!("not UTF-8: {}", raw.text.display()))),
        }
    }

    fn refuse(&self, long: &str, raw: &Raw, reason: String) -> ConfigError {
        let option = match self.spec_of(long) {
            Ok(option) => option,
            Err(error) => return error,
        };
        match (&self.file, raw.source) {
            (Some(file), Source::File) => ConfigError::Invalid(format!(
                "{}: [{}] {}: {reason}",
                file.path.display(),
                file.section,
                option.key()
            )),
            _ => self.usage(format!("argument {}: {reason}", option.display())),
        }
    }
}

impl File {
    /// Reads a file. One that cannot be read has no section (spec tools.md 2.2): the reason is
    /// told with the section that is missing.
    fn open(path: PathBuf, section: String) -> Result<Self, ConfigError> {
        let missing =
            |reason: &str| Err(ConfigError::invalid(format!("No section: '{section}' ({reason})")));
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) => return missing(&format!("cannot read {}: {error}", path.display())),
        };
        let Ok(text) = String::from_utf8(bytes) else {
            return Err(ConfigError::invalid(format!("{}: not UTF-8", path.display())));
        };
        let mut file = Self { path, section: String::new(), ini: Ini::default() };
        file.ini = Ini::parse(&text).map_err(|error| file.error(error))?;
        if !file.ini.sections().any(|name| name == section) {
            let known: Vec<&str> = file.ini.sections().collect();
            return missing(&match known.as_slice() {
                [] => format!("{} has no section at all", file.path.display()),
                known => {
                    format!("use -s to choose one of {}: {}", file.path.display(), known.join(", "))
                }
            });
        }
        file.section = section;
        Ok(file)
    }

    pub(super) fn error(&self, error: IniError) -> ConfigError {
        ConfigError::File { file: self.path.display().to_string(), error }
    }
}
