//! What `neoctl` gets.

use super::*;

#[test]
fn what_is_known_is_answered_at_once() {
    let mut scene = Scene::running(&[]);
    let nid = MASTER_1;
    assert_eq!(scene.ask(Packet::AskPrimary {}), [Packet::AnswerPrimary { nid }]);
    let state = state_is(ClusterState::Running);
    assert_eq!(scene.ask(Packet::AskClusterState {}), [state]);
    let storage = node(1, 20, NodeState::Running);
    let own = node(OWN.0, 9999, NodeState::Running);
    let mut nodes = |node_type| scene.ask(Packet::AskNodeList { node_type });
    let list = |nodes: &[&NodeInfo]| Packet::AnswerNodeList {
        nodes: nodes.iter().map(|node| (*node).clone()).collect(),
    };
    assert_eq!(nodes(None), [list(&[&own, &storage])]);
    assert_eq!(nodes(Some(NodeType::Storage)), [list(&[&storage])]);
    assert_eq!(nodes(Some(NodeType::Client)), [list(&[])]);
}

#[test]
fn rows_of_the_table() {
    let mut scene = Scene::attached(&[]);
    let ask =
        |min_offset, max_offset| Packet::AskPartitionList { min_offset, max_offset, nid: None };
    let empty = Packet::AnswerPartitionList { ptid: None, num_replicas: 0, rows: Vec::new() };
    assert_eq!(scene.ask(ask(0, 0)), [empty]);
    let cell = |nid| {
        let (nid, state) = (NodeId(nid), CellState::UpToDate);
        vec![Cell { nid, state }]
    };
    let rows = vec![cell(1), cell(2), cell(3)];
    let packet =
        Packet::SendPartitionTable { ptid: Some(Ptid(4)), num_replicas: 2, rows: rows.clone() };
    scene.receive(PRIMARY, 7, packet);
    let answer = |rows: &[Vec<Cell>]| Packet::AnswerPartitionList {
        ptid: Some(Ptid(4)),
        num_replicas: 2,
        rows: rows.to_vec(),
    };
    assert_eq!(scene.ask(ask(0, 0)), [answer(&rows)]);
    assert_eq!(scene.ask(ask(1, 0)), [answer(&rows[1..])]);
    assert_eq!(scene.ask(ask(1, 2)), [answer(&rows[1..2])]);
    for (min, max) in [(0, 4), (4, 0), (2, 1), (u32::MAX, u32::MAX)] {
        scene.ask(ask(min, max));
        scene.receive(CTL, 40, ask(min, max));
        assert!(!scene.is_closing(CTL), "the connection stays");
        let refused = refused("invalid partition table offset");
        assert_eq!(scene.sent(CTL), [refused]);
    }
}

#[test]
fn the_rest_is_for_the_master() {
    let nids = vec![NodeId(1)];
    for request in [
        Packet::AddPendingNodes { nids: nids.clone() },
        Packet::AskLastIDs {},
        Packet::AskLastTransaction {},
        Packet::AskRecovery {},
        Packet::CheckReplicas { partitions: Map::default(), min_tid: Tid(1), max_tid: None },
        Packet::Repair { nids: nids.clone(), dry_run: true },
        Packet::SetClusterState { state: ClusterState::Verifying },
        Packet::SetNodeState { nid: NodeId(1), state: NodeState::Down },
        Packet::SetNumReplicas { num_replicas: 1 },
        Packet::Truncate { tid: Tid(3) },
        Packet::TweakPartitionTable { dry_run: false, nids: nids.clone() },
    ] {
        let mut scene = Scene::attached(&[]);
        scene.accepted(CTL);
        scene.receive(CTL, 40, request.clone());
        assert_eq!(scene.sent(PRIMARY), [request]);
        // Whatever the master says goes back as it is.
        let denied = error(ErrorCode::Denied, "no");
        scene.receive(PRIMARY, 2, denied.clone());
        assert!(!scene.is_closing(CTL));
        assert_eq!(scene.sent(CTL), [denied]);
    }
}

#[test]
fn a_protocol_error_of_the_master_ends_the_connection_of_who_asked() {
    let mut scene = Scene::running(&[]);
    scene.ask(Packet::AskRecovery {});
    let wrong = refused("wrong");
    scene.receive(PRIMARY, 3, wrong.clone());
    assert!(scene.is_closing(CTL));
    assert!(!scene.is_closing(PRIMARY));
    assert_eq!(scene.sent(CTL), [wrong]);
}

