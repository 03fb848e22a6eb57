//! An admin between a master, `neoctl` and the admins of backup clusters.

use neo_wire::{Address, Cell, CellState, ClusterState, ErrorCode, Map, Message, NodeId, NodeInfo};
use neo_wire::{NodeState, NodeType, Packet, Ptid, Text, Tid, Timestamp, Value};

use super::{Admin, Config, Effect, NOT_CONNECTED, Severity};
use crate::io::{ConnectionId, Exit, Input, Node, Now, Output, Outputs};

mod backups;
mod notices;
mod tool;

const PRIMARY: ConnectionId = ConnectionId::opened(1);
const CTL: ConnectionId = ConnectionId(5);
const MASTER_1: NodeId = NodeId::new(NodeType::Master, 1);
const OWN: NodeId = NodeId::new(NodeType::Admin, 1);

fn address(port: u16) -> Address {
    Address { host: "127.0.0.1".into(), port }
}

fn node(nid: i32, port: u16, state: NodeState) -> NodeInfo {
    let nid = NodeId(nid);
    NodeInfo {
        node_type: nid.node_type().unwrap(),
        address: Some(address(port)),
        nid: Some(nid),
        state,
        id_timestamp: Some(Timestamp(1.0)),
    }
}

fn table(ptid: u64, states: &[(i32, CellState)]) -> Packet {
    let cell = |(nid, state): &(i32, CellState)| Cell { nid: NodeId(*nid), state: *state };
    Packet::SendPartitionTable {
        ptid: Some(Ptid(ptid)),
        num_replicas: 0,
        rows: vec![states.iter().map(cell).collect()],
    }
}

fn error(code: ErrorCode, message: &str) -> Packet {
    Packet::error(code, message)
}

fn refused(message: &str) -> Packet {
    error(ErrorCode::ProtocolError, message)
}

struct Scene {
    admin: Admin,
    now_ms: u64,
    out: Outputs<Effect>,
}

impl Scene {
    /// Started, not connected.
    fn new(backups: &[&str]) -> Self {
        let mut scene = Self {
            admin: Admin::new(Config {
                cluster: "test".into(),
                address: Some(address(9999)),
                nid: None,
                masters: vec![address(1)],
                backups: backups.iter().map(|name| Text::from(*name)).collect(),
                max_lag_s: 0.0,
            }),
            now_ms: 0,
            out: Outputs::new(),
        };
        scene.input(Input::Start);
        scene
    }

    /// Identified by the primary of a cluster in recovery.
    fn attached(backups: &[&str]) -> Self {
        let mut scene = Self::new(backups);
        scene.input(Input::Connected { connection: PRIMARY });
        scene.receive(PRIMARY, 0, accept());
        scene.nodes(&[node(OWN.0, 9999, NodeState::Running)]);
        scene.receive(PRIMARY, 1, state_is(ClusterState::Recovering));
        scene.out.clear();
        scene
    }

    /// In service, with a storage; the last identifiers were asked (msg_id 2) and answered.
    fn running(backups: &[&str]) -> Self {
        let mut scene = Self::attached(backups);
        scene.nodes(&[node(1, 20, NodeState::Running)]);
        scene.receive(PRIMARY, 9, table(1, &[(1, CellState::UpToDate)]));
        let state = ClusterState::Running;
        scene.receive(PRIMARY, 9, Packet::NotifyClusterInformation { state });
        let tid = Tid(1);
        scene.receive(PRIMARY, 2, Packet::AnswerLastTransaction { tid });
        scene.out.clear();
        scene
    }

    fn input(&mut self, input: Input<super::Event>) {
        let now = Now { monotonic_ms: self.now_ms, wall_s: 0.0 };
        self.admin.handle(now, input, &mut self.out);
    }

    fn receive(&mut self, connection: ConnectionId, msg_id: u32, packet: Packet) {
        let msg_id = Some(msg_id);
        let message = Message { msg_id, packet };
        self.input(Input::Received { connection, message });
    }

    fn nodes(&mut self, nodes: &[NodeInfo]) {
        self.now_ms += 1;
        let packet = Packet::NotifyNodeInformation {
            timestamp: Timestamp(self.now_ms as f64),
            nodes: nodes.to_vec(),
        };
        self.receive(PRIMARY, 3, packet);
    }

    fn accepted(&mut self, connection: ConnectionId) {
        self.input(Input::Accepted { connection });
    }

    /// What `neoctl` gets first when it asks this on a new connection.
    fn ask(&mut self, packet: Packet) -> Vec<Packet> {
        self.accepted(CTL);
        self.out.clear();
        self.receive(CTL, 40, packet);
        self.sent(CTL)
    }

    /// What was sent by a connection since outputs were looked at; nothing else is left.
    fn sent(&mut self, to: ConnectionId) -> Vec<Packet> {
        let outputs = std::mem::take(&mut self.out);
        let sent = outputs.into_iter().filter_map(|output| match output {
            Output::Send { connection, packet, msg_id } if connection == to => {
                assert!(to != CTL || msg_id == 40, "{packet:?} has msg_id {msg_id}");
                Some(packet)
            }
            _ => None,
        });
        sent.collect()
    }

    fn is_closing(&self, which: ConnectionId) -> bool {
        self.out.iter().any(|output| {
            matches!(output, Output::Abort { connection } | Output::Close { connection }
                if *connection == which)
        })
    }
}

fn accept() -> Packet {
    Packet::AcceptIdentification {
        node_type: NodeType::Master,
        nid: Some(MASTER_1),
        your_nid: Some(OWN),
    }
}

fn state_is(state: ClusterState) -> Packet {
    Packet::AnswerClusterState { state: Some(state) }
}

