//! Admins of backup clusters, on both sides.

use super::*;

pub(super) const BACKUP: ConnectionId = ConnectionId(6);

pub(super) fn identify(node_type: NodeType, cluster: &str) -> Packet {
    Packet::RequestIdentification {
        node_type,
        nid: None,
        address: None,
        cluster: cluster.into(),
        id_timestamp: None,
        extra: Map::default(),
    }
}

fn information(entries: Vec<(&str, Option<Value>)>) -> Packet {
    Packet::NotifyMonitorInformation {
        info: entries.into_iter().map(|(key, value)| (Text::from(key), value)).collect(),
    }
}

pub(super) fn backing_up() -> Packet {
    let up_to_date = (Value::CellState(CellState::UpToDate), Value::Unsigned(2));
    information(vec![
        ("cluster_state", Some(Value::ClusterState(ClusterState::BackingUp))),
        ("down", Some(Value::Unsigned(0))),
        ("pt_summary", Some(Value::Map(vec![up_to_date]))),
    ])
}

pub(super) const ACCEPTED: Packet =
    Packet::AcceptIdentification { node_type: NodeType::Admin, nid: None, your_nid: None };

fn reporting() -> Scene {
    let mut scene = Scene::running(&["bak"]);
    scene.accepted(BACKUP);
    scene.receive(BACKUP, 0, identify(NodeType::Admin, "bak"));
    assert_eq!(scene.sent(BACKUP), [ACCEPTED]);
    scene
}

#[test]
fn who_may_report_here() {
    let mut scene = Scene::new(&["bak"]);
    let not_ready = error(ErrorCode::NotReady, NOT_CONNECTED);
    assert_eq!(scene.ask(identify(NodeType::Admin, "bak")), [not_ready]);
    let mut scene = reporting();
    for (node_type, cluster, reason) in [
        (NodeType::Client, "bak", "reject non-admin node"),
        (NodeType::Admin, "other", "unknown backup cluster 'other'"),
        (NodeType::Admin, "bak", "already connected"),
    ] {
        scene.accepted(CTL);
        scene.receive(CTL, 40, identify(node_type, cluster));
        assert!(scene.is_closing(CTL), "{reason}");
        assert_eq!(scene.sent(CTL), [refused(reason)]);
    }
    // Its place is free again once it is gone.
    scene.input(Input::Closed { connection: BACKUP });
    assert_eq!(scene.ask(identify(NodeType::Admin, "bak")), [ACCEPTED]);
}

#[test]
fn a_backup_that_reports_is_in_the_summary() {
    let mut scene = reporting();
    scene.receive(BACKUP, 1, backing_up());
    let asked = [Packet::AskRecovery {}, Packet::AskLastTransaction {}];
    let sent: Vec<_> = scene.out.clone();
    assert_eq!(scene.sent(BACKUP), asked);
    scene.out = sent;
    assert_eq!(scene.sent(PRIMARY), [Packet::AskLastTransaction {}]);
    let answers = |scene: &mut Scene, first: u32, main: u32| {
        scene.receive(
            BACKUP,
            first,
            Packet::AnswerRecovery {
                ptid: Some(Ptid(1)),
                backup_tid: Some(Tid(0x040d_30cd_873d_34b9)),
                truncate_tid: None,
            },
        );
        let tid = Tid(7);
        scene.receive(BACKUP, first + 1, Packet::AnswerLastTransaction { tid });
        let tid = Tid(0x040d_30cd_9298_00dd);
        scene.receive(PRIMARY, main, Packet::AnswerLastTransaction { tid });
    };
    answers(&mut scene, 0, 3);
    let reports: Vec<_> = scene
        .out
        .iter()
        .filter_map(|output| match output {
            Output::Own(Effect::Report(report)) => Some(report.clone()),
            _ => None,
        })
        .collect();
    assert_eq!(reports.len(), 1);
    assert_eq!(reports[0].severity, Severity::Warning);
    assert_eq!(reports[0].changed, [Some("bak".into())]);
    scene.out.clear();
    scene.accepted(CTL);
    scene.receive(CTL, 40, Packet::AskMonitorInformation {});
    scene.out.clear();
    answers(&mut scene, 2, 4);
    let text = "\
RUNNING; UP_TO_DATE=1; ltid=040d30cd929800dd (2026-11-22 16:45:34.357913)

bak
    BACKINGUP; UP_TO_DATE=2; ltid=040d30cd873d34b9; lag=2.661253";
    let answer = Packet::AnswerMonitorInformation {
        warning: vec![Some("bak".into())],
        problem: Vec::new(),
        summary: text.into(),
    };
    assert_eq!(scene.sent(CTL), [answer]);
}

