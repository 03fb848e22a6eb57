//! Our command-line tool before the recorded admin.

use neo_core::ctl::{Command, Ctl, Effect};
use neo_wire::Address;

use crate::mapping::Mapping;
use crate::player::{Player, Track};

/// What it prints, and the differences without the way it ends.
fn run(name: &'static str, conn: i64, words: &str) -> (String, Vec<String>) {
    let words: Vec<&str> = words.split(' ').collect();
    let command = Command::parse(&words).unwrap().unwrap();
    let admin = Address { host: "127.0.0.1".into(), port: 9999 };
    let printed = std::rc::Rc::new(std::cell::RefCell::new(String::new()));
    let effects = {
        let printed = printed.clone();
        move |effect| {
            if let Effect::Print(text) = effect {
                printed.borrow_mut().push_str(&text);
            }
            Vec::new()
        }
    };
    let track = Track::new(name, "ctl", 0.0).only(conn);
    let ctl = Ctl::new(admin, command);
    let differences = Player::new(ctl, Mapping::new(&[]), vec![track], effects).play();
    let text = printed.borrow().clone();
    (text, differences)
}

fn succeeds(name: &'static str, conn: i64, words: &str, text: &str) {
    let (printed, differences) = run(name, conn, words);
    assert_eq!(printed, text, "{words}");
    assert_eq!(differences, ["exit: Success"], "{words}");
}

#[test]
fn ctl_admin() {
    const NAME: &str = "ctl-admin";
    let ok = |conn, words, text| succeeds(NAME, conn, words, text);
    ok(0, "print cluster", "RECOVERING\n");
    ok(1, "start", "Cluster state changed\n");
    ok(2, "print cluster", "RUNNING\n");
    ok(
        3,
        "print node",
        "\
A1 | ADMIN   | 127.0.0.1:17030 | RUNNING | 2026-11-22 16:24:20.190205
M1 | MASTER  | 127.0.0.1:17010 | RUNNING | None
S1 | STORAGE | 127.0.0.1:17020 | RUNNING | 2026-11-22 16:24:20.175951
",
    );
    ok(
        4,
        "print ids",
        "\
last_oid = 0x64
last_tid = 0x40d30b87b0f6211 (2026-11-22 16:24:28.842208)
last_ptid = 1
",
    );
    ok(5, "print pt", "# ptid: 1, replicas: 0\nS1 R UU\n");
    ok(6, "print primary", "M1\n");
    ok(
        7,
        "print summary",
        "# {}\nRUNNING; UP_TO_DATE=2; ltid=040d30b87b0f6211 (2026-11-22 16:24:28.842208)\n",
    );
    let text = "exit: Failure(\"Can not switch to this state\")";
    assert_eq!(run(NAME, 10, "start"), (String::new(), vec![text.into()]));
    ok(11, "set replicas 0", "\n");
    ok(12, "tweak -n", "No change done.\n");
}

#[test]
fn ctl_admin_operations() {
    const NAME: &str = "ctl-admin-operations";
    succeeds(NAME, 0, "print cluster", "RUNNING\n");
    succeeds(NAME, 1, "print pt", "# ptid: 1, replicas: 1\nS1 R UU\nS2 R UU\n");
    succeeds(NAME, 4, "print pt", "# ptid: 7, replicas: 1\nS1 R UU\nS2 R UU\n");
    succeeds(NAME, 5, "set cluster stopping", "Cluster state changed\n");
}

/// Where our tool asks something first, the recorded admin does not answer it.
#[test]
fn what_our_tool_asks_first() {
    for (name, conn, words, first, recorded) in [
        // The recorded tool told nobody that there was no master (spec tools.md 18, D15).
        ("ctl-admin", 8, "flush_log", "AskPrimary", "FlushLog"),
        // In RECOVERING it would ruin the partition table (spec tools.md 8.5).
        ("ctl-admin-operations", 3, "kill S2", "AskClusterState", "SetNodeState"),
    ] {
        let (printed, differences) = run(name, conn, words);
        assert_eq!(printed, "");
        let first = format!("{name} {conn}: not recorded: {first}");
        assert_eq!(differences[0], first);
        let recorded = format!("{name} {conn}: not sent: {recorded}");
        assert!(differences.last().unwrap().starts_with(&recorded), "{differences:?}");
    }
    // The recorded `check :` died of the answer to its first question (spec tools.md 18, D4); ours
    // goes on, and the recording ends there.
    let (_, differences) = run("ctl-admin", 9, "check :");
    assert!(differences[0].starts_with("ctl-admin 9: not recorded: CheckReplicas"));
}
