//! Vote, lock, unlock, abort, and what ends with a client (spec storage.md 11.6 - 11.11).

use neo_wire::PackRequest;

use super::*;
use crate::database::Refusal;

const TTID: Ttid = Ttid(10);
const OID: Oid = Oid(4);

fn lock(ttid: Ttid, tid: Tid) -> Packet {
    Packet::AskLockInformation { ttid, tid, pack: false }
}

fn unlock(ttid: Ttid) -> Packet {
    Packet::NotifyUnlockInformation { ttid }
}

fn abort(ttid: Ttid) -> Packet {
    Packet::AbortTransaction { ttid, nids: vec![] }
}

/// An object is stored.
fn stored_one() -> (Bed, ConnectionId) {
    let (mut bed, client) = Bed::simple();
    bed.lock(client, TTID, OID);
    (bed, client)
}

fn voted() -> (Bed, ConnectionId) {
    let (mut bed, client) = stored_one();
    bed.tell(client, metadata(TTID, &[OID]));
    bed.commit();
    bed.sent(client);
    (bed, client)
}

#[test]
fn a_vote_is_answered_once_it_is_durable() {
    let (mut bed, client) = stored_one();
    let msg_id = bed.tell(client, metadata(TTID, &[OID, Oid(77)]));
    assert_eq!(bed.sent(client), []);
    let jobs = bed.commit();
    assert_eq!(bed.answers(client), [(msg_id, Packet::AnswerStoreTransaction {})]);
    let [WriteJob::Vote(vote)] = &jobs[..] else { panic!("{jobs:?}") };
    assert_eq!(vote.ttid, TTID);
    let metadata = vote.transaction.as_ref().unwrap();
    assert_eq!(metadata.oids, [OID, Oid(77)]);
    assert_eq!(vote.objects.len(), 1);
}

#[test]
fn a_vote_without_metadata() {
    let (mut bed, client) = stored_one();
    let msg_id = bed.tell(client, Packet::AskVoteTransaction { ttid: TTID });
    assert_eq!(bed.sent(client), []);
    let jobs = bed.commit();
    assert!(matches!(&jobs[..], [WriteJob::Vote(vote)] if vote.transaction.is_none()));
    assert_eq!(bed.answers(client), [(msg_id, Packet::AnswerVoteTransaction {})]);
    // Nothing has to be recorded to lock it.
    bed.tell_master(lock(TTID, Tid(11)));
    assert_eq!(bed.told_master(), [Packet::AnswerInformationLocked { ttid: TTID }]);
    assert!(bed.writes.is_empty());
}

#[test]
fn a_transaction_without_objects_commits() {
    let (mut bed, client) = Bed::simple();
    bed.vote_and_lock(client, TTID, Tid(11));
    bed.tell_master(unlock(TTID));
    assert_eq!(bed.commit(), [WriteJob::Unlock { ttid: TTID, tid: Tid(11) }]);
    bed.assert_idle();
}

#[test]
fn voting_for_what_is_unknown_ends_the_connection() {
    let (mut bed, client) = Bed::simple();
    let answers = bed.ask(client, Packet::AskVoteTransaction { ttid: TTID });
    let text = format!("unknown ttid {TTID}");
    assert_eq!(answers, [error(ErrorCode::ProtocolError, &text)]);
    assert!(bed.closed.contains(&client));
}

#[test]
fn what_no_database_can_hold_is_refused_at_the_vote() {
    let long = Bytes::from(vec![b'x'; 65536]);
    let many = vec![Oid(1); 1 << 21];
    let change = |change: &dyn Fn(&mut Packet)| {
        let mut packet = metadata(TTID, &[]);
        change(&mut packet);
        packet
    };
    for packet in [
        change(&|packet| {
            if let Packet::AskStoreTransaction { user, .. } = packet {
                *user = long.clone();
            }
        }),
        change(&|packet| {
            if let Packet::AskStoreTransaction { extension, .. } = packet {
                *extension = long.clone();
            }
        }),
        change(&|packet| {
            if let Packet::AskStoreTransaction { oids, .. } = packet {
                *oids = many.clone();
            }
        }),
        change(&|packet| {
            if let Packet::AskStoreTransaction { pack, .. } = packet {
                *pack = Some(PackRequest { oids: Some(many.clone()), pack_tid: Tid(1) });
            }
        }),
        change(&|packet| {
            if let Packet::AskStoreTransaction { ttid, .. } = packet {
                *ttid = Ttid(1 << 63);
            }
        }),
    ] {
        let (mut bed, client) = Bed::simple();
        let answers = bed.ask(client, packet);
        assert!(
            matches!(answers[..], [Packet::Error { code: ErrorCode::ProtocolError, .. }]),
            "{answers:?}"
        );
        assert!(bed.closed.contains(&client));
        assert!(bed.commit().is_empty());
        bed.assert_idle();
    }
}

