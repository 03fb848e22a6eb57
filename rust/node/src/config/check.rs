//! `--check` of the daemons: the values in effect and where they come from (spec tools.md 20.3).

use super::options::{Kind, OptionSpec};
use super::settings::{File, Settings};
use super::{ConfigError, admin, master, storage};

/// Options that are not settings.
const NOT_SETTINGS: [&str; 3] = ["file", "section", "check"];

/// Answers to `--check`, once the configuration is known to be right.
///
/// # Errors
/// [`ConfigError::Answer`] if it was asked.
pub(super) fn answer(settings: &Settings) -> Result<(), ConfigError> {
    if !settings.on_command_line("check") {
        return Ok(());
    }
    let options = settings.spec.options.iter();
    let options = options.filter(|option| !NOT_SETTINGS.contains(&option.long));
    let mut report = String::new();
    for option in options {
        let value = shown(settings, option)?;
        let origin = origin(settings, option)?;
        let line = match value.as_str() {
            "" => format!("{} = ", option.key()),
            value => format!("{} = {value}  <- {origin}", option.key()),
        };
        report.push_str(line.trim_end());
        report.push('\n');
    }
    if let Some(file) = &settings.file {
        report.push_str(&unknown_keys(file)?);
    }
    Err(ConfigError::Answer(report))
}

fn shown(settings: &Settings, option: &OptionSpec) -> Result<String, ConfigError> {
    let value = match option.kind {
        Kind::Flag => settings.flag(option.long)?.to_string(),
        Kind::Repeated => settings.list(option.long)?.join(" "),
        Kind::Path => {
            settings.path(option.long)?.map_or_else(String::new, |path| path.display().to_string())
        }
        _ => settings.text(option.long)?.unwrap_or_default(),
    };
    let words: Vec<&str> = value.split_whitespace().collect();
    Ok(masked(option.long, &words.join(" ")))
}

/// Hides passwords.
fn masked(long: &str, value: &str) -> String {
    let end = match long {
        "smtp-auth" => value.len(),
        "database" if !value.starts_with("file:") => value.rfind('@').unwrap_or(0),
        _ => 0,
    };
    match value.find(':') {
        Some(colon) if colon < end => format!("{}:***{}", &value[..colon], &value[end..]),
        _ => value.to_owned(),
    }
}

fn origin(settings: &Settings, option: &OptionSpec) -> Result<String, ConfigError> {
    let in_file = match &settings.file {
        None => None,
        Some(file) => in_file(file, option)?,
    };
    Ok(match (settings.on_command_line(option.long), in_file) {
        (true, Some(section)) if option.kind == Kind::Repeated => {
            format!("{section}, command line")
        }
        (true, _) => "command line".to_owned(),
        (false, Some(section)) => section,
        (false, None) => "default".to_owned(),
    })
}

fn in_file(file: &File, option: &OptionSpec) -> Result<Option<String>, ConfigError> {
    let error = |error| file.error(error);
    if file.ini.is_own(&file.section, &option.key()).map_err(error)? {
        return Ok(Some(format!("[{}]", file.section)));
    }
    let keys = file.ini.keys(&file.section).map_err(error)?;
    Ok(keys.contains(&option.key().as_str()).then(|| "[DEFAULT]".to_owned()))
}

/// Tells the keys that no daemon knows: often mistyped, sometimes only made for `%(key)s`.
fn unknown_keys(file: &File) -> Result<String, ConfigError> {
    let options = [master::spec(), storage::spec(), admin::spec()].map(|spec| spec.options);
    let known: Vec<String> = options.iter().flatten().map(OptionSpec::key).collect();
    let mut report = String::new();
    for key in file.ini.keys(&file.section).map_err(|error| file.error(error))? {
        if !known.iter().any(|known| known == key) {
            report.push_str(&format!("# not an option: {key}\n"));
        }
    }
    Ok(report)
}

#[cfg(test)]
mod tests {
    use super::masked;

    #[test]
    fn passwords_are_hidden() {
        assert_eq!(masked("database", "neo:se@cr:et@db/run"), "neo:***@db/run");
        assert_eq!(masked("database", "neo@db"), "neo@db");
        assert_eq!(masked("database", "file:/a@b?synchronous=OFF"), "file:/a@b?synchronous=OFF");
        assert_eq!(masked("smtp-auth", "user:secret"), "user:***");
        assert_eq!(masked("bind", "127.0.0.1:1"), "127.0.0.1:1");
    }
}
