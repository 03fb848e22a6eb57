//! What a user gets from a command that ends in any way. The library itself only links with
//! Python around it, so the module is included.

#[path = "../src/command.rs"]
mod command;

use std::ffi::OsString;
use std::io::{self, ErrorKind, Write};
use std::os::unix::ffi::OsStringExt;
use std::panic::panic_any;

/// A stdout whose reader is gone or whose disk is full, when what it buffered goes out.
struct Failing(ErrorKind);

impl Write for Failing {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        Ok(data.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Err(self.0.into())
    }
}

fn argv() -> Vec<OsString> {
    vec![OsString::from("neomaster"), OsString::from_vec(b"\xff".to_vec())]
}

/// Exit status and stderr.
fn run(out: &mut impl Write, command: impl FnOnce(Vec<OsString>) -> i32) -> (i32, String) {
    let mut err = Vec::new();
    let status = command::run(argv(), command, out, &mut err);
    (status, String::from_utf8_lossy(&err).into_owned())
}

#[test]
fn the_status_of_the_command_is_returned() {
    for status in [0, 1, 2, 130] {
        let command = |given| {
            assert_eq!(given, argv());
            status
        };
        assert_eq!(run(&mut io::sink(), command), (status, String::new()));
    }
}

#[test]
fn a_panic_is_a_sentence_and_a_status() {
    let sentence = |what| format!("neomaster: internal error, please report it: {what}\n");
    let out = &mut io::sink();
    assert_eq!(run(out, |_| panic!("no such cell")), (70, sentence("no such cell")));
    assert_eq!(run(out, |argv| panic!("{} words", argv.len())), (70, sentence("2 words")));
    assert_eq!(run(out, |_| panic_any(7)), (70, sentence("unknown panic")));
}

#[test]
fn buffered_output_is_written() {
    let mut written = Vec::new();
    let mut out = io::BufWriter::new(&mut written);
    out.write_all(b"no newline").unwrap();
    assert_eq!(run(&mut out, |_| 0), (0, String::new()));
    assert_eq!(out.buffer(), b"");
    assert_eq!(out.get_ref().as_slice(), b"no newline");
}

#[test]
fn output_that_is_lost_is_a_failure() {
    let mut out = Failing(ErrorKind::StorageFull);
    let sentence = "neomaster: cannot write output: no storage space\n".to_owned();
    assert_eq!(run(&mut out, |_| 0), (1, sentence.clone()));
    assert_eq!(run(&mut out, |_| 2), (2, sentence));
}

#[test]
fn a_reader_that_had_enough_is_not_worth_a_word() {
    assert_eq!(run(&mut Failing(ErrorKind::BrokenPipe), |_| 0), (1, String::new()));
}
