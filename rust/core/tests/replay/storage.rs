//! Our storage, on the model of a database, between the recorded master and a client.

use neo_core::storage::{Config, Effect, Event, Storage};
use neo_store::Writer;
use neo_store::memory::MemoryDisk;
use neo_wire::{Address, NodeType, Packet, Text, Value};

use crate::mapping::Mapping;
use crate::player::{Player, Track, check};
use crate::stream::{self, What};

/// Where the recorded storage was.
fn device_path(name: &str) -> Vec<Text> {
    for event in stream::load(name) {
        if let What::Message(message) = event.what
            && let Packet::RequestIdentification { extra, .. } = message.packet
        {
            let Some(Value::Array(path)) = extra.get(&Text::from("devpath")).cloned() else {
                break;
            };
            let level = |value| match value {
                Value::Bin(level) => level,
                other => panic!("{other:?}"),
            };
            return path.into_iter().map(level).collect();
        }
    }
    panic!("{name} has no identification");
}

/// A storage chooses no identifier: what it sends must be what was recorded.
fn play(device_path: Vec<Text>, port: u16, tracks: Vec<Track>) -> Vec<String> {
    let disk = MemoryDisk::new();
    let mut writer = disk.open().unwrap();
    let reader = writer.reader().unwrap();
    let address = |port| Address { host: "127.0.0.1".into(), port };
    let config = Config {
        cluster: "vec".into(),
        masters: vec![address(1)],
        address: address(port),
        device_path,
        nid: None,
        disable_pack: false,
        memory_limit: 1 << 20,
    };
    let storage = Storage::new(config, &reader.configuration().unwrap(), reader.table().unwrap());
    let effects = move |effect| match effect {
        Effect::Write { ticket, jobs } => {
            let results = writer.run(jobs).unwrap();
            vec![Event::Written { ticket, results }]
        }
        Effect::Read { ticket, query } => {
            let answer = reader.answer(&query).unwrap();
            vec![Event::Answered { ticket, answer }]
        }
        Effect::SaveMasters(_) => Vec::new(),
    };
    Player::new(storage, Mapping::new(&[]), tracks, effects).play()
}

const TOLD: (&str, &str) = ("lacks", "the recorded storage did everything");

#[test]
fn a_storage_from_its_creation_to_undo() {
    let tracks = vec![
        Track::new("storage-master", "storage", 0.0),
        // The client is announced at 7.054 s; its fourth vote comes between two locks.
        Track::new("client-storage", "storage", 7.072),
    ];
    check(&play(device_path("storage-master"), 17020, tracks), &[TOLD]);
}

/// What the master told the storage while it served a client, deduced from what it told the client.
fn master_of(client_stream: &str, offset_s: f64) -> Vec<(f64, Packet)> {
    let mut said = Vec::new();
    let mut packs = Vec::new();
    for event in stream::load(client_stream).into_iter().filter(|event| event.conn == 0) {
        let time_s = event.time_s + offset_s;
        let What::Message(message) = event.what else { continue };
        match message.packet {
            // The client itself; it identifies later.
            Packet::NotifyNodeInformation { timestamp, mut nodes } => {
                nodes.retain(|node| node.node_type == NodeType::Client);
                said.push((time_s, Packet::NotifyNodeInformation { timestamp, nodes }));
            }
            Packet::AbortTransaction { ttid, .. } => {
                said.push((time_s, Packet::AbortTransaction { ttid, nids: Vec::new() }));
            }
            Packet::AskFinishTransaction { ttid, pack: Some(_), .. } => packs.push(ttid),
            Packet::AnswerTransactionFinished { ttid, tid } => {
                let pack = packs.contains(&ttid);
                said.push((time_s - 0.002, Packet::AskLockInformation { ttid, tid, pack }));
                said.push((time_s - 0.001, Packet::NotifyUnlockInformation { ttid }));
                if pack {
                    let signed = Packet::NotifyPackSigned { approved: vec![tid], rejected: vec![] };
                    said.push((time_s, signed));
                }
            }
            _ => {}
        }
    }
    said
}

/// The first order that the storage does not know, out of those that a client was told.
fn next_pack_order(asked: &Packet) -> Option<Packet> {
    let Packet::AskPackOrders { min_id } = asked else { return None };
    let told = stream::load("client-master-extended").into_iter().find_map(|event| {
        let What::Message(message) = event.what else { return None };
        let Packet::AnswerPackOrders { orders } = message.packet else { return None };
        Some(orders)
    });
    let next = told?.into_iter().find(|order| order.tid >= *min_id);
    Some(Packet::AnswerPackOrders { orders: next.into_iter().collect() })
}

#[test]
fn a_storage_that_is_read_undone_packed_and_in_deadlock() {
    let offset_s = 13.766;
    let tracks = vec![
        Track::new("storage-master", "storage", 0.0)
            .then("master", master_of("client-master-extended", offset_s))
            .answering(next_pack_order),
        Track::new("client-storage", "storage", 7.072),
        Track::new("client-storage-extended", "storage", offset_s + 0.005),
    ];
    let reason = "the link to the master was not recorded for so long";
    let listed = [
        TOLD,
        ("not recorded: AnswerInformationLocked", reason),
        ("not recorded: AskPackOrders", reason),
        ("not recorded: NotifyPackCompleted", reason),
    ];
    check(&play(device_path("storage-master"), 17020, tracks), &listed);
}
