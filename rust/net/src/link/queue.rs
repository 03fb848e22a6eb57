//! Bytes that wait for the socket.

use std::collections::VecDeque;
use std::io::{self, IoSlice, Write};

use bytes::{Buf, BytesMut};

/// What is appended goes to the last chunk until it has this size, in bytes: a long queue is never
/// moved in memory, and what has left is freed.
const CHUNK: usize = 64 * 1024;
/// How many chunks one call of the system writes at most.
pub const SLICES: usize = 16;

/// Bytes in the order they are to be sent.
#[derive(Debug, Default)]
pub struct Queue {
    chunks: VecDeque<BytesMut>,
    len: usize,
}

impl Queue {
    /// How many bytes wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Lets `write` append to the end. It must not remove anything.
    pub fn append(&mut self, write: impl FnOnce(&mut BytesMut)) {
        if self.chunks.back().is_none_or(|chunk| chunk.len() >= CHUNK) {
            self.chunks.push_back(BytesMut::new());
        }
        if let Some(chunk) = self.chunks.back_mut() {
            let before = chunk.len();
            write(chunk);
            self.len += chunk.len() - before;
        }
    }

    /// What to write first, and how many of the slices are used.
    #[must_use]
    pub fn slices(&self) -> ([IoSlice<'_>; SLICES], usize) {
        let mut slices = [IoSlice::new(&[]); SLICES];
        let mut used = 0;
        for (slice, chunk) in slices.iter_mut().zip(&self.chunks) {
            *slice = IoSlice::new(chunk);
            used += 1;
        }
        (slices, used)
    }

    /// Forgets the first bytes: they have left.
    pub fn written(&mut self, mut count: usize) {
        count = count.min(self.len);
        self.len -= count;
        while let Some(chunk) = self.chunks.front_mut() {
            let part = count.min(chunk.len());
            chunk.advance(part);
            count -= part;
            if !chunk.is_empty() {
                return;
            }
            // The last small one serves again: nothing is allocated per message.
            if self.chunks.len() == 1 && self.chunks[0].capacity() <= 2 * CHUNK {
                return;
            }
            self.chunks.pop_front();
        }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        *self = Self::default();
    }
}

impl Write for Queue {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.append(|chunk| chunk.extend_from_slice(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(queue: &Queue) -> Vec<u8> {
        queue.chunks.iter().flatten().copied().collect()
    }

    #[test]
    fn bytes_leave_in_the_order_they_came_whatever_is_accepted_at_once() {
        let sent: Vec<u8> = (0..500_000_u32).map(|n| (n % 251) as u8).collect();
        let mut queue = Queue::default();
        for part in sent.chunks(7_001) {
            queue.write_all(part).unwrap();
        }
        assert_eq!(queue.len(), sent.len());
        assert_eq!(content(&queue), sent);
        let mut received = Vec::new();
        for accepted in [1, 65_536, 3, 200_000].into_iter().cycle() {
            if queue.is_empty() {
                break;
            }
            let (slices, used) = queue.slices();
            let offered: Vec<u8> = slices[..used].iter().flat_map(|s| s.iter()).copied().collect();
            let accepted = accepted.min(offered.len());
            received.extend_from_slice(&offered[..accepted]);
            queue.written(accepted);
        }
        assert_eq!(received, sent);
        assert_eq!(queue.len(), 0);
    }

    #[test]
    fn an_empty_queue_takes_more() {
        let mut queue = Queue::default();
        for _ in 0..3 {
            queue.write_all(b"abc").unwrap();
            queue.written(3);
            assert!(queue.is_empty());
            assert_eq!(content(&queue), b"");
        }
        assert!(queue.chunks.len() <= 1);
    }
}
