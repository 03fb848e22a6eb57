//! Who is accepted, row by row of spec protocol.md 7.7.

use super::*;

fn refused(bed: &mut Bed, request: Packet, code: ErrorCode, message: &str) {
    let connection = bed.accept();
    assert_eq!(bed.ask(connection, request), [error(code, message)]);
    assert!(bed.closed.contains(&connection));
    assert!(!bed.storage.peers.contains_key(&connection));
}

fn change(request: Packet, change: impl FnOnce(&mut Packet)) -> Packet {
    let mut request = request;
    change(&mut request);
    request
}

const PROTOCOL: ErrorCode = ErrorCode::ProtocolError;
const NOT_READY: ErrorCode = ErrorCode::NotReady;

#[test]
fn the_cluster_name_comes_first() {
    let mut bed = Bed::new();
    let request = change(bed.identification(client_nid(1)), |request| {
        if let Packet::RequestIdentification { cluster, .. } = request {
            *cluster = "other".into();
        }
    });
    refused(&mut bed, request, PROTOCOL, "invalid cluster name");
}

#[test]
fn not_before_operation() {
    let mut bed = Bed::new();
    let request = bed.identification(client_nid(1));
    refused(&mut bed, request, NOT_READY, "Retry Later");
}

#[test]
fn only_storages_may_be_anonymous() {
    let (mut bed, _) = Bed::simple();
    let anonymous = |nid: NodeId| Packet::RequestIdentification {
        node_type: nid.node_type().unwrap(),
        nid: None,
        address: None,
        cluster: "test".into(),
        id_timestamp: None,
        extra: neo_wire::Map::default(),
    };
    refused(&mut bed, anonymous(client_nid(1)), PROTOCOL, "reject anonymous non-storage node");
    let connection = bed.accept();
    let node_type = NodeType::Storage;
    let accepted = Packet::AcceptIdentification { node_type, nid: None, your_nid: None };
    assert_eq!(bed.ask(connection, anonymous(nid(7))), [accepted]);
}

#[test]
fn not_our_own_nid() {
    let (mut bed, _) = Bed::simple();
    let request = bed.identification(nid(1));
    refused(&mut bed, request, PROTOCOL, "uuid conflict or loopback connection");
}

#[test]
fn without_timestamp_nobody_is_known() {
    let (mut bed, _) = Bed::simple();
    let request = change(bed.identification(client_nid(1)), |request| {
        if let Packet::RequestIdentification { id_timestamp, .. } = request {
            *id_timestamp = None;
        }
    });
    refused(&mut bed, request, NOT_READY, "unknown by master");
}

#[test]
fn an_old_timestamp_is_unknown() {
    let (mut bed, _) = Bed::simple();
    bed.nodes(&[(client_nid(2), NodeState::Running)]);
    let late = bed.identification(client_nid(2));
    bed.nodes(&[(client_nid(2), NodeState::Running)]);
    refused(&mut bed, late, NOT_READY, "unknown by master");
    let stranger = bed.identification(client_nid(3));
    refused(&mut bed, stranger, NOT_READY, "unknown by master");
}

#[test]
fn who_the_master_will_announce_waits() {
    let (mut bed, _) = Bed::simple();
    let connection = bed.accept();
    bed.time += 2.0;
    let request = bed.identification(client_nid(2));
    bed.time -= 2.0;
    assert_eq!(bed.ask(connection, request), []);
    bed.nodes(&[(client_nid(3), NodeState::Running)]);
    assert_eq!(bed.sent(connection), [], "this may still not be all");
    bed.nodes(&[(client_nid(2), NodeState::Running)]);
    let accepted = Packet::AcceptIdentification {
        node_type: NodeType::Storage,
        nid: Some(nid(1)),
        your_nid: Some(client_nid(2)),
    };
    assert_eq!(bed.answers(connection), [(0, accepted)]);
}

#[test]
fn who_waited_in_vain_is_told() {
    let (mut bed, _) = Bed::simple();
    let connection = bed.accept();
    bed.time += 1.0;
    let request = bed.identification(client_nid(2));
    bed.time -= 1.0;
    assert_eq!(bed.ask(connection, request), []);
    bed.nodes(&[(client_nid(3), NodeState::Running)]);
    assert_eq!(bed.sent(connection), [error(NOT_READY, "unknown by master")]);
    assert!(bed.closed.contains(&connection));
}

