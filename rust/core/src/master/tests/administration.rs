//! What operators ask (spec master.md 15, 16).

use neo_wire::Value;
use neo_wire::{ClusterState, ErrorCode, Map, NodeId, NodeState, NodeType, Packet, Partition, Tid};

use super::harness::{Bench, Database, Peer, Running, master, storage, storage_nid};

fn denied(bench: &mut Bench, admin: Peer, packet: Packet) -> String {
    let (code, text) = bench.error(admin, packet);
    assert_eq!(code, ErrorCode::Denied, "{text}");
    assert!(!bench.is_closed(admin));
    text
}

fn acked(bench: &mut Bench, admin: Peer, packet: Packet) -> String {
    let (code, text) = bench.error(admin, packet);
    assert_eq!(code, ErrorCode::Ack, "{text}");
    text
}

fn set_node(nid: NodeId, state: NodeState) -> Packet {
    Packet::SetNodeState { nid, state }
}

#[test]
fn some_states_can_not_be_asked() {
    let mut running = Running::new(1, 0);
    let admin = running.admin;
    let bench = &mut running.bench;
    let mut ask = |state| denied(bench, admin, Packet::SetClusterState { state });
    for state in [ClusterState::Recovering, ClusterState::Running, ClusterState::BackingUp] {
        assert_eq!(ask(state), "Invalid state requested");
    }
    for state in [ClusterState::Verifying, ClusterState::StoppingBackup] {
        assert_eq!(ask(state), "Can not switch to this state");
    }
    let state = ClusterState::StartingBackup;
    assert_eq!(ask(state), "No upstream cluster to backup defined in configuration");
    let client = bench.client();
    assert_eq!(
        denied(bench, admin, Packet::SetClusterState { state }),
        "Can not switch to STARTING_BACKUP state with pending transactions or connected clients"
    );
    bench.close(client);
    let mut bench = Bench::new(|_| {});
    let admin = bench.admin();
    let text = denied(&mut bench, admin, Packet::SetClusterState { state });
    assert_eq!(text, "Can not switch to this state");
}

#[test]
fn requests_of_operation_are_denied_before_it() {
    let mut bench = Bench::new(|_| {});
    let admin = bench.admin();
    let nids = Vec::new;
    let tid = Tid(1);
    for (packet, name) in [
        (Packet::AddPendingNodes { nids: nids() }, "addPendingNodes"),
        (Packet::SetNumReplicas { num_replicas: 1 }, "setNumReplicas"),
        (Packet::TweakPartitionTable { dry_run: true, nids: nids() }, "tweakPartitionTable"),
        (Packet::Truncate { tid }, "truncate"),
        (
            Packet::CheckReplicas { partitions: Map::default(), min_tid: tid, max_tid: None },
            "checkReplicas",
        ),
    ] {
        let text = denied(&mut bench, admin, packet);
        assert_eq!(text, format!("{name} RPC can not be used in RECOVERING state"));
    }
}

#[test]
fn some_nodes_can_not_be_killed() {
    let mut running = Running::new(2, 0);
    let admin = running.admin;
    running.bench.client();
    let bench = &mut running.bench;
    let down = NodeState::Down;
    let nid = |node_type, number| NodeId::new(node_type, number);
    for (nid, state, text) in [
        (storage_nid(9), down, "unknown node"),
        (nid(NodeType::Master, 1), down, "can not kill primary master node"),
        (nid(NodeType::Client, 1), down, "can not switch node to DOWN state"),
        (nid(NodeType::Admin, 1), down, "can not switch node to DOWN state"),
        (nid(NodeType::Master, 1), NodeState::Unknown, "can not switch node to UNKNOWN state"),
        (storage_nid(1), NodeState::Running, "can not switch node to RUNNING state"),
        (storage_nid(1), NodeState::Unknown, "a running node must be stopped before removal"),
        (
            storage_nid(1),
            down,
            "Refuse to drop nodes that contain the only readable copies of partition 0",
        ),
    ] {
        assert_eq!(denied(bench, admin, set_node(nid, state)), text);
    }
    assert_eq!(bench.state(), ClusterState::Running);
}

