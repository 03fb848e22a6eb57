//! How a database is designated (spec storage.md 5.1).

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use nix::unistd::User;

use crate::StoreError;

/// Settings that the text may have, in the order of the specification.
const PRAGMAS: [&str; 3] = ["cache_size", "journal_mode", "synchronous"];

/// A parsed designation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Designation {
    /// The file; none for `:memory:`.
    pub path: Option<PathBuf>,
    /// Explicit settings, in the order given.
    pub pragmas: Vec<(&'static str, String)>,
}

impl Designation {
    /// Parses a path, or a URI that starts with `file:`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, StoreError> {
        let Some(rest) = text.strip_prefix("file:") else {
            return Ok(Self { path: path(text, true)?, pragmas: Vec::new() });
        };
        let rest = rest.split_once('#').map_or(rest, |(rest, _)| rest);
        let (location, query) = rest.split_once('?').unwrap_or((rest, ""));
        // `file://host/path`: the host is not used.
        let location = match location.strip_prefix("//") {
            Some(rest) => rest.find('/').map_or("", |start| &rest[start..]),
            None => location,
        };
        Ok(Self { path: path(location, false)?, pragmas: pragmas(query)? })
    }

    /// The value of an explicit setting.
    #[must_use]
    pub fn pragma(&self, name: &str) -> Option<&str> {
        let mut pragmas = self.pragmas.iter();
        pragmas.find(|(found, _)| *found == name).map(|(_, value)| value.as_str())
    }
}

fn wrong(reason: impl Into<String>) -> StoreError {
    StoreError::Designation(reason.into())
}

fn path(text: &str, expand: bool) -> Result<Option<PathBuf>, StoreError> {
    match text {
        "" => Err(wrong("it has no path")),
        ":memory:" => Ok(None),
        _ if expand => Ok(Some(expand_home(text)?)),
        _ => Ok(Some(PathBuf::from(text))),
    }
}

/// `~` and `~user` (spec storage.md 2).
fn expand_home(text: &str) -> Result<PathBuf, StoreError> {
    let Some(rest) = text.strip_prefix('~') else {
        return Ok(PathBuf::from(text));
    };
    let (user, rest) = rest.split_once('/').unwrap_or((rest, ""));
    let home = if user.is_empty() {
        std::env::var_os("HOME").filter(|home: &OsString| !home.is_empty())
    } else {
        User::from_name(user)
            .map_err(|error| wrong(format!("home of {user}: {error}")))?
            .map(|user| user.dir.into_os_string())
    };
    match home {
        Some(home) => Ok(Path::new(&home).join(rest)),
        None => Err(wrong(format!("no home directory for ~{user}"))),
    }
}

fn pragmas(query: &str) -> Result<Vec<(&'static str, String)>, StoreError> {
    let mut found: Vec<(&'static str, String)> = Vec::new();
    for item in query.split('&').filter(|item| !item.is_empty()) {
        let (name, value) = item.split_once('=').unwrap_or((item, ""));
        if name == "cksumvfs" && value == "0" {
            continue;
        }
        if name == "cksumvfs" && value == "1" {
            let text = "the checksum VFS extension of SQLite (cksumvfs=1) is not supported";
            return Err(StoreError::Unsupported(text.to_owned()));
        }
        let Some(name) = PRAGMAS.into_iter().find(|known| *known == name) else {
            return Err(wrong(format!("unsupported pragma {name:?}")));
        };
        if found.iter().any(|(before, _)| *before == name) {
            return Err(wrong(format!("pragma {name:?} is given twice")));
        }
        let value = value.to_owned();
        let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if value.is_empty() || !value.bytes().all(word) {
            return Err(wrong(format!("{value:?} is no value for pragma {name:?}")));
        }
        found.push((name, value));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> (Option<String>, Vec<(&'static str, String)>) {
        let parsed = Designation::parse(text).unwrap();
        let path = parsed.path.map(|path| path.to_string_lossy().into_owned());
        (path, parsed.pragmas)
    }

    #[test]
    fn paths() {
        assert_eq!(parse("a/b.sqlite").0.as_deref(), Some("a/b.sqlite"));
        assert_eq!(parse("a?cache_size=1").0.as_deref(), Some("a?cache_size=1"));
        assert_eq!(parse(":memory:").0, None);
        let home = std::env::var("HOME").unwrap();
        assert_eq!(parse("~/x").0, Some(format!("{home}/x")));
        let root = User::from_name("root").unwrap().unwrap();
        assert_eq!(parse("~root/x").0, Some(format!("{}/x", root.dir.display())));
        assert!(Designation::parse("~nobody-has-this-name/x").is_err());
        assert!(Designation::parse("").is_err());
    }

    #[test]
    fn uris() {
        assert_eq!(parse("file:a%20b").0.as_deref(), Some("a%20b"));
        assert_eq!(parse("file:///a/b").0.as_deref(), Some("/a/b"));
        assert_eq!(parse("file://host/a#x").0.as_deref(), Some("/a"));
        assert_eq!(parse("file::memory:").0, None);
        assert_eq!(parse("file:~/a").0.as_deref(), Some("~/a"));
        assert!(Designation::parse("file:").is_err());
        assert!(Designation::parse("file://host").is_err());
    }

    #[test]
    fn pragmas_keep_their_order() {
        let (_, pragmas) = parse("file:a?synchronous=OFF&cache_size=-9&cksumvfs=0");
        let expected = [("synchronous", "OFF".to_owned()), ("cache_size", "-9".to_owned())];
        assert_eq!(pragmas, expected);
        for wrong in [
            "file:a?page_size=1",
            "file:a?synchronous=1&synchronous=2",
            "file:a?synchronous=1;drop",
            "file:a?synchronous",
            "file:a?cksumvfs=1",
            "file:a?cksumvfs=2",
        ] {
            assert!(Designation::parse(wrong).is_err(), "{wrong}");
        }
    }
}
