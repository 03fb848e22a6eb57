//! Who is let in (spec master.md 3.3, 4; protocol.md 7.3, 7.4).

use neo_wire::{Address, ErrorCode, Map, NodeId, NodeState, NodeType, Packet, Text, Value};

use super::harness::{
    Bench, Database, OWN_PORT, Running, address, identification, master, storage,
};
use super::harness::{Peer, storage_nid};

const ALREADY_CONNECTED: &str = "already connected";

/// The error that refuses; the connection is closed.
fn refused(bench: &mut Bench, request: Packet) -> (ErrorCode, String) {
    let peer = bench.connect();
    let error = bench.error(peer, request);
    assert!(bench.is_closed(peer));
    error
}

fn with(request: Packet, change: impl FnOnce(&mut Text, &mut Map<Text, Value>)) -> Packet {
    let mut request = request;
    if let Packet::RequestIdentification { cluster, extra, .. } = &mut request {
        change(cluster, extra);
    }
    request
}

fn client() -> Packet {
    identification(NodeType::Client, None, None)
}

#[test]
fn cluster_and_address_are_checked_first() {
    let mut bench = Bench::new(|_| {});
    let protocol_error = |text: &str| (ErrorCode::ProtocolError, text.to_string());
    for node_type in NodeType::ALL {
        let request = identification(*node_type, None, Some(OWN_PORT));
        let other = with(request.clone(), |cluster, _| *cluster = "other".into());
        assert_eq!(refused(&mut bench, other), protocol_error("invalid cluster name"));
        assert_eq!(refused(&mut bench, request), protocol_error("address conflict"));
    }
    let nobody = identification(NodeType::Master, None, None);
    assert_eq!(refused(&mut bench, nobody), protocol_error(""));
}

#[test]
fn a_client_is_accepted_when_the_cluster_runs() {
    let mut bench = Bench::new(|_| {});
    let later = (ErrorCode::NotReady, "Retry Later".to_string());
    assert_eq!(refused(&mut bench, client()), later);
    let mut running = Running::new(1, 0);
    let (_, first) = running.bench.identified(client());
    let (peer, second) = running.bench.identified(client());
    assert_eq!(first, NodeId::new(NodeType::Client, 1));
    assert_eq!(second, NodeId::new(NodeType::Client, 2));
    // A NID that somebody else has is replaced, a free one is granted.
    let (_, third) = running.bench.identified(identification(NodeType::Client, Some(first), None));
    assert_eq!(third, NodeId::new(NodeType::Client, 3));
    running.bench.close(peer);
    let wanted = NodeId::new(NodeType::Client, 77);
    let (_, fourth) =
        running.bench.identified(identification(NodeType::Client, Some(wanted), None));
    assert_eq!(fourth, wanted);
    let (_, fifth) = running.bench.identified(client());
    assert_eq!(fifth, second);
}

#[test]
fn a_nid_of_another_namespace_is_not_granted() {
    let mut running = Running::new(1, 0);
    for wrong in [NodeId(0), NodeId(7), NodeId::new(NodeType::Master, 77), NodeId(-1)] {
        let (_, nid) =
            running.bench.identified(identification(NodeType::Client, Some(wrong), None));
        assert_eq!(nid.node_type(), Some(NodeType::Client), "{wrong:?}");
    }
    // A storage that asks for it is known as another node.
    let wrong = NodeId::new(NodeType::Client, 1);
    let error =
        refused(&mut running.bench, identification(NodeType::Admin, Some(storage_nid(1)), None));
    assert_eq!(error.0, ErrorCode::ProtocolError);
    let (_, nid) = running.bench.identified(storage(Some(wrong), 2009));
    assert_eq!(nid, storage_nid(2));
}

#[test]
fn a_storage_is_accepted_as_what_it_is() {
    let mut bench = Bench::new(|_| {});
    let nowhere = identification(NodeType::Storage, None, None);
    let later = (ErrorCode::NotReady, "Retry Later".to_string());
    assert_eq!(refused(&mut bench, nowhere.clone()), later);
    let (_, nid) = bench.identified(storage(Some(storage_nid(8)), 2008));
    assert_eq!(nid, storage_nid(8));
    assert_eq!(bench.node_state(nid), Some(NodeState::Pending));

    let mut running = Running::new(1, 0);
    let bench = &mut running.bench;
    let empty = (ErrorCode::ProtocolError, String::new());
    assert_eq!(refused(bench, nowhere.clone()), empty);
    let copies = |request, partitions: &[u64]| {
        let partitions = partitions.iter().copied().map(Value::Unsigned).collect();
        with(request, |_, extra| {
            extra.0.push(("new_nid".into(), Value::Array(partitions)));
        })
    };
    assert_eq!(refused(bench, copies(nowhere.clone(), &[0, 2])), empty);
    let named = identification(NodeType::Storage, Some(storage_nid(5)), None);
    assert_eq!(refused(bench, copies(named, &[0])), empty);
    let (peer, nid) = bench.identified(storage(None, 2002));
    assert_eq!(nid, storage_nid(2));
    assert_eq!(bench.node_state(nid), Some(NodeState::Pending));
    bench.close(peer);
    assert_eq!(bench.node_state(nid), None);
    assert_eq!(bench.table(2), "U.|U.");
}

