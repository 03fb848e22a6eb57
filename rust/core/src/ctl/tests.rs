//! Whole commands, from the words of the operator to what is printed.

use neo_wire::{Address, Cell, CellState, ClusterState, ErrorCode, Map, Message, NodeId, NodeInfo};
use neo_wire::{NodeState, NodeType, Oid, Packet, Partition, Ptid, RowList, Tid, Timestamp};

use super::{Command, Ctl, Effect};
use crate::io::{ConnectionId, Exit, Input, Node, Now, Output, Outputs};

mod admins;
mod cautions;
mod json;
mod words;

const NOW: Now = Now { monotonic_ms: 0, wall_s: 0.0 };

fn address(port: u16) -> Address {
    Address { host: "127.0.0.1".into(), port }
}

/// A command and the admin it talks to.
struct Session {
    ctl: Ctl,
    out: Outputs<Effect>,
    connection: ConnectionId,
}

impl Session {
    fn connecting(words: &str) -> Self {
        let words: Vec<&str> = words.split(' ').collect();
        let command = Command::parse(&words).unwrap().unwrap();
        let mut ctl = Ctl::new(address(9999), command);
        let mut out = Outputs::new();
        ctl.handle(NOW, Input::Start, &mut out);
        let [Output::Connect { connection, .. }] = out[..] else {
            panic!("{out:?}");
        };
        Self { ctl, out, connection }
    }

    fn new(words: &str) -> Self {
        let mut session = Self::connecting(words);
        let connection = session.connection;
        session.input(Input::Connected { connection });
        session
    }

    fn input(&mut self, input: Input<crate::io::Nothing>) {
        self.out.clear();
        self.ctl.handle(NOW, input, &mut self.out);
    }

    fn asked(&self) -> Packet {
        match &self.out[..] {
            [Output::Send { packet, .. }] => packet.clone(),
            other => panic!("{other:?}"),
        }
    }

    /// The admin answers the request that was just sent.
    fn answer(mut self, packet: Packet) -> Self {
        let Some(Output::Send { msg_id, .. }) = self.out.last() else {
            panic!("{:?}", self.out);
        };
        let message = Message { msg_id: Some(*msg_id), packet };
        let connection = self.connection;
        self.input(Input::Received { connection, message });
        self
    }

    fn ack(self, message: &str) -> Self {
        self.answer(Packet::ack(message))
    }

    /// What it printed, once it succeeded.
    fn printed(&self) -> &str {
        match &self.out[..] {
            [Output::Own(Effect::Print(text)), Output::Exit { exit: Exit::Success }] => text,
            [Output::Exit { exit: Exit::Success }] => "",
            other => panic!("{other:?}"),
        }
    }

    /// What it said on stderr.
    fn failure(&self) -> &str {
        match self.out.last() {
            Some(Output::Exit { exit: Exit::Failure(text) }) => text,
            other => panic!("{other:?}"),
        }
    }
}

fn node(node_type: NodeType, number: u32, port: u16, state: NodeState, time: f64) -> NodeInfo {
    NodeInfo {
        node_type,
        address: (port > 0).then(|| address(port)),
        nid: (number > 0).then(|| NodeId::new(node_type, number)),
        state,
        id_timestamp: (time > 0.0).then_some(Timestamp(time)),
    }
}

fn storage(number: u32, state: NodeState) -> NodeInfo {
    node(NodeType::Storage, number, 20_000, state, 1.0)
}

/// Rows from one text per storage, a letter per partition.
fn rows(texts: &[(i32, &str)]) -> RowList {
    let count = texts.first().map_or(0, |(_, text)| text.len());
    let state = |letter| match letter {
        'U' => Some(CellState::UpToDate),
        'O' => Some(CellState::OutOfDate),
        'F' => Some(CellState::Feeding),
        'C' => Some(CellState::Corrupted),
        _ => None,
    };
    (0..count)
        .map(|partition| {
            let cell = |(nid, text): &(i32, &str)| {
                let state = state(text.as_bytes()[partition].into())?;
                let nid = NodeId(*nid);
                Some(Cell { nid, state })
            };
            texts.iter().filter_map(cell).collect()
        })
        .collect()
}

fn partition_list(ptid: u64, num_replicas: u32, texts: &[(i32, &str)]) -> Packet {
    Packet::AnswerPartitionList { ptid: Some(Ptid(ptid)), num_replicas, rows: rows(texts) }
}

fn storages(states: &[(u32, NodeState)]) -> Packet {
    let nodes = states.iter().map(|(n, state)| storage(*n, *state)).collect();
    Packet::AnswerNodeList { nodes }
}

const RUNNING: NodeState = NodeState::Running;
const DOWN: NodeState = NodeState::Down;

