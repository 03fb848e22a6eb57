//! Our master among the recorded nodes of its cluster.

use std::cell::RefCell;

use neo_core::io::Entropy;
use neo_core::master::{Master, MasterConfig};
use neo_wire::{
    Address, Cell, CellState, ClusterState, Map, NodeId, NodeType, Oid, OidList, PackOrder, Packet,
    Ptid, Text, Tid, Value,
};

use crate::mapping::Mapping;
use crate::player::{Player, Track, check};

fn address(port: u16) -> Address {
    Address { host: "127.0.0.1".into(), port }
}

/// The recorded masters had 2 partitions.
fn config(cluster: &str, port: u16, autostart: u32, replicas: u32) -> MasterConfig {
    let mut config = MasterConfig::new(cluster.into(), address(port));
    (config.partitions, config.replicas, config.autostart) = (2, replicas, autostart);
    config
}

/// A master chooses TIDs and times.
fn play(config: MasterConfig, tracks: Vec<Track>) -> Vec<String> {
    let mapping = Mapping::new(&["tid", "ttid", "f64"]);
    let master = Master::new(config, Entropy::new(1));
    Player::new(master, mapping, tracks, |_| Vec::new()).play()
}

fn identify(node_type: NodeType, port: u16, cluster: &str, extra: Map<Text, Value>) -> Packet {
    Packet::RequestIdentification {
        node_type,
        nid: None,
        address: Some(address(port)),
        cluster: cluster.into(),
        id_timestamp: None,
        extra,
    }
}

/// An empty storage that nobody recorded.
fn storage(name: &'static str, cluster: &str, port: u16, time_s: f64) -> Track {
    let extra = Map(vec![("new_nid".into(), Value::Array(Vec::new()))]);
    let identify = identify(NodeType::Storage, port, cluster, extra);
    Track::unrecorded(name, vec![(time_s, identify)]).answering(new_storage)
}

fn new_storage(packet: &Packet) -> Option<Packet> {
    Some(match packet {
        Packet::AskRecovery {} => {
            Packet::AnswerRecovery { ptid: None, backup_tid: None, truncate_tid: None }
        }
        Packet::AskLockedTransactions {} => {
            Packet::AnswerLockedTransactions { transactions: Map::default() }
        }
        Packet::AskLastIDs {} => {
            Packet::AnswerLastIDs { last_tid: None, last_oid: None, first_tid: Tid::MAX }
        }
        Packet::AskPackOrders { .. } => Packet::AnswerPackOrders { orders: Vec::new() },
        Packet::StartOperation { .. } => Packet::NotifyReady {},
        Packet::AskLockInformation { ttid, .. } => Packet::AnswerInformationLocked { ttid: *ttid },
        _ => return None,
    })
}

/// A storage that joins a cluster in service is asked what it has, in case it missed a truncation
/// or belongs to another history (spec master.md 8.2).
const JOINING: (&str, &str) =
    ("not recorded: AskRecovery", "joining storages are asked what they have");

/// Somebody came when the recording of somebody else had ended, or was cut.
const TOLD: (&str, &str) = ("not recorded: NotifyNodeInformation", "others are told who comes");

/// The Python NEO sends the OIDs of a partial pack as storages have them, in one bin (spec
/// protocol.md 5.10).
const PACKED_OIDS: (&str, &str) = ("sent AnswerPackOrders", "OIDs are a list");

fn empty(packet: &Packet) -> Option<Packet> {
    matches!(packet, Packet::AskRecovery {}).then_some(Packet::AnswerRecovery {
        ptid: None,
        backup_tid: None,
        truncate_tid: None,
    })
}

fn cluster() -> Vec<Track> {
    vec![
        Track::new("storage-master", "master", 0.0),
        Track::new("admin-master", "master", 0.016),
        Track::new("client-master", "master", 7.047),
    ]
}

#[test]
fn a_whole_cluster() {
    check(&play(config("vec", 17010, 0, 0), cluster()), &[]);
}

#[test]
fn a_client_when_others_are_not_recorded_any_more() {
    let mut tracks = cluster();
    tracks.push(Track::new("client-master-extended", "master", 13.767).until(6));
    check(&play(config("vec", 17010, 0, 0), tracks), &[TOLD]);
}

/// The storage of the cluster of `client-master-extended`: its recording ends before. It completes
/// packs at once.
#[derive(Default)]
struct KnownStorage {
    /// What was locked, and which of it carries a pack order.
    locked: RefCell<Vec<(Tid, bool)>>,
}

