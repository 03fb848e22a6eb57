//! Where the last record of each object is, in bounded memory: pages of consecutive OIDs, of which
//! those that were not used for long wait in a temporary file.

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use neo_wire::Oid;

/// Positions in a page: 4 KiB.
const PAGE: usize = 512;
/// Pages in memory.
const RESIDENT: usize = 16_384;

#[derive(Debug)]
struct Page {
    positions: Box<[u64; PAGE]>,
    changed: bool,
    /// It was used since it was looked at for eviction.
    used: bool,
}

/// See the module.
#[derive(Debug)]
pub struct Index {
    /// By the high bits of OIDs, the place in the file.
    places: HashMap<u64, u64>,
    pages: HashMap<u64, Page>,
    /// Of the pages in memory, the next one to evict first.
    queue: VecDeque<u64>,
    resident: usize,
    file: File,
}

impl Index {
    /// Empty, with its file in this folder, where nobody sees it.
    ///
    /// # Errors
    /// The file can not be made.
    pub fn new(folder: &Path) -> io::Result<Self> {
        Self::with_resident(folder, RESIDENT)
    }

    fn with_resident(folder: &Path, resident: usize) -> io::Result<Self> {
        Ok(Self {
            places: HashMap::new(),
            pages: HashMap::new(),
            queue: VecDeque::new(),
            resident,
            file: tempfile::tempfile_in(folder)?,
        })
    }

    /// The position of an object; 0 if it has none.
    pub fn get(&mut self, oid: Oid) -> io::Result<u64> {
        let (number, slot) = split(oid);
        if !self.pages.contains_key(&number) && !self.places.contains_key(&number) {
            return Ok(0);
        }
        let page = self.page(number)?;
        Ok(page.positions.get(slot).copied().unwrap_or(0))
    }

    /// Changes it.
    pub fn set(&mut self, oid: Oid, position: u64) -> io::Result<()> {
        let (number, slot) = split(oid);
        let page = self.page(number)?;
        if let Some(place) = page.positions.get_mut(slot) {
            *place = position;
            page.changed = true;
        }
        Ok(())
    }

    fn page(&mut self, number: u64) -> io::Result<&mut Page> {
        if !self.pages.contains_key(&number) {
            self.make_room()?;
            let positions = self.read(number)?;
            self.queue.push_back(number);
            self.pages.insert(number, Page { positions, changed: false, used: false });
        }
        let page = self.pages.get_mut(&number);
        let page = page.ok_or_else(|| io::Error::other("a page of the index is lost"))?;
        page.used = true;
        Ok(page)
    }

    fn make_room(&mut self) -> io::Result<()> {
        while self.pages.len() >= self.resident {
            let Some(number) = self.queue.pop_front() else {
                return Ok(());
            };
            let Some(mut page) = self.pages.remove(&number) else {
                continue;
            };
            if std::mem::take(&mut page.used) {
                self.queue.push_back(number);
                self.pages.insert(number, page);
            } else if page.changed {
                self.write(number, &page)?;
            }
        }
        Ok(())
    }

    fn read(&self, number: u64) -> io::Result<Box<[u64; PAGE]>> {
        let mut positions = Box::new([0; PAGE]);
        if let Some(place) = self.places.get(&number) {
            let mut bytes = [0; PAGE * 8];
            let position = place * bytes.len() as u64;
            self.file.read_exact_at(&mut bytes, position)?;
            let (numbers, _) = bytes.as_chunks::<8>();
            for (position, number) in positions.iter_mut().zip(numbers) {
                *position = u64::from_le_bytes(*number);
            }
        }
        Ok(positions)
    }

    fn write(&mut self, number: u64, page: &Page) -> io::Result<()> {
        let next = self.places.len() as u64;
        let place = *self.places.entry(number).or_insert(next);
        let mut bytes = [0; PAGE * 8];
        let (numbers, _) = bytes.as_chunks_mut::<8>();
        for (number, position) in numbers.iter_mut().zip(page.positions.iter()) {
            *number = position.to_le_bytes();
        }
        self.file.write_all_at(&bytes, place * bytes.len() as u64)
    }
}

const fn split(oid: Oid) -> (u64, usize) {
    (oid.0 / PAGE as u64, (oid.0 % PAGE as u64) as usize)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_a_map_whatever_is_in_memory(
            writes in prop::collection::vec(
                (prop_oneof![0u64..5000, any::<u64>()], 1u64..), 1..200,
            ),
        ) {
            let mut index = Index::with_resident(&std::env::temp_dir(), 2).unwrap();
            let mut model = HashMap::new();
            for (oid, position) in writes {
                prop_assert_eq!(index.get(Oid(oid)).unwrap(), *model.get(&oid).unwrap_or(&0));
                index.set(Oid(oid), position).unwrap();
                model.insert(oid, position);
            }
            for (oid, position) in model {
                prop_assert_eq!(index.get(Oid(oid)).unwrap(), position);
            }
        }
    }
}
