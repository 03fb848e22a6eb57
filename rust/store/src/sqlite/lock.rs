//! The lock against a second process (spec storage.md 5.5).

use std::fs::{File, OpenOptions, TryLockError};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::{Failure, StoreError};

/// Offset, in the header of a database, of the number of reserved bytes per page.
const RESERVED_OFFSET: usize = 20;
/// What the checksum VFS reserves.
const CHECKSUM_BYTES: u8 = 8;

/// Kept as long as any connection to the database: a file that is closed takes with it the locks
/// that SQLite has on the same file in this process.
#[derive(Debug)]
pub struct ProcessLock {
    /// The Python NEO excludes itself and us by this name. Dropped before the file: it tells the
    /// inode, that the file system gives to the next new file as soon as a file that was removed
    /// is closed.
    #[cfg(target_os = "linux")]
    _name: std::os::unix::net::UnixListener,
    /// In addition to what the Python NEO does, for it works across containers.
    _file: File,
}

impl ProcessLock {
    /// Creates the file if needed, and locks it. Nothing is written to it.
    ///
    /// # Errors
    /// [`StoreError::Locked`], or why the file can not be used.
    pub fn take(path: &Path) -> Result<Self, StoreError> {
        let failed = |error: std::io::Error| StoreError::Failed {
            what: "opening the database",
            failure: Failure::Io(format!("{}: {error}", path.display())),
        };
        let is_new = !path.exists();
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(StoreError::Locked),
            // Some filesystems can not: the name remains.
            Err(TryLockError::Error(error)) => {
                tracing::warn!(%error, path = %path.display(), "no lock on the database file");
            }
        }
        #[cfg(target_os = "linux")]
        let name = bind_name(&file).map_err(|error| {
            if error.kind() == std::io::ErrorKind::AddrInUse {
                StoreError::Locked
            } else {
                failed(error)
            }
        })?;
        if is_new {
            sync_directory(path).map_err(failed)?;
        }
        refuse_checksums(&mut file, path).map_err(failed)??;
        Ok(Self {
            #[cfg(target_os = "linux")]
            _name: name,
            _file: file,
        })
    }
}

#[cfg(target_os = "linux")]
fn bind_name(file: &File) -> std::io::Result<std::os::unix::net::UnixListener> {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::{SocketAddr, UnixListener};
    let metadata = file.metadata()?;
    let name = format!("neostorage:{}:{}", metadata.dev(), metadata.ino());
    UnixListener::bind_addr(&SocketAddr::from_abstract_name(name)?)
}

fn sync_directory(path: &Path) -> std::io::Result<()> {
    let directory = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    File::open(directory)?.sync_all()
}

/// Without its VFS, checksums would become wrong (spec storage.md 5.1).
fn refuse_checksums(file: &mut File, path: &Path) -> std::io::Result<Result<(), StoreError>> {
    let mut header = Vec::new();
    file.take(RESERVED_OFFSET as u64 + 1).read_to_end(&mut header)?;
    Ok(match header.get(RESERVED_OFFSET) {
        Some(&CHECKSUM_BYTES) if header.starts_with(b"SQLite format 3\0") => {
            Err(StoreError::Unsupported(format!(
                "{} has page checksums (cksumvfs), which are not supported",
                path.display()
            )))
        }
        _ => Ok(()),
    })
}