#[test]
fn a_killed_storage_is_out_at_once() {
    let mut running = Running::new(2, 1);
    let client = running.bench.client();
    let admin = running.admin;
    let (s1, s2) = (running.storages[0], running.storages[1]);
    let ttid = running.begin(client);
    let aborted = running.begin(client);
    let msg_id = running.finish(client, ttid, &[0, 1]);
    running.lock(s2);
    running.bench.clear();
    let text = acked(&mut running.bench, admin, set_node(storage_nid(1), NodeState::Down));
    assert_eq!(text, "state changed");
    let bench = &mut running.bench;
    assert!(bench.is_closed(s1));
    let packets = bench.packets(s1);
    let [Packet::NotifyNodeInformation { nodes, .. }] = &packets[..] else {
        panic!("{packets:?}");
    };
    assert_eq!((nodes[0].nid, nodes[0].state), (Some(storage_nid(1)), NodeState::Down));
    // The table first, then the node.
    let names = bench.names(s2);
    let expected = ["NotifyPartitionChanges", "NotifyNodeInformation", "NotifyUnlockInformation"];
    assert_eq!(names, expected);
    assert_eq!(bench.table(2), "OU|OU");
    let answer = bench.answer_to(client, msg_id);
    assert!(matches!(answer, Some(Packet::AnswerTransactionFinished { .. })));
    let nids = vec![storage_nid(1), storage_nid(2)];
    bench.send(client, Packet::AbortTransaction { ttid: aborted, nids });
    assert_eq!(bench.names(s2), ["AbortTransaction"]);
    let again = set_node(storage_nid(1), NodeState::Down);
    assert_eq!(acked(bench, admin, again), "node already in DOWN state");
    // Started again, it is known.
    let (s1, _) = bench.identified(storage(Some(storage_nid(1)), 2001));
    assert_eq!(bench.node_state(storage_nid(1)), Some(NodeState::Running));
    bench.serve(s1, &Database::with(1, 1, "UU|UU"));
    assert!(bench.master.is_at_rest());
}

#[test]
fn a_dropped_storage_has_no_cells_any_more() {
    let mut running = Running::new(2, 1);
    let admin = running.admin;
    let bench = &mut running.bench;
    acked(bench, admin, set_node(storage_nid(1), NodeState::Down));
    bench.clear();
    let text = acked(bench, admin, set_node(storage_nid(1), NodeState::Unknown));
    assert_eq!(text, "node permanently removed");
    assert_eq!(bench.table(2), ".U|.U");
    assert_eq!(bench.node_state(storage_nid(1)), None);
    let names = bench.names(running.storages[1]);
    assert_eq!(names, ["NotifyPartitionChanges", "NotifyNodeInformation"]);
    let (_, nid) = bench.identified(storage(Some(storage_nid(1)), 2001));
    assert_eq!(bench.node_state(nid), Some(NodeState::Pending));
}

#[test]
fn a_pending_storage_can_be_wiped() {
    let mut running = Running::new(1, 0);
    let admin = running.admin;
    let bench = &mut running.bench;
    let (s2, nid) = bench.identified(storage(None, 2002));
    bench.serve(s2, &Database::default());
    bench.clear();
    let text = acked(bench, admin, set_node(nid, NodeState::Unknown));
    assert_eq!(text, "state changed");
    let packets = bench.packets(s2);
    let [Packet::NotifyNodeInformation { nodes, .. }] = &packets[..] else {
        panic!("{packets:?}");
    };
    assert_eq!(nodes[0].state, NodeState::Unknown);
    assert!(bench.is_closed(s2));
    assert_eq!(bench.state(), ClusterState::Running);
}

#[test]
fn a_secondary_master_can_be_killed() {
    let mut running = Running::new(1, 0);
    let admin = running.admin;
    let bench = &mut running.bench;
    let (peer, nid) = bench.identified(master(1, 10_001, None));
    bench.clear();
    assert_eq!(acked(bench, admin, set_node(nid, NodeState::Down)), "state changed");
    assert_eq!(bench.names(peer), ["NotifyNodeInformation"]);
    assert!(bench.is_closed(peer));
    assert_eq!(bench.node_state(nid), Some(NodeState::Down));
}

