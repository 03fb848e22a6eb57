use neo_wire::{Address, ErrorCode, Map, NodeId, NodeType, Packet};

use super::{Identification, PrimarySearch};
use crate::io::{ConnectionId, Nothing, Now, Output, Outputs, TimerId};
use crate::links::Links;

const TIMER: TimerId = TimerId(7);

fn master(port: u16) -> Address {
    Address { host: "127.0.0.1".into(), port }
}

fn at(monotonic_ms: u64) -> Now {
    Now { monotonic_ms, wall_s: 0.0 }
}

struct Owner {
    search: PrimarySearch,
    links: Links<&'static str>,
    out: Outputs<Nothing>,
}

impl Owner {
    fn new(ports: &[u16]) -> Self {
        Self {
            search: PrimarySearch::new(ports.iter().map(|port| master(*port)), TIMER),
            links: Links::default(),
            out: Outputs::new(),
        }
    }

    fn start(&mut self, now_ms: u64) {
        self.search.start(at(now_ms), &mut self.links, &mut self.out);
    }

    /// What it does first, as text: `connect PORT` or `wait MS`.
    fn step(&mut self) -> String {
        let steps = std::mem::take(&mut self.out);
        let mut steps = steps.into_iter().filter_map(|output| match output {
            Output::Connect { address, .. } => Some(format!("connect {}", address.port)),
            Output::SetTimer { delay_ms, timer } => {
                assert_eq!(timer, TIMER);
                Some(format!("wait {delay_ms}"))
            }
            _ => None,
        });
        let first = steps.next().unwrap_or_default();
        assert_eq!(steps.next(), None);
        first
    }

    fn connection(&self) -> ConnectionId {
        self.links.ids().last().unwrap()
    }

    fn connected(&mut self) -> ConnectionId {
        let connection = self.connection();
        assert!(self.links.connected(connection));
        let request = Packet::RequestIdentification {
            node_type: NodeType::Storage,
            nid: None,
            address: None,
            cluster: "test".into(),
            id_timestamp: None,
            extra: Map::default(),
        };
        assert!(self.search.on_connected(
            connection,
            request,
            "identify",
            &mut self.links,
            &mut self.out
        ));
        connection
    }

    fn closed(&mut self, now_ms: u64) {
        let connection = self.connection();
        let lost = self.links.closed(connection).unwrap();
        assert!(self.search.on_closed(
            connection,
            lost.established,
            at(now_ms),
            &mut self.links,
            &mut self.out
        ));
    }

    fn timer(&mut self, now_ms: u64) {
        assert!(self.search.on_timer(TIMER, at(now_ms), &mut self.links, &mut self.out));
    }

    fn answer(&mut self, packet: Packet, now_ms: u64) -> Identification {
        self.search.on_identification(packet, at(now_ms), &mut self.links, &mut self.out)
    }

    fn not_primary(&mut self, primary: Option<u32>, ports: &[u16], now_ms: u64) -> bool {
        let connection = self.connection();
        let known = ports.iter().map(|port| master(*port)).collect();
        self.search
            .on_not_primary(
                connection,
                (primary, known),
                at(now_ms),
                &mut self.links,
                &mut self.out,
            )
            .is_some()
    }
}

fn accept(node_type: NodeType, your_nid: Option<NodeId>) -> Packet {
    Packet::AcceptIdentification {
        node_type,
        nid: Some(NodeId::new(NodeType::Master, 1)),
        your_nid,
    }
}

#[test]
fn masters_are_tried_in_turn_each_once_a_second() {
    let mut owner = Owner::new(&[1, 2]);
    owner.start(0);
    assert_eq!(owner.step(), "connect 1");
    owner.start(0);
    assert_eq!(owner.step(), "", "once is enough");
    owner.connected();
    owner.closed(100);
    assert_eq!(owner.step(), "connect 2");
    owner.connected();
    owner.closed(200);
    assert_eq!(owner.step(), "wait 800");
    owner.timer(1000);
    assert_eq!(owner.step(), "connect 1");
    owner.connected();
    owner.closed(1050);
    assert_eq!(owner.step(), "wait 50");
    owner.timer(1100);
    assert_eq!(owner.step(), "connect 2");
}

