//! Reads that transactions need: undo, packs (spec client.md 8.1, 9).

use neo_client::Information;
use neo_wire::{Oid, Packet};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::arguments::Id;
use super::wait::call;
use super::{Client, errors};

/// What a node answered is not an answer to what was asked.
fn unexpected(packet: &Packet) -> PyErr {
    errors::storage_error(&format!("unexpected {}", packet.name()))
}

/// User, description, extension, whether it is packed, OIDs.
pub(super) type PyInformation<'py> =
    (Bound<'py, PyBytes>, Bound<'py, PyBytes>, Bound<'py, PyBytes>, bool, Vec<Id>);

/// The same, for Python.
pub(super) fn information_to_python(py: Python<'_>, information: Information) -> PyInformation<'_> {
    let Information { user, description, extension, packed, oids, .. } = information;
    let oids = oids.into_iter().map(Id::from).collect();
    let bytes = |bytes: &[u8]| PyBytes::new(py, bytes);
    (bytes(&user), bytes(&description), bytes(&extension), packed, oids)
}

/// Metadata of a transaction.
pub(super) fn information<'py>(
    client: &Client,
    py: Python<'py>,
    tid: Id,
) -> PyResult<PyInformation<'py>> {
    let application = client.application(py)?;
    let information = call(py, |interrupted| {
        application.informations(&[tid.tid()], interrupted)?.into_iter().next().transpose()
    })?;
    let information = information.ok_or_else(|| errors::storage_error("no answer"))?;
    Ok(information_to_python(py, information))
}

/// OID, current revision, the one to go back to, whether the undone one is current.
pub(super) type UndoSerial = (Id, Id, Option<Id>, bool);

pub(super) fn undo_serial_to_python(
    (oid, (current, undo, is_current)): (Oid, neo_client::UndoSerial),
) -> UndoSerial {
    (oid.into(), current.into(), undo.map(Id::from), is_current)
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