#[test]
fn print_cluster() {
    let answer = |state| Session::new("print cluster").answer(Packet::AnswerClusterState { state });
    assert_eq!(answer(Some(ClusterState::Recovering)).printed(), "RECOVERING\n");
    assert_eq!(answer(None).printed(), "None\n");
}

#[test]
fn print_node() {
    let nodes = vec![
        node(NodeType::Storage, 1, 25401, RUNNING, 1_795_364_749.528_284),
        node(NodeType::Admin, 0, 25199, DOWN, 0.0),
        node(NodeType::Master, 1, 25300, RUNNING, 0.0),
        node(NodeType::Client, 1, 0, RUNNING, 1_795_364_749.0),
    ];
    let session = Session::new("print node");
    assert_eq!(session.asked(), Packet::AskNodeList { node_type: None });
    assert_eq!(
        session.answer(Packet::AnswerNodeList { nodes }).printed(),
        "\
C1   | CLIENT  |                 | RUNNING | 2026-11-22 16:25:49
M1   | MASTER  | 127.0.0.1:25300 | RUNNING | None
S1   | STORAGE | 127.0.0.1:25401 | RUNNING | 2026-11-22 16:25:49.528284
None | ADMIN   | 127.0.0.1:25199 | DOWN    | None
"
    );
    let session = Session::new("print node client");
    let node_type = Some(NodeType::Client);
    assert_eq!(session.asked(), Packet::AskNodeList { node_type });
    let nodes = Vec::new();
    assert_eq!(session.answer(Packet::AnswerNodeList { nodes }).printed(), "Empty list!\n");
}

#[test]
fn print_primary_and_summary() {
    let nid = NodeId::new(NodeType::Master, 1);
    let session = Session::new("print primary").answer(Packet::AnswerPrimary { nid });
    assert_eq!(session.printed(), "M1\n");
    let summary = |warning: &[Option<&str>], problem: &[Option<&str>]| {
        let names = |names: &[Option<&str>]| names.iter().map(|x| x.map(Into::into)).collect();
        let session = Session::new("print summary").answer(Packet::AnswerMonitorInformation {
            warning: names(warning),
            problem: names(problem),
            summary: "RUNNING".into(),
        });
        session.printed().to_owned()
    };
    assert_eq!(summary(&[], &[]), "# {}\nRUNNING\n");
    assert_eq!(summary(&[], &[None]), "# {\"problem\": [null]}\nRUNNING\n");
    assert_eq!(
        summary(&[None, Some("b\"é😀")], &[Some("bak2")]),
        "# {\"warning\": [null, \"b\\\"\\u00e9\\ud83d\\ude00\"], \"problem\": [\"bak2\"]}\n\
         RUNNING\n"
    );
}

#[test]
fn print_table() {
    let session =
        Session::new("print pt").answer(partition_list(1, 1, &[(1, "UUUUUU"), (2, "UUUUUU")]));
    let node_type = Some(NodeType::Storage);
    assert_eq!(session.asked(), Packet::AskNodeList { node_type });
    let session = session.answer(storages(&[(1, RUNNING), (2, RUNNING), (4, DOWN)]));
    assert_eq!(session.printed(), "# ptid: 1, replicas: 1\nS1 R UUUUUU\nS2 R UUUUUU\n");
    let texts = [
        (1, "UF.UF.UF.UF.UF.UF.UF.UF.U"),
        (2, "O.CO.CO.CO.CO.CO.CO.CO.CO"),
        (13, ".UU.UU.UU.UU.UU.UU.UU.UU."),
    ];
    let session = Session::new("print pt").answer(partition_list(10, 1, &texts));
    let session = session.answer(storages(&[(1, RUNNING), (2, DOWN), (13, RUNNING)]));
    assert_eq!(
        session.printed(),
        "\
# ptid: 10, replicas: 1
              10v       20v
S1  R UF.UF.UF.UF.UF.UF.UF.UF.U
S2  D O.CO.CO.CO.CO.CO.CO.CO.CO
S13 R .UU.UU.UU.UU.UU.UU.UU.UU.
"
    );
}

#[test]
fn print_table_before_there_is_one() {
    let session = Session::new("print pt").answer(Packet::AnswerPartitionList {
        ptid: None,
        num_replicas: 0,
        rows: vec![Vec::new(); 12],
    });
    assert_eq!(session.printed(), "# ptid: None, replicas: 0\n\n");
}

#[test]
fn print_rows() {
    let table = || partition_list(1, 0, &[(1, "U.U.U."), (2, ".U.O.U")]);
    let print = |words| Session::new(words).answer(table()).printed().to_owned();
    let header = "# ptid: 1, replicas: 0\n";
    assert_eq!(
        print("print pt 2 5"),
        format!(
            "{header}002 | S1 - UP_TO_DATE |\n003 | S2 - OUT_OF_DATE |\n004 | S1 - UP_TO_DATE |\n"
        )
    );
    assert_eq!(print("print pt 5"), format!("{header}005 | S2 - UP_TO_DATE |\n"));
    assert_eq!(print("print pt -3 1"), format!("{header}000 | S1 - UP_TO_DATE |\n"));
    assert_eq!(print("print pt 4 99999999999 S2"), format!("{header}005 | S2 - UP_TO_DATE |\n"));
    assert_eq!(print("print pt 7 9"), header);
    assert_eq!(print("print pt 0 -1"), header);
}

