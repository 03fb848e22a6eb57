//! Our client between the recorded master and storage. What the application called is deduced from
//! what the recorded client asked.

use std::collections::{BTreeMap, BTreeSet};

use neo_core::client::api::{
    Answer, CallId, Content, Effect, Event, Metadata, Request, TransactionKey, Write,
};
use neo_core::client::{Client, Config};
use neo_core::io::Entropy;
use neo_wire::packet::StoredData;
use neo_wire::{Address, Digest, Message, Oid, Packet, Ttid};

use crate::mapping::Mapping;
use crate::player::{Player, Track, check};
use crate::stream::{self, What};

/// Calls of the application, one by one.
#[derive(Default)]
struct Calls {
    count: u64,
    /// When a storage was connected: for what is asked of it next.
    connected_s: Option<f64>,
    /// Transactions that were begun, by the msg_id of the request, then by their TTID.
    begun: BTreeMap<u32, TransactionKey>,
    transactions: BTreeMap<Ttid, TransactionKey>,
    written: BTreeSet<(Ttid, Oid)>,
    made: Vec<(f64, Event)>,
}

impl Calls {
    fn call(&mut self, time_s: f64, request: Request) {
        self.count += 1;
        let time_s = self.connected_s.take().unwrap_or(time_s);
        let event = Event::Call { call: CallId(self.count), request: Box::new(request) };
        self.made.push((time_s, event));
    }

    fn write(&mut self, time_s: f64, ttid: Ttid, write: Write) {
        let transaction = self.transactions[&ttid];
        if !self.written.insert((ttid, write.oid)) {
            // The application was told about a conflict, and resolved it.
            self.call(time_s, Request::Flush { transaction });
        }
        self.call(time_s, Request::Write { transaction, write });
    }

    /// Learns from what the master answered.
    fn heard(&mut self, message: &Message) {
        if let (Packet::AnswerBeginTransaction { ttid }, Some(msg_id)) =
            (&message.packet, message.msg_id)
            && let Some(key) = self.begun.get(&msg_id)
        {
            self.transactions.insert(*ttid, *key);
        }
    }

    fn asked(&mut self, time_s: f64, message: Message) {
        match message.packet {
            Packet::Ping {} => self.call(time_s, Request::Sync),
            packet @ (Packet::AskNewOIDs { .. }
            | Packet::WaitForPack { .. }
            | Packet::AskPackOrders { .. }) => self.call(time_s, Request::Master { packet }),
            Packet::AskBeginTransaction { tid } => {
                let transaction = TransactionKey(time_s.to_bits());
                self.begun.extend(message.msg_id.map(|msg_id| (msg_id, transaction)));
                self.call(time_s, Request::Begin { transaction, tid });
            }
            Packet::AskStoreObject {
                oid,
                serial,
                compression,
                checksum,
                data,
                data_serial,
                ttid,
            } => {
                let record = data.clone();
                let content = match checksum {
                    Digest::ZERO => Content::Deleted,
                    _ => {
                        Content::Data { stored: StoredData { compression, checksum, data }, record }
                    }
                };
                self.write(time_s, ttid, Write { oid, base: serial, content, data_serial });
            }
            Packet::AskCheckCurrentSerial { ttid, oid, serial } => {
                let content = Content::Checked;
                self.write(time_s, ttid, Write { oid, base: serial, content, data_serial: None });
            }
            Packet::AskStoreTransaction { ttid, user, description, extension, pack, .. } => {
                let transaction = self.transactions[&ttid];
                if let Some(pack) = pack {
                    self.call(time_s, Request::Pack { transaction, pack });
                }
                let metadata = Metadata { user, description, extension };
                self.call(time_s, Request::Vote { transaction, metadata });
            }
            Packet::AskFinishTransaction { ttid, .. } => {
                let transaction = self.transactions[&ttid];
                self.call(time_s, Request::Finish { transaction });
            }
            // The one to the master follows by itself.
            Packet::AbortTransaction { ttid, nids } if nids.is_empty() => {
                let transaction = self.transactions[&ttid];
                self.made.push((time_s, Event::Abort { transaction }));
            }
            packet => {
                let key = match &packet {
                    Packet::AskObject { oid, .. } | Packet::AskObjectHistory { oid, .. } => oid.0,
                    Packet::AskTransactionInformation { tid } => tid.0,
                    Packet::AskTIDs { .. } | Packet::AskTIDsFrom { .. } => 0,
                    Packet::AskOIDsFrom { partition, .. } => partition.0.into(),
                    Packet::AskObjectUndoSerial { oids, .. } => oids[0].0,
                    _ => return,
                };
                self.call(time_s, Request::Read { key, packet, except: Vec::new() });
            }
        }
    }
}

/// What the application did.
fn calls(tracks: &[(&str, f64)]) -> Vec<(f64, Event)> {
    let mut events = Vec::new();
    for (name, offset_s) in tracks {
        events.extend(stream::load(name).into_iter().map(|event| (event.time_s + offset_s, event)));
    }
    events.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut calls = Calls::default();
    for (time_s, event) in events {
        match event.what {
            What::Message(message) if event.from == "client" => calls.asked(time_s, message),
            What::Message(message) => calls.heard(&message),
            What::Open if calls.made.is_empty() => calls.call(time_s, Request::Connect),
            What::Open => calls.connected_s = Some(time_s),
            _ => {}
        }
    }
    calls.made
}

/// The application publishes at once.
fn effect(effect: Effect) -> Vec<Event> {
    match effect {
        Effect::Publish(_) | Effect::Return { result: Ok(Answer::Finished { .. }), .. } => {
            vec![Event::Published]
        }
        Effect::Return { .. } => Vec::new(),
    }
}

/// A client between a master and a storage; what is different.
fn play(recorded: &[(&'static str, f64)]) -> Vec<String> {
    let config = Config {
        cluster: "vec".into(),
        masters: vec![Address { host: "127.0.0.1".into(), port: 1 }],
        read_only: false,
        write_buffer: 1 << 20,
        max_reconnections: None,
    };
    let client = Client::new(config, Entropy::new(1));
    let tracks =
        recorded.iter().map(|(name, offset_s)| Track::new(name, "client", *offset_s)).collect();
    // A client chooses no identifier.
    let player = Player::new(client, Mapping::new(&[]), tracks, effect).calling(calls(recorded));
    player.play()
}

#[test]
fn a_client_that_reads_undoes_packs_and_is_in_conflict() {
    // The only abort travels to the storage before it does to the master, and its begin is answered
    // before its store.
    let recorded = [("client-master-extended", 0.0), ("client-storage-extended", 0.005)];
    let listed = [(
        "oids: [Oid(0000000000000000), Oid(0000000000000067)], deleted: []",
        "other clients must know that a creation was undone (spec client.md 14, D-14)",
    )];
    check(&play(&recorded), &listed);
}

#[test]
fn a_client_of_one_storage() {
    // Its stores follow the begins, and the votes come before the finishes, on the other link.
    let recorded = [("client-master", 0.0), ("client-storage", 0.0241)];
    check(&play(&recorded), &[]);
}
