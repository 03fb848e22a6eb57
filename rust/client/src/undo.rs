//! What an undo reads (spec client.md 8.1): where its data comes from, that data, and what its own
//! transaction stored before.

use std::collections::BTreeMap;

use bytes::Bytes;
use neo_core::client::api::{Answer, ClientError, Request, Stored, TransactionKey};
use neo_core::client::loads::Wanted;
use neo_wire::{Oid, Packet, Tid, Ttid};

use crate::application::Application;
use crate::error::Error;
use crate::fetch;
use crate::history::{packet, unexpected};
use crate::wait::Interrupted;

/// For an object of an undone transaction: its current revision, the one to go back to if there is
/// one, and whether the undone one is the current one.
pub type UndoSerial = (Tid, Option<Tid>, bool);

impl Application {
    fn ttid(
        &self,
        transaction: TransactionKey,
        interrupted: Interrupted<'_>,
    ) -> Result<Ttid, Error> {
        match self.call(Request::Ttid { transaction }, interrupted)? {
            Answer::Begun(ttid) => Ok(ttid),
            _ => Err(Error::broken("a begin was answered by something else")),
        }
    }

    /// Where the data of an undo comes from, for each object that the undone transaction wrote:
    /// all partitions are asked at once.
    ///
    /// # Errors
    /// [`Error`]
    pub fn undo_serials(
        &self,
        transaction: TransactionKey,
        undone_tid: Tid,
        oids: Vec<Oid>,
        interrupted: Interrupted<'_>,
    ) -> Result<Vec<(Oid, UndoSerial)>, Error> {
        let ttid = self.ttid(transaction, interrupted)?;
        let ltid = self.last_transaction(interrupted)?.next();
        let (partitions, _) = self
            .geometry()
            .ok_or_else(|| ClientError::MasterLost("the primary master was lost".into()))?;
        let mut by_partition = BTreeMap::<_, Vec<Oid>>::new();
        for oid in oids {
            by_partition.entry(oid.partition(partitions)).or_default().push(oid);
        }
        let request = |(partition, oids): (neo_wire::Partition, _)| {
            let packet = Packet::AskObjectUndoSerial { ttid, ltid, undone_tid, oids };
            Request::TransactionRead { transaction, key: u64::from(partition.0), packet }
        };
        let train = self.inner().send(by_partition.into_iter().map(request));
        let mut serials = Vec::new();
        for answer in self.inner().arrive(train, interrupted)? {
            match packet(answer)? {
                Packet::AnswerObjectUndoSerial { objects } => serials.extend(objects.0),
                other => return Err(unexpected(&other)),
            }
        }
        Ok(serials)
    }

    /// Data of revisions, asked all at once; none where it is no data. They are not cached.
    ///
    /// # Errors
    /// [`Error`], that of the first one that can not be had.
    pub fn revisions(
        &self,
        revisions: &[(Oid, Tid)],
        interrupted: Interrupted<'_>,
    ) -> Result<Vec<Option<Bytes>>, Error> {
        self.ensure_threads()?;
        let wanted: Vec<_> =
            revisions.iter().map(|(oid, tid)| (*oid, Wanted::Exact(*tid))).collect();
        let mut result = Ok(Vec::with_capacity(wanted.len()));
        self.inner().fetch_each(&wanted, interrupted, |_, fetched| {
            match (fetched, &mut result) {
                (Ok(fetched), Ok(found)) => found.push(fetched.data),
                (Err(error), Ok(_)) => result = Err(error),
                (_, Err(_)) => {}
            }
        })?;
        result
    }

    /// What a transaction stored for an object; none if that is no data. What was too big to be
    /// kept here is asked back.
    ///
    /// # Errors
    /// [`Error`]; not found if storages only know what is committed, as those of the Python NEO.
    pub fn stored(
        &self,
        transaction: TransactionKey,
        oid: Oid,
        interrupted: Interrupted<'_>,
    ) -> Result<Option<Bytes>, Error> {
        match self.call(Request::Stored { transaction, oid }, interrupted)? {
            Answer::Stored(Stored::Data(data)) => return Ok(Some(data)),
            Answer::Stored(Stored::Nothing) => return Ok(None),
            Answer::Stored(Stored::Dropped) => {}
            _ => return Err(Error::broken("what was stored was answered by something else")),
        }
        let own = self.ttid(transaction, interrupted)?.as_tid();
        let packet = Packet::AskObject { oid, at: Some(own), before: Some(own) };
        let request = Request::TransactionRead { transaction, key: oid.0, packet };
        let answer = self.call(request, interrupted);
        Ok(fetch::decode(self::packet(answer)?)?.map_err(|_| Error::WrongChecksum(oid, own))?.data)
    }
}
