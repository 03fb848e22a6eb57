//! Where files and logs go.

use std::fs::{self, DirBuilder};
use std::io::{self, ErrorKind};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::{env, process};

use crate::RunError;

/// An existing directory.
pub(super) struct Directory {
    path: PathBuf,
    remove: bool,
}

impl Directory {
    /// The directory that was asked, created if needed, or a new one. With `remove`, it is removed
    /// by [`Directory::close`].
    pub(super) fn open(asked: Option<&Path>, remove: bool) -> Result<Self, RunError> {
        let path = match asked {
            Some(path) => {
                fs::create_dir_all(path).map_err(|error| failed("create", path, &error))?;
                std::path::absolute(path).map_err(|error| failed("use", path, &error))?
            }
            None => create(&env::temp_dir())?,
        };
        Ok(Self { path, remove })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn close(self) -> Result<(), RunError> {
        if !self.remove {
            return Ok(());
        }
        fs::remove_dir_all(&self.path).map_err(|error| failed("remove", &self.path, &error))
    }
}

/// A new directory that nobody else can enter.
fn create(parent: &Path) -> Result<PathBuf, RunError> {
    for number in 0_u32.. {
        let path = parent.join(format!("neo_{}_{number}", process::id()));
        match DirBuilder::new().mode(0o700).create(&path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(failed("create", &path, &error)),
            Ok(()) => return Ok(path),
        }
    }
    Err(RunError::Failed(format!("no name is free in {}", parent.display())))
}

fn failed(what: &str, path: &Path, error: &io::Error) -> RunError {
    RunError::Failed(format!("cannot {what} directory {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_directories_are_private_and_distinct() {
        use std::os::unix::fs::PermissionsExt;

        let parent = Directory::open(None, true).unwrap();
        let first = create(parent.path()).unwrap();
        let second = create(parent.path()).unwrap();
        assert_ne!(first, second);
        assert_eq!(fs::metadata(first).unwrap().permissions().mode() & 0o777, 0o700);
        parent.close().unwrap();
        assert!(!second.exists());
    }

    #[test]
    fn what_was_asked_is_kept_unless_it_is_to_be_removed() {
        let parent = Directory::open(None, true).unwrap();
        let path = parent.path().join("a/b");
        Directory::open(Some(&path), false).unwrap().close().unwrap();
        assert!(path.is_dir());
        parent.close().unwrap();
        assert!(!path.exists());
    }
}