/// The Pong of a connection that is alive.
fn is_alive(bench: &mut Bench, peer: Peer) {
    bench.clear();
    bench.reply(peer, Packet::Pong {});
}

#[test]
fn a_duplicate_is_refused_once_the_other_is_known_to_be_alive() {
    let mut running = Running::new(1, 0);
    let bench = &mut running.bench;
    let s1 = running.storages[0];
    for request in [
        storage(Some(storage_nid(1)), 2001),
        storage(Some(storage_nid(1)), 2009),
        storage(None, 2001),
        identification(NodeType::Admin, None, Some(9999)),
    ] {
        let peer = bench.connect();
        let msg_id = bench.send(peer, request.clone());
        assert_eq!(bench.answer_to(peer, msg_id), None);
        let is_storage =
            matches!(request, Packet::RequestIdentification { node_type: NodeType::Storage, .. });
        let other = if is_storage { s1 } else { running.admin };
        is_alive(bench, other);
        let error = bench.answer_to(peer, msg_id);
        let expected = Packet::error(ErrorCode::ProtocolError, ALREADY_CONNECTED);
        assert_eq!(error, Some(expected), "{request:?}");
        assert!(bench.is_closed(peer));
        assert!(!bench.is_closed(other));
    }
    assert!(bench.master.is_at_rest());
    assert_eq!(bench.master.nodes().of_type(NodeType::Storage).count(), 1);
}

#[test]
fn a_storage_that_comes_back_after_a_silent_failure_is_accepted() {
    let mut running = Running::new(2, 1);
    let bench = &mut running.bench;
    let peer = bench.connect();
    let msg_id = bench.send(peer, storage(Some(storage_nid(1)), 2001));
    bench.wait(4999);
    assert_eq!(bench.answer_to(peer, msg_id), None);
    bench.wait(1);
    assert!(bench.is_closed(running.storages[0]));
    let answer = bench.answer_to(peer, msg_id);
    let expected = Packet::AcceptIdentification {
        node_type: NodeType::Master,
        nid: Some(NodeId::new(NodeType::Master, 1)),
        your_nid: Some(storage_nid(1)),
    };
    assert_eq!(answer, Some(expected));
    assert_eq!(bench.table(2), "OU|OU");
}

#[test]
fn the_end_of_the_other_connection_lets_a_storage_in() {
    let mut running = Running::new(2, 1);
    let bench = &mut running.bench;
    let peer = bench.connect();
    let msg_id = bench.send(peer, storage(Some(storage_nid(1)), 2001));
    bench.close(running.storages[0]);
    let answer = bench.answer_to(peer, msg_id);
    assert!(matches!(answer, Some(Packet::AcceptIdentification { .. })), "{answer:?}");
}

#[test]
fn an_address_of_another_storage_is_refused() {
    let mut running = Running::new(2, 1);
    let bench = &mut running.bench;
    bench.close(running.storages[0]);
    // S2 at the address of S1, which is down.
    let error = refused(bench, storage(Some(storage_nid(2)), 2001));
    assert_eq!(error, (ErrorCode::ProtocolError, ALREADY_CONNECTED.into()));
}

#[test]
fn an_empty_database_does_not_inherit_cells() {
    let mut running = Running::new(2, 1);
    let bench = &mut running.bench;
    bench.close(running.storages[0]);
    let (_, nid) = bench.identified(storage(None, 2001));
    assert_eq!(nid, storage_nid(3));
    assert_eq!(bench.node_state(nid), Some(NodeState::Pending));
    assert_eq!(bench.node_state(storage_nid(1)), Some(NodeState::Down));
    assert_eq!(bench.table(3), "OU.|OU.");
}

