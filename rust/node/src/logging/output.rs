//! The file behind a log: opened when needed, and replaced when it is damaged.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::{fmt, fs, io};

use tracing::warn;

use super::backlog::Entry;
use super::database::{LogDatabase, Name, is_damage, is_locked};

/// How many damaged files are kept of one log: a disk that breaks all of them is not to be filled.
const MAX_ASIDE: u32 = 9;

/// Files that SQLite may have left beside a database, and would mistake for those of a new one.
const COMPANIONS: [&str; 3] = ["-journal", "-wal", "-shm"];

/// Why nothing is written.
pub(super) enum Trouble {
    /// A database with a table that is none of ours.
    Foreign(String),
    /// It is damaged, and cannot be kept aside.
    Stuck(rusqlite::Error, io::Error),
    Sqlite(rusqlite::Error),
}

impl From<rusqlite::Error> for Trouble {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Foreign(table) => {
                write!(f, "it is a database with a table '{table}', not a log of NEO")
            }
            Self::Stuck(error, cause) => write!(f, "{error}; it cannot be kept aside: {cause}"),
            Self::Sqlite(error) => error.fmt(f),
        }
    }
}

impl Trouble {
    /// Whether somebody else holds the file for a moment.
    pub fn is_locked(&self) -> bool {
        matches!(self, Self::Sqlite(error) if is_locked(error))
    }
}

/// Where a log goes.
pub(super) struct Output {
    path: PathBuf,
    /// Nothing waits (spec tools.md 11.2: neoctl).
    at_once: bool,
    database: Option<LogDatabase>,
    failing: bool,
    name: fn(u32) -> Name,
}

impl Output {
    /// A file that is not opened yet.
    pub fn new(path: &Path, at_once: bool, name: fn(u32) -> Name) -> Self {
        Self { path: path.to_owned(), at_once, database: None, failing: false, name }
    }

    /// Whether what is written has been refused since some time.
    pub fn is_failing(&self) -> bool {
        self.failing
    }

    /// Opens it for the first time. A disk that refuses is warned about, and tried again.
    ///
    /// Returns what to say of a damaged file that was replaced.
    ///
    /// # Errors
    /// It is the database of another program: it must not be moved, because the path is wrong.
    pub fn open(&mut self) -> Result<Option<String>, Trouble> {
        let mut replaced = None;
        match self.try_write([], &mut replaced) {
            Ok(()) => {}
            Err(error @ Trouble::Foreign(_)) => return Err(error),
            Err(error) if error.is_locked() => {}
            Err(error) => self.failed(&error),
        }
        Ok(replaced)
    }

    /// Closes the file and opens the one of this name.
    pub fn reopen(&mut self) {
        if let Some(database) = self.database.take() {
            database.close();
        }
        if let Err(error) = self.write([]) {
            self.failed(&error);
        }
    }

    /// Writes entries in one transaction.
    ///
    /// # Errors
    /// Nothing is written.
    pub fn write<'a, I>(&mut self, entries: I) -> Result<(), Trouble>
    where
        I: IntoIterator<Item = &'a Entry> + Clone,
    {
        let mut replaced = None;
        let result = self.try_write(entries, &mut replaced);
        if let Some(replaced) = replaced {
            warn!("{replaced}");
        }
        result
    }

    /// One warning, until it works again.
    pub fn failed(&mut self, error: &Trouble) {
        self.database = None;
        if !std::mem::replace(&mut self.failing, true) {
            let path = self.path.display();
            warn!("cannot write to log file {path}: {error}: trying again, older records are lost");
        }
    }

    fn try_write<'a, I>(&mut self, entries: I, replaced: &mut Option<String>) -> Result<(), Trouble>
    where
        I: IntoIterator<Item = &'a Entry> + Clone,
    {
        let mut result = self.attempt(entries.clone());
        if matches!(&result, Err(Trouble::Sqlite(error)) if is_damage(error)) {
            // What is there now may be good: another process that logs to it may have replaced it.
            self.database = None;
            result = self.attempt(entries.clone());
        }
        result = match result {
            Err(Trouble::Sqlite(error)) if is_damage(&error) => {
                self.database = None;
                match set_aside(&self.path) {
                    Ok(aside) => {
                        let [path, aside] = [&self.path, &aside].map(|x| x.display());
                        *replaced = Some(format!(
                            "log file {path} is damaged ({error}): it is kept as {aside}, and a \
                             new one is begun"
                        ));
                        self.attempt(entries)
                    }
                    Err(cause) => Err(Trouble::Stuck(error, cause)),
                }
            }
            other => other,
        };
        if result.is_ok() {
            self.failing = false;
        }
        result
    }

    fn attempt<'a>(&mut self, entries: impl IntoIterator<Item = &'a Entry>) -> Result<(), Trouble> {
        let database = match &mut self.database {
            Some(database) => database,
            closed => {
                let database = LogDatabase::open(&self.path, self.at_once)?;
                if let Some(table) = database.stranger()? {
                    return Err(Trouble::Foreign(table));
                }
                closed.insert(database)
            }
        };
        Ok(database.write(entries, self.name)?)
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}

/// Gives a damaged file another name, and returns it.
fn set_aside(path: &Path) -> io::Result<PathBuf> {
    let names = (1..=MAX_ASIDE).map(|number| match number {
        1 => with_suffix(path, ".damaged"),
        _ => with_suffix(path, &format!(".damaged.{number}")),
    });
    let is_free = |name: &PathBuf| name.symlink_metadata().is_err();
    let aside = names.into_iter().find(is_free).ok_or_else(|| {
        io::Error::other(format!("{MAX_ASIDE} damaged ones are there already: move them away"))
    })?;
    fs::rename(path, &aside)?;
    for companion in COMPANIONS {
        match fs::rename(with_suffix(path, companion), with_suffix(&aside, companion)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(aside)
}

#[cfg(test)]
mod tests;
