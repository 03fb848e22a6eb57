//! Where bytes are read from.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Bytes that can be read anywhere.
pub trait Source {
    /// Fills the buffer from a position.
    ///
    /// # Errors
    /// Those of the system; `UnexpectedEof` if there are not enough bytes.
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<()>;

    /// How many bytes there are.
    ///
    /// # Errors
    /// Those of the system.
    fn length(&self) -> io::Result<u64>;
}

impl Source for File {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<()> {
        self.read_exact_at(buffer, position)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }
}

impl Source for &File {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<()> {
        self.read_exact_at(buffer, position)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }
}

impl Source for &[u8] {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<()> {
        let found = usize::try_from(position).ok().and_then(|start| {
            let end = start.checked_add(buffer.len())?;
            self.get(start..end)
        });
        buffer.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.len() as u64)
    }
}