#[test]
fn who_asked_may_be_gone() {
    let mut scene = Scene::running(&[]);
    scene.ask(Packet::AskRecovery {});
    scene.input(Input::Closed { connection: CTL });
    scene.receive(PRIMARY, 3, error(ErrorCode::Denied, "no"));
    assert_eq!(scene.out, []);
}

#[test]
fn flush_log_is_for_everybody() {
    let mut scene = Scene::running(&[]);
    scene.accepted(CTL);
    scene.receive(CTL, 40, Packet::FlushLog {});
    assert!(scene.out.contains(&Output::Own(Effect::FlushLog)));
    assert_eq!(scene.sent(PRIMARY), [Packet::FlushLog {}]);
}

#[test]
fn what_is_not_for_an_admin_is_refused() {
    let mut scene = Scene::running(&[]);
    let packet = Packet::AskBeginTransaction { tid: None };
    scene.accepted(CTL);
    scene.receive(CTL, 40, packet);
    assert!(scene.is_closing(CTL));
    let text = "unexpected packet: no handler found in admin";
    assert_eq!(scene.sent(CTL), [refused(text)]);
    // These are understood by all nodes, and mean nothing here.
    assert_eq!(scene.ask(Packet::CloseClient {}), []);
    scene.receive(
        CTL,
        41,
        Packet::NotPrimaryMaster { primary: None, known_masters: vec![address(66)] },
    );
    assert_eq!(scene.out, []);
}

#[test]
fn the_summary_comes_after_fresh_identifiers() {
    let mut scene = Scene::running(&[]);
    scene.accepted(CTL);
    scene.receive(CTL, 40, Packet::AskMonitorInformation {});
    scene.receive(CTL, 40, Packet::AskMonitorInformation {});
    let asked = Packet::AskLastTransaction {};
    assert_eq!(scene.sent(PRIMARY), [asked], "both share the result");
    let tid = Tid(0x040d_30b7_2ff2_e94a);
    scene.receive(PRIMARY, 3, Packet::AnswerLastTransaction { tid });
    let text = "RUNNING; UP_TO_DATE=1; ltid=040d30b72ff2e94a (2026-11-22 16:23:11.238016)";
    let answer = Packet::AnswerMonitorInformation {
        warning: Vec::new(),
        problem: Vec::new(),
        summary: text.into(),
    };
    assert_eq!(scene.sent(CTL), [answer.clone(), answer]);
}

#[test]
fn the_summary_of_a_cluster_out_of_service_asks_nothing() {
    let mut scene = Scene::attached(&[]);
    let answer = Packet::AnswerMonitorInformation {
        warning: Vec::new(),
        problem: vec![None],
        summary: "RECOVERING".into(),
    };
    assert_eq!(scene.ask(Packet::AskMonitorInformation {}), [answer]);
    let mut scene = Scene::running(&[]);
    scene.ask(Packet::AskMonitorInformation {});
    scene.input(Input::Closed { connection: PRIMARY });
    let not_ready = error(ErrorCode::NotReady, NOT_CONNECTED);
    assert_eq!(scene.sent(CTL), [not_ready]);
}

#[test]
fn a_master_that_does_not_answer_is_left_after_a_minute() {
    let mut scene = Scene::running(&[]);
    scene.ask(Packet::AskMonitorInformation {});
    scene.now_ms = 60_000;
    let timer = crate::admin::MONITOR;
    scene.input(Input::Timer { timer });
    assert!(scene.is_closing(PRIMARY));
    let not_ready = error(ErrorCode::NotReady, NOT_CONNECTED);
    assert_eq!(scene.sent(CTL), [not_ready]);
}

#[test]
fn a_flood_is_refused_and_not_kept() {
    for request in [Packet::AskRecovery {}, Packet::AskMonitorInformation {}] {
        let mut scene = Scene::running(&[]);
        scene.accepted(CTL);
        for _ in 0..10_000 {
            scene.receive(CTL, 40, request.clone());
        }
        assert!(!scene.is_closing(CTL));
        scene.out.clear();
        scene.receive(CTL, 40, request);
        assert!(scene.is_closing(CTL));
        assert_eq!(scene.sent(CTL), [refused("too many requests are waiting")]);
    }
}
