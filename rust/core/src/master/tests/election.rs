//! Which master is the primary, and what the others do (spec master.md 4.4, 5, 24.2).

use neo_wire::{ClusterState, ErrorCode, NodeId, NodeInfo, NodeState, NodeType, Packet, Timestamp};

use super::harness::{Bench, OWN_PORT, Peer, Running, address, identification, master, storage};
use crate::io::Exit;

const OTHER: u16 = 10_001;

fn nid(number: u32) -> NodeId {
    NodeId::new(NodeType::Master, number)
}

/// The timestamp with which a master challenges the one it connects to.
fn challenged(bench: &mut Bench, peer: Peer) -> Option<f64> {
    bench.connected(peer);
    match &bench.packets(peer)[..] {
        [
            Packet::RequestIdentification {
                node_type: NodeType::Master,
                address: Some(own),
                id_timestamp,
                ..
            },
        ] => {
            assert_eq!(*own, address(OWN_PORT));
            id_timestamp.map(|time| time.0)
        }
        other => panic!("{other:?}"),
    }
}

/// A master that knows another one, and the connection it opens.
fn two() -> (Bench, Peer, f64) {
    let mut bench = Bench::new(|config| config.masters = vec![address(OTHER)]);
    let [(peer, to)] = &bench.opened.clone()[..] else {
        panic!("{:?}", bench.opened);
    };
    assert_eq!(*to, address(OTHER));
    let timestamp = challenged(&mut bench, *peer).expect("a claim");
    (bench, *peer, timestamp)
}

fn is_secondary(bench: &Bench) -> bool {
    bench.master.cluster_state().is_none()
}

fn masters(list: &[(u32, u16, NodeState)]) -> Vec<NodeInfo> {
    let info = |(number, port, state): &(u32, u16, NodeState)| NodeInfo {
        node_type: NodeType::Master,
        address: Some(address(*port)),
        nid: Some(nid(*number)),
        state: *state,
        id_timestamp: Some(Timestamp(1.0)),
    };
    list.iter().map(info).collect()
}

fn told(timestamp: f64, list: &[(u32, u16, NodeState)]) -> Packet {
    Packet::NotifyNodeInformation { timestamp: Timestamp(timestamp), nodes: masters(list) }
}

/// A master that the one at OTHER accepted as secondary.
fn secondary() -> (Bench, Peer) {
    let (mut bench, peer, _) = two();
    let accepted = Packet::AcceptIdentification {
        node_type: NodeType::Master,
        nid: Some(nid(1)),
        your_nid: Some(nid(2)),
    };
    bench.reply(peer, accepted);
    assert!(is_secondary(&bench));
    let running = NodeState::Running;
    bench.send(peer, told(10.0, &[(2, OWN_PORT, running), (1, OTHER, running)]));
    assert!(!bench.is_closed(peer));
    (bench, peer)
}

#[test]
fn the_smallest_key_wins() {
    // (difference of times, port of the other, who gives up)
    for (difference, port, gives_up) in [
        (-1.0, OTHER, true),
        (-1.0, 9999, true),
        (1.0, OTHER, false),
        (1.0, 9999, false),
        (0.0, OTHER, false),
        (0.0, 9999, true),
    ] {
        let (mut bench, outgoing, own) = two();
        let peer = bench.connect();
        let msg_id = bench.send(peer, master(1, port, Some(own + difference)));
        assert_eq!(is_secondary(&bench), gives_up, "{difference} {port}");
        let answer = bench.answer_to(peer, msg_id);
        if gives_up {
            assert_eq!(answer, None);
            assert!(bench.is_closed(peer) && bench.is_closed(outgoing));
            continue;
        }
        // Its NID is the one of the winner: it gets another one.
        let accepted = Packet::AcceptIdentification {
            node_type: NodeType::Master,
            nid: Some(nid(1)),
            your_nid: Some(nid(2)),
        };
        assert_eq!(answer, Some(accepted));
        // What we opened is replaced by what it opened.
        assert_eq!(bench.is_closed(outgoing), port == OTHER);
    }
}

#[test]
fn the_key_of_addresses_is_by_host_then_port() {
    let (mut bench, _, own) = two();
    let mut request = master(1, 9999, Some(own));
    if let Packet::RequestIdentification { address, .. } = &mut request {
        address.as_mut().expect("an address").host = "127.0.0.2".into();
    }
    bench.identified(request);
    assert!(!is_secondary(&bench));
}

