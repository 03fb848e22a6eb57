//! Metadata of transactions, and lists of what a partition holds, asked of all partitions at once
//! (spec client.md 8).

use bytes::Bytes;
use neo_core::client::api::{Answer, ClientError, Request};
use neo_core::client::loads::Wanted;
use neo_wire::{Oid, PackOrder, Packet, Partition, Tid};

use crate::application::{Application, Inner};
use crate::error::Error;
use crate::wait::Interrupted;

/// Metadata of a transaction, as it was stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Information {
    /// Its TID.
    pub tid: Tid,
    /// UTF-8.
    pub user: Bytes,
    /// UTF-8.
    pub description: Bytes,
    /// A pickle, or nothing.
    pub extension: Bytes,
    /// Whether an import marked it as packed.
    pub packed: bool,
    /// Objects it stored, deleted or checked.
    pub oids: Vec<Oid>,
}

pub(crate) fn information_request(tid: Tid) -> Request {
    let packet = Packet::AskTransactionInformation { tid };
    Request::Read { key: tid.0, packet, except: Vec::new() }
}

pub(crate) fn information(answer: Result<Answer, Error>) -> Result<Information, Error> {
    match packet(answer)? {
        Packet::AnswerTransactionInformation {
            tid,
            user,
            description,
            extension,
            packed,
            oids,
        } => Ok(Information { tid, user, description, extension, packed, oids }),
        other => Err(unexpected(&other)),
    }
}

pub(crate) fn packet(answer: Result<Answer, Error>) -> Result<Packet, Error> {
    match answer? {
        Answer::Packet { packet, .. } => Ok(packet),
        _ => Err(Error::broken("a read was answered by something else")),
    }
}

pub(crate) fn unexpected(packet: &Packet) -> Error {
    ClientError::Storage(format!("unexpected {}", packet.name())).into()
}

impl Inner {
    /// Asks something of a cell of each of some partitions, all at once.
    pub(crate) fn ask_partitions<T>(
        &self,
        requests: impl Iterator<Item = (Partition, Packet)>,
        interrupted: Interrupted<'_>,
        decode: impl Fn(Packet) -> Result<T, Error>,
    ) -> Result<Vec<T>, Error> {
        let train = self.send(requests.map(|(partition, packet)| Request::Read {
            key: u64::from(partition.0),
            packet,
            except: Vec::new(),
        }));
        let answers = self.arrive(train, interrupted)?.into_iter();
        answers.map(|answer| decode(packet(answer)?)).collect()
    }
}

impl Application {
    /// Number of partitions; connects if needed.
    ///
    /// # Errors
    /// [`Error`]
    pub fn partitions(&self, interrupted: Interrupted<'_>) -> Result<u32, Error> {
        loop {
            if let Some((partitions, _)) = self.geometry() {
                return Ok(partitions);
            }
            self.connect(interrupted)?;
        }
    }

    /// Metadata of transactions, asked all at once; an error for each one that is not there.
    ///
    /// # Errors
    /// [`Error::Interrupted`]
    pub fn informations(
        &self,
        tids: &[Tid],
        interrupted: Interrupted<'_>,
    ) -> Result<Vec<Result<Information, Error>>, Error> {
        self.ensure_threads()?;
        let train = self.inner().send(tids.iter().map(|tid| information_request(*tid)));
        let answers = self.inner().arrive(train, interrupted)?;
        Ok(answers.into_iter().map(information).collect())
    }

    /// TIDs of each partition, descending, between two places of these lists. Everything that was
    /// committed when the call was made is there.
    ///
    /// # Errors
    /// [`Error`]
    pub fn last_tids(
        &self,
        (first, last): (u64, u64),
        interrupted: Interrupted<'_>,
    ) -> Result<Vec<Vec<Tid>>, Error> {
        let partitions = self.partitions(interrupted)?;
        let newest = self.last_transaction(interrupted)?;
        let all = || (0..partitions).map(Partition);
        if first == 0 {
            // A commit that was just told may not be readable everywhere: this waits for it, what
            // follows does not.
            let wait = |partition| {
                (
                    partition,
                    Packet::AskTIDsFrom { min_tid: newest, max_tid: newest, length: 1, partition },
                )
            };
            self.inner().ask_partitions(all().map(wait), interrupted, tids_from)?;
        }
        let ask = |partition| (partition, Packet::AskTIDs { first, last, partition });
        self.inner().ask_partitions(all().map(ask), interrupted, |packet| match packet {
            Packet::AnswerTIDs { tids } => Ok(tids),
            other => Err(unexpected(&other)),
        })
    }