#[test]
fn a_master_that_is_starting_is_tried_again_soon() {
    let mut owner = Owner::new(&[1]);
    owner.start(0);
    owner.step();
    owner.closed(0);
    assert_eq!(owner.step(), "wait 10");
    owner.timer(10);
    assert_eq!(owner.step(), "connect 1");
    owner.closed(10);
    assert_eq!(owner.step(), "wait 20");
}

#[test]
fn the_hint_of_a_secondary_master_is_followed() {
    let mut owner = Owner::new(&[1]);
    owner.start(0);
    owner.step();
    let first = owner.connected();
    assert!(owner.not_primary(Some(1), &[1, 3, 2], 5));
    assert_eq!(owner.step(), "connect 3");
    assert!(!owner.search.owns(first));
    assert!(!owner.links.contains(first));
    assert_eq!(owner.search.masters(), [master(1), master(3), master(2)]);
    assert!(owner.search.take_changed());
    assert!(!owner.search.take_changed());
    // It fails: nobody insists on it.
    owner.closed(6);
    assert_eq!(owner.step(), "connect 2");
}

#[test]
fn a_hint_that_was_just_tried_is_waited_for() {
    let mut owner = Owner::new(&[1, 2]);
    owner.start(0);
    owner.connected();
    owner.closed(0);
    owner.step_all();
    owner.connected();
    assert!(owner.not_primary(Some(0), &[1, 2], 100));
    assert_eq!(owner.step(), "wait 900");
    owner.timer(1000);
    assert_eq!(owner.step(), "connect 1");
}

impl Owner {
    fn step_all(&mut self) {
        self.out.clear();
    }
}

#[test]
fn without_hint_or_with_a_wrong_one_the_closure_is_waited_for() {
    for primary in [None, Some(9)] {
        let mut owner = Owner::new(&[1]);
        owner.start(0);
        owner.step();
        owner.connected();
        assert!(!owner.not_primary(primary, &[1, 2], 5));
        assert_eq!(owner.step(), "");
        owner.closed(6);
        assert_eq!(owner.step(), "connect 2");
    }
}

#[test]
fn once_accepted_the_search_rests_until_the_loss() {
    let mut owner = Owner::new(&[1]);
    owner.start(0);
    owner.step();
    let connection = owner.connected();
    let own = NodeId(3);
    assert_eq!(
        owner.answer(accept(NodeType::Master, Some(own)), 1),
        Identification::Accepted { master: NodeId::new(NodeType::Master, 1), own }
    );
    assert_eq!(owner.search.attached(), Some(connection));
    assert_eq!(owner.step(), "");
    owner.closed(5000);
    assert_eq!(owner.search.attached(), None);
    assert_eq!(owner.step(), "connect 1", "it lasted more than a second");
}

#[test]
fn refusals_and_other_nodes_are_left_for_the_next_master() {
    let refused = Packet::error(ErrorCode::NotReady, "Retry Later");
    for packet in
        [refused, accept(NodeType::Storage, Some(NodeId(1))), accept(NodeType::Master, None)]
    {
        let mut owner = Owner::new(&[1, 2]);
        owner.start(0);
        owner.step();
        let connection = owner.connected();
        let answer = owner.answer(packet, 1);
        assert!(!matches!(answer, Identification::Accepted { .. }));
        assert!(!owner.links.contains(connection));
        assert_eq!(owner.step(), "connect 2");
    }
}

#[test]
fn learnt_masters_can_be_forgotten_configured_ones_not() {
    let mut owner = Owner::new(&[1]);
    owner.search.learn(master(2));
    owner.search.learn(master(3));
    owner.search.forget(&master(1));
    owner.search.forget(&master(2));
    assert_eq!(owner.search.masters(), [master(1), master(3)]);
    owner.search.replace(&[master(4)]);
    assert_eq!(owner.search.masters(), [master(1), master(4)]);
}

#[test]
fn stop_leaves_everything() {
    let mut owner = Owner::new(&[1]);
    owner.start(0);
    let connection = owner.connected();
    let lost = owner.search.stop(&mut owner.links, &mut owner.out).unwrap();
    assert_eq!(lost.pending, ["identify"]);
    assert!(!owner.links.contains(connection));
    assert!(!owner.search.is_started());
    assert!(matches!(
        owner.out.last(),
        Some(Output::Abort { connection: aborted }) if *aborted == connection
    ));
    let none = Owner::new(&[]);
    assert!(none.search.masters().is_empty());
}
