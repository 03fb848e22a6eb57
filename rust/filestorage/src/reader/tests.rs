use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::{Value, Writer};

/// A record of the model: the object, and the age of the revision to go back to, data or nothing.
#[derive(Debug, Clone)]
enum Step {
    Data(u64, Vec<u8>),
    Back(u64, usize),
    Nothing(u64),
}

type Read = Vec<(Transaction, Vec<Record>)>;

fn steps() -> impl Strategy<Value = Vec<Vec<Step>>> {
    let bytes = prop::collection::vec(any::<u8>(), 1..40);
    let step = prop_oneof![
        4 => (0u64..6, bytes).prop_map(|(oid, data)| Step::Data(oid, data)),
        2 => (0u64..6, 0usize..4).prop_map(|(oid, age)| Step::Back(oid, age)),
        1 => (0u64..6).prop_map(Step::Nothing),
    ];
    prop::collection::vec(prop::collection::vec(step, 0..5), 0..12)
}

/// Writes the steps; returns what is expected of a reader.
fn write(writer: &mut Writer, transactions: &[Vec<Step>], first: u64) -> Vec<(Tid, Vec<Record>)> {
    let mut revisions: BTreeMap<Oid, Vec<(Tid, Option<Bytes>)>> = BTreeMap::new();
    let mut expected = Vec::new();
    for (number, steps) in transactions.iter().enumerate() {
        let tid = Tid(first + number as u64);
        writer.begin(tid, Status::Normal, (b"user", b"", &[number as u8; 3])).unwrap();
        let mut records: Vec<Record> = Vec::new();
        for step in steps {
            let (Step::Data(oid, _) | Step::Back(oid, _) | Step::Nothing(oid)) = step;
            let oid = Oid(*oid);
            if records.iter().any(|record| record.oid == oid) {
                continue;
            }
            let known = revisions.entry(oid).or_default();
            let previous = known.last().map(|(tid, _)| *tid);
            let content = match step {
                Step::Data(_, data) => Content::Data(Bytes::from(data.clone())),
                Step::Back(_, age) if !known.is_empty() => {
                    let (tid, data) = known[known.len().saturating_sub(age + 1)].clone();
                    Content::Back { tid, data }
                }
                _ => Content::Nothing,
            };
            let (value, data) = match &content {
                Content::Data(data) => (Value::Data(data), Some(data.clone())),
                Content::Back { tid, data } => {
                    (Value::Back { tid: *tid, data: data.as_deref() }, data.clone())
                }
                Content::Nothing => (Value::Nothing, None),
            };
            writer.record(oid, value).unwrap();
            known.push((tid, data));
            records.push(Record { oid, previous, content });
        }
        writer.finish().unwrap();
        expected.push((tid, records));
    }
    writer.sync().unwrap();
    expected
}

fn read(bytes: &[u8]) -> Result<(Read, Option<Tail>), Error> {
    let mut reader = Reader::new(bytes)?;
    let mut all = Vec::new();
    while let Some(transaction) = reader.next_transaction()? {
        let mut records = Vec::new();
        while let Some(record) = reader.next_record()? {
            records.push(record);
        }
        all.push((transaction, records));
    }
    Ok((all, reader.tail().cloned()))
}

fn contents(read: Read) -> Vec<(Tid, Vec<Record>)> {
    read.into_iter().map(|(transaction, records)| (transaction.tid, records)).collect()
}

fn create(folder: &tempfile::TempDir) -> Writer {
    let path = folder.path().join("Data.fs");
    Writer::open::<Error>(&path, |_, _| Ok(())).unwrap().0
}

fn written(folder: &tempfile::TempDir) -> Vec<u8> {
    std::fs::read(folder.path().join("Data.fs")).unwrap()
}

/// Three transactions, with their ends.
fn example() -> (Vec<u8>, Vec<u64>) {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = create(&folder);
    let data = |oid| Step::Data(oid, vec![7; 20]);
    write(&mut writer, &[vec![data(1), data(2)], vec![data(3)], vec![Step::Back(1, 0)]], 10);
    drop(writer);
    let mut ends = Vec::new();
    let path = folder.path().join("Data.fs");
    Writer::open::<Error>(&path, |_, end| {
        ends.push(end);
        Ok(())
    })
    .unwrap();
    (written(&folder), ends)
}