#[test]
fn a_storage_at_the_address_of_another_one_is_itself() {
    let mut running = Running::new(2, 1);
    let bench = &mut running.bench;
    bench.close(running.storages[0]);
    let (_, nid) = bench.identified(storage(Some(storage_nid(7)), 2001));
    assert_eq!(nid, storage_nid(7));
    assert_eq!(bench.node_state(nid), Some(NodeState::Pending));
    let (_, record) = bench.master.nodes().find_nid(storage_nid(1)).expect("S1");
    assert_eq!((record.address(), record.state), (None, NodeState::Down));
    // It comes back elsewhere.
    let (_, nid) = bench.identified(storage(Some(storage_nid(1)), 2010));
    assert_eq!(bench.node_state(nid), Some(NodeState::Running));
}

#[test]
fn nothing_else_is_understood_before_identification() {
    let mut bench = Bench::new(|_| {});
    let peer = bench.connect();
    assert_eq!(bench.ask(peer, Packet::Ping {}), Some(Packet::Pong {}));
    bench.send(peer, Packet::FlushLog {});
    assert!(!bench.is_closed(peer));
    let (code, text) = bench.error(peer, Packet::AskClusterState {});
    assert_eq!(code, ErrorCode::ProtocolError);
    assert!(text.starts_with("unexpected packet: no handler found in "), "{text}");
    assert!(bench.is_closed(peer));
}

#[test]
fn nothing_may_be_announced_to_the_primary() {
    let mut running = Running::new(1, 0);
    let client = running.bench.client();
    for peer in [client, running.admin, running.storages[0]] {
        let timestamp = neo_wire::Timestamp(1.0);
        let nodes = Vec::new();
        let (code, _) =
            running.bench.error(peer, Packet::NotifyNodeInformation { timestamp, nodes });
        assert_eq!(code, ErrorCode::ProtocolError);
        assert!(running.bench.is_closed(peer));
    }
}

#[test]
fn a_node_does_not_change_type() {
    let mut bench = Bench::new(|config| config.masters = vec![address(10_001)]);
    let (code, _) = refused(&mut bench, storage(None, 10_001));
    assert_eq!(code, ErrorCode::ProtocolError);
}

#[test]
fn nodes_are_told_about_those_that_concern_them() {
    let mut running = Running::new(1, 0);
    let bench = &mut running.bench;
    let (second, _) = bench.identified(master(5, 10_005, None));
    bench.clear();
    let reader = bench.client();
    let told = |bench: &mut Bench, peer| {
        let count = bench.names(peer).len();
        usize::from(count > 0)
    };
    // A client: storages and admins know, clients and masters do not.
    let _other = bench.connect();
    bench.clear();
    bench.client();
    bench.clear();
    let newcomer = bench.connect();
    bench.send(newcomer, client());
    assert_eq!(told(bench, running.storages[0]), 1);
    assert_eq!(told(bench, running.admin), 1);
    assert_eq!(told(bench, reader), 0);
    assert_eq!(told(bench, second), 0);
    // A storage: masters do not.
    bench.clear();
    bench.identified(storage(None, 2002));
    assert_eq!(told(bench, reader), 1);
    assert_eq!(told(bench, second), 0);
}

#[test]
fn times_of_notifications_increase() {
    let mut running = Running::new(1, 0);
    let bench = &mut running.bench;
    let mut last = 0.0;
    for back_s in [0.0, 5.0, 100.0] {
        bench.now.wall_s -= back_s;
        bench.client();
        let peer = bench.connect();
        bench.send(peer, client());
        for packet in bench.packets(running.admin) {
            if let Packet::NotifyNodeInformation { timestamp, nodes } = packet {
                assert!(timestamp.0 > last);
                assert!(nodes.iter().all(|x| x.id_timestamp.is_none_or(|t| t < timestamp)));
                last = timestamp.0;
            }
        }
    }
    assert!(last > 0.0);
}

#[test]
fn the_dynamic_list_is_saved() {
    let mut bench = Bench::new(|config| config.masters = vec![address(10_001)]);
    let saved = |bench: &mut Bench| {
        let effects = std::mem::take(&mut bench.effects);
        let lists = effects.into_iter().map(|effect| match effect {
            crate::master::Effect::SaveMasters(masters) => masters,
            effect => panic!("{effect:?}"),
        });
        lists.collect::<Vec<Vec<Address>>>()
    };
    let mut list = saved(&mut bench).pop().expect("a list");
    list.sort();
    assert_eq!(list, [address(OWN_PORT), address(10_001)]);
    bench.identified(master(1, 10_002, None));
    assert_eq!(saved(&mut bench)[0].len(), 3);
    let database = Database::default();
    let (peer, _) = bench.identified(storage(None, 2001));
    bench.serve(peer, &database);
    assert!(saved(&mut bench).is_empty());
}
