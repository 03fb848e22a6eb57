use super::*;
use neo_wire::NodeType::{Admin, Client, Master, Storage};

use crate::io::Entropy;

fn nid(node_type: NodeType, number: u32) -> NodeId {
    NodeId::new(node_type, number)
}

fn address(port: u16) -> Address {
    let host = "127.0.0.1".into();
    Address { host, port }
}

fn info(node_type: NodeType, number: u32, port: u16, state: NodeState) -> NodeInfo {
    NodeInfo {
        node_type,
        address: (port != 0).then(|| address(port)),
        nid: (number != 0).then(|| nid(node_type, number)),
        state,
        id_timestamp: Some(Timestamp(f64::from(number))),
    }
}

fn extra(key: &str, value: Value) -> Map<Text, Value> {
    Map(vec![(key.into(), value)])
}

fn nids(infos: &[NodeInfo]) -> String {
    let names = infos.iter().map(|info| match info.nid {
        Some(nid) => nid.to_string(),
        None => info.node_type.to_string(),
    });
    names.collect::<Vec<_>>().join(" ")
}

fn add(nodes: &mut NodeDirectory, node_type: NodeType, number: u32) -> NodeKey {
    let key = nodes.create(node_type);
    nodes.set_nid(key, Some(nid(node_type, number)));
    key
}

fn identify(nodes: &mut NodeDirectory, key: NodeKey, connection: u64) {
    nodes.set_connection(key, Some(ConnectionId(connection)));
    nodes.get_mut(key).unwrap().identified = true;
}

#[test]
fn what_is_unique_moves_from_one_node_to_the_other() {
    let mut nodes = NodeDirectory::default();
    let (a, b) = (nodes.create(Storage), nodes.create(Storage));
    assert_eq!(nodes.set_nid(a, Some(nid(Storage, 1))), None);
    assert_eq!(nodes.set_nid(a, Some(nid(Storage, 1))), None);
    assert_eq!(nodes.set_nid(b, Some(nid(Storage, 1))), Some(a));
    assert_eq!(nodes.by_nid(nid(Storage, 1)), Some(b));
    assert_eq!(nodes.get(a).unwrap().nid(), None);
    nodes.set_address(a, Some(address(1)));
    assert_eq!(nodes.set_address(b, Some(address(1))), Some(a));
    nodes.set_address(b, Some(address(2)));
    assert_eq!(nodes.by_address(&address(1)), None);
    identify(&mut nodes, a, 7);
    assert_eq!(nodes.set_connection(b, Some(ConnectionId(7))), Some(a));
    assert!(!nodes.get(a).unwrap().identified);
    assert!(!nodes.get(b).unwrap().identified);
    identify(&mut nodes, b, 7);
    assert!(nodes.get(b).unwrap().identified);
    assert_eq!(nodes.disconnect(ConnectionId(7)), Some(b));
    assert_eq!(nodes.disconnect(ConnectionId(7)), None);
    assert!(!nodes.get(b).unwrap().identified);
    assert!(nodes.remove(b).is_some());
    assert_eq!(nodes.by_nid(nid(Storage, 1)), None);
    assert_eq!(nodes.by_address(&address(2)), None);
    assert_eq!(nodes.set_nid(b, Some(nid(Storage, 1))), None);
    assert_eq!(nodes.by_nid(nid(Storage, 1)), None);
}

#[test]
fn nodes_come_by_nid_then_by_address() {
    let mut nodes = NodeDirectory::default();
    for port in [3, 2] {
        nodes.master_at(&address(port));
    }
    nodes.storage_with(nid(Storage, 2));
    nodes.storage_with(nid(Storage, 1));
    add(&mut nodes, Master, 1);
    add(&mut nodes, Admin, 1);
    assert_eq!(nodes.master_at(&address(3)), nodes.master_at(&address(3)));
    assert_eq!(nodes.len(), 6);
    let infos: Vec<_> = nodes.iter().map(|(_, record)| record.info()).collect();
    assert_eq!(nids(&infos), "A1 M1 S1 S2 MASTER MASTER");
    let ports = infos.iter().filter_map(|info| info.address.as_ref());
    assert_eq!(ports.map(|a| a.port).collect::<Vec<_>>(), [2, 3]);
    assert_eq!(nodes.of_type(Master).count(), 3);
}