#[test]
fn a_vote_refused_because_of_a_pack_leaves_the_transaction_to_be_aborted() {
    let (mut bed, client) = stored_one();
    let older = bed.client(2);
    bed.tell(client, metadata(TTID, &[OID]));
    let waiting = bed.tell(older, store(Ttid(9), OID, Tid(5), b"x"));
    let (ticket, _) = bed.writes.pop_front().unwrap();
    let results = vec![Err(Refusal::UndoPacked(OID))];
    bed.input(Input::Own(Event::Written { ticket, results }));
    let sent = bed.sent(client);
    assert!(matches!(sent[0], Packet::Error { code: ErrorCode::UndoPackError, .. }), "{sent:?}");
    assert_eq!(sent[1], Packet::NotifyDeadlock { ttid: TTID, oid: OID }, "it can wait again");
    assert!(!bed.closed.contains(&client));
    bed.tell(client, abort(TTID));
    assert_eq!(bed.answers(older), [(waiting, stored(None))]);
}

#[test]
fn a_second_vote_replaces_the_first() {
    let (mut bed, client) = voted();
    let msg_id = bed.tell(client, metadata(TTID, &[OID]));
    assert_eq!(bed.commit().len(), 1);
    assert_eq!(bed.answers(client), [(msg_id, Packet::AnswerStoreTransaction {})]);
}

#[test]
fn lock_is_answered_once_the_tid_is_durable() {
    let (mut bed, _) = voted();
    bed.tell_master(Packet::AskLockInformation { ttid: TTID, tid: Tid(11), pack: true });
    assert_eq!(bed.told_master(), []);
    assert_eq!(bed.commit(), [WriteJob::Lock { ttid: TTID, tid: Tid(11), approve_pack: true }]);
    assert_eq!(bed.told_master(), [Packet::AnswerInformationLocked { ttid: TTID }]);
}

