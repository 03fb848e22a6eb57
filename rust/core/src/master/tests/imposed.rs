//! TIDs that clients impose, one after another without waiting (spec master.md 10.3).

use neo_wire::{ClusterState, ErrorCode, Packet, Tid};

use super::commit::{begin, finished, protocol_error};
use super::harness::{Peer, Running, storage_nid};

const CONCURRENT: &str =
    "There can't be concurrent transactions when a TID is specified for any of them.";

/// Begins transactions at consecutive TIDs.
fn train(running: &mut Running, client: Peer, count: u64) -> Vec<Tid> {
    let first = Tid::from_time(1_800_000_000.0).expect("a date");
    let tids: Vec<_> = (0..count).map(|i| Tid(first.0 + i)).collect();
    for tid in &tids {
        let ttid = tid.as_ttid();
        let answer = running.bench.ask(client, begin(Some(*tid)));
        assert_eq!(answer, Some(Packet::AnswerBeginTransaction { ttid }));
    }
    tids
}

fn abort(running: &mut Running, client: Peer, tid: Tid) {
    let packet = Packet::AbortTransaction { ttid: tid.as_ttid(), nids: vec![storage_nid(1)] };
    running.bench.send(client, packet);
}

fn incomplete(running: &mut Running, client: Peer, msg_id: u32) {
    let answer = running.bench.answer_to(client, msg_id);
    let code = ErrorCode::IncompleteTransaction;
    assert_eq!(answer, Some(Packet::error(code, "")));
}

#[test]
fn imposed_tids_are_committed_in_their_order() {
    let mut running = Running::new(1, 0);
    let client = running.bench.client();
    running.commit(client, &[1]);
    let tids = train(&mut running, client, 3);
    let s1 = running.storages[0];
    running.bench.clear();
    let asked: Vec<_> = [(2, 3), (1, 2), (0, 1)]
        .map(|(i, oid)| running.finish(client, tids[i].as_ttid(), &[oid]))
        .into();
    // Whatever the order in which they were asked.
    for tid in &tids {
        assert_eq!(running.lock(s1), [(tid.as_ttid(), *tid)]);
    }
    for (tid, msg_id) in tids.iter().zip(asked.into_iter().rev()) {
        assert_eq!(finished(&mut running.bench, client, msg_id), Some(*tid));
    }
    assert_eq!(running.bench.master.last_tid(), tids[2]);
    assert!(running.bench.master.is_at_rest());
    // In order, they are locked without waiting.
    let next = [tids[2].next(), tids[2].next().next()];
    for tid in next {
        running.bench.ask(client, begin(Some(tid)));
    }
    for tid in next {
        running.finish(client, tid.as_ttid(), &[1]);
    }
    assert_eq!(running.lock(s1), next.map(|tid| (tid.as_ttid(), tid)));
    assert_eq!(running.bench.master.last_tid(), next[1]);
    let text = protocol_error(&mut running.bench, client, begin(Some(tids[2])));
    assert_eq!(text, "new TID must be greater than the last committed one");
}

#[test]
fn nobody_else_begins_meanwhile() {
    let mut running = Running::new(1, 0);
    let client = running.bench.client();
    let tids = train(&mut running, client, 2);
    for request in [begin(Some(tids[1].next())), begin(None)] {
        let other = running.bench.client();
        assert_eq!(protocol_error(&mut running.bench, other, request), CONCURRENT);
    }
    // Once they are all being finished, anybody may.
    let (other, refused) = (running.bench.client(), running.bench.client());
    let asked: Vec<_> =
        tids.iter().map(|tid| running.finish(client, tid.as_ttid(), &[1])).collect();
    let Some(Packet::AnswerBeginTransaction { ttid }) = running.bench.ask(other, begin(None))
    else {
        panic!("not begun");
    };
    assert!(ttid.as_tid() > tids[1]);
    let imposed = begin(Some(ttid.as_tid().next()));
    assert_eq!(protocol_error(&mut running.bench, refused, imposed), CONCURRENT);
    let s1 = running.storages[0];
    running.lock(s1);
    let ends: Vec<_> =
        asked.iter().map(|msg_id| finished(&mut running.bench, client, *msg_id)).collect();
    assert_eq!(ends, [Some(tids[0]), Some(tids[1])]);
    // They must be greater than those that are pending.
    let tids = [tids[1].next(), tids[1]].map(|tid| Tid(tid.0 + (1 << 40)));
    abort(&mut running, other, ttid.as_tid());
    running.bench.ask(client, begin(Some(tids[0])));
    let text = protocol_error(&mut running.bench, client, begin(Some(tids[1])));
    assert_eq!(text, CONCURRENT);
    assert!(running.bench.master.is_at_rest());
}