#[test]
fn who_left_while_waiting_is_forgotten() {
    let (mut bed, _) = Bed::simple();
    let connection = bed.accept();
    bed.time += 1.0;
    let request = bed.identification(client_nid(2));
    bed.time -= 1.0;
    bed.tell(connection, request);
    bed.lose(connection);
    bed.nodes(&[(client_nid(2), NodeState::Running)]);
    assert!(bed.sent(connection).is_empty());
    assert!(bed.storage.waiting_peers.is_empty());
    let second = bed.accept();
    let request = bed.identification(client_nid(2));
    assert!(matches!(bed.ask(second, request)[..], [Packet::AcceptIdentification { .. }]));
}

#[test]
fn a_client_must_be_running() {
    let (mut bed, _) = Bed::simple();
    bed.time += 1.0;
    let timestamp = Timestamp(bed.time);
    let node = NodeInfo {
        node_type: NodeType::Client,
        address: None,
        nid: Some(client_nid(2)),
        state: NodeState::Down,
        id_timestamp: Some(timestamp),
    };
    bed.tell_master(Packet::NotifyNodeInformation { timestamp, nodes: vec![node] });
    let request = bed.identification(client_nid(2));
    refused(&mut bed, request, NOT_READY, "unknown by master");
}

#[test]
fn only_clients_and_storages() {
    let (mut bed, _) = Bed::simple();
    let admin = NodeId::new(NodeType::Admin, 1);
    bed.nodes(&[(admin, NodeState::Running)]);
    let request = bed.identification(admin);
    refused(&mut bed, request, PROTOCOL, "reject non-client-or-storage node");
}

#[test]
fn a_client_connects_once() {
    let (mut bed, client) = Bed::simple();
    let request = bed.identification(client_nid(1));
    refused(&mut bed, request, PROTOCOL, "already connected");
    assert!(!bed.closed.contains(&client));
    bed.lose(client);
    let again = bed.accept();
    let request = bed.identification(client_nid(1));
    assert!(matches!(bed.ask(again, request)[..], [Packet::AcceptIdentification { .. }]));
}

#[test]
fn nothing_else_before_identification_but_ping() {
    let (mut bed, _) = Bed::simple();
    let connection = bed.accept();
    assert_eq!(bed.ask(connection, Packet::Ping {}), [Packet::Pong {}]);
    let answers = bed.ask(connection, load(Oid(0)));
    assert!(matches!(answers[..], [Packet::Error { code: PROTOCOL, .. }]));
    assert!(bed.closed.contains(&connection));
}

#[test]
fn what_a_client_may_not_say_ends_its_connection() {
    let (mut bed, client) = Bed::simple();
    bed.lock(client, Ttid(10), Oid(0));
    let answers = bed.ask(client, Packet::AskPrimary {});
    assert!(matches!(answers[..], [Packet::Error { code: PROTOCOL, .. }]));
    assert!(bed.closed.contains(&client));
    bed.assert_idle();
}

#[test]
fn a_client_that_the_master_lost_is_left() {
    let (mut bed, client) = Bed::simple();
    bed.nodes(&[(client_nid(1), NodeState::Unknown)]);
    assert!(bed.closed.contains(&client));
}

#[test]
fn a_nid_given_to_another_process_ends_the_connection_of_the_former() {
    let (mut bed, client) = Bed::simple();
    bed.nodes(&[(client_nid(1), NodeState::Running)]);
    assert!(bed.closed.contains(&client));
}

#[test]
fn who_has_no_more_use_for_a_connection_is_left() {
    let (mut bed, client) = Bed::simple();
    bed.lock(client, Ttid(10), Oid(2));
    assert_eq!(bed.ask(client, Packet::CloseClient {}), []);
    assert!(bed.closed.contains(&client));
    bed.assert_idle();
    // It may come back.
    let connection = bed.accept();
    let request = bed.identification(client_nid(1));
    let answers = bed.ask(connection, request);
    assert!(matches!(answers[..], [Packet::AcceptIdentification { .. }]), "{answers:?}");
}
