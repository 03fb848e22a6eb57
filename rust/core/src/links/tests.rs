use neo_wire::{ClusterState, ErrorCode, Message, Packet};

use super::{Incoming, Links};
use crate::io::{ConnectionId, Nothing, Output, Outputs};

const PEER: ConnectionId = ConnectionId(1);

fn links() -> (Links<&'static str>, Outputs<Nothing>) {
    let mut links = Links::default();
    links.accepted(PEER);
    (links, Outputs::new())
}

fn message(msg_id: u32, packet: Packet) -> Message {
    Message { msg_id: Some(msg_id), packet }
}

fn sent(out: &Outputs<Nothing>) -> Vec<(u32, &Packet)> {
    out.iter()
        .filter_map(|output| match output {
            Output::Send { msg_id, packet, .. } => Some((*msg_id, packet)),
            _ => None,
        })
        .collect()
}

#[test]
fn requests_and_notifications_share_a_counter_that_answers_do_not_use() {
    let (mut links, mut out) = links();
    assert_eq!(links.request(PEER, Packet::AskPrimary {}, "primary", &mut out), Ok(0));
    links.notify(PEER, Packet::FlushLog {}, &mut out);
    links.answer(PEER, 7, Packet::Pong {}, &mut out);
    assert_eq!(links.request(PEER, Packet::Ping {}, "ping", &mut out), Ok(2));
    let ids: Vec<u32> = sent(&out).into_iter().map(|(id, _)| id).collect();
    assert_eq!(ids, [0, 1, 7, 2]);
}

#[test]
fn answers_are_paired_in_any_order() {
    let (mut links, mut out) = links();
    links.request(PEER, Packet::AskClusterState {}, "state", &mut out).unwrap();
    links.request(PEER, Packet::AskPrimary {}, "primary", &mut out).unwrap();
    let denied = Packet::error(ErrorCode::Denied, "no");
    let received = links.receive(PEER, message(1, denied.clone()), &mut out);
    assert_eq!(received.incoming, Incoming::Answer { context: "primary", packet: denied });
    let state = Packet::AnswerClusterState { state: Some(ClusterState::Running) };
    let received = links.receive(PEER, message(0, state.clone()), &mut out);
    assert_eq!(received.incoming, Incoming::Answer { context: "state", packet: state });
    assert!(!links.has_pending(PEER));
}

#[test]
fn ping_is_answered_at_once() {
    let (mut links, mut out) = links();
    assert_eq!(
        links.receive(PEER, message(9, Packet::Ping {}), &mut out).incoming,
        Incoming::Nothing
    );
    assert_eq!(sent(&out), [(9, &Packet::Pong {})]);
}

#[test]
fn an_answer_that_was_not_asked_ends_the_connection() {
    let (mut links, mut out) = links();
    links.request(PEER, Packet::AskPrimary {}, "primary", &mut out).unwrap();
    let received = links.receive(PEER, message(0, Packet::Pong {}), &mut out);
    assert_eq!(received.lost.unwrap().pending, ["primary"]);
    let (_, error) = sent(&out)[1];
    assert_eq!(*error, Packet::error(ErrorCode::ProtocolError, "Unexpected answer: Pong[0]"));
    assert_eq!(out.last(), Some(&Output::Abort { connection: PEER }));
    assert!(!links.contains(PEER));
}

#[test]
fn a_report_is_only_logged_and_another_error_ends_the_connection() {
    let (mut links, mut out) = links();
    let report = Message { msg_id: None, packet: Packet::error(ErrorCode::ProtocolError, "you") };
    let received = links.receive(PEER, report, &mut out);
    assert!(received.lost.is_none() && out.is_empty());
    let received =
        links.receive(PEER, message(3, Packet::error(ErrorCode::NotReady, "x")), &mut out);
    assert!(received.lost.is_some());
}

#[test]
fn nothing_happens_on_a_closed_connection() {
    let (mut links, mut out) = links();
    links.close(PEER, &mut out);
    out.clear();
    assert_eq!(links.request(PEER, Packet::Ping {}, "ping", &mut out), Err("ping"));
    links.notify(PEER, Packet::FlushLog {}, &mut out);
    links.answer(PEER, 0, Packet::Pong {}, &mut out);
    links.receive(PEER, message(0, Packet::Ping {}), &mut out);
    assert!(out.is_empty() && links.closed(PEER).is_none());
}