#[test]
fn print_ids() {
    let recovery =
        |backup_tid| Packet::AnswerRecovery { ptid: Some(Ptid(1)), backup_tid, truncate_tid: None };
    let session = Session::new("print ids").answer(recovery(None));
    let session = session.answer(Packet::AnswerLastIDs {
        last_tid: Some(Tid(0x040d_30b7_2ff2_e94a)),
        last_oid: Some(Oid(100)),
        first_tid: Tid::ZERO,
    });
    assert_eq!(
        session.printed(),
        "last_oid = 0x64\nlast_tid = 0x40d30b72ff2e94a (2026-11-22 16:23:11.238016)\n\
         last_ptid = 1\n"
    );
    let session = Session::new("print ids").answer(recovery(Some(Tid::ZERO)));
    let tid = Tid(0x040d_30bb_2d59_f7d4);
    assert_eq!(
        session.answer(Packet::AnswerLastTransaction { tid }).printed(),
        "backup_tid = 0x0 (1900-01-01 00:00:00)\n\
         last_tid = 0x40d30bb2d59f7d4 (2026-11-22 16:27:10.629243)\nlast_ptid = 1\n"
    );
}

#[test]
fn changes_of_the_cluster() {
    let session = Session::new("start");
    let state = ClusterState::Verifying;
    assert_eq!(session.asked(), Packet::SetClusterState { state });
    let text = "Cluster state changed";
    assert_eq!(session.ack(text).printed(), "Cluster state changed\n");
    let session = Session::new("set replicas 2");
    assert_eq!(session.asked(), Packet::SetNumReplicas { num_replicas: 2 });
    assert_eq!(session.ack("").printed(), "\n");
    let session = Session::new("truncate tid:0x10");
    assert_eq!(session.asked(), Packet::Truncate { tid: Tid(16) });
    assert_eq!(session.ack("").printed(), "");
}

#[test]
fn all_means_every_storage() {
    let nids = vec![NodeId(1), NodeId(3)];
    let list = || storages(&[(3, NodeState::Pending), (1, RUNNING)]);
    let session = Session::new("add all").answer(list());
    assert_eq!(session.asked(), Packet::AddPendingNodes { nids: nids.clone() });
    assert_eq!(session.ack("Nodes added: S3").printed(), "Nodes added: S3\n");
    let session = Session::new("prune_orphan 1 all").answer(list());
    let dry_run = true;
    assert_eq!(session.asked(), Packet::Repair { nids, dry_run });
    assert_eq!(session.ack("").printed(), "\n");
    let nids = vec![NodeId(2)];
    assert_eq!(Session::new("add S2").asked(), Packet::AddPendingNodes { nids });
}

#[test]
fn tweak_prints_the_table_it_makes() {
    let table = [(1, "U.FOF.U.FOF."), (2, ".U.FOF.U.FOF"), (3, "..O..O..O..O")];
    let session = Session::new("tweak -n S4 S5");
    let nids = vec![NodeId(4), NodeId(5)];
    let dry_run = true;
    assert_eq!(session.asked(), Packet::TweakPartitionTable { dry_run, nids });
    let session = session
        .answer(Packet::AnswerTweakPartitionTable { changed: true, rows: rows(&table) })
        .answer(storages(&[(1, RUNNING), (2, RUNNING), (3, RUNNING)]));
    assert_eq!(
        session.printed(),
        "             10v\nS1 R U.FOF.U.FOF.\nS2 R .U.FOF.U.FOF\nS3 R ..O..O..O..O\n"
    );
    let session = Session::new("tweak")
        .answer(Packet::AnswerTweakPartitionTable { changed: false, rows: rows(&table) });
    assert_eq!(session.printed(), "No change done.\n");
}

#[test]
fn kill_is_refused_where_it_would_ruin_the_table() {
    let state = |state| Packet::AnswerClusterState { state: Some(state) };
    let session = Session::new("kill S2").answer(state(ClusterState::Recovering));
    assert_eq!(session.failure(), "kill is refused in RECOVERING state: stop the process instead");
    let session = Session::new("kill S2").answer(state(ClusterState::Running));
    let (nid, state) = (NodeId(2), NodeState::Down);
    assert_eq!(session.asked(), Packet::SetNodeState { nid, state });
    assert_eq!(session.ack("state changed").printed(), "state changed\n");
}