#[test]
fn it_identifies_then_asks_the_state() {
    let mut scene = Scene::new(&["bak"]);
    assert!(matches!(
        &scene.out[..],
        [Output::Connect { connection: PRIMARY, address: to }] if *to == address(1)
    ));
    scene.input(Input::Connected { connection: PRIMARY });
    let names = Value::Array(vec!["bak".into()]);
    let request = Packet::RequestIdentification {
        node_type: NodeType::Admin,
        nid: None,
        address: Some(address(9999)),
        cluster: "test".into(),
        id_timestamp: None,
        extra: Map(vec![("backup".into(), names)]),
    };
    assert_eq!(scene.sent(PRIMARY), [request]);
    scene.receive(PRIMARY, 0, accept());
    assert_eq!(scene.sent(PRIMARY), [Packet::AskClusterState {}]);
    // Between both, it is connected and knows no state.
    let nothing = Packet::AnswerClusterState { state: None };
    assert_eq!(scene.ask(Packet::AskClusterState {}), [nothing]);
    scene.receive(PRIMARY, 1, state_is(ClusterState::Recovering));
    let answer = state_is(ClusterState::Recovering);
    scene.receive(CTL, 40, Packet::AskClusterState {});
    assert_eq!(scene.sent(CTL), [answer]);
}

#[test]
fn without_primary_everybody_is_refused() {
    let mut scene = Scene::new(&[]);
    let not_ready = error(ErrorCode::NotReady, NOT_CONNECTED);
    for request in [
        Packet::AskClusterState {},
        Packet::AskMonitorInformation {},
        Packet::AskRecovery {},
        Packet::FlushLog {},
    ] {
        scene.accepted(CTL);
        scene.receive(CTL, 40, request);
        assert!(scene.is_closing(CTL));
        assert_eq!(scene.sent(CTL), std::slice::from_ref(&not_ready));
    }
    // But any node answers this.
    assert_eq!(scene.ask(Packet::Ping {}), [Packet::Pong {}]);
}

#[test]
fn the_loss_of_the_primary_is_told_and_it_is_searched_again() {
    let mut scene = Scene::running(&[]);
    scene.ask(Packet::AskLastIDs {});
    scene.input(Input::Closed { connection: PRIMARY });
    assert!(scene.is_closing(CTL));
    assert!(scene.out.iter().any(|x| matches!(x, Output::SetTimer { .. })));
    assert_eq!(scene.sent(CTL), [refused("connection to master lost")]);
    let not_ready = error(ErrorCode::NotReady, NOT_CONNECTED);
    assert_eq!(scene.ask(Packet::AskPrimary {}), [not_ready]);
}

#[test]
fn a_secondary_master_leads_to_the_primary() {
    let mut scene = Scene::new(&[]);
    scene.input(Input::Connected { connection: PRIMARY });
    scene.out.clear();
    let known_masters = vec![address(1), address(2)];
    let packet =
        Packet::NotPrimaryMaster { primary: Some(1), known_masters: known_masters.clone() };
    scene.receive(PRIMARY, 0, packet);
    assert!(scene.is_closing(PRIMARY));
    let second = ConnectionId::opened(2);
    assert!(scene.out.iter().any(|output| matches!(
        output,
        Output::Connect { connection, address: to } if *connection == second && *to == address(2)
    )));
    // The dynamic list of masters is written again.
    assert!(scene.out.contains(&Output::Own(Effect::SaveMasters(known_masters))));
}

#[test]
fn it_ends_with_the_cluster_and_when_told_to() {
    let exit = Output::Exit { exit: Exit::Success };
    let mut scene = Scene::running(&[]);
    let state = ClusterState::Stopping;
    scene.receive(PRIMARY, 4, Packet::NotifyClusterInformation { state });
    assert!(!scene.out.contains(&exit));
    scene.input(Input::Closed { connection: PRIMARY });
    assert!(scene.out.contains(&exit));
    let mut scene = Scene::running(&[]);
    scene.nodes(&[node(OWN.0, 9999, NodeState::Down)]);
    assert!(scene.out.contains(&exit));
    let mut scene = Scene::new(&[]);
    scene.input(Input::Stop);
    assert!(scene.out.contains(&exit));
}

#[test]
fn a_master_that_breaks_the_rules_is_left() {
    let stale = Packet::NotifyNodeInformation { timestamp: Timestamp(0.5), nodes: Vec::new() };
    let old_table =
        Packet::NotifyPartitionChanges { ptid: Ptid(1), num_replicas: 0, cells: Vec::new() };
    for packet in [stale, old_table, Packet::NotifyReady {}] {
        let mut scene = Scene::running(&[]);
        scene.receive(PRIMARY, 4, packet.clone());
        assert!(scene.is_closing(PRIMARY), "{packet:?}");
        let not_ready = error(ErrorCode::NotReady, NOT_CONNECTED);
        assert_eq!(scene.ask(Packet::AskPrimary {}), [not_ready]);
    }
    let mut scene = Scene::running(&[]);
    scene.receive(PRIMARY, 4, Packet::FlushLog {});
    assert_eq!(scene.out, [Output::Own(Effect::FlushLog)]);
}

#[test]
fn masters_come_and_go_with_the_list_of_nodes() {
    let mut scene = Scene::attached(&[]);
    let master = |port, state| node(NodeId::new(NodeType::Master, 2).0, port, state);
    let saved = |ports: &[u16]| {
        let addresses = ports.iter().map(|port| address(*port)).collect();
        Output::Own(Effect::SaveMasters(addresses))
    };
    scene.nodes(&[master(2, NodeState::Running)]);
    assert_eq!(scene.out, [saved(&[1, 2])]);
    scene.out.clear();
    scene.nodes(&[master(2, NodeState::Unknown)]);
    assert_eq!(scene.out, [saved(&[1])]);
}
