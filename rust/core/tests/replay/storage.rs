//! Our storage, on the model of a database, between the recorded master and a client.

use neo_core::storage::{Config, Effect, Event, Storage};
use neo_store::Writer;
use neo_store::memory::MemoryDisk;
use neo_wire::{Address, Packet, Text, Value};

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

#[test]
fn a_storage_from_its_creation_to_undo() {
    let tracks = vec![
        Track::new("storage-master", "storage", 0.0),
        // The client is announced at 7.054 s; its fourth vote comes between two locks.
        Track::new("client-storage", "storage", 7.072),
    ];
    let told = ("lacks", "the recorded storage did everything");
    check(&play(device_path("storage-master"), 17020, tracks), &[told]);
}
