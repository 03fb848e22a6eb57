//! Start, what the master asks before operation, and the ends (spec storage.md 3).

use neo_wire::{Map, PackOrder, Value};

use super::*;
use crate::database::{CellRow, TableChange};

fn own_row(partition: u32, state: CellState, tid: Tid, pack: Option<Tid>) -> CellRow {
    CellRow { partition: Partition(partition), nid: nid(1), state, tid, pack }
}

fn known(ptid: u64) -> Configuration {
    Configuration {
        name: Some("test".into()),
        nid: Some(nid(1)),
        ptid: Some(Ptid(ptid)),
        replicas: Some(0),
        ..Configuration::default()
    }
}

/// Identified again with a database that has a table of one partition.
fn restarted(settings: &Configuration, rows: Vec<CellRow>) -> Bed {
    let mut bed = Bed::on(config(), settings, rows);
    bed.input(Input::Start);
    bed.accept_by_master(nid(1));
    bed.nodes(&[(nid(1), NodeState::Pending)]);
    bed
}

fn one_cell(ptid: u64) -> Bed {
    restarted(&known(ptid), vec![own_row(0, UP, Tid::ZERO, Some(Tid(7)))])
}

fn send_table(bed: &mut Bed) {
    let rows = rows(&[&[(1, UP)]]);
    let packet = Packet::SendPartitionTable { ptid: Some(Ptid(3)), num_replicas: 0, rows };
    bed.tell_master(packet);
}

fn answer_last_ids(bed: &mut Bed, partitions: &[u32]) {
    let partitions = partitions.iter().map(|number| Partition(*number)).collect();
    let ids = LastIds { last_tid: Some(Tid(9)), last_oid: Some(Oid(4)), first_tid: Tid(2) };
    bed.answer(&Query::LastIds(partitions), Answer::LastIds(ids));
}

#[test]
fn identification_says_who_and_where_it_is() {
    let mut bed = Bed::on(config(), &Configuration::default(), Vec::new());
    bed.input(Input::Start);
    let connection = bed.opened[0];
    bed.input(Input::Connected { connection });
    let path = Value::Array(vec![Value::Bin("host".into()), Value::Bin("1".into())]);
    let request = Packet::RequestIdentification {
        node_type: NodeType::Storage,
        nid: None,
        address: Some(address(2)),
        cluster: "test".into(),
        id_timestamp: None,
        extra: Map(vec![
            ("devpath".into(), path),
            ("new_nid".into(), Value::Array(vec![])),
            ("lacks".into(), Value::Array(vec!["check".into(), "replicate".into()])),
        ]),
    };
    assert_eq!(bed.sent(connection), [request]);
}

#[test]
fn a_new_nid_is_recorded() {
    let mut bed = Bed::on(config(), &Configuration::default(), Vec::new());
    bed.input(Input::Start);
    bed.accept_by_master(nid(4));
    assert_eq!(bed.commit(), [WriteJob::SetNodeId(nid(4))]);
    assert_eq!(bed.storage.nid(), Some(nid(4)));
}

#[test]
fn a_forced_nid_wins_over_the_database_and_the_cells_follow() {
    let config = Config { nid: Some(nid(9)), ..config() };
    let rows = vec![own_row(0, UP, Tid::ZERO, Some(Tid(7)))];
    let mut bed = Bed::on(config, &known(2), rows);
    bed.input(Input::Start);
    let connection = bed.opened[0];
    bed.input(Input::Connected { connection });
    let asked = bed.sent(connection);
    assert!(
        matches!(asked[..], [Packet::RequestIdentification { nid: Some(own), .. }] if own == nid(9))
    );
    let your_nid = Some(nid(9));
    let packet = Packet::AcceptIdentification {
        node_type: NodeType::Master,
        nid: Some(master_nid()),
        your_nid,
    };
    bed.input(Input::Received { connection, message: Message { msg_id: Some(0), packet } });
    assert_eq!(bed.commit(), [WriteJob::SetNodeId(nid(9))]);
    bed.master = connection;
    bed.tell_master(Packet::AskPartitionTable {});
    let rows = vec![vec![Cell { nid: nid(9), state: UP }]];
    let table = Packet::AnswerPartitionTable { ptid: Ptid(2), num_replicas: 0, rows };
    assert_eq!(bed.told_master(), [table]);
    bed.tell_master(Packet::AskLastIDs {});
    answer_last_ids(&mut bed, &[0]);
    assert_eq!(bed.told_master()[0], Packet::NotifyPackCompleted { tid: Tid(7) });
}

