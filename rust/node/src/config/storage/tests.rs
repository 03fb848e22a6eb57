use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use super::*;

fn load(args: &str) -> Result<StorageConfig, ConfigError> {
    let args: Vec<OsString> = args.split(' ').map(Into::into).collect();
    StorageConfig::load(&args)
}

fn mysql(text: &str) -> (Option<String>, Option<String>, String, Option<String>) {
    let MysqlDatabase { user, password, name, socket, .. } = MysqlDatabase::parse(text).unwrap();
    (user, password, name, socket.map(|path| path.display().to_string()))
}

#[test]
fn mysql_databases_are_split() {
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(mysql("neo"), (None, None, "neo".into(), None));
    assert_eq!(mysql("neo@neo1"), (some("neo"), None, "neo1".into(), None));
    assert_eq!(mysql("neo:s@c:ret@neo1"), (some("neo"), some("s@c:ret"), "neo1".into(), None));
    assert_eq!(mysql("neo:@neo1"), (some("neo"), some(""), "neo1".into(), None));
    assert_eq!(mysql("neo1./my.sock"), (None, None, "neo1".into(), some("./my.sock")));
    let socket = (some("u"), some("p/@"), "db".into(), some("/run/a@/b"));
    assert_eq!(mysql("u:p/@@db/run/a@/b"), socket);
    assert!(mysql("db~root/my.sock").3.unwrap().starts_with("/root"));
    for text in ["/run/my.sock", "~/db", "u:p@/run"] {
        assert!(!MysqlDatabase::parse(text).unwrap_err().contains("p@"), "{text}");
    }
}

#[test]
fn the_password_is_not_shown() {
    let database = MysqlDatabase::parse("neo:secret@neo1").unwrap();
    assert!(!format!("{database:?}").contains("secret"));
}

#[test]
fn sqlite_databases_are_paths_or_uris() {
    let parse = |text: &str| SqliteDatabase::parse(text).unwrap();
    assert_eq!(parse("a?b").path.unwrap(), Path::new("a?b"));
    assert_eq!(parse("~root/a").path.unwrap(), Path::new("/root/a"));
    assert_eq!(parse(":memory:").path, None);
    let uri = parse("file:~/a%20b?synchronous=OFF&cache_size=-2000&cksumvfs=1");
    assert_eq!(uri.path.unwrap(), Path::new("~/a%20b"));
    let pragmas = [("synchronous", "OFF"), ("cache_size", "-2000")];
    assert_eq!(uri.pragmas, pragmas.map(|(name, value)| (name.into(), value.into())));
    assert!(uri.cksumvfs);
    assert_eq!(parse("file://host/a#fragment").path.unwrap(), Path::new("/a"));
}

#[test]
fn sqlite_refuses_what_it_does_not_know() {
    let parse = |text: &str| SqliteDatabase::parse(text).unwrap_err();
    assert_eq!(parse("file:a?mmap_size=1"), "unsupported pragma: mmap_size");
    assert_eq!(parse("file:a?cache_size=1&cache_size=1"), "duplicate pragma: cache_size");
    assert!(parse("file:a?journal_mode=WAL;DROP").contains("bad value"));
    assert!(parse("file:?journal_mode=WAL").contains("no path"));
}

#[test]
fn the_adapter_says_what_the_database_is() {
    let storage = load("-c test -d neo -w -1 --reset").unwrap();
    assert!(matches!(storage.database, Database::Mysql(_)));
    assert_eq!((storage.wait, storage.reset, storage.new_nid), (Wait::ForEver, true, false));
    let storage = load("-c test -d neo -a PyMySQL -e RocksDB -w 1.5").unwrap();
    let Database::Mysql(mysql) = storage.database else { panic!("not MySQL") };
    assert_eq!(mysql.engine, Engine::RocksDb);
    assert_eq!(storage.wait, Wait::AtMost(Duration::from_millis(1500)));
    let storage = load("-c test -d neo -a Importer").unwrap();
    assert_eq!(storage.database, Database::Importer("neo".into()));
    assert_eq!(storage.node.bind.to_string(), "127.0.0.1:0");
}

#[test]
fn engines_are_of_mysql_only() {
    let error = load("-c test -d neo -a SQLite -e InnoDB").unwrap_err();
    assert!(
        matches!(&error, ConfigError::Invalid(reason) if reason.contains("Unsupported engine"))
    );
    let error = load("-c test -d neo -e innodb").unwrap_err();
    assert!(
        matches!(&error, ConfigError::Invalid(reason) if reason.contains("Unsupported engine"))
    );
}
