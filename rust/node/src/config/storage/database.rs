//! Syntax of `--database` (spec storage.md 5.1, 6.1).

use std::fmt;
use std::path::PathBuf;

use crate::config::value::expand_user;

/// Where a storage keeps its data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Database {
    /// A database of a local MySQL or MariaDB server.
    Mysql(MysqlDatabase),
    /// An SQLite file.
    Sqlite(SqliteDatabase),
    /// Another ZODB that is served and copied: path of the Importer file.
    Importer(PathBuf),
}

/// Engine of the tables to create in MySQL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Engine {
    /// The default one.
    #[default]
    InnoDb,
    /// Log-structured.
    RocksDb,
}

impl Engine {
    /// Parses its exact name.
    ///
    /// # Errors
    /// A reason.
    pub fn parse(name: &str) -> Result<Self, String> {
        match name {
            "InnoDB" => Ok(Self::InnoDb),
            "RocksDB" => Ok(Self::RocksDb),
            _ => Err(format!("Unsupported engine: {name} (choose from InnoDB, RocksDB)")),
        }
    }
}

/// A database of a local server.
#[derive(Clone, PartialEq, Eq)]
pub struct MysqlDatabase {
    /// Who connects, by default the user of the process.
    pub user: Option<String>,
    /// Their password.
    pub password: Option<String>,
    /// Name of the database.
    pub name: String,
    /// Socket of the server, by default the usual one.
    pub socket: Option<PathBuf>,
    /// Engine of the tables to create.
    pub engine: Engine,
}

impl fmt::Debug for MysqlDatabase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MysqlDatabase")
            .field("user", &self.user)
            .field("password", &self.password.as_ref().map(|_| "***"))
            .field("name", &self.name)
            .field("socket", &self.socket)
            .field("engine", &self.engine)
            .finish()
    }
}

const SOCKET_STARTS: [char; 3] = ['~', '.', '/'];

impl MysqlDatabase {
    /// Parses `[user[:password]@]database[socket]`. The password goes up to the last `@` that a
    /// database can follow.
    ///
    /// # Errors
    /// A reason, that does not repeat the password.
    pub fn parse(text: &str) -> Result<Self, String> {
        let named = |text: &str| !text.is_empty() && !text.starts_with(SOCKET_STARTS);
        let splits = text.rmatch_indices('@').map(|(at, _)| (&text[..at], &text[at + 1..]));
        let with_user = splits
            .filter(|(login, _)| !login.is_empty() && !login.starts_with(':'))
            .find(|(_, database)| named(database));
        let (login, database) = match with_user {
            Some((login, database)) => (Some(login), database),
            None => (None, text),
        };
        if !named(database) || (login.is_none() && database.contains('@')) {
            return Err("no name of MySQL database: write [user[:password]@]database[socket] \
                        (or choose another backend by -a/--adapter)"
                .to_owned());
        }
        let end = database.find(SOCKET_STARTS).unwrap_or(database.len());
        let (name, socket) = database.split_at(end);
        let (user, password) = match login.map(|login| (login, login.split_once(':'))) {
            None => (None, None),
            Some((_, Some((user, password)))) => (Some(user), Some(password)),
            Some((user, None)) => (Some(user), None),
        };
        Ok(Self {
            user: user.map(Into::into),
            password: password.map(Into::into),
            name: name.into(),
            socket: (!socket.is_empty()).then(|| expand_user(socket.as_ref())),
            engine: Engine::default(),
        })
    }
}

/// An SQLite file and how to open it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqliteDatabase {
    /// As it was given.
    pub text: String,
    /// The file. None: in memory, for tests.
    pub path: Option<PathBuf>,
    /// `cache_size`, `journal_mode`, `synchronous`, in the order given, each once; the values
    /// are words or integers.
    pub pragmas: Vec<(String, String)>,
    /// Whether pages have checksums.
    pub cksumvfs: bool,
}

impl SqliteDatabase {
    /// Parses a path or a URI that starts with `file:`.
    ///
    /// # Errors
    /// A reason.
    pub fn parse(text: &str) -> Result<Self, String> {
        let Some(uri) = text.strip_prefix("file:") else {
            let path = (text != ":memory:").then(|| expand_user(text.as_ref()));
            return Ok(Self { text: text.into(), path, pragmas: Vec::new(), cksumvfs: false });
        };
        let uri = uri.split_once('#').map_or(uri, |(uri, _fragment)| uri);
        let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
        let path = match path.strip_prefix("//") {
            Some(authority) => authority.find('/').map_or("", |slash| &authority[slash..]),
            None => path,
        };
        if path.is_empty() {
            return Err(format!("no path in URI of SQLite database '{text}'"));
        }
        let path = (path != ":memory:").then(|| path.into());
        let mut database = Self { text: text.into(), path, pragmas: Vec::new(), cksumvfs: false };
        let mut seen = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            if seen.contains(&name) {
                return Err(format!("duplicate pragma: {name}"));
            }
            seen.push(name);
            database.set(name, value)?;
        }
        Ok(database)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        let wrong = || format!("bad value for pragma {name}: '{value}'");
        match name {
            "cksumvfs" => match value {
                "0" => self.cksumvfs = false,
                "1" => self.cksumvfs = true,
                _ => return Err(wrong()),
            },
            "cache_size" | "journal_mode" | "synchronous" => {
                let word = value.strip_prefix('-').unwrap_or(value);
                if word.is_empty() || !word.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
                    return Err(wrong());
                }
                self.pragmas.push((name.to_owned(), value.to_owned()));
            }
            _ => return Err(format!("unsupported pragma: {name}")),
        }
        Ok(())
    }
}