impl KnownStorage {
    fn answer(&self, packet: &Packet) -> Option<Packet> {
        let cell = |nid| Cell { nid, state: CellState::UpToDate };
        let rows = vec![vec![cell(NodeId::new(NodeType::Storage, 1))]; 2];
        let (ptid, last_tid) = (Ptid(2), Tid(0x040d_30b8_7b0f_6211));
        Some(match packet {
            Packet::AskRecovery {} => {
                Packet::AnswerRecovery { ptid: Some(ptid), backup_tid: None, truncate_tid: None }
            }
            Packet::AskPartitionTable {} => {
                Packet::AnswerPartitionTable { ptid, num_replicas: 0, rows }
            }
            Packet::AskLastIDs {} => Packet::AnswerLastIDs {
                last_tid: Some(last_tid),
                last_oid: Some(Oid(0x64)),
                first_tid: last_tid,
            },
            Packet::AskLockInformation { tid, pack, .. } => {
                self.locked.borrow_mut().push((*tid, *pack));
                return new_storage(packet);
            }
            Packet::NotifyPackSigned { approved, .. } => {
                Packet::NotifyPackCompleted { tid: *approved.last()? }
            }
            Packet::AskPackOrders { .. } => Packet::AnswerPackOrders { orders: self.orders() },
            packet => return new_storage(packet),
        })
    }

    /// The first one is partial. Each packs up to the transaction before it.
    fn orders(&self) -> Vec<PackOrder> {
        let locked = self.locked.borrow();
        let orders = locked.windows(2).filter(|pair| pair[1].1);
        let order = |(i, pair): (usize, &[(Tid, bool)])| PackOrder {
            tid: pair[1].0,
            approved: Some(true),
            partial: i == 0,
            oids: (i == 0).then(|| OidList::Concatenated(vec![Oid(0x65), Oid(0x66)])),
            pack_tid: pair[0].0,
        };
        orders.enumerate().map(order).collect()
    }
}

#[test]
fn a_client_that_packs_and_imports() {
    let mut identify = identify(NodeType::Storage, 17020, "vec", Map::default());
    if let Packet::RequestIdentification { nid, .. } = &mut identify {
        *nid = Some(NodeId::new(NodeType::Storage, 1));
    }
    let known = KnownStorage::default();
    let storage = Track::unrecorded("storage", vec![(10.0, identify)])
        .answering(move |packet| known.answer(packet));
    // A little before it was recorded, so that the TID that the client imposes is after ours.
    let tracks = vec![storage, Track::new("client-master-extended", "master", 13.5)];
    check(&play(config("vec", 17010, 0, 0), tracks), &[PACKED_OIDS]);
}

#[test]
fn two_storages() {
    let tracks = vec![
        Track::new("storage-master-operations", "master", 0.0),
        storage("other storage", "vec", 17021, 1.3168),
        Track::new("admin-master-operations", "master", 1.360),
        Track::new("client-master-invalidations", "master", 4.907),
        Track::new("client-master-multistorage", "master", 6.527),
    ];
    check(&play(config("vec", 17010, 2, 0), tracks), &[]);
}

#[test]
fn a_storage_that_starts_with_the_cluster() {
    let tracks = vec![
        storage("other storage", "vec", 17020, 0.0),
        Track::new("laggingstorage-master", "master", 1.158).only(0).until(12),
        Track::new("client-master-failedvote", "master", 4.646).until(5),
    ];
    check(&play(config("vec", 17010, 2, 1), tracks), &[]);
}

#[test]
fn a_secondary_master_and_a_new_storage() {
    let state = ClusterState::Verifying;
    let admin = identify(NodeType::Admin, 17030, "vec", Map::default());
    let start = vec![(1.0, admin), (5.97, Packet::SetClusterState { state })];
    let tracks = vec![
        Track::new("secondarymaster-master", "master", 0.0).until(5),
        storage("other storage", "vec", 17020, 2.7),
        Track::unrecorded("admin", start),
        Track::new("newstorage-master", "master", 9.655).until(3).answering(empty),
    ];
    check(&play(config("vec", 17010, 0, 1), tracks), &[JOINING]);
}

#[test]
fn an_upstream_cluster() {
    let tracks = vec![
        storage("storage", "up", 17220, 0.0),
        Track::new("upadmin-upmaster", "upmaster", 0.152).until(7),
        Track::new("backupmaster-upmaster", "upmaster", 6.285).until(3),
    ];
    check(&play(config("up", 17210, 1, 0), tracks), &[TOLD]);
}

#[test]
fn a_secondary() {
    let mut config = config("vec", 17011, 0, 1);
    config.masters = vec![address(17010)];
    let tracks = vec![
        Track::new("secondarymaster-master", "secondarymaster", 0.0),
        Track::new("client-secondarymaster", "secondarymaster", 10.0),
    ];
    check(&play(config, tracks), &[]);
}
