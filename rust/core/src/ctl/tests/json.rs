//! What programs get.

use super::*;
use serde_json::{Value, json};

fn session(words: &str) -> Session {
    let words: Vec<&str> = words.split(' ').collect();
    let command = Command::parse(&words).unwrap().unwrap();
    let mut ctl = Ctl::new(address(9999), command).as_json(true);
    let mut out = Outputs::new();
    ctl.handle(NOW, Input::Start, &mut out);
    let Output::Connect { connection, .. } = out[0] else { panic!("{out:?}") };
    let mut session = Session { ctl, out, connection };
    session.input(Input::Connected { connection });
    session
}

fn printed(session: &Session) -> Value {
    let line = session.printed();
    assert_eq!(line.matches('\n').count(), 1, "one line: {line}");
    serde_json::from_str(line).unwrap()
}

const TID: Tid = Tid(0x040d_30b7_2ff2_e94a);

#[test]
fn state_primary_and_summary() {
    let answer = |state| session("print cluster").answer(Packet::AnswerClusterState { state });
    let recovering = answer(Some(ClusterState::Recovering));
    assert_eq!(printed(&recovering), json!({"state": "RECOVERING"}));
    assert_eq!(printed(&answer(None)), json!({"state": null}));
    let nid = NodeId::new(NodeType::Master, 1);
    let session_ = session("print primary").answer(Packet::AnswerPrimary { nid });
    assert_eq!(printed(&session_), json!({"primary": "M1"}));
    let summary = session("print summary").answer(Packet::AnswerMonitorInformation {
        warning: vec![None, Some("bak".into())],
        problem: Vec::new(),
        summary: "RUNNING".into(),
    });
    let expected = json!({
        "severity": "warning",
        "warning": [null, "bak"],
        "problem": [],
        "summary": "RUNNING",
    });
    assert_eq!(printed(&summary), expected);
}

#[test]
fn nodes() {
    let nodes = vec![
        node(NodeType::Storage, 1, 25401, RUNNING, 1_795_364_749.528_284),
        node(NodeType::Admin, 0, 25199, DOWN, 0.0),
        node(NodeType::Client, 1, 0, RUNNING, 1_795_364_749.0),
    ];
    let session = session("print node").answer(Packet::AnswerNodeList { nodes });
    let expected = json!({"nodes": [
        {"nid": "C1", "type": "CLIENT", "address": null, "state": "RUNNING",
         "id_timestamp": "2026-11-22T16:25:49Z"},
        {"nid": "S1", "type": "STORAGE", "address": "127.0.0.1:25401", "state": "RUNNING",
         "id_timestamp": "2026-11-22T16:25:49.528284Z"},
        {"nid": null, "type": "ADMIN", "address": "127.0.0.1:25199", "state": "DOWN",
         "id_timestamp": null},
    ]});
    assert_eq!(printed(&session), expected);
}

#[test]
fn tables() {
    let table = || partition_list(7, 1, &[(1, "U."), (2, "OU")]);
    let rows = json!([
        {"partition": 0, "cells": [{"nid": "S1", "state": "UP_TO_DATE"},
                                   {"nid": "S2", "state": "OUT_OF_DATE"}]},
        {"partition": 1, "cells": [{"nid": "S2", "state": "UP_TO_DATE"}]},
    ]);
    let all = session("print pt").answer(table()).answer(storages(&[(1, RUNNING), (2, RUNNING)]));
    assert_eq!(printed(&all), json!({"ptid": 7, "replicas": 1, "partitions": rows}));
    let some = session("print pt 1").answer(table());
    assert_eq!(printed(&some), json!({"ptid": 7, "replicas": 1, "partitions": [rows[1]]}));
    let none = session("print pt").answer(Packet::AnswerPartitionList {
        ptid: None,
        num_replicas: 0,
        rows: vec![Vec::new(); 12],
    });
    assert_eq!(printed(&none), json!({"ptid": null, "replicas": 0, "partitions": []}));
    let tweak = session("tweak -n").answer(Packet::AnswerTweakPartitionTable {
        changed: false,
        rows: super::rows(&[(1, "U")]),
    });
    assert_eq!(printed(&tweak), json!({"changed": false}));
}

#[test]
fn identifiers() {
    let recovery =
        |backup_tid| Packet::AnswerRecovery { ptid: Some(Ptid(1)), backup_tid, truncate_tid: None };
    let last_tid = json!({"tid": "040d30b72ff2e94a", "date": "2026-11-22T16:23:11.238016Z"});
    let ids = session("print ids").answer(recovery(None)).answer(Packet::AnswerLastIDs {
        last_tid: Some(TID),
        last_oid: Some(Oid(100)),
        first_tid: Tid::ZERO,
    });
    let expected = json!({"last_oid": "0000000000000064", "last_tid": last_tid, "ptid": 1});
    assert_eq!(printed(&ids), expected);
    let backup = session("print ids").answer(recovery(Some(TID)));
    let backup = backup.answer(Packet::AnswerLastTransaction { tid: TID });
    let expected = json!({"backup_tid": last_tid, "last_tid": last_tid, "ptid": 1});
    assert_eq!(printed(&backup), expected);
}

#[test]
fn changes() {
    let start = session("start").ack("Cluster state changed");
    assert_eq!(printed(&start), json!({"message": "Cluster state changed"}));
    let truncate = session("truncate tid:5").ack("");
    assert_eq!(printed(&truncate), json!({"message": ""}));
    let wait = session("wait running");
    let state = Some(ClusterState::Running);
    let wait = wait.answer(Packet::AnswerClusterState { state });
    assert_eq!(printed(&wait), json!({"state": "RUNNING"}));
}

#[test]
fn failures() {
    let failed = |code, text: &str| {
        let session = session("start").answer(Packet::error(code, text));
        let failure = session.out.iter().find_map(|output| match output {
            Output::Own(Effect::Failed(failure)) => Some(failure.clone()),
            _ => None,
        });
        let failure = failure.unwrap();
        (serde_json::from_str::<Value>(&failure.to_json()).unwrap(), failure.status())
    };
    let text = "Can not switch to this state";
    let denied = json!({"error": text, "code": "DENIED"});
    assert_eq!(failed(ErrorCode::Denied, text), (denied, 1));
    let not_ready = json!({"error": "ERROR: no", "code": "NOT_READY"});
    assert_eq!(failed(ErrorCode::NotReady, "no"), (not_ready, 3));
}
