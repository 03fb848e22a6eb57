use std::sync::{Arc, Mutex};

use tracing::{info_span, subscriber};

use super::*;

#[derive(Clone, Default)]
struct Memory(Arc<Mutex<String>>);

impl Sink for Memory {
    fn write(&self, lines: &str) {
        self.0.lock().unwrap().push_str(lines);
    }
}

fn logged(level: LevelFilter, action: impl FnOnce()) -> Vec<String> {
    let memory = Memory::default();
    let layer = Lines(memory.clone()).with_filter(level);
    subscriber::with_default(tracing_subscriber::registry().with(layer), action);
    let text = memory.0.lock().unwrap().clone();
    text.lines().map(str::to_owned).collect()
}

#[test]
fn a_record_has_the_columns_of_the_python_neo() {
    let lines = logged(LevelFilter::WARN, || tracing::warn!(nid = 7, "lost {}", "primary"));
    let [line] = lines.as_slice() else { panic!("{lines:?}") };
    let (date, rest) = line.split_at(24);
    let shape: String = date.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    assert_eq!(shape, "0000-00-00 00:00:00.0000");
    let (columns, message) = rest.split_once("] ").unwrap();
    let (columns, line) = columns.rsplit_once(':').unwrap();
    assert_eq!(columns, " WARNING   NEO        [         tests");
    assert!(line.parse::<u32>().unwrap() > 0);
    assert_eq!(message, "lost primary nid=7");
}

#[test]
fn each_line_of_a_message_repeats_the_columns() {
    let lines = logged(LevelFilter::DEBUG, || tracing::debug!("one\ntwo"));
    assert_eq!(lines.len(), 2);
    assert!(lines[0].ends_with("] one") && lines[1].ends_with("] two"));
    assert_eq!(lines[0].split("one").next(), lines[1].split("two").next());
}

#[test]
fn levels_below_the_limit_are_left_out() {
    let lines = logged(LevelFilter::WARN, || {
        tracing::info!("quiet");
        tracing::error!("loud");
    });
    assert_eq!(lines.len(), 1);
    assert!(lines[0].contains(" ERROR     NEO "));
}

#[test]
fn fields_of_spans_follow_those_of_the_record() {
    let lines = logged(LevelFilter::INFO, || {
        let _node = info_span!("node", node = "S1").entered();
        tracing::info!(tid = 5, "locked");
    });
    assert!(lines[0].ends_with("] locked tid=5 node=S1"), "{lines:?}");
}

#[test]
fn where_no_log_can_be_is_refused_and_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let refusal = |name: &str| file::open(&directory.path().join(name), false).unwrap_err();
    let other = rusqlite::Connection::open(directory.path().join("other")).unwrap();
    other.execute_batch("CREATE TABLE precious (x); INSERT INTO precious VALUES (1)").unwrap();
    assert!(refusal("other").contains("a table 'precious'"), "{}", refusal("other"));
    let kept: i64 =
        other.query_row("SELECT count(*) FROM sqlite_master", [], |r| r.get(0)).unwrap();
    assert_eq!(kept, 1);
    assert!(refusal("missing/x").contains("its directory does not exist"));
    assert!(refusal(".").contains("it is a directory"));
}