#[test]
fn start_of_a_cluster() {
    let mut bed = one_cell(3);
    bed.tell_master(Packet::AskRecovery {});
    let ptid = Some(Ptid(3));
    let recovery = Packet::AnswerRecovery { ptid, backup_tid: None, truncate_tid: None };
    assert_eq!(bed.told_master(), [recovery]);
    bed.nodes(&[(nid(1), NodeState::Running)]);
    let state = ClusterState::Verifying;
    bed.tell_master(Packet::NotifyClusterInformation { state });
    send_table(&mut bed);
    let jobs = bed.commit();
    assert!(matches!(jobs[..], [WriteJob::ChangeTable(TableChange { full: true, .. })]));

    bed.tell_master(Packet::AskLockedTransactions {});
    let unfinished = BTreeMap::from([(Ttid(1), None), (Ttid(2), Some(Tid(3)))]);
    bed.answer(&Query::Unfinished, Answer::Unfinished(unfinished));
    let transactions = Map(vec![(Ttid(1), None), (Ttid(2), Some(Tid(3)))]);
    assert_eq!(bed.told_master(), [Packet::AnswerLockedTransactions { transactions }]);

    bed.tell_master(Packet::AskFinalTID { ttid: Ttid(1) });
    bed.answer(&Query::FinalTid(Ttid(1)), Answer::FinalTid(Some(Tid(2))));
    assert_eq!(bed.told_master(), [Packet::AnswerFinalTID { tid: Some(Tid(2)) }]);
    bed.tell_master(Packet::ValidateTransaction { ttid: Ttid(1), tid: Tid(2) });
    assert_eq!(bed.commit(), [WriteJob::Validate { ttid: Ttid(1), tid: Tid(2) }]);

    bed.tell_master(Packet::AskLastIDs {});
    answer_last_ids(&mut bed, &[0]);
    let (last_tid, last_oid) = (Some(Tid(9)), Some(Oid(4)));
    assert_eq!(
        bed.told_master(),
        [
            Packet::NotifyPackCompleted { tid: Tid(7) },
            Packet::AnswerLastIDs { last_tid, last_oid, first_tid: Tid(2) },
        ]
    );
    bed.tell_master(Packet::AskPackOrders { min_id: Tid(8) });
    let query = Query::PackOrders { min: Tid(8), partitions: vec![Partition(0)] };
    bed.answer(&query, Answer::PackOrders(Vec::<PackOrder>::new()));
    assert_eq!(bed.told_master(), [Packet::AnswerPackOrders { orders: Vec::new() }]);

    assert!(!bed.storage.is_operational());
    bed.tell_master(Packet::StartOperation { backup: false });
    assert_eq!(bed.told_master(), [Packet::NotifyReady {}]);
    assert_eq!(bed.commit(), [WriteJob::DropUnfinished]);
    assert!(bed.storage.is_operational());
    bed.assert_idle();
}

#[test]
fn pack_is_not_announced_if_disabled_or_without_cells() {
    let mut bed = Bed::new();
    bed.nodes(&[(nid(1), NodeState::Running)]);
    bed.tell_master(Packet::AskLastIDs {});
    answer_last_ids(&mut bed, &[]);
    assert!(matches!(bed.told_master()[..], [Packet::AnswerLastIDs { .. }]));

    let config = Config { disable_pack: true, ..config() };
    let mut bed = Bed::on(config, &known(3), vec![own_row(0, UP, Tid::ZERO, Some(Tid(7)))]);
    bed.input(Input::Start);
    bed.accept_by_master(nid(1));
    bed.tell_master(Packet::AskLastIDs {});
    answer_last_ids(&mut bed, &[0]);
    assert!(matches!(bed.told_master()[..], [Packet::AnswerLastIDs { .. }]));
}

#[test]
fn a_table_is_refused_with_an_empty_row_or_too_many_partitions() {
    let partial = "Partial partition table received";
    let many = "32769 partitions: the limit of the database is 32768";
    for (rows, text) in [
        (rows(&[&[(1, UP)], &[]]), partial),
        (Vec::new(), partial),
        (vec![rows(&[&[(1, UP)]])[0].clone(); 32769], many),
    ] {
        let mut bed = Bed::new();
        bed.tell_master(Packet::SendPartitionTable { ptid: Some(Ptid(1)), num_replicas: 0, rows });
        assert_eq!(bed.told_master(), [error(ErrorCode::ProtocolError, text)]);
        assert!(bed.closed.contains(&bed.master));
        assert!(bed.commit().is_empty());
    }
}

