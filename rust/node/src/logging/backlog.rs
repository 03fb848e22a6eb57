//! What waits in memory for a reason to be written (spec tools.md 11.2).

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::{Bytes, BytesMut};
use neo_net::packets::Passage;
use neo_wire::encode_body;

/// Bytes of memory for records that wait.
pub(super) const LIMIT: usize = 16 << 20;
/// The body of a packet that is longer is not kept: one would push out all the history.
const LONGEST_BODY: usize = LIMIT / 16;
/// Bodies are allocated together.
const CHUNK: usize = 64 << 10;

/// A record or a packet.
#[derive(Debug)]
pub(super) struct Entry {
    /// Seconds since 1970.
    pub date: f64,
    /// Number of the node: see [`super::nodes`].
    pub node: Option<u32>,
    pub content: Content,
}

#[derive(Debug)]
pub(super) enum Content {
    Record { level: u8, path: &'static str, line: u32, text: Box<str> },
    Packet { msg_id: u32, code: u16, sent: bool, peer: Arc<str>, body: Option<Bytes> },
}

impl Entry {
    /// What it takes in memory.
    fn size(&self) -> usize {
        let content = match &self.content {
            Content::Record { text, .. } => text.len(),
            Content::Packet { body, .. } => body.as_ref().map_or(0, Bytes::len),
        };
        size_of::<Self>() + content
    }
}

/// Now, in seconds since 1970.
pub(super) fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// The oldest leave when there are too many.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    entries: VecDeque<Entry>,
    size: usize,
    chunk: BytesMut,
}

impl Backlog {
    /// Adds a record or a packet.
    pub fn push(&mut self, entry: Entry) {
        self.size += entry.size();
        self.entries.push_back(entry);
        while self.size > LIMIT
            && let Some(oldest) = self.entries.pop_front()
        {
            self.size -= oldest.size();
        }
    }

    /// Adds a packet. Its arguments are copied: what was received together must not stay in memory
    /// for one of them.
    pub fn push_packet(&mut self, passage: &Passage<'_>) {
        if self.chunk.capacity() == 0 {
            self.chunk.reserve(CHUNK);
        }
        encode_body(passage.packet, &mut self.chunk);
        let body = self.chunk.split().freeze();
        self.push(Entry {
            date: now(),
            node: Some(passage.node),
            content: Content::Packet {
                msg_id: passage.msg_id.unwrap_or(0),
                code: passage.packet.code(),
                sent: passage.sent,
                peer: passage.peer.clone(),
                body: (body.len() <= LONGEST_BODY).then_some(body),
            },
        });
    }

    /// Takes everything.
    pub fn take(&mut self) -> VecDeque<Entry> {
        self.size = 0;
        std::mem::take(&mut self.entries)
    }

    /// Takes back what could not be written, as far as there is room for it.
    pub fn restore(&mut self, mut entries: VecDeque<Entry>) {
        while let Some(entry) = entries.pop_back() {
            self.size += entry.size();
            if self.size > LIMIT {
                self.size -= entry.size();
                return;
            }
            self.entries.push_front(entry);
        }
    }
}

#[cfg(test)]
mod tests {
    use neo_wire::{Digest, Oid, Packet, Tid};

    use super::*;

    fn record(text: &str) -> Entry {
        let content = Content::Record { level: 10, path: "", line: 0, text: text.into() };
        Entry { date: 0., node: None, content }
    }

    fn texts(entries: &VecDeque<Entry>) -> Vec<usize> {
        entries.iter().map(|entry| entry.size() - size_of::<Entry>()).collect()
    }

    #[test]
    fn the_oldest_leave_when_there_are_too_many() {
        let mut backlog = Backlog::default();
        let text = "x".repeat(1 << 20);
        for length in 0..40 {
            backlog.push(record(&text[..(1 << 20) - length]));
        }
        let kept = backlog.take();
        assert_eq!(kept.len(), 15);
        assert_eq!(texts(&kept).first(), Some(&((1 << 20) - 25)));
        assert!(backlog.take().is_empty());
    }

    #[test]
    fn what_could_not_be_written_comes_before_what_is_newer() {
        let mut backlog = Backlog::default();
        backlog.push(record("a"));
        backlog.push(record("bb"));
        let failed = backlog.take();
        backlog.push(record("ccc"));
        backlog.restore(failed);
        assert_eq!(texts(&backlog.take()), [1, 2, 3]);
    }

    #[test]
    fn data_of_packets_does_not_exceed_the_limit() {
        let mut backlog = Backlog::default();
        let peer: Arc<str> = "S1 (host:1)".into();
        for size in [100_000, 2 << 20].into_iter().cycle().take(400) {
            let packet = Packet::AddObject {
                oid: Oid(1),
                serial: Tid(2),
                compression: 0,
                checksum: Digest([0; 20]),
                data: vec![7; size].into(),
                data_serial: None,
            };
            let passage =
                Passage { node: 0, peer: &peer, sent: true, msg_id: None, packet: &packet };
            backlog.push_packet(&passage);
        }
        assert!(backlog.size <= LIMIT);
        let bodies: Vec<_> = backlog.take().into_iter().map(|entry| entry.content).collect();
        assert!(bodies.len() > 250);
        let is_dropped = |content: &Content| matches!(content, Content::Packet { body: None, .. });
        let dropped = bodies.iter().filter(|x| is_dropped(x)).count();
        assert!(dropped.abs_diff(bodies.len() - dropped) <= 1);
    }
}