#[test]
fn storages_are_added_and_get_cells() {
    let mut running = Running::new(1, 0);
    let admin = running.admin;
    let bench = &mut running.bench;
    let (s2, nid) = bench.identified(storage(None, 2002));
    bench.serve(s2, &Database::default());
    let nothing = vec![storage_nid(1), storage_nid(9)];
    let text = acked(bench, admin, Packet::AddPendingNodes { nids: nothing });
    assert_eq!(text, "No node added");
    let tweak = |dry_run, nids: &[u32]| Packet::TweakPartitionTable {
        dry_run,
        nids: nids.iter().copied().map(storage_nid).collect(),
    };
    // A pending storage does not count.
    let unchanged = bench.ask(admin, tweak(false, &[]));
    let rows = bench.master.partition_table().rows();
    let changed = false;
    assert_eq!(unchanged, Some(Packet::AnswerTweakPartitionTable { changed, rows }));
    let text = denied(bench, admin, tweak(true, &[1]));
    assert_eq!(text, "Can't remove all nodes.");
    acked(bench, admin, Packet::AddPendingNodes { nids: vec![nid] });
    bench.serve(s2, &Database::default());
    assert!(bench.master.is_at_rest());
    bench.clear();
    let dry = bench.ask(admin, tweak(true, &[]));
    assert_eq!(bench.table(2), "U.|U.");
    let real = bench.ask(admin, tweak(false, &[]));
    assert_eq!(dry, real);
    assert_eq!(bench.table(2), "U.|FO");
    assert_eq!(bench.names(s2), ["NotifyPartitionChanges"]);
    bench.close(s2);
    let text = denied(bench, admin, tweak(true, &[]));
    assert_eq!(text, "tweak: down nodes must be listed explicitly");
    bench.ask(admin, tweak(true, &[2])).expect("an answer");
}

#[test]
fn the_number_of_replicas_is_told() {
    let mut running = Running::new(1, 0);
    let num_replicas = 1;
    let bench = &mut running.bench;
    let text = acked(bench, running.admin, Packet::SetNumReplicas { num_replicas });
    assert_eq!(text, "");
    let packets = bench.packets(running.storages[0]);
    let ptid = neo_wire::Ptid(2);
    let cells = Vec::new();
    let expected = Packet::NotifyPartitionChanges { ptid, num_replicas: 1, cells };
    assert_eq!(packets, [expected]);
}

#[test]
fn wrong_numbers_of_replicas_are_denied() {
    let mut running = Running::new(1, 0);
    let (bench, admin) = (&mut running.bench, running.admin);
    for num_replicas in [-1, i64::MIN, 1 << 32] {
        let text = denied(bench, admin, Packet::SetNumReplicas { num_replicas });
        assert_eq!(text, format!("invalid number of replicas: {num_replicas}"));
    }
    assert_eq!(bench.packets(running.storages[0]), []);
}

#[test]
fn wrong_truncations_are_denied() {
    let mut running = Running::new(1, 0);
    let admin = running.admin;
    let client = running.bench.client();
    let first = running.commit(client, &[1]);
    let last = running.commit(client, &[1]);
    let bench = &mut running.bench;
    for (tid, text) in [
        (last, "Truncating after last transaction does nothing"),
        (
            first.previous(),
            "Truncating before first transaction is probably not what you intended to do",
        ),
        (Tid::ZERO, "Truncating before first transaction is probably not what you intended to do"),
    ] {
        assert_eq!(denied(bench, admin, Packet::Truncate { tid }), text);
    }
    assert_eq!(bench.state(), ClusterState::Running);
}

fn check(partitions: &[(u32, Option<u32>)], min_tid: u64) -> Packet {
    let partitions = partitions.iter().map(|(partition, nid)| {
        let nid = nid.map(storage_nid);
        (Partition(*partition), nid)
    });
    Packet::CheckReplicas { partitions: partitions.collect(), min_tid: Tid(min_tid), max_tid: None }
}

#[test]
fn replicas_are_checked_by_few_storages() {
    let mut running = Running::new(2, 1);
    let admin = running.admin;
    let client = running.bench.client();
    let last = running.commit(client, &[1]);
    let bench = &mut running.bench;
    bench.clear();
    assert_eq!(acked(bench, admin, check(&[(0, None), (1, Some(1))], 0)), "");
    let both: Vec<_> = running
        .storages
        .iter()
        .map(|peer| bench.packets(*peer))
        .filter(|packets| !packets.is_empty())
        .collect();
    assert_eq!(both.len(), 1);
    let source = |port: Option<u16>| ("".into(), port.map(super::harness::address));
    let expected = |partition, port| Packet::CheckPartition {
        partition: Partition(partition),
        source: source(port),
        min_tid: Tid::ZERO,
        max_tid: last,
    };
    assert_eq!(both[0], [expected(0, None), expected(1, Some(2001))]);
    // Nothing to check.
    assert_eq!(acked(bench, admin, check(&[(0, None)], u64::MAX)), "");
    for peer in &running.storages {
        assert_eq!(bench.sent(*peer), []);
    }
}

