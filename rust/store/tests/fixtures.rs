//! Databases written by the Python NEO.

#![allow(missing_docs, clippy::unwrap_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use neo_store::database::{
    DataId, JobOutput, Loaded, ObjectRevision, Revision, TransactionInfo, WriteJob,
};
use neo_store::sqlite::{self, Options, SqliteWriter};
use neo_store::{Reader, Writer};
use neo_wire::{Digest, Oid, Partition, Tid, Ttid};
use serde_json::Value;
use tempfile::TempDir;

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/fixtures")
}

fn decompress(path: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    GzDecoder::new(std::fs::File::open(path).unwrap()).read_to_end(&mut bytes).unwrap();
    bytes
}

fn expected() -> Value {
    serde_json::from_slice(&decompress(&data().join("expected.json.gz"))).unwrap()
}

/// A copy of all files of a folder.
fn copy(folder: &str) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(data().join(folder)).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap();
        std::fs::write(directory.path().join(name), decompress(&path)).unwrap();
    }
    directory
}

fn open(directory: &TempDir, file: &str) -> SqliteWriter {
    let database = directory.path().join(file).display().to_string();
    sqlite::open(&Options { database, ..Options::default() }).unwrap()
}

fn hex(value: &Value) -> u64 {
    u64::from_str_radix(value.as_str().unwrap(), 16).unwrap()
}

