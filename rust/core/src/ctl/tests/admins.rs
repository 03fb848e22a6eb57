//! Several admins, and what is waited for.

use super::*;
use crate::ctl::FailureKind;

struct Scene {
    ctl: Ctl,
    out: Outputs<Effect>,
}

impl Scene {
    fn new(words: &str, others: &[u16]) -> Self {
        let words: Vec<&str> = words.split(' ').collect();
        let command = Command::parse(&words).unwrap().unwrap();
        let others = others.iter().map(|port| address(*port));
        let ctl = Ctl::new(address(1), command).or_at(others).with_timeout(Some(60_000));
        let mut scene = Self { ctl, out: Outputs::new() };
        scene.input(Input::Start);
        scene
    }

    fn input(&mut self, input: Input<crate::io::Nothing>) {
        self.out.clear();
        self.ctl.handle(NOW, input, &mut self.out);
    }

    /// Who is being connected to.
    fn connecting(&self) -> (ConnectionId, u16) {
        let connect = self.out.iter().find_map(|output| match output {
            Output::Connect { connection, address } => Some((*connection, address.port)),
            _ => None,
        });
        connect.unwrap_or_else(|| panic!("{:?}", self.out))
    }

    fn connected(&mut self) -> ConnectionId {
        let (connection, _) = self.connecting();
        self.input(Input::Connected { connection });
        connection
    }

    fn closed(&mut self, connection: ConnectionId) {
        self.input(Input::Closed { connection });
    }

    /// The answer to the only request that is in outputs.
    fn answer(&mut self, connection: ConnectionId, packet: Packet) {
        let sent = self.out.iter().find_map(|output| match output {
            Output::Send { msg_id, .. } => Some(*msg_id),
            _ => None,
        });
        let message = Message { msg_id: sent, packet };
        self.input(Input::Received { connection, message });
    }

    fn asked(&self) -> &'static str {
        let asked = self.out.iter().find_map(|output| match output {
            Output::Send { packet, .. } => Some(packet.name()),
            _ => None,
        });
        asked.unwrap_or_else(|| panic!("{:?}", self.out))
    }

    /// Lets the pause before the next question pass.
    fn retry(&mut self) {
        let timers = self.out.iter().filter_map(|output| match output {
            Output::SetTimer { timer, delay_ms: 100 } => Some(*timer),
            _ => None,
        });
        let timer = timers.last().unwrap_or_else(|| panic!("{:?}", self.out));
        self.input(Input::Timer { timer });
    }

    fn failure(&self) -> (FailureKind, &str) {
        let failure = self.out.iter().find_map(|output| match output {
            Output::Own(Effect::Failed(failure)) => Some((failure.kind, failure.text.as_str())),
            _ => None,
        });
        failure.unwrap_or_else(|| panic!("{:?}", self.out))
    }

    fn succeeded(&self) -> bool {
        self.out.contains(&Output::Exit { exit: Exit::Success })
    }
}

fn state(state: ClusterState) -> Packet {
    Packet::AnswerClusterState { state: Some(state) }
}

const NOT_READY: &str = "Not connected to a primary master.";

#[test]
fn the_next_admin_is_tried_where_nothing_was_asked() {
    let mut scene = Scene::new("start", &[2, 3, 4]);
    let (connection, port) = scene.connecting();
    assert_eq!(port, 1);
    scene.closed(connection);
    assert_eq!(scene.connecting().1, 2, "nobody listened");
    let connection = scene.connected();
    assert_eq!(scene.asked(), "AskClusterState");
    scene.answer(connection, Packet::error(ErrorCode::NotReady, NOT_READY));
    assert_eq!(scene.connecting().1, 3, "no master");
    scene.connected();
    let timer = crate::ctl::PATIENCE;
    scene.input(Input::Timer { timer });
    assert_eq!(scene.connecting().1, 4, "no answer at all");
    let connection = scene.connected();
    scene.answer(connection, state(ClusterState::Recovering));
    assert_eq!(scene.asked(), "SetClusterState");
    scene.closed(connection);
    assert_eq!(scene.failure(), (FailureKind::Closed, "ERROR: Connection closed"));
}

#[test]
fn the_failure_of_the_last_admin_is_told() {
    let mut scene = Scene::new("start", &[2]);
    let (connection, _) = scene.connecting();
    scene.closed(connection);
    let connection = scene.connected();
    scene.answer(connection, Packet::error(ErrorCode::NotReady, NOT_READY));
    let text = "ERROR: Not connected to a primary master.";
    assert_eq!(scene.failure(), (FailureKind::Answered(ErrorCode::NotReady), text));
}

#[test]
fn a_state_is_waited_for_whatever_happens_to_the_admin() {
    let mut scene = Scene::new("wait running", &[]);
    let (connection, _) = scene.connecting();
    scene.closed(connection);
    scene.retry();
    let connection = scene.connected();
    scene.answer(connection, Packet::error(ErrorCode::NotReady, NOT_READY));
    scene.retry();
    let connection = scene.connected();
    scene.answer(connection, state(ClusterState::Recovering));
    scene.retry();
    scene.closed(connection);
    scene.retry();
    let connection = scene.connected();
    scene.answer(connection, state(ClusterState::Running));
    assert!(scene.succeeded(), "{:?}", scene.out);
}

#[test]
fn every_cell_is_waited_for() {
    let mut scene = Scene::new("wait replicated", &[]);
    let connection = scene.connected();
    scene.answer(connection, state(ClusterState::Recovering));
    scene.retry();
    scene.answer(connection, state(ClusterState::Running));
    scene.answer(connection, partition_list(3, 1, &[(1, "UU"), (2, "OF")]));
    scene.retry();
    assert_eq!(scene.asked(), "AskClusterState");
    scene.answer(connection, state(ClusterState::BackingUp));
    scene.answer(connection, partition_list(3, 1, &[(1, "UU"), (2, "UU")]));
    assert!(scene.succeeded());
}

#[test]
fn what_was_waited_for_in_vain_is_told() {
    let timer = crate::ctl::TIMEOUT;
    let mut scene = Scene::new("wait running", &[]);
    let connection = scene.connected();
    scene.answer(connection, state(ClusterState::Recovering));
    scene.input(Input::Timer { timer });
    let text = "ERROR: timed out: the cluster is RECOVERING";
    assert_eq!(scene.failure(), (FailureKind::TimedOut, text));
    let mut scene = Scene::new("wait replicated", &[]);
    let connection = scene.connected();
    scene.answer(connection, state(ClusterState::Running));
    scene.answer(connection, partition_list(3, 1, &[(1, "UU"), (2, "OF")]));
    scene.input(Input::Timer { timer });
    assert_eq!(scene.failure().1, "ERROR: timed out: 2 cells are not UP_TO_DATE");
    let mut scene = Scene::new("wait running", &[]);
    let (connection, _) = scene.connecting();
    scene.closed(connection);
    scene.input(Input::Timer { timer });
    assert_eq!(scene.failure().1, "ERROR: timed out: not connected");
}
