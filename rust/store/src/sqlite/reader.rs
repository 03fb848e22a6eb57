//! Reads (spec storage.md 12).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use neo_core::database::cells::Rows;
use neo_core::database::{
    CellRow, Configuration, DataId, DataStatistics, LastIds, LastTids, Loaded, ObjectRevision,
    OidsFrom, Revision, TransactionInfo,
};
use neo_wire::{NodeId, Oid, PackOrder, Partition, Ptid, StoredData, Tid, Ttid};
use rusqlite::{Connection, OptionalExtension, Params, Row};

use super::Common;
use super::columns::{self, bound, key, limit, optional_tid, tid};
use super::failure::{Doing, failed};
use crate::{Reader, StoreError};

const WHAT: &str = "a read";

/// A connection of its own in WAL mode, else that of the writer.
pub struct SqliteReader {
    pub connection: Arc<Mutex<Connection>>,
    /// After the connection: see [`super::lock::ProcessLock`].
    pub common: Arc<Common>,
}

/// All items of a query.
pub fn list<T>(
    connection: &Connection,
    sql: &str,
    params: impl Params,
    item: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<Vec<T>> {
    let mut statement = connection.prepare_cached(sql)?;
    statement.query_map(params, item)?.collect()
}

/// The only item of a query.
fn one<T>(
    connection: &Connection,
    sql: &str,
    params: impl Params,
    item: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<Option<T>> {
    let mut statement = connection.prepare_cached(sql)?;
    statement.query_row(params, item).optional()
}

/// Spec storage.md 4.1.
pub fn configuration(connection: &Connection) -> Result<Configuration, StoreError> {
    let rows = list(connection, "SELECT name, value FROM config", (), |row| {
        let value = match row.get_ref(1)? {
            // The state of the Python NEO's Importer may be no text: it is not for us.
            rusqlite::types::ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned(),
            _ => String::new(),
        };
        Ok((row.get::<_, String>(0)?, value))
    });
    let rows: BTreeMap<String, String> =
        rows.doing("reading the configuration")?.into_iter().collect();
    let wrong =
        |name: &str| StoreError::Inconsistent(format!("config value {name:?} is malformed"));
    let decimal = |name: &str| match rows.get(name) {
        Some(text) => text.parse::<i64>().map(Some).map_err(|_| wrong(name)),
        None => Ok(None),
    };
    let tid = |name: &str| match rows.get(name) {
        Some(text) if text.len() == 16 => {
            u64::from_str_radix(text, 16).map(|tid| Some(Tid(tid))).map_err(|_| wrong(name))
        }
        Some(_) => Err(wrong(name)),
        None => Ok(None),
    };
    let narrow = |value: Option<i64>, name| {
        value.map(|value| u32::try_from(value).map_err(|_| wrong(name))).transpose()
    };
    Ok(Configuration {
        name: rows.get("name").cloned(),
        nid: match decimal("nid")? {
            Some(nid) => Some(NodeId(i32::try_from(nid).map_err(|_| wrong("nid"))?)),
            None => None,
        },
        ptid: match decimal("ptid")? {
            Some(ptid) => Some(Ptid(u64::try_from(ptid).map_err(|_| wrong("ptid"))?)),
            None => None,
        },
        replicas: narrow(decimal("replicas")?, "replicas")?,
        backup_tid: tid("backup_tid")?,
        truncate_tid: tid("truncate_tid")?,
    })
}

/// Spec storage.md 4.2.
pub fn rows(connection: &Connection) -> Result<Rows, StoreError> {
    let rows = list(connection, "SELECT partition, nid, tid, pack FROM pt", (), |row| {
        let partition = Partition(row.get(0)?);
        let nid = NodeId(row.get(1)?);
        let column: i64 = row.get(2)?;
        let (state, tid) = CellRow::from_column(column)
            .ok_or(rusqlite::Error::IntegralValueOutOfRange(2, column))?;
        let pack = optional_tid(row, 3)?;
        let cell = CellRow { partition, nid, state, tid, pack };
        Ok(((partition, nid), cell))
    });
    Ok(rows.doing("reading the partition table")?.into_iter().collect())
}

/// Greatest TIDs of a partition.
pub fn last_tids(connection: &Connection, partition: Partition) -> rusqlite::Result<LastTids> {
    let max = |sql| {
        let tid = one(connection, sql, [partition.0], |row| optional_tid(row, 0))?;
        Ok::<_, rusqlite::Error>(tid.flatten())
    };
    Ok(LastTids {
        transactions: max("SELECT max(tid) FROM trans WHERE partition = ?")?,
        objects: max("SELECT max(tid) FROM obj WHERE partition = ?")?,
    })
}

const LAST: &str = "SELECT o.tid, o.data_id, o.value_tid, NULL, d.compression, d.hash, d.value
    FROM obj o LEFT JOIN data d ON d.id = o.data_id
    WHERE o.partition = ?1 AND o.oid = ?2 ORDER BY o.tid DESC LIMIT 1";

/// ?3 included.
const UP_TO: &str = "SELECT o.tid, o.data_id, o.value_tid,
        (SELECT min(n.tid) FROM obj n WHERE n.partition = ?1 AND n.oid = ?2 AND n.tid > o.tid),
        d.compression, d.hash, d.value
    FROM obj o LEFT JOIN data d ON d.id = o.data_id
    WHERE o.partition = ?1 AND o.oid = ?2 AND o.tid <= ?3 ORDER BY o.tid DESC LIMIT 1";

const AT: &str = "SELECT o.tid, o.data_id, o.value_tid,
        (SELECT min(n.tid) FROM obj n WHERE n.partition = ?1 AND n.oid = ?2 AND n.tid > o.tid),
        d.compression, d.hash, d.value
    FROM obj o LEFT JOIN data d ON d.id = o.data_id
    WHERE o.partition = ?1 AND o.oid = ?2 AND o.tid = ?3";

fn revision(row: &Row<'_>) -> rusqlite::Result<ObjectRevision> {
    let data = match columns::data_id(row, 1)? {
        Some(_) => Some(columns::stored_data(row, 4)?),
        None => None,
    };
    Ok(ObjectRevision {
        tid: tid(row, 0)?,
        next_tid: optional_tid(row, 3)?,
        data,
        value_tid: optional_tid(row, 2)?,
    })
}

impl SqliteReader {
    fn lock(&self) -> MutexGuard<'_, Connection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The partition and the column value of an OID; none if no database can hold it.
    fn object(&self, oid: Oid) -> Option<(u32, i64)> {
        Some((oid.partition(self.common.partitions()).0, key(oid.0)?))
    }
}

impl Reader for SqliteReader {
    fn configuration(&self) -> Result<Configuration, StoreError> {
        configuration(&self.lock())
    }

    fn table(&self) -> Result<Vec<CellRow>, StoreError> {
        Ok(rows(&self.lock())?.into_values().collect())
    }

    fn last_ids(&self, partitions: &[Partition]) -> Result<LastIds, StoreError> {
        let connection = self.lock();
        let mut ids = LastIds { last_tid: None, last_oid: None, first_tid: Tid::MAX };
        for &partition in partitions {
            let last = last_tids(&connection, partition).doing(WHAT)?;
            ids.last_tid = ids.last_tid.max(last.transactions).max(last.objects);
            let extreme = |sql| {
                one(&connection, sql, [partition.0], |row| columns::optional_id(row, 0))
                    .doing(WHAT)
                    .map(Option::flatten)
            };
            let oid = extreme("SELECT max(oid) FROM obj WHERE partition = ?")?;
            ids.last_oid = ids.last_oid.max(oid.map(Oid));
            let first = extreme("SELECT min(tid) FROM trans WHERE partition = ?")?;
            ids.first_tid = first.map_or(ids.first_tid, |first| ids.first_tid.min(Tid(first)));
        }
        Ok(ids)
    }

    fn last_tids(&self, partition: Partition) -> Result<LastTids, StoreError> {
        last_tids(&self.lock(), partition).doing(WHAT)
    }

    fn unfinished(&self) -> Result<BTreeMap<Ttid, Option<Tid>>, StoreError> {
        // The rows with metadata come last: they replace the others.
        let sql = "SELECT DISTINCT tid, NULL FROM tobj UNION ALL SELECT ttid, tid FROM ttrans";
        let rows = list(&self.lock(), sql, (), |row| {
            Ok((Ttid(columns::id(row, 0)?), optional_tid(row, 1)?))
        });
        Ok(rows.doing(WHAT)?.into_iter().collect())
    }

    fn final_tid(&self, ttid: Ttid) -> Result<Option<Tid>, StoreError> {
        let Some(id) = key(ttid.0) else {
            return Ok(None);
        };
        let partition = ttid.partition(self.common.partitions()).0;
        let sql = "SELECT tid FROM trans WHERE partition = ?1 AND tid >= ?2 AND ttid = ?2
                   ORDER BY tid LIMIT 1";
        one(&self.lock(), sql, (partition, id), |row| tid(row, 0)).doing(WHAT)
    }

    fn load(&self, oid: Oid, wanted: Revision) -> Result<Loaded, StoreError> {
        let Some((partition, id)) = self.object(oid) else {
            return Ok(Loaded::NoObject);
        };
        let connection = self.lock();
        let found = match wanted {
            Revision::Last => one(&connection, LAST, (partition, id), revision),
            Revision::At(tid) => match key(tid.0) {
                Some(tid) => one(&connection, AT, (partition, id, tid), revision),
                None => Ok(None),
            },
            Revision::Before(Tid(0)) => Ok(None),
            Revision::Before(Tid(tid)) => {
                one(&connection, UP_TO, (partition, id, bound(tid - 1)), revision)
            }
        };
        if let Some(found) = found.map_err(|error| missing_data(oid, error))? {
            return Ok(Loaded::Found(found));
        }
        let sql = "SELECT 1 FROM obj WHERE partition = ? AND oid = ? LIMIT 1";
        let exists = one(&connection, sql, (partition, id), |_| Ok(())).doing(WHAT)?;
        Ok(match exists {
            Some(()) => Loaded::NoRevision,
            None => Loaded::NoObject,
        })
    }

    fn last_serial(&self, oid: Oid) -> Result<Option<Tid>, StoreError> {
        let Some(object) = self.object(oid) else {
            return Ok(None);
        };
        let sql = "SELECT max(tid) FROM obj WHERE partition = ? AND oid = ?";
        let last = one(&self.lock(), sql, object, |row| optional_tid(row, 0));
        last.map(Option::flatten).doing(WHAT)
    }

    fn has_record(&self, oid: Oid, tid: Tid) -> Result<bool, StoreError> {
        let (Some((partition, oid)), Some(tid)) = (self.object(oid), key(tid.0)) else {
            return Ok(false);
        };
        let sql = "SELECT 1 FROM obj WHERE partition = ? AND oid = ? AND tid = ?";
        let found = one(&self.lock(), sql, (partition, oid, tid), |_| Ok(()));
        Ok(found.doing(WHAT)?.is_some())
    }

    fn revisions(&self, oid: Oid) -> Result<Vec<(Tid, Option<Tid>)>, StoreError> {
        let Some(object) = self.object(oid) else {
            return Ok(Vec::new());
        };
        let sql = "SELECT tid, value_tid FROM obj WHERE partition = ? AND oid = ? ORDER BY tid";
        let item = |row: &Row<'_>| Ok((tid(row, 0)?, optional_tid(row, 1)?));
        list(&self.lock(), sql, object, item).doing(WHAT)
    }

    fn pack_tid(&self, oid: Oid) -> Result<Tid, StoreError> {
        let partition = oid.partition(self.common.partitions()).0;
        // An order may be stored elsewhere, and executed by the Python NEO: all that is known of it
        // then is that its `pack_tid` is not after it.
        let sql = "SELECT pack_tid, oids FROM neo_packs UNION ALL
                   SELECT pack_tid, oids FROM pack WHERE approved
                       AND tid <= (SELECT max(pack) FROM pt WHERE partition = ?1) UNION ALL
                   SELECT pack, NULL FROM pt WHERE partition = ?1 AND pack > 0
                       AND pack NOT IN (SELECT tid FROM neo_packs)
                       AND pack NOT IN (SELECT tid FROM pack WHERE approved)
                   ORDER BY pack_tid DESC";
        let key = oid.to_bytes();
        let connection = self.lock();
        let mut statement = connection.prepare_cached(sql).doing(WHAT)?;
        let mut rows = statement.query([partition]).doing(WHAT)?;
        while let Some(row) = rows.next().doing(WHAT)? {
            let list = row.get_ref(1).and_then(|list| Ok(list.as_blob_or_null()?)).doing(WHAT)?;
            if list.is_none_or(|list| list.as_chunks().0.contains(&key)) {
                return tid(row, 0).doing(WHAT);
            }
        }
        Ok(Tid::ZERO)
    }

    fn spilled(&self, data: DataId) -> Result<Option<StoredData>, StoreError> {
        let Some(id) = key(data.0) else {
            return Ok(None);
        };
        let sql = "SELECT d.compression, d.hash, d.value
                   FROM neo_spilled s JOIN data d ON d.id = s.data_id WHERE s.name = ?";
        one(&self.lock(), sql, [id], |row| columns::stored_data(row, 0)).doing(WHAT)
    }

    fn transaction(&self, tid: Tid) -> Result<Option<TransactionInfo>, StoreError> {
        let Some(id) = key(tid.0) else {
            return Ok(None);
        };
        let partition = tid.partition(self.common.partitions()).0;
        let sql = "SELECT tid, packed, oids, user, description, ext, ttid FROM trans
                   WHERE partition = ? AND tid = ?";
        one(&self.lock(), sql, (partition, id), columns::transaction).doing(WHAT)
    }

    fn history(&self, oid: Oid, offset: u64, length: u64) -> Result<Vec<(Tid, u64)>, StoreError> {
        let Some((partition, id)) = self.object(oid) else {
            return Ok(Vec::new());
        };
        let sql = "SELECT o.tid, ifnull(length(d.value), 0)
                   FROM obj o LEFT JOIN data d ON d.id = o.data_id
                   WHERE o.partition = ? AND o.oid = ? ORDER BY o.tid DESC LIMIT ? OFFSET ?";
        let params = (partition, id, limit(length), limit(offset));
        let item = |row: &Row<'_>| Ok((tid(row, 0)?, columns::id(row, 1)?));
        list(&self.lock(), sql, params, item).doing(WHAT)
    }

    fn tids(
        &self,
        partitions: &[Partition],
        offset: u64,
        length: u64,
    ) -> Result<Vec<Tid>, StoreError> {
        let connection = self.lock();
        let sql = "SELECT tid FROM trans WHERE partition = ? ORDER BY tid DESC LIMIT ?";
        let end = offset.saturating_add(length);
        let mut tids = Vec::new();
        for partition in partitions {
            let some = list(&connection, sql, (partition.0, limit(end)), |row| tid(row, 0));
            tids.extend(some.doing(WHAT)?);
        }
        tids.sort_unstable_by(|a, b| b.cmp(a));
        let count = |number| usize::try_from(number).unwrap_or(usize::MAX);
        Ok(tids.into_iter().skip(count(offset)).take(count(length)).collect())
    }

    fn tids_from(
        &self,
        partition: Partition,
        min: Tid,
        max: Tid,
        length: u64,
    ) -> Result<Vec<Tid>, StoreError> {
        let Some(min) = key(min.0) else {
            return Ok(Vec::new());
        };
        let sql = "SELECT tid FROM trans WHERE partition = ? AND tid BETWEEN ? AND ?
                   ORDER BY tid LIMIT ?";
        let params = (partition.0, min, bound(max.0), limit(length));
        list(&self.lock(), sql, params, |row| tid(row, 0)).doing(WHAT)
    }

    fn oids_from(
        &self,
        partition: Partition,
        min_oid: Oid,
        length: u64,
        tid: Tid,
    ) -> Result<OidsFrom, StoreError> {
        let rows = match key(min_oid.0) {
            None => Vec::new(),
            Some(min) => {
                // The other columns are those of the row with the greatest TID.
                let sql = "SELECT oid, data_id IS NOT NULL, max(tid) FROM obj
                           WHERE partition = ? AND oid >= ? AND tid <= ?
                           GROUP BY oid ORDER BY oid LIMIT ?";
                let params = (partition.0, min, bound(tid.0), limit(length));
                let item = |row: &Row<'_>| Ok((columns::oid(row, 0)?, row.get::<_, bool>(1)?));
                list(&self.lock(), sql, params, item).doing(WHAT)?
            }
        };
        let next = match rows.last() {
            _ if (rows.len() as u64) < length => None,
            None => Some(min_oid),
            Some((oid, _)) => Some(Oid(oid.0 + u64::from(self.common.partitions()))),
        };
        let oids = rows.into_iter().filter(|(_, exists)| *exists);
        Ok(OidsFrom { next, oids: oids.map(|(oid, _)| oid).collect() })
    }

    fn records_from(
        &self,
        partition: Partition,
        min: (Tid, Oid),
        max_tid: Tid,
        length: u64,
    ) -> Result<Vec<(Tid, Oid)>, StoreError> {
        // Beyond the greatest OID, it is the next TID.
        let min = match (key(min.0.0), key(min.1.0)) {
            (None, _) => return Ok(Vec::new()),
            (Some(tid), Some(oid)) => (tid, oid),
            (Some(i64::MAX), None) => return Ok(Vec::new()),
            (Some(tid), None) => (tid + 1, 0),
        };
        let sql = "SELECT tid, oid FROM obj
                   WHERE partition = ? AND (tid, oid) >= (?, ?) AND tid <= ?
                   ORDER BY tid, oid LIMIT ?";
        let params = (partition.0, min.0, min.1, bound(max_tid.0), limit(length));
        let item = |row: &Row<'_>| Ok((tid(row, 0)?, columns::oid(row, 1)?));
        list(&self.lock(), sql, params, item).doing(WHAT)
    }

    fn pack_orders(
        &self,
        min: Tid,
        partitions: &[Partition],
    ) -> Result<Vec<PackOrder>, StoreError> {
        let Some(min) = key(min.0) else {
            return Ok(Vec::new());
        };
        let count = self.common.partitions();
        let sql = "SELECT tid, approved, partial, oids, pack_tid FROM pack
                   WHERE tid >= ? AND EXISTS (SELECT 1 FROM trans
                       WHERE trans.partition = pack.tid % max(?, 1) AND trans.tid = pack.tid)
                   ORDER BY tid";
        let params = (min, count);
        let mut orders = list(&self.lock(), sql, params, columns::pack_order).doing(WHAT)?;
        orders.retain(|order| partitions.contains(&order.tid.partition(count)));
        Ok(orders)
    }

    fn data_statistics(&self) -> Result<DataStatistics, StoreError> {
        let sql = "SELECT count(*), ifnull(sum(length(value)), 0),
            ifnull(sum(NOT EXISTS (SELECT 1 FROM obj WHERE data_id = data.id)
                AND id NOT IN (SELECT data_id FROM tobj WHERE data_id IS NOT NULL)
                AND id NOT IN (SELECT data_id FROM neo_spilled)), 0) FROM data";
        let statistics = one(&self.lock(), sql, (), |row| {
            Ok(DataStatistics {
                rows: columns::id(row, 0)?,
                bytes: columns::id(row, 1)?,
                orphans: columns::id(row, 2)?,
            })
        });
        Ok(statistics.doing(WHAT)?.unwrap_or_default())
    }
}

/// A record whose row of `data` is not there is read as NULL.
fn missing_data(oid: Oid, error: rusqlite::Error) -> StoreError {
    match error {
        rusqlite::Error::InvalidColumnType(4..=6, _, rusqlite::types::Type::Null) => {
            StoreError::Inconsistent(format!("the data of object {oid} is missing"))
        }
        error => failed(WHAT, error),
    }
}
