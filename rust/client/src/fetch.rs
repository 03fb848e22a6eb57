//! Revisions as storages give them: one by one, or in trains (spec client.md 5.2, 5.6).

use std::collections::VecDeque;

use bytes::Bytes;
use neo_core::client::api::{Answer, ClientError, Request};
use neo_core::client::cache::Cached;
use neo_core::client::loads::Wanted;
use neo_wire::{Digest, NodeId, Oid, Packet, Tid};
use tracing::error;

use crate::application::Inner;
use crate::error::Error;
use crate::records;
use crate::wait::Interrupted;

/// How many answers are examined while the next ones travel.
const CAR: usize = 64;
/// Revisions asked at once while nobody knows how big they are, then at most.
const FIRST: usize = 32;
const MOST: usize = 1024;
/// Bytes of revisions asked at once, if they are as big as the last ones.
const BUDGET: usize = 8 << 20;

/// A revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// Its serial.
    pub serial: Tid,
    /// The serial of the revision that follows, if there is one.
    pub next_serial: Option<Tid>,
    /// Uncompressed record; none for a deletion or an undone creation.
    pub data: Option<Bytes>,
    /// The revision whose data it shares, if it does.
    pub data_serial: Option<Tid>,
}

impl Fetched {
    /// For those who can not do without data.
    pub(crate) fn into_record(self, oid: Oid) -> Result<Cached, Error> {
        let Self { serial, next_serial, data, .. } = self;
        let data = data.ok_or(Error::CreationUndone(oid))?;
        Ok(Cached { data, serial, next_serial })
    }
}

/// How many revisions to ask at once: all memory they take is that of one such group.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Group(usize);

impl Group {
    pub fn new() -> Self {
        Self(FIRST)
    }

    pub fn len(self) -> usize {
        self.0
    }

    /// So many revisions had so many bytes.
    pub fn learn(&mut self, count: usize, bytes: usize) {
        if let Some(average) = bytes.checked_div(count) {
            self.0 = (BUDGET / average.max(1)).clamp(1, MOST);
        }
    }
}

fn request((oid, wanted): (Oid, Wanted), except: Vec<NodeId>) -> Request {
    let (at, before) = match wanted {
        Wanted::Current => (None, None),
        Wanted::Before(tid) => (None, Some(tid)),
        Wanted::Exact(tid) => (Some(tid), None),
    };
    Request::Read { key: oid.0, packet: Packet::AskObject { oid, at, before }, except }
}

impl Inner {
    /// A revision.
    pub(crate) fn fetch(
        &self,
        oid: Oid,
        wanted: Wanted,
        interrupted: Interrupted<'_>,
    ) -> Result<Fetched, Error> {
        let answer = self.call(request((oid, wanted), Vec::new()), interrupted);
        self.examine((oid, wanted), answer, interrupted)
    }

    /// Revisions that are all asked at once; `give` gets each one with its place in `wanted`.
    ///
    /// # Errors
    /// [`Error::Interrupted`]
    pub(crate) fn fetch_each(
        &self,
        wanted: &[(Oid, Wanted)],
        interrupted: Interrupted<'_>,
        mut give: impl FnMut(usize, Result<Fetched, Error>),
    ) -> Result<(), Error> {
        let mut cars = wanted.chunks(CAR);
        let mut trains: VecDeque<_> = cars
            .by_ref()
            .map(|car| self.send(car.iter().map(|wanted| request(*wanted, Vec::new()))))
            .collect();
        let mut place = 0;
        while let Some(train) = trains.pop_front() {
            let answers = self.arrive(train, interrupted);
            if answers.is_err() {
                trains.iter().for_each(|train| self.cancel(train));
            }
            for answer in answers? {
                give(place, self.examine(wanted[place], answer, interrupted));
                place += 1;
            }
        }
        Ok(())
    }

    /// What an answer holds. If it is corrupted, other replicas are asked.
    fn examine(
        &self,
        wanted: (Oid, Wanted),
        mut answer: Result<Answer, Error>,
        interrupted: Interrupted<'_>,
    ) -> Result<Fetched, Error> {
        let mut wrong: Option<Corrupted> = None;
        let mut except: Vec<NodeId> = Vec::new();
        loop {
            let (from, packet) = match (answer, wrong.take()) {
                (Ok(Answer::Packet { from, packet }), _) => (from, packet),
                (Ok(_), _) => return Err(Error::broken("a read was answered by something else")),
                (Err(Error::Client(ClientError::Disconnected(_))), Some(wrong)) => {
                    return wrong.accept(wanted.0, self.ignore_wrong_checksum);
                }
                (Err(error), _) => return Err(error),
            };
            match decode(packet)? {
                Ok(fetched) => return Ok(fetched),
                Err(corrupted) => {
                    let (oid, tid) = (wanted.0, corrupted.serial);
                    error!(peer = %from, %oid, %tid, "wrong checksum");
                    except.push(from);
                    wrong = Some(corrupted);
                }
            }
            answer = self.call(request(wanted, except.clone()), interrupted);
        }
    }
}

pub(crate) fn decode(packet: Packet) -> Result<Result<Fetched, Corrupted>, Error> {
    let Packet::AnswerObject {
        serial,
        next_serial,
        compression,
        checksum,
        data: stored,
        data_serial,
        ..
    } = packet
    else {
        return Err(Error::broken("AskObject was answered by something else"));
    };
    if stored.is_empty() && checksum == Digest::ZERO {
        return Ok(Ok(Fetched { serial, next_serial, data: None, data_serial }));
    }
    let compression = compression.unwrap_or(0);
    let record =
        (Digest::of(&stored) == checksum).then(|| records::load(compression, &stored)).flatten();
    Ok(match record {
        Some(record) => {
            // A record that is not compressed must not keep the receive buffer alive.
            let data = if compression == 0 { Bytes::copy_from_slice(&record) } else { record };
            Ok(Fetched { serial, next_serial, data: Some(data), data_serial })
        }
        None => Err(Corrupted { serial, next_serial, compression, stored }),
    })
}

/// The last corrupted answer.
pub(crate) struct Corrupted {
    serial: Tid,
    next_serial: Option<Tid>,
    compression: u32,
    stored: Bytes,
}

impl Corrupted {
    fn accept(self, oid: Oid, ignore: bool) -> Result<Fetched, Error> {
        if !ignore {
            return Err(Error::WrongChecksum(oid, self.serial));
        }
        let data = records::load(self.compression, &self.stored).unwrap_or_default();
        let Self { serial, next_serial, .. } = self;
        Ok(Fetched { serial, next_serial, data: Some(data), data_serial: None })
    }
}