#[test]
fn what_follows_an_aborted_one_is_not_committed() {
    let mut running = Running::new(1, 0);
    let client = running.bench.client();
    let tids = train(&mut running, client, 4);
    let s1 = running.storages[0];
    running.bench.clear();
    let first = running.finish(client, tids[0].as_ttid(), &[1]);
    let third = running.finish(client, tids[2].as_ttid(), &[1]);
    let fourth = running.finish(client, tids[3].as_ttid(), &[1]);
    abort(&mut running, client, tids[1]);
    incomplete(&mut running, client, third);
    incomplete(&mut running, client, fourth);
    let names = running.bench.names(s1);
    assert_eq!(names[0], "AskLockInformation");
    assert_eq!(names[1..], ["AbortTransaction", "Ping"].repeat(3));
    let ttid = tids[0].as_ttid();
    running.bench.reply(s1, Packet::AnswerInformationLocked { ttid });
    assert_eq!(finished(&mut running.bench, client, first), Some(tids[0]));
    assert_eq!(running.bench.master.last_tid(), tids[0]);
    assert!(running.bench.master.is_at_rest());
    assert!(!running.bench.is_closed(client));
    // They can be tried again, once no abort of the former ones can be on its way.
    let begun = [1, 2].map(|i| running.bench.send(client, begin(Some(tids[i]))));
    running.bench.reply(s1, Packet::Pong {});
    running.bench.reply(s1, Packet::Pong {});
    assert_eq!(running.bench.answer_to(client, begun[0]), None);
    running.bench.reply(s1, Packet::Pong {});
    for (msg_id, i) in begun.into_iter().zip([1, 2]) {
        let ttid = tids[i].as_ttid();
        let answer = running.bench.answer_to(client, msg_id);
        assert_eq!(answer, Some(Packet::AnswerBeginTransaction { ttid }));
    }
    let msg_id = running.finish(client, tids[1].as_ttid(), &[1]);
    running.lock(s1);
    assert_eq!(finished(&mut running.bench, client, msg_id), Some(tids[1]));
}

#[test]
fn what_begins_after_a_broken_train_belongs_to_it() {
    let mut running = Running::new(1, 0);
    let client = running.bench.client();
    let tids = train(&mut running, client, 2);
    abort(&mut running, client, tids[0]);
    let late = tids[1].next();
    running.bench.send(client, begin(Some(late)));
    running.bench.reply(running.storages[0], Packet::Pong {});
    for tid in [late, tids[1]] {
        let msg_id = running.finish(client, tid.as_ttid(), &[1]);
        incomplete(&mut running, client, msg_id);
    }
    assert!(running.bench.master.is_at_rest());
}

#[test]
fn a_lost_client_leaves_a_prefix() {
    let mut running = Running::new(1, 0);
    let client = running.bench.client();
    let tids = train(&mut running, client, 3);
    let s1 = running.storages[0];
    running.bench.clear();
    running.finish(client, tids[0].as_ttid(), &[1]);
    running.finish(client, tids[2].as_ttid(), &[3]);
    running.bench.close(client);
    let expected = [(tids[0].as_ttid(), tids[0])];
    assert_eq!(running.lock(s1), expected);
    assert_eq!(running.bench.master.last_tid(), tids[0]);
    assert!(running.bench.master.is_at_rest());
    let back = running.bench.client();
    let ttid = tids[1].as_ttid();
    let answer = running.bench.ask(back, begin(Some(tids[1])));
    assert_eq!(answer, Some(Packet::AnswerBeginTransaction { ttid }));
}

#[test]
fn a_storage_that_does_not_know_the_one_before_locks_after_it() {
    // Objects and metadata of even identifiers are on S1, the others on S2.
    let mut running = Running::new(2, 0);
    assert_eq!(running.bench.table(2), "U.|.U");
    let client = running.bench.client();
    let tids = train(&mut running, client, 3);
    let (s1, s2) = (running.storages[0], running.storages[1]);
    let even = tids[0].0.is_multiple_of(2);
    let (here, there) = if even { (s1, s2) } else { (s2, s1) };
    running.bench.clear();
    let asked: Vec<_> =
        tids.iter().map(|tid| running.finish(client, tid.as_ttid(), &[tid.0])).collect();
    assert_eq!(running.bench.names(there), Vec::<&str>::new());
    let locked = |tid: Tid| [(tid.as_ttid(), tid)];
    assert_eq!(running.lock(here), locked(tids[0]));
    assert_eq!(finished(&mut running.bench, client, asked[0]), Some(tids[0]));
    assert_eq!(running.lock(here), []);
    assert_eq!(running.lock(there), locked(tids[1]));
    assert_eq!(running.lock(here), locked(tids[2]));
    for (tid, msg_id) in tids.iter().zip(asked).skip(1) {
        assert_eq!(finished(&mut running.bench, client, msg_id), Some(*tid));
    }
}

#[test]
fn a_commit_that_waits_for_another_one_was_asked() {
    let mut running = Running::new(1, 0);
    let client = running.bench.client();
    let tids = train(&mut running, client, 2);
    let ttid = tids[1].as_ttid();
    running.finish(client, ttid, &[1]);
    let packet = super::harness::finish(ttid, &[1]);
    let text = protocol_error(&mut running.bench, client, packet);
    assert_eq!(text, format!("commit already requested for ttid {ttid}"));
    assert_eq!(running.bench.state(), ClusterState::Running);
    assert!(running.bench.master.is_at_rest());
    let unknown = running.bench.client();
    let answer = running.bench.ask(unknown, Packet::AskFinalTID { ttid });
    assert_eq!(answer, Some(Packet::AnswerFinalTID { tid: None }));
}