#[test]
fn changes_must_follow_the_table() {
    for (ptid, accepted) in [(3, false), (4, true), (5, false)] {
        let mut bed = one_cell(3);
        let ptid = Ptid(ptid);
        let cells = Vec::new();
        bed.tell_master(Packet::NotifyPartitionChanges { ptid, num_replicas: 1, cells });
        assert_eq!(bed.told_master().is_empty(), accepted);
        assert_eq!(bed.commit().len(), usize::from(accepted));
        assert_eq!(bed.closed.contains(&bed.master), !accepted);
    }
}

#[test]
fn truncation_is_recorded_without_answer_then_done_before_the_last_ids() {
    let rows = vec![
        own_row(0, UP, Tid::ZERO, Some(Tid::ZERO)),
        own_row(1, OUT, Tid(80), Some(Tid::ZERO)),
        own_row(2, OUT, Tid(20), Some(Tid::ZERO)),
    ];
    let mut bed = restarted(&Configuration { backup_tid: Some(Tid(99)), ..known(3) }, rows);
    bed.tell_master(Packet::Truncate { tid: Tid(40) });
    assert_eq!(bed.commit(), [WriteJob::DecideTruncation(Tid(40))]);
    assert!(bed.told_master().is_empty());
    bed.tell_master(Packet::AskRecovery {});
    let truncate_tid = Some(Tid(40));
    let ptid = Some(Ptid(3));
    let recovery = Packet::AnswerRecovery { ptid, backup_tid: None, truncate_tid };
    assert_eq!(bed.told_master(), [recovery]);

    bed.tell_master(Packet::AskLastIDs {});
    assert!(bed.reads.is_empty(), "nothing is read before the truncation is done");
    assert_eq!(bed.commit(), [WriteJob::Truncate]);
    answer_last_ids(&mut bed, &[0]);
    assert!(matches!(bed.told_master()[1], Packet::AnswerLastIDs { .. }));
    let tids: Vec<Tid> = bed.storage.own.values().map(|cell| cell.tid).collect();
    assert_eq!(tids, [Tid(0), Tid(40), Tid(20)]);
    bed.tell_master(Packet::AskLastIDs {});
    assert!(bed.writes.is_empty(), "only once");
}

#[test]
fn a_truncation_decided_while_another_is_done_stays_to_do() {
    let mut bed = restarted(&Configuration { truncate_tid: Some(Tid::ZERO), ..known(3) }, vec![]);
    bed.tell_master(Packet::AskLastIDs {});
    let (ticket, jobs) = bed.writes.pop_front().unwrap();
    assert_eq!(jobs, [WriteJob::Truncate]);
    bed.tell_master(Packet::StopOperation {});
    bed.tell_master(Packet::Truncate { tid: Tid(3) });
    bed.input(Input::Own(Event::Written { ticket, results: vec![Ok(JobOutput::Done)] }));
    bed.commit();
    bed.tell_master(Packet::AskRecovery {});
    let truncate_tid = Some(Tid(3));
    let recovery =
        Packet::AnswerRecovery { ptid: bed.storage.table.ptid(), backup_tid: None, truncate_tid };
    assert_eq!(bed.told_master(), [recovery]);
}

#[test]
fn operation_in_backup_mode_begins_once_its_tid_is_known() {
    let mut bed = one_cell(3);
    bed.tell_master(Packet::StartOperation { backup: true });
    assert!(bed.told_master().is_empty(), "a client that comes now would get full service");
    assert!(!bed.storage.is_operational());
    bed.commit();
    answer_last_ids(&mut bed, &[0]);
    assert_eq!(bed.told_master(), [Packet::NotifyReady {}]);
    assert_eq!(bed.commit(), [WriteJob::SetBackupTid(Some(Tid(9))), WriteJob::DropUnfinished]);
    // And leaves it the same way.
    bed.tell_master(Packet::StopOperation {});
    bed.tell_master(Packet::StartOperation { backup: false });
    assert_eq!(bed.commit(), [WriteJob::SetBackupTid(None), WriteJob::DropUnfinished]);
}