#[test]
fn a_request_without_time_never_wins() {
    let (mut bench, _, _) = two();
    bench.identified(master(1, OTHER, None));
    assert_eq!(bench.state(), ClusterState::Recovering);
}

#[test]
fn who_is_accepted_has_lost() {
    let (bench, peer) = secondary();
    assert!(!bench.is_closed(peer));
    let (_, own) = bench.master.nodes().find_nid(nid(2)).expect("own record");
    assert_eq!(own.address(), Some(&address(OWN_PORT)));
    let (_, primary) = bench.master.nodes().find_nid(nid(1)).expect("the primary");
    assert!(primary.identified && primary.is_running());
}

#[test]
fn a_running_primary_never_yields() {
    let mut running = Running::new(1, 0);
    running.bench.identified(master(1, OTHER, Some(1.0)));
    assert_eq!(running.bench.state(), ClusterState::Running);
}

#[test]
fn a_hint_is_followed_unless_it_was_beaten() {
    let hint = |port| Packet::NotPrimaryMaster {
        primary: Some(1),
        known_masters: vec![address(OTHER), address(port)],
    };
    let (mut bench, peer, _) = two();
    bench.send(peer, hint(10_002));
    assert!(is_secondary(&bench));
    let (third, to) = bench.opened.pop().expect("a connection");
    assert_eq!(to, address(10_002));
    assert_eq!(challenged(&mut bench, third), None);

    let (mut bench, peer, _) = two();
    bench.identified(master(3, 10_002, None));
    bench.send(peer, hint(10_002));
    assert!(!is_secondary(&bench));
    bench.send(peer, hint(OWN_PORT));
    assert!(!is_secondary(&bench));
}

#[test]
fn known_masters_are_challenged_again() {
    let (mut bench, peer, _) = two();
    bench.opened.clear();
    let known_masters = vec![address(OTHER), address(10_002)];
    let primary = None;
    bench.send(peer, Packet::NotPrimaryMaster { primary, known_masters });
    bench.close(peer);
    assert_eq!(bench.opened.len(), 1);
    assert_eq!(bench.opened[0].1, address(10_002));
    bench.opened.clear();
    bench.wait(999);
    assert!(bench.opened.is_empty());
    bench.wait(1);
    assert_eq!(bench.opened[0].1, address(OTHER));
}

#[test]
fn the_end_of_recovery_ends_the_election() {
    let (mut bench, peer, _) = two();
    let admin = bench.admin();
    let (s1, _) = bench.identified(storage(None, 2001));
    bench.serve(s1, &super::harness::Database::default());
    let state = ClusterState::Verifying;
    bench.send(admin, Packet::SetClusterState { state });
    assert_eq!(bench.state(), ClusterState::Verifying);
    assert!(bench.is_closed(peer));
    bench.opened.clear();
    bench.wait(10_000);
    assert!(bench.opened.is_empty());
}

#[test]
fn a_secondary_tells_who_the_primary_is() {
    let (mut bench, _) = secondary();
    for request in [
        identification(NodeType::Client, None, None),
        storage(None, 2001),
        master(7, 10_007, Some(1.0)),
    ] {
        let peer = bench.connect();
        bench.send(peer, request);
        let packets = bench.packets(peer);
        let [Packet::NotPrimaryMaster { primary: Some(index), known_masters }] = &packets[..]
        else {
            panic!("{packets:?}");
        };
        let index = usize::try_from(*index).expect("an index");
        assert_eq!(known_masters[index], address(OTHER));
        assert!(known_masters.contains(&address(OWN_PORT)));
        assert!(bench.is_closed(peer));
    }
    // The primary itself gets no hint.
    let peer = bench.connect();
    bench.send(peer, master(1, OTHER, None));
    let packets = bench.packets(peer);
    assert!(matches!(packets[..], [Packet::NotPrimaryMaster { primary: None, .. }]));
    let wrong = bench.connect();
    let error = bench.error(wrong, identification(NodeType::Admin, None, Some(OWN_PORT)));
    assert_eq!(error, (ErrorCode::ProtocolError, "address conflict".into()));
}