#[test]
fn wrong_checks_and_repairs_are_denied() {
    let mut running = Running::new(2, 1);
    let admin = running.admin;
    let bench = &mut running.bench;
    let text = denied(bench, admin, check(&[(0, None), (2, None)], 0));
    assert_eq!(text, "partition 2 does not exist");
    let text = denied(bench, admin, check(&[(0, Some(9))], 0));
    assert_eq!(text, "invalid storage node S9");
    let nids = |numbers: &[u32]| numbers.iter().copied().map(storage_nid).collect();
    let repair = |numbers| Packet::Repair { nids: nids(numbers), dry_run: true };
    assert_eq!(denied(bench, admin, repair(&[1, 9])), "invalid storage node S9");
    assert_eq!(bench.sent(running.storages[0]), []);
    assert_eq!(acked(bench, admin, repair(&[1])), "");
    let dry_run = true;
    assert_eq!(bench.packets(running.storages[0]), [Packet::NotifyRepair { dry_run }]);
    assert_eq!(bench.sent(running.storages[1]), []);
}

/// A storage of ours says what it does not do yet.
#[test]
fn what_storages_can_not_do_is_denied() {
    let mut running = Running::new(1, 0);
    let admin = running.admin;
    let bench = &mut running.bench;
    let (s2, nid) = bench.identified(our_storage(None, 2002));
    bench.serve(s2, &Database::default());
    acked(bench, admin, Packet::AddPendingNodes { nids: vec![nid] });
    bench.serve(s2, &Database::default());
    bench.clear();
    let tweak = |dry_run| Packet::TweakPartitionTable { dry_run, nids: Vec::new() };
    let Some(Packet::AnswerTweakPartitionTable { changed: true, .. }) =
        bench.ask(admin, tweak(true))
    else {
        panic!("a simulation harms nobody");
    };
    let text = denied(bench, admin, tweak(false));
    assert_eq!(text, "S2 can not replicate in this version of NEO: nothing was done");
    assert_eq!(bench.table(2), "U.|U.");
    assert_eq!(bench.sent(s2), []);
}

/// A storage of ours, as it identifies.
fn our_storage(nid: Option<NodeId>, port: u16) -> Packet {
    let mut packet = storage(nid, port);
    if let Packet::RequestIdentification { extra, .. } = &mut packet {
        let lacks = crate::storage::LACKS.iter().map(|name| Value::Bin((*name).into()));
        extra.0.push(("lacks".into(), Value::Array(lacks.collect())));
    }
    packet
}

/// A storage that could replicate has nobody to replicate from.
#[test]
fn a_copy_without_able_source_is_denied() {
    let database = Database { last_tid: Some(Tid(100)), ..Database::with(5, 0, "U.|U.") };
    let mut bench = Bench::new(|_| {});
    let admin = bench.admin();
    let (s1, _) = bench.identified(our_storage(Some(storage_nid(1)), 2001));
    bench.serve(s1, &database);
    let (s2, nid) = bench.identified(storage(None, 2002));
    bench.serve(s2, &Database::default());
    acked(&mut bench, admin, Packet::AddPendingNodes { nids: vec![nid] });
    bench.serve(s2, &Database::default());
    let tweak = Packet::TweakPartitionTable { dry_run: false, nids: Vec::new() };
    let text = denied(&mut bench, admin, tweak);
    assert_eq!(text, "S1 can not replicate in this version of NEO: nothing was done");
}

#[test]
fn only_admins_command() {
    let mut running = Running::new(1, 0);
    let client = running.bench.client();
    let state = ClusterState::Stopping;
    let (code, _) = running.bench.error(client, Packet::SetClusterState { state });
    assert_eq!(code, ErrorCode::ProtocolError);
    assert_eq!(running.bench.state(), ClusterState::Running);
}
