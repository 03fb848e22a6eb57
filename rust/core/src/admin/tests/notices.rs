//! What people are told by mail, and when.

use super::backups::{ACCEPTED, BACKUP, backing_up, identify};
use super::*;
use crate::admin::{Event, MailConfig, NOTICE};

const MAIN_TID: Tid = Tid(0x040d_30cd_9298_00dd);

fn with_mail(mut scene: Scene) -> Scene {
    let config = MailConfig { from: "neo@host".into(), to: vec!["ops@host".into()] };
    scene.admin = scene.admin.with_mail(Some(config));
    scene
}

impl Scene {
    /// Lets time pass until changes are looked at, and answers about our cluster with a msg_id.
    fn settle(&mut self, delay_ms: u64) {
        self.now_ms += delay_ms;
        self.input(Input::Timer { timer: NOTICE });
    }

    /// Subject and text of the only mail that leaves.
    fn mail(&mut self) -> Option<(String, String)> {
        let mut mails = self.out.iter().filter_map(|output| match output {
            Output::Own(Effect::Mail(mail)) => Some(mail.clone()),
            _ => None,
        });
        let mail = mails.next()?;
        assert_eq!(mails.next(), None);
        assert_eq!(mail.to, ["ops@host"]);
        let message = mail.message.replace("\r\n", "\n");
        let (headers, text) = message.split_once("\n\n").unwrap();
        let mut subjects = headers.lines().filter_map(|x| x.strip_prefix("Subject: "));
        let mail = (subjects.next().unwrap().to_owned(), text.trim_end().to_owned());
        self.out.clear();
        Some(mail)
    }

    fn mailed(&mut self, result: Result<(), &str>) {
        self.out.clear();
        self.input(Input::Own(Event::Mailed(result.map_err(Into::into))));
    }

    /// When changes are looked at next, as just set.
    fn due_ms(&self) -> Option<u64> {
        let timers = self.out.iter().filter_map(|output| match output {
            Output::SetTimer { timer: NOTICE, delay_ms } => Some(*delay_ms),
            _ => None,
        });
        timers.last()
    }

    fn main_answers(&mut self, msg_id: u32) {
        let tid = MAIN_TID;
        self.receive(PRIMARY, msg_id, Packet::AnswerLastTransaction { tid });
    }

    fn backup_answers(&mut self, msg_id: u32, backup_tid: Option<Tid>) {
        let ptid = Some(Ptid(1));
        let truncate_tid = None;
        self.receive(BACKUP, msg_id, Packet::AnswerRecovery { ptid, backup_tid, truncate_tid });
        let tid = Tid(7);
        self.receive(BACKUP, msg_id + 1, Packet::AnswerLastTransaction { tid });
    }
}

/// In service, and people know it.
fn told() -> Scene {
    let mut scene = with_mail(Scene::new(&[]));
    scene.input(Input::Connected { connection: PRIMARY });
    scene.receive(PRIMARY, 0, accept());
    scene.nodes(&[node(OWN.0, 9999, NodeState::Running)]);
    scene.receive(PRIMARY, 1, state_is(ClusterState::Recovering));
    assert_eq!(scene.due_ms(), Some(3000));
    scene.nodes(&[node(1, 20, NodeState::Running)]);
    scene.receive(PRIMARY, 9, table(1, &[(1, CellState::UpToDate)]));
    let state = ClusterState::Running;
    scene.receive(PRIMARY, 9, Packet::NotifyClusterInformation { state });
    scene.main_answers(2);
    assert_eq!(scene.mail(), None, "not before it has settled");
    scene.settle(3000);
    assert_eq!(scene.mail(), None, "not before fresh identifiers");
    scene.main_answers(3);
    let text = "RUNNING; UP_TO_DATE=1; ltid=040d30cd929800dd (2026-11-22 16:45:34.357913)";
    assert_eq!(scene.mail(), Some(("NEO monitoring: OK".into(), text.into())));
    scene.mailed(Ok(()));
    assert_eq!(scene.due_ms(), None, "without backup, nothing can lag");
    scene
}

#[test]
fn states_that_are_passed_through_are_not_told() {
    let mut scene = told();
    // The storage goes and comes back.
    scene.nodes(&[node(1, 20, NodeState::Down)]);
    scene.main_answers(4);
    scene.nodes(&[node(1, 20, NodeState::Running)]);
    scene.main_answers(5);
    scene.settle(3000);
    scene.main_answers(6);
    assert_eq!(scene.mail(), None);
    // And goes for good.
    scene.nodes(&[node(1, 20, NodeState::Down)]);
    scene.main_answers(7);
    scene.settle(3000);
    scene.main_answers(8);
    let (subject, text) = scene.mail().unwrap();
    assert_eq!(subject, "NEO monitoring: PROBLEM (test)");
    assert!(text.starts_with("RUNNING; UP_TO_DATE=1; DOWN=1; ltid="), "{text}");
}

#[test]
fn the_loss_of_the_primary_is_told() {
    let mut scene = told();
    scene.input(Input::Closed { connection: PRIMARY });
    scene.settle(3000);
    let text = NOT_CONNECTED.to_owned();
    assert_eq!(scene.mail(), Some(("NEO monitoring: PROBLEM (test)".into(), text)));
}

#[test]
fn nobody_is_told_without_recipient() {
    for config in [None, Some(MailConfig { from: "neo@host".into(), to: Vec::new() })] {
        let mut scene = Scene::running(&[]);
        scene.admin = scene.admin.with_mail(config);
        scene.nodes(&[node(1, 20, NodeState::Down)]);
        assert_eq!(scene.due_ms(), None);
    }
}