#[test]
fn a_backup_that_does_not_report_is_a_problem() {
    let mut scene = Scene::running(&["bak2", "bak"]);
    scene.accepted(CTL);
    scene.receive(CTL, 40, Packet::AskMonitorInformation {});
    scene.out.clear();
    scene.receive(PRIMARY, 3, Packet::AnswerLastTransaction { tid: Tid(0) });
    let answer = Packet::AnswerMonitorInformation {
        warning: Vec::new(),
        problem: vec![Some("bak".into()), Some("bak2".into())],
        summary: "RUNNING; UP_TO_DATE=1; ltid=0000000000000000 (1900-01-01 00:00:00)\n\n\
                  bak2\n    None\n\nbak\n    None"
            .into(),
    };
    assert_eq!(scene.sent(CTL), [answer]);
}

#[test]
fn a_backup_that_dies_while_it_is_asked_delays_nobody() {
    let mut scene = reporting();
    scene.receive(BACKUP, 1, backing_up());
    scene.accepted(CTL);
    scene.receive(CTL, 40, Packet::AskMonitorInformation {});
    scene.receive(PRIMARY, 3, Packet::AnswerLastTransaction { tid: Tid(1) });
    assert_eq!(scene.sent(CTL), []);
    scene.input(Input::Closed { connection: BACKUP });
    let sent = scene.sent(CTL);
    assert!(
        matches!(&sent[..], [Packet::AnswerMonitorInformation { problem, .. }]
            if *problem == [Some("bak".into())]),
        "{sent:?}"
    );
}

#[test]
fn what_a_backup_says_is_checked() {
    for packet in [
        information(vec![("down", None)]),
        information(vec![("cluster_state", Some(Value::Unsigned(1)))]),
        information(vec![("pt_summary", Some(Value::Bool(true)))]),
        Packet::AskClusterState {},
    ] {
        let mut scene = reporting();
        scene.receive(BACKUP, 1, packet.clone());
        assert!(scene.is_closing(BACKUP), "{packet:?}");
    }
    let mut scene = reporting();
    scene.receive(BACKUP, 1, information(vec![("later", Some(Value::Nil))]));
    assert_eq!(scene.out, []);
}

#[test]
fn this_cluster_reports_to_the_admin_of_its_upstream() {
    let mut scene = Scene::attached(&[]);
    let upstream = ConnectionId::opened(2);
    let packet = Packet::NotifyUpstreamAdmin { address: address(77) };
    scene.receive(PRIMARY, 8, packet);
    assert_eq!(scene.out, [Output::Connect { connection: upstream, address: address(77) }]);
    scene.input(Input::Connected { connection: upstream });
    assert_eq!(scene.sent(upstream), [identify(NodeType::Admin, "test")]);
    scene.receive(upstream, 0, ACCEPTED);
    let recovering = ("cluster_state", Some(Value::ClusterState(ClusterState::Recovering)));
    let down = |count| ("down", Some(Value::Unsigned(count)));
    let all = information(vec![recovering, down(0), ("pt_summary", None)]);
    assert_eq!(scene.sent(upstream), [all]);
    // Then what changes.
    scene.receive(PRIMARY, 9, table(1, &[(1, CellState::OutOfDate)]));
    let cells = Value::Map(vec![(Value::CellState(CellState::OutOfDate), Value::Unsigned(1))]);
    let changes = information(vec![down(1), ("pt_summary", Some(cells))]);
    assert_eq!(scene.sent(upstream), [changes]);
    // It is answered as `neoctl` is.
    scene.receive(upstream, 5, Packet::AskRecovery {});
    assert_eq!(scene.sent(PRIMARY), [Packet::AskRecovery {}]);
    // The loss of both does not end it.
    scene.now_ms = 5000;
    scene.input(Input::Closed { connection: PRIMARY });
    scene.input(Input::Closed { connection: upstream });
    let connects = scene.out.iter().filter(|x| matches!(x, Output::Connect { .. }));
    assert_eq!(connects.count(), 2);
}
