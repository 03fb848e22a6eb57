//! Every recorded packet, given to nodes that do not expect it: none may panic, nor become deaf.

use neo_core::admin::{Admin, Config};
use neo_core::ctl::{Command, Ctl};
use neo_core::io::{ConnectionId, Input, Node, Now, Output, Outputs};
use neo_wire::{Address, ErrorCode, Map, Message, NodeId, NodeType, Packet};

use crate::stream::{self, What};

const NOW: Now = Now { monotonic_ms: 0, wall_s: 0.0 };
const PRIMARY: ConnectionId = ConnectionId::opened(1);
const PEER: ConnectionId = ConnectionId(1);
const BACKUP: ConnectionId = ConnectionId(2);
const LAST: ConnectionId = ConnectionId(3);

fn messages() -> Vec<Message> {
    let messages = stream::names().into_iter().flat_map(|name| stream::load(&name));
    let mut messages: Vec<Message> = messages
        .filter_map(|event| match event.what {
            What::Message(message) => Some(message),
            _ => None,
        })
        .collect();
    messages.dedup();
    assert!(messages.len() > 500);
    messages
}

struct Scene<N: Node> {
    node: N,
    out: Outputs<N::Effect>,
}

impl<N: Node> Scene<N> {
    fn give(&mut self, input: Input<N::Event>) {
        self.node.handle(NOW, input, &mut self.out);
    }

    fn receive(&mut self, connection: ConnectionId, msg_id: Option<u32>, packet: Packet) {
        self.give(Input::Received { connection, message: Message { msg_id, packet } });
    }
}

fn address(port: u16) -> Address {
    Address { host: "127.0.0.1".into(), port }
}

/// An admin that a peer, an admin of a backup cluster and a primary master are connected to.
fn admin() -> Scene<Admin> {
    let config = Config {
        cluster: "test".into(),
        address: Some(address(9999)),
        nid: None,
        masters: vec![address(1)],
        backups: vec!["bak".into()],
        max_lag_s: 0.0,
    };
    let mut scene = Scene { node: Admin::new(config), out: Outputs::new() };
    scene.give(Input::Start);
    scene.give(Input::Connected { connection: PRIMARY });
    let accept = Packet::AcceptIdentification {
        node_type: NodeType::Master,
        nid: Some(NodeId::new(NodeType::Master, 1)),
        your_nid: Some(NodeId::new(NodeType::Admin, 1)),
    };
    scene.receive(PRIMARY, Some(0), accept);
    scene.give(Input::Accepted { connection: PEER });
    scene.give(Input::Accepted { connection: BACKUP });
    let identify = Packet::RequestIdentification {
        node_type: NodeType::Admin,
        nid: None,
        address: None,
        cluster: "bak".into(),
        id_timestamp: None,
        extra: Map::default(),
    };
    scene.receive(BACKUP, Some(0), identify);
    scene
}

#[test]
fn an_admin_survives_everything() {
    for message in messages() {
        for connection in [PRIMARY, PEER, BACKUP] {
            let mut scene = admin();
            // Twice: what the first one left behind is there for the second.
            scene.receive(connection, message.msg_id, message.packet.clone());
            scene.receive(connection, message.msg_id, message.packet.clone());
            scene.give(Input::Closed { connection });
            scene.give(Input::Accepted { connection: LAST });
            scene.out.clear();
            scene.receive(LAST, Some(7), Packet::AskClusterState {});
            let answered = scene.out.iter().any(|output| match output {
                Output::Send { connection: LAST, msg_id: 7, packet } => match packet {
                    Packet::AnswerClusterState { .. } => connection != PRIMARY,
                    Packet::Error { code, .. } => *code == ErrorCode::NotReady,
                    _ => false,
                },
                _ => false,
            });
            assert!(answered, "{message:?} on {connection:?}: {:?}", scene.out);
        }
    }
}

#[test]
fn a_tool_survives_everything() {
    let commands = ["print ids", "print pt", "print node", "check :", "drop S1", "tweak", "start"];
    for message in messages() {
        for words in commands {
            let words: Vec<&str> = words.split(' ').collect();
            let command = Command::parse(&words).unwrap().unwrap();
            let node = Ctl::new(address(9999), command);
            let mut scene = Scene { node, out: Outputs::new() };
            scene.give(Input::Start);
            scene.give(Input::Connected { connection: PRIMARY });
            for _ in 0..3 {
                scene.receive(PRIMARY, Some(0), message.packet.clone());
            }
            scene.give(Input::Closed { connection: PRIMARY });
            let exits = scene.out.iter().filter(|output| matches!(output, Output::Exit { .. }));
            assert_eq!(exits.count(), 1, "{message:?}");
        }
    }
}