#[test]
fn a_backup_tid_that_is_set_stays() {
    let settings = Configuration { backup_tid: Some(Tid::ZERO), ..known(3) };
    let mut bed = restarted(&settings, vec![own_row(0, UP, Tid::ZERO, None)]);
    bed.tell_master(Packet::StartOperation { backup: true });
    assert_eq!(bed.commit(), [WriteJob::DropUnfinished]);
    assert_eq!(bed.told_master(), [Packet::NotifyReady {}]);
}

#[test]
fn a_running_cluster_switches_to_backup_mode_without_being_ready_again() {
    let (mut bed, _) = Bed::simple();
    bed.tell_master(Packet::StartOperation { backup: true });
    assert!(bed.reads.is_empty(), "what is being unlocked counts");
    bed.commit();
    answer_last_ids(&mut bed, &[0, 1]);
    assert_eq!(bed.commit(), [WriteJob::SetBackupTid(Some(Tid(9)))]);
    assert!(bed.told_master().is_empty());
}

#[test]
fn stop_of_operation_leaves_everybody_but_the_master_which_gets_its_answers() {
    let (mut bed, client) = Bed::simple();
    bed.lock(client, Ttid(10), Oid(0));
    bed.tell(client, metadata(Ttid(10), &[Oid(0)]));
    bed.commit();
    bed.tell_master(Packet::AskLockInformation { ttid: Ttid(10), tid: Tid(11), pack: false });
    bed.tell_master(Packet::AskFinalTID { ttid: Ttid(1) });
    bed.tell_master(Packet::StopOperation {});
    assert!(bed.closed.contains(&client));
    assert!(!bed.closed.contains(&bed.master));
    bed.commit();
    bed.answer(&Query::FinalTid(Ttid(1)), Answer::FinalTid(None));
    assert_eq!(
        bed.told_master(),
        [Packet::AnswerInformationLocked { ttid: Ttid(10) }, Packet::AnswerFinalTID { tid: None },]
    );
    bed.assert_idle();
    // Nothing of the transaction is in the way of the next operation.
    bed.tell_master(Packet::StartOperation { backup: false });
    bed.commit();
    let client = bed.client(2);
    bed.lock(client, Ttid(20), Oid(0));
}

#[test]
fn results_of_a_former_operation_are_ignored() {
    let (mut bed, client) = Bed::simple();
    bed.tell(client, store(Ttid(10), Oid(0), Tid(5), b"data"));
    bed.tell_master(Packet::StopOperation {});
    bed.tell_master(Packet::StartOperation { backup: false });
    bed.commit();
    bed.answer_last(Oid(0), Some(Tid(5)));
    assert!(bed.sent(client).is_empty());
    bed.assert_idle();
}

#[test]
fn before_operation_each_request_sees_what_came_before_it() {
    let mut bed = one_cell(3);
    bed.tell_master(Packet::ValidateTransaction { ttid: Ttid(1), tid: Tid(2) });
    bed.tell_master(Packet::AskLastIDs {});
    bed.tell_master(Packet::StartOperation { backup: false });
    assert!(bed.reads.is_empty() && bed.told_master().is_empty());
    bed.commit();
    assert_eq!(bed.reads.len(), 1);
    assert_eq!(bed.told_master(), [Packet::NotifyReady {}]);
    // Who asks for this has left.
    let mut bed = one_cell(3);
    bed.tell_master(Packet::ValidateTransaction { ttid: Ttid(1), tid: Tid(2) });
    bed.tell_master(Packet::AskLastIDs {});
    bed.lose(bed.master);
    bed.commit();
    assert!(bed.reads.is_empty());
}

#[test]
fn new_masters_are_remembered() {
    let mut bed = Bed::new();
    bed.tell_master(Packet::NotPrimaryMaster { primary: None, known_masters: vec![address(9)] });
    assert_eq!(bed.saved, [address(1), address(9)]);
}

#[test]
fn loss_of_the_master_starts_the_search_again() {
    let (mut bed, client) = Bed::simple();
    bed.lose(bed.master);
    assert!(bed.closed.contains(&client));
    assert!(!bed.storage.is_operational());
    assert!(bed.exit.is_none());
    // One second must pass between two attempts.
    let timer = *bed.timers.first().unwrap();
    bed.now.monotonic_ms += 1000;
    bed.input(Input::Timer { timer });
    assert_eq!(bed.opened.len(), 2);
    bed.accept_by_master(nid(1));
    bed.tell_master(Packet::AskRecovery {});
    assert!(matches!(bed.told_master()[..], [Packet::AnswerRecovery { .. }]));
}