#[test]
fn a_secondary_that_is_not_accepted_knows_nothing() {
    let (mut bench, _, own) = two();
    let peer = bench.connect();
    bench.send(peer, master(1, OTHER, Some(own - 1.0)));
    assert!(is_secondary(&bench));
    let client = bench.connect();
    bench.send(client, identification(NodeType::Client, None, None));
    let packets = bench.packets(client);
    assert!(matches!(packets[..], [Packet::NotPrimaryMaster { primary: None, .. }]));
    // Somebody else claims to be the primary.
    let claimant = bench.connect();
    bench.opened.clear();
    bench.send(claimant, master(9, 10_009, Some(5.0)));
    assert_eq!(bench.packets(claimant), []);
    assert!(bench.is_closed(claimant));
    assert_eq!(bench.opened.pop().expect("a connection").1, address(10_009));
}

#[test]
fn a_secondary_takes_over_when_nobody_answers() {
    let (mut bench, primary) = secondary();
    bench.wait(2000);
    bench.opened.clear();
    bench.close(primary);
    // The same one first: maybe only the connection was lost.
    let (again, to) = bench.opened.pop().expect("a connection");
    assert_eq!(to, address(OTHER));
    assert!(is_secondary(&bench));
    bench.close(again);
    assert_eq!(bench.state(), ClusterState::Recovering);
    let (_, own) = bench.master.nodes().find_nid(nid(2)).expect("the same NID");
    assert_eq!(own.address(), Some(&address(OWN_PORT)));
}

#[test]
fn a_secondary_tries_every_master_before_it_takes_over() {
    let (mut bench, primary) = secondary();
    let running = NodeState::Running;
    bench.send(primary, told(11.0, &[(3, 10_003, running)]));
    bench.wait(2000);
    bench.opened.clear();
    bench.close(primary);
    let (first, to) = bench.opened.pop().expect("a connection");
    assert_eq!(to, address(OTHER));
    bench.close(first);
    let (second, to) = bench.opened.pop().expect("a connection");
    assert_eq!(to, address(10_003));
    bench.close(second);
    assert_eq!(bench.state(), ClusterState::Recovering);
}

#[test]
fn a_secondary_stops_with_the_cluster_or_when_killed() {
    let (mut bench, primary) = secondary();
    let state = ClusterState::Running;
    bench.send(primary, Packet::NotifyClusterInformation { state });
    assert_eq!(bench.exit, None);
    let state = ClusterState::Stopping;
    bench.send(primary, Packet::NotifyClusterInformation { state });
    assert_eq!(bench.exit, Some(Exit::Success));

    let (mut bench, primary) = secondary();
    bench.send(primary, told(11.0, &[(3, 10_003, NodeState::Down)]));
    assert_eq!(bench.exit, None);
    bench.send(primary, told(12.0, &[(2, OWN_PORT, NodeState::Down)]));
    assert_eq!(bench.exit, Some(Exit::Success));
}

#[test]
fn a_secondary_does_not_accept_an_older_list() {
    let (mut bench, primary) = secondary();
    let (code, _) = bench.error(primary, told(10.0, &[]));
    assert_eq!(code, ErrorCode::ProtocolError);
    assert!(bench.is_closed(primary));
}

#[test]
fn a_secondary_forgets_masters_that_the_primary_does_not_know() {
    let (bench, _) = secondary();
    let known = bench.master.nodes().of_type(NodeType::Master).count();
    assert_eq!(known, 2);
    let mut bench = Bench::new(|config| {
        config.masters = vec![address(OTHER), address(10_002)];
    });
    let (peer, _) = bench.opened[0].clone();
    challenged(&mut bench, peer);
    let accepted = Packet::AcceptIdentification {
        node_type: NodeType::Master,
        nid: Some(nid(1)),
        your_nid: Some(nid(2)),
    };
    bench.reply(peer, accepted);
    let running = NodeState::Running;
    bench.send(peer, told(1.0, &[(2, OWN_PORT, running), (1, OTHER, running)]));
    assert_eq!(bench.master.nodes().of_type(NodeType::Master).count(), 2);
}

#[test]
fn an_unknown_master_is_accepted_and_told_to_others() {
    let mut running = Running::new(1, 0);
    let (_, granted) = running.bench.identified(master(1, 10_009, None));
    assert_eq!(granted, nid(2));
    let names = running.bench.names(running.storages[0]);
    assert_eq!(names, ["NotifyNodeInformation"]);
}