#[test]
fn what_could_not_be_told_is_told_later_and_the_summary_says_so() {
    let mut scene = told();
    scene.nodes(&[node(1, 20, NodeState::Down)]);
    scene.main_answers(4);
    scene.settle(3000);
    scene.main_answers(5);
    assert!(scene.mail().is_some());
    scene.mailed(Err("can not connect to localhost:25: refused"));
    assert_eq!(scene.due_ms(), Some(600_000));
    scene.nodes(&[node(1, 20, NodeState::Running)]);
    scene.main_answers(6);
    scene.accepted(CTL);
    scene.receive(CTL, 40, Packet::AskMonitorInformation {});
    scene.main_answers(7);
    let sent = scene.sent(CTL);
    let [Packet::AnswerMonitorInformation { warning, problem, summary }] = &sent[..] else {
        panic!("{sent:?}");
    };
    assert_eq!((&warning[..], &problem[..]), (&[][..], &[None][..]));
    let end = "\n\nA notification could not be sent at 1970-01-01 00:00:00:\n\n\
               can not connect to localhost:25: refused";
    assert!(summary.to_string().ends_with(end), "{summary}");
    // All is well again, and told all the same: a mail is missing.
    scene.settle(600_000);
    scene.main_answers(8);
    assert_eq!(scene.mail().unwrap().0, "NEO monitoring: OK");
    scene.mailed(Ok(()));
    scene.receive(CTL, 40, Packet::AskMonitorInformation {});
    scene.main_answers(9);
    let sent = scene.sent(CTL);
    assert!(
        matches!(&sent[..], [Packet::AnswerMonitorInformation { problem, .. }]
            if problem.is_empty()),
        "{sent:?}"
    );
}

#[test]
fn what_changes_while_a_mail_leaves_is_told_after_it() {
    let mut scene = told();
    scene.nodes(&[node(1, 20, NodeState::Down)]);
    scene.main_answers(4);
    scene.settle(3000);
    scene.main_answers(5);
    assert!(scene.mail().is_some());
    scene.nodes(&[node(1, 20, NodeState::Running)]);
    scene.main_answers(6);
    scene.settle(3000);
    scene.main_answers(7);
    assert_eq!(scene.mail(), None);
    scene.input(Input::Own(Event::Mailed(Ok(()))));
    assert_eq!(scene.mail().unwrap().0, "NEO monitoring: OK");
}

/// With a backup that replicated everything, and people know it.
fn with_backup() -> Scene {
    let mut scene = with_mail(Scene::running(&["bak"]));
    scene.accepted(BACKUP);
    scene.receive(BACKUP, 0, identify(NodeType::Admin, "bak"));
    assert_eq!(scene.sent(BACKUP), [ACCEPTED]);
    scene.receive(BACKUP, 1, backing_up());
    assert_eq!(scene.due_ms(), Some(3000));
    scene.backup_answers(0, Some(MAIN_TID));
    scene.main_answers(3);
    scene.settle(3000);
    scene.backup_answers(2, Some(MAIN_TID));
    scene.main_answers(4);
    let (subject, text) = scene.mail().unwrap();
    assert_eq!(subject, "NEO monitoring: OK");
    assert!(text.ends_with("; lag=0.0"), "{text}");
    scene.mailed(Ok(()));
    assert_eq!(scene.due_ms(), Some(600_000));
    scene
}

#[test]
fn a_lag_is_found_after_ten_minutes() {
    let mut scene = with_backup();
    scene.settle(600_000);
    scene.backup_answers(4, Some(MAIN_TID));
    scene.main_answers(5);
    assert_eq!(scene.due_ms(), Some(600_000), "and looked at again");
    assert_eq!(scene.mail(), None);
    scene.settle(600_000);
    scene.backup_answers(6, Some(Tid(MAIN_TID.0 - 1)));
    scene.main_answers(6);
    let (subject, text) = scene.mail().unwrap();
    assert_eq!(subject, "NEO monitoring: WARNING (bak)");
    assert!(text.ends_with("; lag=ε"), "{text}");
}

#[test]
fn a_backup_that_does_not_report_any_more_has_time_to_come_back() {
    let mut scene = with_backup();
    scene.out.clear();
    scene.input(Input::Closed { connection: BACKUP });
    scene.main_answers(5);
    scene.settle(3000);
    scene.main_answers(6);
    assert_eq!(scene.mail(), None);
    assert_eq!(scene.due_ms(), Some(27_000));
    scene.settle(27_000);
    scene.main_answers(7);
    let (subject, text) = scene.mail().unwrap();
    assert_eq!(subject, "NEO monitoring: PROBLEM (bak)");
    assert!(text.ends_with("\n\nbak\n    None"), "{text}");
}

#[test]
fn a_backup_that_is_back_in_time_is_not_told() {
    let mut scene = with_backup();
    scene.input(Input::Closed { connection: BACKUP });
    scene.main_answers(5);
    scene.settle(3000);
    scene.main_answers(6);
    scene.accepted(BACKUP);
    scene.receive(BACKUP, 0, identify(NodeType::Admin, "bak"));
    scene.receive(BACKUP, 1, backing_up());
    scene.backup_answers(0, Some(MAIN_TID));
    scene.main_answers(7);
    scene.settle(27_000);
    scene.backup_answers(2, Some(MAIN_TID));
    scene.main_answers(8);
    assert_eq!(scene.mail(), None);
}

#[test]
fn a_backup_whose_lag_is_not_known_is_not_well() {
    let mut scene = with_backup();
    scene.settle(600_000);
    scene.backup_answers(4, None);
    scene.main_answers(5);
    assert_eq!(scene.mail().unwrap().0, "NEO monitoring: WARNING (bak)");
}