#[test]
fn drop_does_not_erase_a_database_without_saying_so() {
    let list = || storages(&[(3, NodeState::Pending), (1, DOWN)]);
    let session = Session::new("drop S3").answer(list());
    assert_eq!(
        session.failure(),
        "S3 is pending: dropping it would erase its database. Stop it first, or use --force"
    );
    let request = |nid| Packet::SetNodeState { nid: NodeId(nid), state: NodeState::Unknown };
    assert_eq!(Session::new("drop --force S3").asked(), request(3));
    let session = Session::new("drop S1").answer(list());
    assert_eq!(session.asked(), request(1));
    let text = "node permanently removed";
    assert_eq!(session.ack(text).printed(), "node permanently removed\n");
}

#[test]
fn check_is_validated_before_it_leaves() {
    let table = || partition_list(1, 0, &[(1, "U.U"), (2, ".UU")]);
    let request = |partitions: &[(u32, Option<i32>)], min_tid, max_tid| Packet::CheckReplicas {
        partitions: partitions
            .iter()
            .map(|(partition, nid)| (Partition(*partition), nid.map(NodeId)))
            .collect::<Map<_, _>>(),
        min_tid: Tid(min_tid),
        max_tid,
    };
    let asked = |words| Session::new(words).answer(table()).asked();
    assert_eq!(asked("check : 1:S2"), request(&[(0, None), (1, Some(2)), (2, None)], 0, None));
    assert_eq!(asked("check 2: tid:5 tid:9"), request(&[(2, None)], 5, Some(Tid(9))));
    let session = Session::new("check :S1").answer(table()).ack("");
    assert_eq!(session.printed(), "");
    let failure = |words| Session::new(words).answer(table()).failure().to_owned();
    assert_eq!(failure("check 3:"), "unknown partition 3: the cluster has 3 of them");
    assert_eq!(failure("check 1:S7"), "unknown storage S7: it has no cell");
}

#[test]
fn flush_log_tells_when_nobody_hears() {
    let session = Session::new("flush_log");
    assert_eq!(session.asked(), Packet::AskPrimary {});
    let nid = NodeId::new(NodeType::Master, 1);
    let session = session.answer(Packet::AnswerPrimary { nid });
    assert!(matches!(
        &session.out[..],
        [Output::Send { packet: Packet::FlushLog {}, .. }, Output::Exit { exit: Exit::Success }]
    ));
    let text = "Not connected to a primary master.";
    let session = Session::new("flush_log").answer(Packet::error(ErrorCode::NotReady, text));
    assert_eq!(session.failure(), "ERROR: Not connected to a primary master.");
}

#[test]
fn refusals_and_failures() {
    let failure = |code, text: &str| {
        let session = Session::new("start").answer(Packet::error(code, text));
        session.failure().to_owned()
    };
    let text = "Cannot exit recovery without any storage node";
    assert_eq!(failure(ErrorCode::Denied, text), text);
    let text = "unexpected packet: no handler found in identification";
    assert_eq!(failure(ErrorCode::ProtocolError, text), "127.0.0.1:9999 is not an admin node");
    assert_eq!(
        failure(ErrorCode::ProtocolError, "connection to master lost"),
        "ERROR: connection to master lost"
    );

    let mut session = Session::connecting("start");
    let connection = session.connection;
    session.input(Input::Closed { connection });
    assert_eq!(session.failure(), "ERROR: not connected");
    let mut session = Session::new("start");
    session.input(Input::Closed { connection });
    assert_eq!(session.failure(), "ERROR: Connection closed");
    // An answer of another type than expected, and one that was not expected at all.
    let session = Session::new("print cluster").answer(Packet::ack("yes"));
    assert!(session.failure().starts_with("ERROR: "), "{}", session.failure());
    let session =
        Session::new("print cluster").answer(Packet::AnswerNodeList { nodes: Vec::new() });
    assert_eq!(session.failure(), "ERROR: Connection closed");
}

#[test]
fn the_operator_may_be_in_a_hurry() {
    let command = Command::parse(&["print", "cluster"]).unwrap().unwrap();
    let mut ctl = Ctl::new(address(9999), command).with_timeout(Some(1500));
    let mut out = Outputs::new();
    ctl.handle(NOW, Input::Start, &mut out);
    let Output::SetTimer { timer, delay_ms: 1500 } = out[0] else { panic!("{out:?}") };
    out.clear();
    ctl.handle(NOW, Input::Timer { timer }, &mut out);
    let exit = Exit::Failure("ERROR: timed out".into());
    assert_eq!(out.pop(), Some(Output::Exit { exit }));
    let Some(Output::Own(Effect::Failed(failure))) = out.pop() else { panic!("{out:?}") };
    assert_eq!((failure.code(), failure.status()), ("TIMED_OUT", 4));
}