    /// Objects that exist as of a TID, from `first` on, ascending, with the OID to go on with;
    /// the list may be empty without being the end.
    ///
    /// # Errors
    /// [`Error`]
    pub fn oids(
        &self,
        tid: Tid,
        first: Oid,
        length: u64,
        interrupted: Interrupted<'_>,
    ) -> Result<(Vec<Oid>, Option<Oid>), Error> {
        let partitions = self.partitions(interrupted)?;
        let length = length.div_ceil(u64::from(partitions)).max(8);
        let ask =
            |partition| (partition, Packet::AskOIDsFrom { partition, length, min_oid: first, tid });
        let all = (0..partitions).map(Partition);
        let found =
            self.inner().ask_partitions(all.map(ask), interrupted, |packet| match packet {
                Packet::AnswerOIDsFrom { next_oid, oids } => Ok((next_oid, oids)),
                other => Err(unexpected(&other)),
            })?;
        // Behind that, not all partitions have told theirs.
        let next = found.iter().filter_map(|(next, _)| *next).min();
        let mut oids: Vec<_> = found.into_iter().flat_map(|(_, oids)| oids).collect();
        oids.retain(|oid| next.is_none_or(|next| *oid < next));
        oids.sort_unstable();
        Ok((oids, next))
    }

    /// Objects that exist as of a TID, with serials and data, from `first` on, with the OID to go
    /// on with. They are not cached.
    ///
    /// # Errors
    /// [`Error`]
    #[expect(clippy::type_complexity, reason = "OID, serial and data")]
    pub fn records(
        &self,
        tid: Tid,
        first: Oid,
        length: u64,
        interrupted: Interrupted<'_>,
    ) -> Result<(Vec<(Oid, Tid, Bytes)>, Option<Oid>), Error> {
        let (oids, next) = self.oids(tid, first, length, interrupted)?;
        let before = Wanted::Before(tid.next());
        let wanted: Vec<_> = oids.into_iter().map(|oid| (oid, before)).collect();
        let mut result = Ok(Vec::with_capacity(wanted.len()));
        self.inner().fetch_each(&wanted, interrupted, |place, fetched| {
            let (oid, _) = wanted[place];
            match (fetched, &mut result) {
                (_, Err(_)) | (Err(Error::Client(ClientError::NotFound(_))), _) => {}
                (Err(error), _) => result = Err(error),
                (Ok(fetched), Ok(records)) => {
                    records.extend(fetched.data.map(|data| (oid, fetched.serial, data)));
                }
            }
        })?;
        Ok((result?, next))
    }

    /// Serials of an object with the stored lengths, newest first, between two places.
    ///
    /// # Errors
    /// [`Error`]
    pub fn history(
        &self,
        oid: Oid,
        (first, last): (u64, u64),
        interrupted: Interrupted<'_>,
    ) -> Result<Vec<(Tid, u64)>, Error> {
        match self.read(oid.0, Packet::AskObjectHistory { oid, first, last }, interrupted)? {
            Packet::AnswerObjectHistory { history, .. } => Ok(history),
            other => Err(unexpected(&other)),
        }
    }

    /// Pack orders from one on.
    ///
    /// # Errors
    /// [`Error`]
    pub fn pack_orders(
        &self,
        min_id: Tid,
        interrupted: Interrupted<'_>,
    ) -> Result<Vec<PackOrder>, Error> {
        match self.ask_master(Packet::AskPackOrders { min_id }, interrupted)? {
            Packet::AnswerPackOrders { orders } => Ok(orders),
            other => Err(unexpected(&other)),
        }
    }

    /// The last OID that the cluster gave or stored, but for those that this client keeps.
    ///
    /// # Errors
    /// [`Error`]
    pub fn last_oid(&self, interrupted: Interrupted<'_>) -> Result<Oid, Error> {
        match self.ask_master(Packet::AskLastIDs {}, interrupted)? {
            Packet::AnswerLastIDs { last_oid, .. } => {
                let last = last_oid.unwrap_or(Oid(0));
                let kept = self.inner().oids.lock();
                let is_last = !kept.is_empty() && kept.end == last.0.saturating_add(1);
                Ok(if is_last { Oid(kept.start.saturating_sub(1)) } else { last })
            }
            other => Err(unexpected(&other)),
        }
    }

    /// Waits until what is being published is visible (rule O6).
    ///
    /// # Errors
    /// [`Error::Interrupted`]
    pub fn settle(&self, interrupted: Interrupted<'_>) -> Result<(), Error> {
        self.inner().loads.settle(Wanted::Current, interrupted)
    }

    /// Has the last revisions before a TID loaded, for later loads. It does not wait, and it does
    /// not fail: what is not there is not loaded.
    pub fn prefetch(&self, oids: Vec<Oid>, before: Tid) {
        // If threads can not be made, whoever needs these records gets the error.
        if self.ensure_threads().is_ok() {
            self.inner().prefetch(oids, before);
        }
    }
}

pub(crate) fn tids_from(packet: Packet) -> Result<Vec<Tid>, Error> {
    match packet {
        Packet::AnswerTIDsFrom { tids } => Ok(tids),
        other => Err(unexpected(&other)),
    }
}