#[test]
fn the_clock_never_repeats() {
    let mut clock = MonotonicClock::default();
    assert_eq!(clock.next(5.0), Timestamp(5.0));
    assert_eq!(clock.next(5.0), Timestamp(5.001));
    assert_eq!(clock.next(3.0), Timestamp(5.001 + 0.001));
    assert_eq!(clock.next(6.0), Timestamp(6.0));
    assert_eq!(clock.next(f64::NAN), Timestamp(6.001));
    let far = clock.next(1e300);
    assert!(clock.next(1e300) > far);
}

#[test]
fn nids_are_granted_or_the_first_free_ones() {
    let mut nodes = NodeDirectory::default();
    let s1 = add(&mut nodes, Storage, 1);
    nodes.set_address(s1, Some(address(1)));
    let own = Some(nid(Master, 1));
    let (one, two) = (address(1), address(2));
    let grant = |number, at| nodes.can_grant(nid(Storage, number), Storage, at, own);
    assert!(grant(2, None) && grant(1, Some(&one)));
    assert!(!grant(1, None) && !grant(1, Some(&two)) && !grant(0, None));
    assert!(!nodes.can_grant(nid(Master, 1), Master, None, own));
    assert!(!nodes.can_grant(nid(Master, 2), Client, None, own));
    let first = |at, reserved| {
        let reserved = move |id| id == nid(Storage, reserved);
        nodes.first_nid(Storage, at, reserved).unwrap().to_string()
    };
    assert_eq!(first(None, 9), "S2");
    assert_eq!(first(None, 2), "S3");
    assert_eq!(first(Some(&one), 9), "S1");
    let mut entropy = Entropy::new(1);
    for _ in 0..100 {
        let id = nodes.random_nid(Storage, &mut entropy).unwrap();
        assert_eq!(id.node_type(), Some(Storage));
        assert!(id.0 > 1 && id != nid(Storage, 1));
    }
}

#[test]
fn everybody_is_told_what_its_type_is_entitled_to() {
    let mut nodes = NodeDirectory::default();
    let m2 = add(&mut nodes, Master, 2);
    let s1 = add(&mut nodes, Storage, 1);
    let c1 = add(&mut nodes, Client, 1);
    let c2 = add(&mut nodes, Client, 2);
    let a1 = add(&mut nodes, Admin, 1);
    let a2 = add(&mut nodes, Admin, 2);
    nodes.get_mut(c2).unwrap().extra = extra("backup", "b".into());
    nodes.get_mut(a2).unwrap().extra = extra("backup", Value::Array(vec!["a".into(), "b".into()]));
    let told = |key| nids(&nodes.visible_to(key));
    assert_eq!(told(m2), "M2");
    assert_eq!(told(s1), "S1 C1 C2 M2");
    assert_eq!(told(c1), "C1 M2 S1");
    assert_eq!(told(c2), "C2 A2 M2 S1");
    assert_eq!(told(a1), "A1 C1 C2 M2 S1");
    for (index, key) in [m2, s1, c1, c2, a1].into_iter().enumerate() {
        identify(&mut nodes, key, index as u64);
    }
    let audience = |keys: &[NodeKey]| {
        let mut told: Vec<_> = nodes.audience(keys).into_iter().collect();
        told.sort_by_key(|(connection, _)| *connection);
        told.iter()
            .map(|(connection, infos)| format!("{}: {}", connection.0, nids(infos)))
            .collect::<Vec<_>>()
    };
    assert_eq!(audience(&[c1]), ["1: C1", "4: C1"]);
    assert_eq!(audience(&[a2]), ["3: A2"]);
    assert_eq!(audience(&[a1]), [""; 0]);
    let mixed = ["0: M2", "1: M2 S1", "2: M2 S1", "3: M2 S1", "4: M2 S1"];
    assert_eq!(audience(&[m2, s1]), mixed);
}