fn bytes(value: &Value) -> Vec<u8> {
    let text = value.as_str().unwrap();
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

fn check_node(reader: &dyn Reader, node: &Value, partitions: u32) {
    let all: Vec<_> = (0..partitions).map(Partition).collect();
    let configuration = reader.configuration().unwrap();
    let config = &node["config"];
    assert_eq!(configuration.name, text(&config["name"]));
    assert_eq!(configuration.nid.map(|nid| nid.0.to_string()), text(&config["nid"]));
    assert_eq!(configuration.ptid.map(|ptid| ptid.0.to_string()), text(&config["ptid"]));
    assert_eq!(configuration.replicas.map(|count| count.to_string()), text(&config["replicas"]));
    let truncate_tid = configuration.truncate_tid.map(|tid| tid.to_string());
    assert_eq!(truncate_tid, text(&config["truncate_tid"]));

    let rows = reader.table().unwrap().into_iter().map(|row| {
        let pack = row.pack.map(|pack| pack.0);
        serde_json::json!([row.partition.0, row.nid.0, row.column().unwrap(), pack])
    });
    assert_eq!(rows.collect::<Value>(), node["pt"]);

    let ids = reader.last_ids(&all).unwrap();
    assert_eq!(ids.last_tid, Some(Tid(hex(&node["last_tid"]))));
    assert_eq!(ids.last_oid, Some(Oid(hex(&node["last_oid"]))));
    let count = |what: &str| node["counts"][what].as_u64().unwrap();
    assert_eq!(reader.tids(&all, 0, u64::MAX).unwrap().len() as u64, count("trans"));

    let mut records = 0;
    let mut objects = BTreeSet::new();
    for &partition in &all {
        let min = (Tid::ZERO, Oid::ZERO);
        let found = reader.records_from(partition, min, Tid::MAX, u64::MAX).unwrap();
        records += found.len() as u64;
        objects.extend(found.into_iter().map(|(_, oid)| oid));
    }
    assert_eq!(records, count("obj"));
    assert_eq!(objects.len() as u64, node["distinct_oids"].as_u64().unwrap());

    let orders = reader.pack_orders(Tid::ZERO, &all).unwrap();
    let packs = orders.into_iter().map(|order| {
        let oids =
            order.oids.map(|oids| oids.list().iter().map(ToString::to_string).collect::<String>());
        let approved = order.approved.map(u8::from);
        serde_json::json!([order.tid.0, approved, u8::from(order.partial), oids, order.pack_tid.0])
    });
    // Those that aborted transactions left do not exist.
    let mut expected = node["pack"].clone();
    let exists = |pack: &Value| reader.transaction(Tid(pack[0].as_u64().unwrap())).unwrap();
    expected.as_array_mut().unwrap().retain(|pack| exists(pack).is_some());
    assert_eq!(packs.collect::<Value>(), expected);

    let statistics = reader.data_statistics().unwrap();
    assert_eq!(statistics.rows, count("data"));
    // They count as orphans those that votes refer to.
    let voted = node["tobj"].as_array().map_or(0, Vec::len) as u64;
    assert_eq!(statistics.orphans + voted, node["orphan_data_rows"].as_u64().unwrap());
}

fn check_record(reader: &dyn Reader, tid: Tid, record: &Value) {
    let oid = Oid(hex(&record["oid"]));
    let found = reader.load(oid, Revision::At(tid)).unwrap();
    if record.get("record").is_some_and(Value::is_null) {
        assert!(matches!(found, Loaded::NoRevision | Loaded::NoObject), "{oid} {tid}");
        return;
    }
    let Loaded::Found(ObjectRevision { data, value_tid, next_tid, .. }) = found else {
        panic!("{oid} at {tid}: {found:?}");
    };
    assert_eq!(value_tid.map(|tid| tid.to_string()), text(&record["value_tid"]));
    if record.get("deleted").is_some() {
        assert_eq!(data, None);
    } else {
        let data = data.unwrap();
        assert_eq!(Some(data.checksum.to_string()), text(&record["stored_sha1"]));
        assert_eq!(Digest::of(&data.data), data.checksum);
        assert_eq!(data.data.len() as u64, record["stored_size"].as_u64().unwrap());
        assert_eq!(u64::from(data.compression), record["compression"].as_u64().unwrap());
    }
    // The next revision is the one that does not find anything in between.
    if let Some(next) = next_tid {
        let before = reader.load(oid, Revision::Before(next)).unwrap();
        assert!(matches!(before, Loaded::Found(revision) if revision.tid == tid));
    } else {
        assert_eq!(reader.last_serial(oid).unwrap(), Some(tid));
    }
}

fn check_transaction(reader: &dyn Reader, transaction: &Value) {
    let tid = Tid(hex(&transaction["tid"]));
    let oids = transaction["oids"].as_array().unwrap();
    let expected = TransactionInfo {
        tid,
        ttid: Ttid(hex(&transaction["ttid"])),
        packed: transaction["packed"].as_bool().unwrap(),
        user: bytes(&transaction["user_hex"]).into(),
        description: bytes(&transaction["description_hex"]).into(),
        extension: bytes(&transaction["extension_hex"]).into(),
        oids: oids.iter().map(|oid| Oid(hex(oid))).collect(),
    };
    assert_eq!(reader.final_tid(expected.ttid).unwrap(), Some(tid));
    assert_eq!(reader.transaction(tid).unwrap(), Some(expected));
    for record in transaction["records"].as_array().unwrap() {
        check_record(reader, tid, record);
    }
}

fn check_unfinished(reader: &dyn Reader, node: &Value) {
    let mut expected = BTreeMap::new();
    let none = Vec::new();
    for row in node["tobj"].as_array().unwrap_or(&none) {
        expected.insert(Ttid(hex(&row["ttid"])), None);
    }
    for row in node["ttrans"].as_array().unwrap_or(&none) {
        let tid = row["tid"].as_str().map(|_| Tid(hex(&row["tid"])));
        expected.insert(Ttid(hex(&row["ttid"])), tid);
    }
    assert_eq!(reader.unfinished().unwrap(), expected);
}

#[test]
fn everything_is_read_as_it_was_written() {
    let expected = expected();
    let mut databases = 0;
    for (folder, entry) in expected.as_object().unwrap() {
        let directory = copy(folder);
        let partitions = u32::try_from(entry["partitions"].as_u64().unwrap()).unwrap();
        for (place, node) in entry["nodes"].as_array().unwrap().iter().enumerate() {
            let file = format!("s{}.sqlite", place + 1);
            if !directory.path().join(&file).exists() {
                continue;
            }
            databases += 1;
            let writer = open(&directory, &file);
            let reader = writer.reader().unwrap();
            check_node(&*reader, node, partitions);
            check_unfinished(&*reader, node);
            let base = ["same_transactions_as", "base"]
                .into_iter()
                .find_map(|key| entry.get(key).and_then(Value::as_str));
            let transactions = match base {
                Some(base) => &expected[base]["transactions"],
                None => &entry["transactions"],
            };
            for transaction in transactions.as_array().unwrap_or(&Vec::new()) {
                check_transaction(&*reader, transaction);
            }
        }
    }
    assert_eq!(databases, 10);
}

#[test]
fn a_killed_node_recovers() {
    let expected = &expected()["sqlite-killed"];
    let recovery = &expected["after_recovery"];
    let directory = copy("sqlite-killed");
    let mut writer = open(&directory, "s1.sqlite");
    let ttid = Ttid(hex(&recovery["committed"]["ttid"]));
    let tid = Tid(hex(&recovery["committed"]["tid"]));
    writer.run(vec![WriteJob::Validate { ttid, tid }]).unwrap();
    let left = Ttid(hex(&expected["unfinished"]["T1"]["ttid"]));
    let reader = writer.reader().unwrap();
    assert_eq!(reader.unfinished().unwrap(), BTreeMap::from([(left, None)]));
    writer.run(vec![WriteJob::DropUnfinished]).unwrap();
    assert_eq!(reader.unfinished().unwrap(), BTreeMap::new());
    check_transaction(&*reader, &recovery["records"]);
    for ttid in recovery["dropped"].as_array().unwrap() {
        assert_eq!(reader.final_tid(Ttid(hex(ttid))).unwrap(), None);
    }
    // The Python NEO left one row of a transaction that was never voted.
    let statistics = reader.data_statistics().unwrap();
    assert_eq!(Value::from(statistics.orphans), recovery["orphan_data_rows_left_by_reference"]);
    let repair = |dry_run| WriteJob::PruneOrphans { min: DataId(0), limit: u32::MAX, dry_run };
    for (dry_run, found, left) in [(true, 1, 1), (false, 1, 0), (true, 0, 0)] {
        let pruned = writer.run(vec![repair(dry_run)]).unwrap();
        assert_eq!(pruned, [Ok(JobOutput::Pruned { orphans: found, next: None })]);
        assert_eq!(reader.data_statistics().unwrap().orphans, left);
    }
}

#[test]
fn a_truncation_that_was_decided_is_done() {
    let expected = &expected()["truncate-pending"];
    let last = Tid(hex(&expected["truncate"]["truncate_tid"]));
    for file in ["s1.sqlite", "s2.sqlite"] {
        let directory = copy("truncate-pending");
        let mut writer = open(&directory, file);
        let reader = writer.reader().unwrap();
        let all: Vec<_> = (0..4).map(Partition).collect();
        let mut tids = reader.tids(&all, 0, u64::MAX).unwrap();
        writer.run(vec![WriteJob::Truncate]).unwrap();
        tids.retain(|tid| *tid <= last);
        assert_eq!(reader.tids(&all, 0, u64::MAX).unwrap(), tids);
        assert_eq!(reader.last_ids(&all).unwrap().last_tid, Some(last));
        assert_eq!(reader.configuration().unwrap().truncate_tid, None);
        assert_eq!(reader.data_statistics().unwrap().orphans, 0);
    }
}

#[test]
fn stale_pack_orders_are_forgotten_at_the_start_of_operation() {
    let directory = copy("stale-pack-order");
    let mut writer = open(&directory, "s1.sqlite");
    let reader = writer.reader().unwrap();
    let partitions: Vec<_> = (0..3).map(Partition).collect();
    let orders = reader.pack_orders(Tid::ZERO, &partitions).unwrap();
    assert_eq!(orders.len(), 1);
    assert!(reader.transaction(orders[0].tid).unwrap().is_some());
    writer.run(vec![WriteJob::DropUnfinished]).unwrap();
    assert_eq!(reader.pack_orders(Tid::ZERO, &partitions).unwrap(), orders);
    drop(reader);
    Box::new(writer).close().unwrap();
    let database = rusqlite::Connection::open(directory.path().join("s1.sqlite")).unwrap();
    let rows = database.query_row("SELECT tid FROM pack", [], |row| row.get(0));
    assert_eq!(rows, Ok(orders[0].tid.0 as i64));
    let count = database.query_row("SELECT count(*) FROM pack", [], |row| row.get(0));
    assert_eq!(count, Ok(1));
}