#[test]
fn a_primary_that_points_to_another_is_left() {
    let (mut bed, client) = Bed::simple();
    let known_masters = vec![address(77)];
    bed.tell_master(Packet::NotPrimaryMaster { primary: Some(0), known_masters });
    assert!(bed.closed.contains(&bed.master) && bed.closed.contains(&client));
    assert!(!bed.storage.is_operational());
    assert_eq!(bed.opened.len(), 2);
}

#[test]
fn a_master_that_has_not_accepted_us_commands_nothing() {
    let mut bed = Bed::on(config(), &known(3), Vec::new());
    bed.input(Input::Start);
    let connection = bed.opened[0];
    bed.input(Input::Connected { connection });
    bed.tell(connection, Packet::StartOperation { backup: false });
    assert!(bed.closed.contains(&connection));
    assert!(bed.commit().is_empty());
    assert!(!bed.storage.is_operational());
}

#[test]
fn packets_of_another_phase_end_the_link() {
    let (mut bed, _) = Bed::simple();
    bed.tell_master(Packet::AskRecovery {});
    let sent = bed.told_master();
    assert!(matches!(sent[..], [Packet::Error { code: ErrorCode::ProtocolError, .. }]), "{sent:?}");
    assert!(bed.closed.contains(&bed.master));

    let mut bed = Bed::new();
    bed.tell_master(Packet::NotifyUnlockInformation { ttid: Ttid(1) });
    assert!(bed.closed.contains(&bed.master));
}

#[test]
fn told_down_it_stops_with_success() {
    let (mut bed, client) = Bed::simple();
    bed.nodes(&[(nid(1), NodeState::Down)]);
    assert_eq!(bed.exit, Some(Exit::Success));
    assert!(bed.closed.contains(&client) && bed.closed.contains(&bed.master));
    assert!(bed.commit().is_empty(), "the database stays as it is");
}

#[test]
fn told_unknown_it_erases_its_database_then_stops() {
    let mut bed = Bed::new();
    bed.nodes(&[(nid(1), NodeState::Unknown)]);
    assert_eq!(bed.exit, None, "not before the erasure is committed");
    assert_eq!(bed.commit(), [WriteJob::Erase]);
    assert_eq!(bed.exit, Some(Exit::Success));
}

#[test]
fn node_information_must_be_newer() {
    let (mut bed, _) = Bed::simple();
    let timestamp = Timestamp(bed.time);
    bed.tell_master(Packet::NotifyNodeInformation { timestamp, nodes: Vec::new() });
    assert!(bed.closed.contains(&bed.master));
}

#[test]
fn the_process_is_asked_to_stop() {
    let (mut bed, client) = Bed::simple();
    bed.input(Input::Stop);
    assert_eq!(bed.exit, Some(Exit::Success));
    assert!(bed.closed.contains(&client));
}

#[test]
fn packs_are_signed_and_remembered_for_new_cells() {
    let (mut bed, _) = Bed::simple();
    let (approved, rejected) = (vec![Tid(30), Tid(31)], vec![Tid(32)]);
    let packet =
        Packet::NotifyPackSigned { approved: approved.clone(), rejected: rejected.clone() };
    bed.tell_master(packet);
    assert_eq!(bed.commit(), [WriteJob::SignPacks { approved, rejected }]);
    let packet =
        Packet::NotifyPartitionChanges { ptid: Ptid(2), num_replicas: 0, cells: Vec::new() };
    bed.tell_master(packet);
    let jobs = bed.commit();
    assert!(
        matches!(jobs[..], [WriteJob::ChangeTable(TableChange { last_pack: Tid(31), .. })]),
        "{jobs:?}"
    );
}

#[test]
fn what_it_can_not_do_does_not_end_the_link() {
    let mut bed = Bed::on(config(), &Configuration::default(), Vec::new());
    bed.input(Input::Start);
    bed.accept_by_master(nid(4));
    bed.commit();
    let source = ("".into(), None);
    let check = Packet::CheckPartition {
        partition: neo_wire::Partition(0),
        source,
        min_tid: neo_wire::Tid::ZERO,
        max_tid: neo_wire::Tid(1),
    };
    bed.tell_master(check);
    assert_eq!(bed.told_master(), []);
    assert!(!bed.closed.contains(&bed.master));
}