#[test]
fn what_can_not_be_locked_ends_the_link_to_the_master() {
    let unknown = |_: &mut Bed, _: ConnectionId| {};
    let not_voted = |bed: &mut Bed, client| bed.lock(client, TTID, OID);
    let voted = |bed: &mut Bed, client| {
        bed.tell(client, metadata(TTID, &[]));
    };
    let twice = |bed: &mut Bed, client| bed.vote_and_lock(client, TTID, Tid(11));
    type Prepare<'a> = &'a dyn Fn(&mut Bed, ConnectionId);
    let before: [(Prepare<'_>, Tid); 5] = [
        (&unknown, Tid(11)),
        (&not_voted, Tid(11)),
        (&twice, Tid(11)),
        (&voted, Tid(9)),
        (&voted, Tid(1 << 63)),
    ];
    for (prepare, tid) in before {
        let (mut bed, client) = Bed::simple();
        prepare(&mut bed, client);
        bed.tell_master(lock(TTID, tid));
        let sent = bed.told_master();
        assert!(
            matches!(sent[..], [Packet::Error { code: ErrorCode::ProtocolError, .. }]),
            "{sent:?}"
        );
        assert!(bed.closed.contains(&bed.master));
    }
}

#[test]
fn what_is_locked_is_read_after_the_unlock() {
    let (mut bed, client) = voted();
    bed.tell_master(lock(TTID, Tid(11)));
    bed.commit();
    let msg_id = bed.tell(client, load(OID));
    assert!(bed.reads.is_empty());
    bed.tell_master(unlock(TTID));
    assert!(bed.reads.is_empty(), "not before it is visible");
    assert_eq!(bed.commit(), [WriteJob::Unlock { ttid: TTID, tid: Tid(11) }]);
    assert_eq!(bed.reads.len(), 1);
    let query = Query::Load { oid: OID, revision: database::Revision::Last };
    bed.answer(&query, Answer::Loaded(database::Loaded::NoObject));
    let text = OID.to_string();
    assert_eq!(bed.answers(client), [(msg_id, error(ErrorCode::OidDoesNotExist, &text))]);
    bed.assert_idle();
}

#[test]
fn objects_only_checked_can_be_read_at_any_time() {
    let (mut bed, client) = Bed::simple();
    bed.tell(client, Packet::AskCheckCurrentSerial { ttid: TTID, oid: OID, serial: Tid(5) });
    bed.answer_last(OID, Some(Tid(5)));
    bed.sent(client);
    bed.vote_and_lock(client, TTID, Tid(11));
    bed.tell(client, load(OID));
    assert_eq!(bed.reads.len(), 1);
}

#[test]
fn an_unlock_without_lock_ends_the_link_to_the_master() {
    for twice in [false, true] {
        let (mut bed, _) = voted();
        if twice {
            bed.tell_master(lock(TTID, Tid(11)));
            bed.commit();
            bed.tell_master(unlock(TTID));
        }
        bed.tell_master(unlock(TTID));
        assert!(bed.closed.contains(&bed.master));
    }
}

#[test]
fn abort_before_the_vote_writes_nothing() {
    let (mut bed, client) = stored_one();
    bed.tell(client, abort(TTID));
    assert!(bed.writes.is_empty());
    bed.assert_idle();
    bed.tell(client, abort(TTID));
    bed.tell_master(abort(TTID));
    assert!(!bed.closed.contains(&client) && !bed.closed.contains(&bed.master));
}

#[test]
fn abort_after_the_vote_forgets_it_in_the_database() {
    for from_master in [false, true] {
        let (mut bed, client) = voted();
        if from_master {
            bed.tell_master(Packet::NotifyTransactionFinished { ttid: TTID, max_tid: Tid(20) });
        } else {
            bed.tell(client, abort(TTID));
        }
        assert_eq!(bed.commit(), [WriteJob::Abort { ttid: TTID }]);
        bed.assert_idle();
    }
}

#[test]
fn what_is_locked_can_not_be_aborted() {
    let (mut bed, client) = voted();
    bed.tell_master(lock(TTID, Tid(11)));
    bed.commit();
    bed.tell(client, abort(TTID));
    bed.tell_master(abort(TTID));
    bed.lose(client);
    bed.nodes(&[(client_nid(1), NodeState::Unknown)]);
    assert!(bed.writes.is_empty());
    bed.tell_master(unlock(TTID));
    bed.commit();
    bed.assert_idle();
}

#[test]
fn a_lost_connection_aborts_what_is_not_voted() {
    let (mut bed, client) = voted();
    bed.lock(client, Ttid(20), Oid(6));
    bed.lose(client);
    assert!(bed.writes.is_empty());
    let left: Vec<Ttid> = bed.storage.transactions.keys().copied().collect();
    assert_eq!(left, [TTID], "its client may still finish it");
    bed.tell_master(lock(TTID, Tid(11)));
    bed.commit();
    bed.tell_master(unlock(TTID));
    bed.commit();
    bed.assert_idle();
}

#[test]
fn a_client_that_is_gone_for_the_master_aborts_what_is_voted_too() {
    for state in [NodeState::Down, NodeState::Unknown] {
        let (mut bed, client) = voted();
        bed.lose(client);
        bed.nodes(&[(client_nid(1), state)]);
        assert_eq!(bed.commit(), [WriteJob::Abort { ttid: TTID }]);
        bed.assert_idle();
    }
}

#[test]
fn final_tid_of_what_is_in_memory() {
    let (mut bed, client) = voted();
    let ask = Packet::AskFinalTID { ttid: TTID };
    assert_eq!(bed.ask(client, ask.clone()), [Packet::AnswerFinalTID { tid: None }]);
    bed.tell_master(lock(TTID, Tid(11)));
    bed.commit();
    assert_eq!(bed.ask(client, ask.clone()), [Packet::AnswerFinalTID { tid: Some(Tid(11)) }]);
    bed.tell_master(unlock(TTID));
    bed.commit();
    let msg_id = bed.tell(client, ask);
    bed.answer(&Query::FinalTid(TTID), Answer::FinalTid(Some(Tid(11))));
    assert!(bed.answers(client).contains(&(msg_id, Packet::AnswerFinalTID { tid: Some(Tid(11)) })));
}
