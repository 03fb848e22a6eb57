//! Reads past the cache: history, iteration, packs (spec client.md 8, 9).

use neo_client::Error;
use neo_wire::{Digest, Oid, Packet, Partition};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::arguments::Id;
use super::wait::call;
use super::{Client, errors};

/// What the storage answered is not an answer to what was asked.
fn unexpected(packet: &Packet) -> PyErr {
    errors::storage_error(&format!("unexpected {}", packet.name()))
}

impl Client {
    fn ask(&self, py: Python<'_>, key: u64, packet: Packet) -> PyResult<Packet> {
        let application = self.application(py)?;
        call(py, |interrupted| application.read(key, packet, interrupted))
    }
}

/// User, description, extension, whether it is packed, OIDs.
pub(super) type Information<'py> =
    (Bound<'py, PyBytes>, Bound<'py, PyBytes>, Bound<'py, PyBytes>, bool, Vec<Id>);

/// Metadata of a transaction.
pub(super) fn information<'py>(
    client: &Client,
    py: Python<'py>,
    tid: Id,
) -> PyResult<Information<'py>> {
    match client.ask(py, tid.0, Packet::AskTransactionInformation { tid: tid.tid() })? {
        Packet::AnswerTransactionInformation {
            user, description, extension, packed, oids, ..
        } => Ok((
            PyBytes::new(py, &user),
            PyBytes::new(py, &description),
            PyBytes::new(py, &extension),
            packed,
            oids.into_iter().map(Id::from).collect(),
        )),
        other => Err(unexpected(&other)),
    }
}

/// TIDs of a partition in a range, ascending; at most `length`.
pub(super) fn tids(
    client: &Client,
    py: Python<'_>,
    (start, stop): (Id, Id),
    length: u64,
    partition: u32,
) -> PyResult<Vec<Id>> {
    let packet = Packet::AskTIDsFrom {
        min_tid: start.tid(),
        max_tid: stop.tid(),
        length,
        partition: Partition(partition),
    };
    match client.ask(py, u64::from(partition), packet)? {
        Packet::AnswerTIDsFrom { tids } => Ok(tids.into_iter().map(Id::from).collect()),
        other => Err(unexpected(&other)),
    }
}

/// TIDs of a partition, descending, between two places.
pub(super) fn last_tids(
    client: &Client,
    py: Python<'_>,
    first: u64,
    last: u64,
    partition: u32,
) -> PyResult<Vec<Id>> {
    let packet = Packet::AskTIDs { first, last, partition: Partition(partition) };
    match client.ask(py, u64::from(partition), packet)? {
        Packet::AnswerTIDs { tids } => Ok(tids.into_iter().map(Id::from).collect()),
        other => Err(unexpected(&other)),
    }
}

/// OID, current revision, the one to go back to, whether the undone one is current.
pub(super) type UndoSerial = (Id, Id, Option<Id>, bool);

pub(super) fn undo_serial_to_python(
    (oid, (current, undo, is_current)): (Oid, neo_client::application::UndoSerial),
) -> UndoSerial {
    (oid.into(), current.into(), undo.map(Id::from), is_current)
}

/// OIDs of a partition that exist as of a TID, ascending, with the one to go on with.
pub(super) fn oids(
    client: &Client,
    py: Python<'_>,
    partition: u32,
    length: u64,
    min_oid: Id,
    tid: Id,
) -> PyResult<(Option<Id>, Vec<Id>)> {
    let packet = Packet::AskOIDsFrom {
        partition: Partition(partition),
        length,
        min_oid: min_oid.oid(),
        tid: tid.tid(),
    };
    match client.ask(py, u64::from(partition), packet)? {
        Packet::AnswerOIDsFrom { next_oid, oids } => {
            Ok((next_oid.map(Id::from), oids.into_iter().map(Id::from).collect()))
        }
        other => Err(unexpected(&other)),
    }
}

/// Serials and stored lengths of an object, newest first.
pub(super) fn history(
    client: &Client,
    py: Python<'_>,
    oid: Id,
    size: u64,
) -> PyResult<Vec<(Id, u64)>> {
    let packet = Packet::AskObjectHistory { oid: oid.oid(), first: 0, last: size };
    match client.ask(py, oid.0, packet)? {
        Packet::AnswerObjectHistory { history, .. } => {
            Ok(history.into_iter().map(|(tid, length)| (tid.into(), length)).collect())
        }
        other => Err(unexpected(&other)),
    }
}

/// Data and the TID of the record that holds it if it is another one; no data for a deletion.
pub(super) fn revision<'py>(
    client: &Client,
    py: Python<'py>,
    oid: Id,
    serial: Id,
) -> PyResult<(Option<Bound<'py, PyBytes>>, Option<Id>)> {
    let packet = Packet::AskObject { oid: oid.oid(), at: Some(serial.tid()), before: None };
    let application = client.application(py)?;
    let (record, data_serial) = call(py, |interrupted| {
        let answer = application.read(oid.0, packet, interrupted)?;
        let Packet::AnswerObject { serial, compression, checksum, data, data_serial, .. } = answer
        else {
            return Ok((Err(answer), None));
        };
        if data.is_empty() && checksum == Digest::ZERO {
            return Ok((Ok(None), None));
        }
        let data = (Digest::of(&data) == checksum)
            .then(|| neo_client::records::load(compression.unwrap_or(0), &data))
            .flatten()
            .ok_or(Error::WrongChecksum(oid.oid(), serial))?;
        Ok((Ok(Some(data)), data_serial))
    })?;
    match record {
        Ok(Some(data)) => Ok((Some(PyBytes::new(py, &data)), data_serial.map(Id::from))),
        Ok(None) => Ok((None, None)),
        Err(answer) => Err(unexpected(&answer)),
    }
}

/// Waits until a pack order is carried out.
pub(super) fn wait_for_pack(client: &Client, py: Python<'_>, tid: Id) -> PyResult<()> {
    let application = client.application(py)?;
    let packet = Packet::WaitForPack { tid: tid.tid() };
    match call(py, |interrupted| application.ask_master(packet, interrupted))? {
        Packet::WaitedForPack {} => Ok(()),
        other => Err(unexpected(&other)),
    }
}
