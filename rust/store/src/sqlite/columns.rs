//! Between the types of NEO and the values of columns (spec storage.md 4, 5.3).

use bytes::Bytes;
use neo_core::database::{DataId, TransactionInfo};
use neo_wire::{Digest, Oid, OidList, PackOrder, StoredData, Tid, Ttid};
use rusqlite::Row;
use rusqlite::types::{Type, ValueRef};

/// An identifier as a column has it; none if no database can hold it.
pub fn key(id: u64) -> Option<i64> {
    i64::try_from(id).ok()
}

/// An identifier as an upper bound.
pub fn bound(id: u64) -> i64 {
    i64::try_from(id).unwrap_or(i64::MAX)
}

/// An identifier that was checked before (`WriteJob::check`).
pub fn sql(id: u64) -> rusqlite::Result<i64> {
    i64::try_from(id).map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))
}

/// A limit.
pub fn limit(length: u64) -> i64 {
    bound(length)
}

/// An identifier.
pub fn id(row: &Row<'_>, index: usize) -> rusqlite::Result<u64> {
    let value: i64 = row.get(index)?;
    u64::try_from(value).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(index, value))
}

/// An identifier or NULL.
pub fn optional_id(row: &Row<'_>, index: usize) -> rusqlite::Result<Option<u64>> {
    match row.get_ref(index)? {
        ValueRef::Null => Ok(None),
        _ => id(row, index).map(Some),
    }
}

/// A TID.
pub fn tid(row: &Row<'_>, index: usize) -> rusqlite::Result<Tid> {
    id(row, index).map(Tid)
}

/// A TID or NULL.
pub fn optional_tid(row: &Row<'_>, index: usize) -> rusqlite::Result<Option<Tid>> {
    Ok(optional_id(row, index)?.map(Tid))
}

/// An OID.
pub fn oid(row: &Row<'_>, index: usize) -> rusqlite::Result<Oid> {
    id(row, index).map(Oid)
}

/// The key of a row of `data`, or NULL.
pub fn data_id(row: &Row<'_>, index: usize) -> rusqlite::Result<Option<DataId>> {
    Ok(optional_id(row, index)?.map(DataId))
}

fn blob<'a>(row: &'a Row<'_>, index: usize) -> rusqlite::Result<&'a [u8]> {
    match row.get_ref(index)? {
        ValueRef::Blob(bytes) => Ok(bytes),
        value => {
            Err(rusqlite::Error::InvalidColumnType(index, "a BLOB".to_owned(), value.data_type()))
        }
    }
}

/// Opaque bytes: the one copy between the database and the socket.
pub fn bytes(row: &Row<'_>, index: usize) -> rusqlite::Result<Bytes> {
    blob(row, index).map(Bytes::copy_from_slice)
}

fn malformed(index: usize, text: &str) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(index, Type::Blob, text.into())
}

/// OIDs one after the other.
pub fn oids(row: &Row<'_>, index: usize) -> rusqlite::Result<Vec<Oid>> {
    let (chunks, rest) = blob(row, index)?.as_chunks::<8>();
    if !rest.is_empty() {
        return Err(malformed(index, "a list of OIDs is not made of 8-byte items"));
    }
    Ok(chunks.iter().copied().map(Oid::from_bytes).collect())
}

/// OIDs one after the other.
pub fn concatenated(oids: &[Oid]) -> Vec<u8> {
    oids.iter().flat_map(|oid| oid.to_bytes()).collect()
}

/// The columns `compression`, `hash` and `value`, from `index`.
pub fn stored_data(row: &Row<'_>, index: usize) -> rusqlite::Result<StoredData> {
    let checksum = blob(row, index + 1)?
        .try_into()
        .map_err(|_| malformed(index + 1, "a hash is not made of 20 bytes"))?;
    Ok(StoredData {
        compression: row.get(index)?,
        checksum: Digest(checksum),
        data: bytes(row, index + 2)?,
    })
}

/// The columns of `trans` but `partition`.
pub fn transaction(row: &Row<'_>) -> rusqlite::Result<TransactionInfo> {
    Ok(TransactionInfo {
        tid: tid(row, 0)?,
        packed: row.get(1)?,
        oids: oids(row, 2)?,
        user: bytes(row, 3)?,
        description: bytes(row, 4)?,
        extension: bytes(row, 5)?,
        ttid: Ttid(id(row, 6)?),
    })
}

/// The columns of `pack`.
pub fn pack_order(row: &Row<'_>) -> rusqlite::Result<PackOrder> {
    let partial = row.get(2)?;
    Ok(PackOrder {
        tid: tid(row, 0)?,
        approved: row.get(1)?,
        partial,
        oids: if partial { Some(OidList::List(oids(row, 3)?)) } else { None },
        pack_tid: Tid(optional_id(row, 4)?.unwrap_or(0)),
    })
}
