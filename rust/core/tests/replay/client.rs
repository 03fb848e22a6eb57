//! Our client between the recorded master and storage. What the application called is deduced from
//! what the recorded client asked.

use std::collections::BTreeMap;

use neo_core::client::api::{
    Answer, CallId, Content, Effect, Event, Metadata, Request, TransactionKey, Write,
};
use neo_core::client::{Client, Config};
use neo_core::io::Entropy;
use neo_wire::packet::StoredData;
use neo_wire::{Address, Digest, Message, Packet, Ttid};

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
            packet @ Packet::AskNewOIDs { .. } => self.call(time_s, Request::Master { packet }),
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
            Packet::AskStoreTransaction { ttid, user, description, extension, .. } => {
                let transaction = self.transactions[&ttid];
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

#[test]
fn a_client_of_one_storage() {
    // Its stores follow the begins, and the votes come before the finishes, on the other link.
    let recorded = [("client-master", 0.0), ("client-storage", 0.0241)];
    let config = Config {
        cluster: "vec".into(),
        masters: vec![Address { host: "127.0.0.1".into(), port: 1 }],
        read_only: false,
        write_buffer: 1 << 20,
        max_reconnections: None,
    };
    let client = Client::new(config, Entropy::new(1));
    let tracks = recorded.map(|(name, offset_s)| Track::new(name, "client", offset_s)).into();
    // A client chooses no identifier.
    let player = Player::new(client, Mapping::new(&[]), tracks, effect).calling(calls(&recorded));
    check(&player.play(), &[]);
}
