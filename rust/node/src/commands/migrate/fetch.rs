//! Asks for transactions and their records long before they are needed, and takes the answers in
//! order.

use std::collections::VecDeque;

use neo_client::application::Application;
use neo_client::{Error, Metadata, Started};
use neo_core::client::api::ClientError;
use neo_wire::{Oid, Packet, Tid};

use super::cluster::{Tids, never};
use super::unpack::{Piece, Stored};

/// Transactions whose metadata are asked ahead.
const AHEAD: usize = 256;
/// Records that are asked ahead, at most.
const RECORDS: usize = 256;
/// Bytes that are asked ahead, as far as the last records tell how big the next ones are.
const BYTES: usize = 8 << 20;
/// Bytes of what goes together from thread to thread, with what a record takes besides its data.
const BATCH: usize = 64 << 10;
const RECORD: usize = 100;
/// Bytes of a piece: a longer transaction has several.
const PIECE: usize = 1 << 20;

/// What failed in the cluster.
pub struct Failure(pub Error);

/// See the module.
pub struct Fetch<'a> {
    application: &'a Application,
    tids: Tids<'a>,
    /// Metadata that are asked.
    ahead: VecDeque<(Tid, Started)>,
    /// What is asked or known, in order.
    items: VecDeque<Item>,
    /// Records among them.
    asked: usize,
    /// Of a record, lately.
    mean_bytes: usize,
    /// The piece that is being made.
    piece: Option<Piece<Option<Stored>>>,
    piece_bytes: usize,
    batch: Vec<Piece<Option<Stored>>>,
    batch_bytes: usize,
    /// Where batches go; false when nobody wants them any more.
    put: Put<'a>,
    wanted: bool,
}

enum Item {
    Begin(Tid, Metadata, bool),
    Record(Oid, Started),
    End,
}

type Put<'a> = &'a dyn Fn(Vec<Piece<Option<Stored>>>) -> bool;

impl<'a> Fetch<'a> {
    /// Of these transactions.
    pub fn new(application: &'a Application, tids: Tids<'a>, put: Put<'a>) -> Self {
        Self {
            application,
            tids,
            ahead: VecDeque::new(),
            items: VecDeque::new(),
            asked: 0,
            mean_bytes: 1 << 10,
            piece: None,
            piece_bytes: 0,
            batch: Vec::new(),
            batch_bytes: 0,
            put,
            wanted: true,
        }
    }

    /// Gives everything to `put`, until it returns false.
    pub fn run(mut self) -> Result<(), Failure> {
        self.run_all().map_err(Failure)
    }

    fn run_all(&mut self) -> Result<(), Error> {
        while self.wanted {
            self.ask()?;
            if self.items.is_empty() {
                self.flush();
                return Ok(());
            }
            let enough = self.limit() / 2;
            while self.asked >= enough || self.ahead.is_empty() {
                let Some(item) = self.items.pop_front() else { break };
                self.take(item)?;
            }
        }
        Ok(())
    }

    fn flush(&mut self) {
        self.batch_bytes = 0;
        self.wanted &= (self.put)(std::mem::take(&mut self.batch));
    }

    fn limit(&self) -> usize {
        (BYTES / self.mean_bytes.max(1)).clamp(4, RECORDS)
    }

    /// Asks for what comes next, as far as there is room.
    fn ask(&mut self) -> Result<(), Error> {
        let limit = self.limit();
        while self.asked < limit && self.wanted {
            self.ask_ahead()?;
            let Some((tid, started)) = self.ahead.pop_front() else {
                return Ok(());
            };
            let answer = self.application.end_read(started, &never)?;
            let Packet::AnswerTransactionInformation {
                user,
                description,
                extension,
                packed,
                oids,
                ..
            } = answer
            else {
                return Err(unexpected(&answer));
            };
            let metadata = Metadata { user, description, extension };
            self.items.push_back(Item::Begin(tid, metadata, packed));
            let mut oids = &oids[..];
            while !oids.is_empty() {
                let room = limit.saturating_sub(self.asked).max(1).min(oids.len());
                let (now, later) = oids.split_at(room);
                self.ask_records(tid, now)?;
                oids = later;
                // A long transaction: its first records are taken before the last ones are asked.
                while !oids.is_empty() && self.asked > limit / 2 {
                    let Some(item) = self.items.pop_front() else { break };
                    self.take(item)?;
                }
            }
            self.items.push_back(Item::End);
        }
        Ok(())
    }

    fn ask_records(&mut self, tid: Tid, oids: &[Oid]) -> Result<(), Error> {
        let packet =
            |oid: &Oid| (oid.0, Packet::AskObject { oid: *oid, at: Some(tid), before: None });
        let started = self.application.start_reads(oids.iter().map(packet))?;
        self.asked += oids.len();
        let records = oids.iter().zip(started);
        self.items.extend(records.map(|(oid, started)| Item::Record(*oid, started)));
        Ok(())
    }

    fn ask_ahead(&mut self) -> Result<(), Error> {
        if self.ahead.len() > AHEAD / 2 {
            return Ok(());
        }
        let tids: Vec<Tid> =
            self.tids.by_ref().take(AHEAD - self.ahead.len()).collect::<Result<_, _>>()?;
        let packet = |tid: &Tid| (tid.0, Packet::AskTransactionInformation { tid: *tid });
        let started = self.application.start_reads(tids.iter().map(packet))?;
        self.ahead.extend(tids.into_iter().zip(started));
        Ok(())
    }

    /// Waits for what comes first.
    fn take(&mut self, item: Item) -> Result<(), Error> {
        match item {
            Item::Begin(tid, metadata, packed) => {
                self.piece = Some(piece(tid, Some((metadata, packed))));
            }
            Item::Record(oid, started) => {
                let stored = self.record(started)?;
                self.asked -= 1;
                let bytes = RECORD + stored.as_ref().map_or(0, |stored| stored.data.len());
                self.mean_bytes = (self.mean_bytes * 15 + bytes) / 16;
                self.piece_bytes += bytes;
                if let Some(piece) = &mut self.piece {
                    piece.records.push((oid, stored));
                    if self.piece_bytes >= PIECE {
                        self.end_piece(false);
                    }
                }
            }
            Item::End => self.end_piece(true),
        }
        Ok(())
    }

    fn end_piece(&mut self, ends: bool) {
        let Some(done) = self.piece.take() else { return };
        if !ends {
            self.piece = Some(piece(done.tid, None));
        }
        self.batch.push(Piece { ends, ..done });
        self.batch_bytes += RECORD + std::mem::take(&mut self.piece_bytes);
        if self.batch_bytes >= BATCH {
            self.flush();
        }
    }

    fn record(&self, started: Started) -> Result<Option<Stored>, Error> {
        match self.application.end_read(started, &never) {
            Ok(Packet::AnswerObject { compression, checksum, data, data_serial, .. }) => {
                let compression = compression.unwrap_or(0);
                Ok(Some(Stored { compression, checksum, data, data_serial }))
            }
            Ok(other) => Err(unexpected(&other)),
            // Only checked, or packed.
            Err(Error::Client(ClientError::NotFound(_) | ClientError::DoesNotExist(_))) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn piece(tid: Tid, begins: Option<(Metadata, bool)>) -> Piece<Option<Stored>> {
    Piece { tid, begins, records: Vec::new(), ends: false }
}

fn unexpected(packet: &Packet) -> Error {
    ClientError::Storage(format!("unexpected {}", packet.name())).into()
}
