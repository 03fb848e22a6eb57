//! Our admin between the recorded master, command-line tools and admins of other clusters.

use neo_core::admin::{Admin, Config};
use neo_wire::{Address, ClusterState, Map, NodeId, Packet, Partition, Text, Tid};

use crate::mapping::Mapping;
use crate::player::{Player, Track, check};

fn address(port: u16) -> Address {
    Address { host: "127.0.0.1".into(), port }
}

fn admin(cluster: &str, port: u16, backups: &[&str]) -> Admin {
    Admin::new(Config {
        cluster: cluster.into(),
        address: Some(address(port)),
        nid: None,
        masters: vec![address(1)],
        backups: backups.iter().map(|name| Text::from(*name)).collect(),
        max_lag_s: 0.0,
    })
}

fn play(admin: Admin, tracks: Vec<Track>) -> Vec<String> {
    // An admin chooses no identifier.
    Player::new(admin, Mapping::new(&[]), tracks, |_| Vec::new()).play()
}

#[test]
fn ctl_admin_with_its_master() {
    // The admin forwards SetClusterState at 0.2235 s of one recording and 4.2450 s of the other.
    let tracks =
        vec![Track::new("admin-master", "admin", 0.0), Track::new("ctl-admin", "admin", 4.0215)];
    check(&play(admin("vec", 17030, &[]), tracks), &[]);
}

#[test]
fn admin_master_operations() {
    let nids = vec![NodeId(2), NodeId(1)];
    let check_replicas = Packet::CheckReplicas {
        partitions: Map(vec![(Partition(0), None), (Partition(1), Some(NodeId(2)))]),
        min_tid: Tid(0),
        max_tid: None,
    };
    let tracks = vec![
        Track::new("admin-master-operations", "admin", 0.0),
        Track::unrecorded(
            "tool",
            vec![(10.0, Packet::Repair { nids, dry_run: true }), (10.3, check_replicas)],
        ),
    ];
    check(&play(admin("vec", 17030, &[]), tracks), &[]);
}

#[test]
fn admin_of_an_upstream_cluster() {
    let tracks = vec![
        Track::new("upadmin-upmaster", "upadmin", 0.0),
        Track::new("backupadmin-upadmin", "upadmin", 6.138),
        Track::unrecorded("tool", vec![(12.83, Packet::AskMonitorInformation {})]),
    ];
    check(&play(admin("up", 17230, &["bak"]), tracks), &[]);
}

#[test]
fn admin_of_a_backup_cluster() {
    let state = ClusterState::StoppingBackup;
    let tracks = vec![
        Track::new("backupadmin-backupmaster", "backupadmin", 0.0),
        Track::new("backupadmin-upadmin", "backupadmin", 0.2472),
        Track::unrecorded(
            "tool",
            vec![
                (7.413, Packet::AskMonitorInformation {}),
                (7.756, Packet::AskRecovery {}),
                (7.757, Packet::AskLastTransaction {}),
                (9.211, Packet::SetClusterState { state }),
                (13.928, Packet::AskRecovery {}),
                (13.930, Packet::AskLastIDs {}),
            ],
        ),
    ];
    check(&play(admin("bak", 17330, &[]), tracks), &[]);
}

/// The tool itself: another name of cluster is seen where it is told, and nowhere else.
#[test]
fn what_differs_is_told() {
    let tracks = vec![Track::new("admin-master", "admin", 0.0)];
    let differences = play(admin("other", 17030, &[]), tracks);
    let (told, forwarded) = differences.split_first().unwrap();
    assert!(told.contains("cluster: \"other\"") && told.contains("cluster: \"vec\""), "{told}");
    assert!(forwarded.iter().all(|text| text.contains("not sent")), "{forwarded:?}");
    // What `neoctl` asked is in the other recording.
    assert_eq!(forwarded.len(), 8);
}
