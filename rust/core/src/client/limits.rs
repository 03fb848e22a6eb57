//! What no cluster can store (spec protocol.md 5, storage.md 7.1): refused before it is sent.

use super::api::{ClientError, Content, Metadata, Write};

/// Bytes of a record, as it is stored: more may not fit in the buffer of a peer.
const MAX_RECORD: usize = (64 << 20) - (64 << 10);

/// Objects of a transaction, or of a pack order.
pub(super) const MAX_OBJECTS: usize = (1 << 21) - 1;

/// SQLite has signed integers.
const MAX_OID: u64 = i64::MAX.cast_unsigned();

/// Bytes of a user, of a description, of an extension.
const MAX_METADATA: usize = 65_535;

/// Whether an object can be stored so.
pub(super) fn check_write(write: &Write) -> Result<(), ClientError> {
    if write.oid.0 > MAX_OID {
        let text = format!("the OID {} is too big: the last one is {MAX_OID:016x}", write.oid);
        return Err(ClientError::Storage(text));
    }
    match &write.content {
        Content::Data { stored, .. } if stored.data.len() > MAX_RECORD => {
            let (oid, length) = (write.oid, stored.data.len());
            let text = format!("object {oid} is too big: {length} bytes, {MAX_RECORD} at most");
            Err(ClientError::Storage(text))
        }
        _ => Ok(()),
    }
}

/// Whether a transaction can be described so.
pub(super) fn check_metadata(metadata: &Metadata) -> Result<(), ClientError> {
    let fields = [
        ("user", &metadata.user),
        ("description", &metadata.description),
        ("extension", &metadata.extension),
    ];
    match fields.iter().find(|(_, value)| value.len() > MAX_METADATA) {
        Some((name, value)) => {
            let length = value.len();
            let text = format!("the {name} of the transaction is too long: {length} bytes");
            Err(ClientError::Storage(format!("{text}, {MAX_METADATA} at most")))
        }
        None => Ok(()),
    }
}

/// Whether a transaction or a pack order can have that many objects.
pub(super) fn check_objects(count: usize) -> Result<(), ClientError> {
    if count > MAX_OBJECTS {
        let text = format!("too many objects: {MAX_OBJECTS} at most, use several transactions");
        return Err(ClientError::Storage(text));
    }
    Ok(())
}