fn apply(
    nodes: &mut NodeDirectory,
    time: f64,
    infos: &[NodeInfo],
    full_list: bool,
) -> Vec<(String, Option<NodeState>, NodeState)> {
    let keep = |record: &NodeRecord| record.nid() == Some(nid(Storage, 9));
    let changes = nodes.apply(Timestamp(time), infos, full_list, keep);
    let changes = changes.unwrap().into_iter();
    changes
        .map(|change| {
            assert_eq!(change.key.is_none(), change.info.state == NodeState::Unknown);
            let name = nids(std::slice::from_ref(&change.info));
            (name, change.previous, change.info.state)
        })
        .collect()
}

#[test]
fn a_full_list_replaces_what_was_known_but_what_is_kept() {
    use NodeState::{Down, Running, Unknown};
    let mut nodes = NodeDirectory::default();
    let old =
        [info(Storage, 1, 1, Running), info(Storage, 2, 2, Running), info(Storage, 9, 9, Running)];
    apply(&mut nodes, 5.0, &old, true);
    let change = apply(&mut nodes, 4.0, &[info(Storage, 1, 1, Running)], true);
    let expected = [
        ("S1".into(), Some(Running), Running),
        ("S2".into(), Some(Running), Unknown),
        ("S9".into(), Some(Running), Down),
    ];
    assert_eq!(change, expected);
    let change = apply(&mut nodes, 4.5, &[info(Storage, 1, 0, Unknown)], false);
    assert_eq!(change, [("S1".into(), Some(Running), Unknown)]);
    assert_eq!(nodes.len(), 1);
    assert_eq!(apply(&mut nodes, 4.6, &[info(Client, 1, 0, Unknown)], false), []);
}

#[test]
fn times_of_notifications_increase() {
    let mut nodes = NodeDirectory::default();
    let list = [info(Storage, 1, 1, NodeState::Running)];
    apply(&mut nodes, 5.0, &list, true);
    for time in [5.0, 4.0, f64::NAN] {
        let change =
            nodes.apply(Timestamp(time), &[info(Storage, 1, 1, NodeState::Down)], false, |_| true);
        assert!(change.is_err());
    }
    assert!(nodes.is_running(nid(Storage, 1)));
    assert_eq!(nodes.last_notification(), Some(Timestamp(5.0)));
}

#[test]
fn masters_are_addresses_and_others_are_nids() {
    use NodeState::Running;
    let mut nodes = NodeDirectory::default();
    let a = nodes.master_at(&address(1));
    let b = nodes.master_at(&address(2));
    let list = [info(Master, 1, 1, Running), info(Master, 2, 2, Running)];
    apply(&mut nodes, 1.0, &list, true);
    assert_eq!(nodes.by_nid(nid(Master, 1)), Some(a));
    let swapped = [info(Master, 2, 1, Running), info(Master, 1, 2, Running)];
    apply(&mut nodes, 2.0, &swapped, false);
    assert_eq!(nodes.by_nid(nid(Master, 2)), Some(a));
    assert_eq!(nodes.by_nid(nid(Master, 1)), Some(b));
    assert_eq!(nodes.len(), 2);

    apply(&mut nodes, 3.0, &[info(Storage, 1, 11, Running)], false);
    apply(&mut nodes, 4.0, &[info(Storage, 2, 11, Running)], false);
    let (s1, record) = nodes.find_nid(nid(Storage, 1)).unwrap();
    assert_eq!(record.address(), None);
    apply(&mut nodes, 5.0, &[info(Storage, 1, 12, Running)], false);
    assert_eq!(nodes.by_address(&address(12)), Some(s1));
}

#[test]
fn a_recycled_nid_is_reported_with_the_connection_of_its_last_owner() {
    use NodeState::Running;
    let mut nodes = NodeDirectory::default();
    apply(&mut nodes, 1.0, &[info(Client, 1, 0, Running)], true);
    let key = nodes.by_nid(nid(Client, 1)).unwrap();
    identify(&mut nodes, key, 3);
    let mut again = info(Client, 1, 0, Running);
    again.id_timestamp = Some(Timestamp(2.5));
    let change = nodes.apply(Timestamp(3.0), &[again], false, |_| true);
    let change = change.unwrap().pop().unwrap();
    assert!(change.renewed);
    assert_eq!(change.connection, Some(ConnectionId(3)));
    assert_eq!(change.previous, Some(Running));
}