proptest! {
    #[test]
    fn what_is_written_is_read(first in steps(), then in steps()) {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = create(&folder);
        let expected = write(&mut writer, &first, 1000);
        drop(writer);
        prop_assert_eq!(&contents(read(&written(&folder)).unwrap().0), &expected);
        // Continued: pointers lead to what was there before.
        let mut writer = create(&folder);
        let more: Vec<_> = then.iter().map(|steps| steps.iter().filter(|step| {
            matches!(step, Step::Data(..))
        }).cloned().collect()).collect();
        write(&mut writer, &more, 2000);
        drop(writer);
        let (all, tail) = read(&written(&folder)).unwrap();
        prop_assert_eq!(tail, None);
        let mut last: BTreeMap<Oid, Tid> = BTreeMap::new();
        for (transaction, records) in all {
            for record in records {
                prop_assert_eq!(record.previous, last.insert(record.oid, transaction.tid));
            }
        }
    }

    #[test]
    fn a_file_cut_anywhere_gives_whole_transactions(
        steps in steps(), cut in any::<prop::sample::Index>(),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = create(&folder);
        let expected = write(&mut writer, &steps, 1000);
        drop(writer);
        let bytes = written(&folder);
        let cut = 4 + cut.index(bytes.len() - 3);
        let (all, tail) = read(&bytes[..cut]).unwrap();
        let kept = all.len();
        prop_assert_eq!(&contents(all)[..], &expected[..kept]);
        prop_assert!(kept == expected.len() || cut < bytes.len());
        if let Some(tail) = tail {
            prop_assert_eq!(tail.position + tail.length, cut as u64);
        }
    }

    #[test]
    fn a_wrong_byte_never_gives_something_else_silently(at in 4usize..400, value in any::<u8>()) {
        let (bytes, _) = example();
        let expected = read(&bytes).unwrap().0;
        let mut wrong = bytes.clone();
        let at = at % bytes.len();
        wrong[at] = value;
        // Data and texts have no checksum: only the structure is.
        if let Ok((all, tail)) = read(&wrong) {
            prop_assert!(all.len() == expected.len() || tail.is_some());
        }
    }
}

#[test]
fn a_damaged_file_tells_where() {
    let (bytes, ends) = example();
    let second = ends[0] as usize;
    for (offset, reason) in [
        (15, "a transaction of"),
        (16, "invalid status"),
        (0, "transaction"),
        (23 + 7 + 8 + 7, "a record of another transaction"),
    ] {
        let mut wrong = bytes.clone();
        wrong[second + offset] = if offset == 0 { 0 } else { wrong[second + offset] ^ 0x40 };
        if offset == 0 {
            wrong[second + 7] = 1;
        }
        let mut reader = Reader::new(&wrong[..]).unwrap();
        assert!(reader.next_transaction().unwrap().is_some());
        let mut next = || -> Result<(), Error> {
            reader.next_transaction()?;
            reader.next_record()?;
            Ok(())
        };
        let Err(Error::Damaged(damage)) = next() else { panic!("{reason}: not seen") };
        assert!(damage.position >= ends[0] && damage.position < ends[1], "{damage}");
        assert!(damage.reason.contains(reason), "{damage}");
    }
}

#[test]
fn what_follows_the_last_transaction_is_ignored() {
    let (bytes, ends) = example();
    let mut voted = bytes.clone();
    voted[ends[1] as usize + 16] = b'c';
    let zeros = [&bytes[..ends[1] as usize], &[0; 3000][..]].concat();
    for (bytes, reason) in [
        (voted, "transaction that was not committed"),
        (zeros, "zeros"),
        (bytes[..bytes.len() - 1].to_vec(), "truncated transaction"),
    ] {
        let (all, tail) = read(&bytes).unwrap();
        assert_eq!(all.len(), 2, "{reason}");
        let tail = tail.unwrap();
        assert_eq!((tail.position, tail.reason), (ends[1], reason));
    }
}

#[test]
fn an_unfinished_transaction_is_cut_off_and_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = create(&folder);
    write(&mut writer, &[vec![Step::Data(1, vec![1; 9])]], 10);
    writer.begin(Tid(11), Status::Normal, (b"", b"", b"")).unwrap();
    writer.record(Oid(1), Value::Data(&vec![2; 3 << 20])).unwrap();
    drop(writer);
    assert_eq!(read(&written(&folder)).unwrap().0.len(), 1);
    let path = folder.path().join("Data.fs");
    let (mut writer, appended) = Writer::open::<Error>(&path, |_, _| Ok(())).unwrap();
    assert_eq!((appended.transactions, appended.tail.is_some()), (1, true));
    // One that is longer than what is written at once.
    writer.begin(Tid(12), Status::Packed, (b"", b"", b"")).unwrap();
    writer.record(Oid(1), Value::Data(&vec![3; 3 << 20])).unwrap();
    writer.record(Oid(2), Value::Back { tid: Tid(5), data: Some(b"packed") }).unwrap();
    writer.finish().unwrap();
    assert!(matches!(
        writer.begin(Tid(12), Status::Normal, (b"", b"", b"")),
        Err(Error::NotNewer { .. })
    ));
    writer.sync().unwrap();
    let (all, tail) = read(&written(&folder)).unwrap();
    assert_eq!((all.len(), tail), (2, None));
    assert_eq!(all[1].0.status, Status::Packed);
    assert_eq!(all[1].1[0].previous, Some(Tid(10)));
    assert_eq!(all[1].1[1].content, Content::Data(Bytes::from_static(b"packed")));
}

#[test]
fn two_writers_exclude_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let writer = create(&folder);
    let path = folder.path().join("Data.fs");
    assert!(matches!(Writer::open::<Error>(&path, |_, _| Ok(())), Err(Error::Locked)));
    drop(writer);
    create(&folder);
}

#[test]
fn anything_else_is_not_a_filestorage() {
    for bytes in [&b"PK\x03\x04 and more"[..], b"FS"] {
        assert!(matches!(Reader::new(bytes), Err(Error::NotAFileStorage)));
    }
    assert!(read(b"").unwrap().0.is_empty());
    assert!(Reader::new(&b"FS21"[..]).unwrap().is_python_2());
}
