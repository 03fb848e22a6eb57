//! The dynamic list of masters (spec tools.md 4.1): a JSON array of `[host, port]` pairs.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use neo_wire::Address;
use serde_json::{Value, json};
use tracing::error;

use crate::RunError;

/// The file, if there is one.
#[derive(Debug)]
pub(super) struct MasterList(Option<PathBuf>);

impl MasterList {
    /// Reads the masters of the file; makes it if it does not exist, so that a problem of
    /// permission is seen at once.
    pub(super) fn open(path: Option<&Path>) -> Result<(Self, Vec<Address>), RunError> {
        let list = Self(path.map(Path::to_owned));
        let Some(path) = path else { return Ok((list, Vec::new())) };
        let refuse = |reason: String| {
            RunError::Failed(format!("dynamic list of masters {}: {reason}", path.display()))
        };
        let masters = match fs::read_to_string(path) {
            Ok(text) => parse(&text).map_err(refuse)?,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                write(path, &[]).map_err(|error| refuse(error.to_string()))?;
                Vec::new()
            }
            Err(error) => return Err(refuse(error.to_string())),
        };
        Ok((list, masters))
    }

    /// Writes the masters known now. A failure is only logged: nodes know them.
    pub(super) fn save(&self, masters: &[Address]) {
        if let Some(path) = &self.0
            && let Err(error) = write(path, masters)
        {
            error!("dynamic list of masters {}: {error}", path.display());
        }
    }
}

fn parse(text: &str) -> Result<Vec<Address>, String> {
    let expected = "an array of [host, port] pairs is expected";
    let value: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let pair = |pair: &Value| {
        let [host, port] = pair.as_array()?.as_slice() else { return None };
        let port = u16::try_from(port.as_u64()?).ok()?;
        Some(Address { host: host.as_str()?.into(), port })
    };
    let pairs = value.as_array().ok_or(expected)?;
    pairs.iter().map(pair).collect::<Option<_>>().ok_or_else(|| expected.into())
}

fn write(path: &Path, masters: &[Address]) -> std::io::Result<()> {
    let pairs: Vec<Value> =
        masters.iter().map(|master| json!([master.host.to_string(), master.port])).collect();
    let mut temporary = path.as_os_str().to_owned();
    temporary.push("#neo#");
    fs::write(&temporary, Value::from(pairs).to_string())?;
    fs::rename(temporary, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(host: &str, port: u16) -> Address {
        Address { host: host.into(), port }
    }

    #[test]
    fn pairs_are_read_and_anything_else_is_refused() {
        let masters = [address("127.0.0.1", 10_000), address("::1", 5)];
        assert_eq!(parse(r#"[["127.0.0.1", 10000], ["::1", 5]]"#).unwrap(), masters);
        assert_eq!(parse("[]").unwrap(), []);
        for wrong in ["", "{}", "[1]", r#"[["a"]]"#, r#"[["a", 70000]]"#, r#"[[1, 2]]"#] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_missing_file_is_made_and_then_written_again() {
        let name = format!("neo-master-list-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir(&folder).unwrap();
        let path = folder.join("masters.json");
        let (list, masters) = MasterList::open(Some(&path)).unwrap();
        assert!(masters.is_empty());
        assert_eq!(fs::read_to_string(&path).unwrap(), "[]");
        let masters = [address("127.0.0.1", 1)];
        list.save(&masters);
        assert_eq!(MasterList::open(Some(&path)).unwrap().1, masters);
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1, "no temporary file is left");
        let nowhere = folder.join("missing").join("masters.json");
        assert!(MasterList::open(Some(&nowhere)).is_err());
        fs::remove_dir_all(&folder).unwrap();
    }
}
