//! Our master among the recorded nodes of its cluster.

use neo_core::io::Entropy;
use neo_core::master::{Master, MasterConfig};
use neo_wire::{Address, ClusterState, Map, NodeType, Packet, Text, Tid, Value};

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
    Track::unrecorded(name, vec![(time_s, identify)]).answering(|packet| {
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
            Packet::AskLockInformation { ttid, .. } => {
                Packet::AnswerInformationLocked { ttid: *ttid }
            }
            _ => return None,
        })
    })
}

/// A storage that joins a cluster in service is asked what it has, in case it missed a truncation
/// or belongs to another history (spec master.md 8.2).
const JOINING: (&str, &str) =
    ("not recorded: AskRecovery", "joining storages are asked what they have");

/// Somebody came when the recording of somebody else had ended, or was cut.
const TOLD: (&str, &str) = ("not recorded: NotifyNodeInformation", "others are told who comes");

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
