use std::env;
use std::path::Path;

use super::*;

fn split(text: &str) -> (String, Option<u16>) {
    let HostPort { host, port } = host_port(text).unwrap();
    (host, port)
}

#[test]
fn hosts_and_ports_are_split() {
    assert_eq!(split("host"), ("host".into(), None));
    assert_eq!(split("127.0.0.1:10000"), ("127.0.0.1".into(), Some(10000)));
    assert_eq!(split("[::1]"), ("::1".into(), None));
    assert_eq!(split("[::1]:80"), ("::1".into(), Some(80)));
    assert_eq!(split("fe80::1:80"), ("fe80::1:80".into(), None));
}

#[test]
fn wrong_addresses_are_refused() {
    for text in ["", ":1", "a:", "a:b", "a:65536", "a:-1", "a:+1", "[::1", "[::1]80", "[]:1"] {
        assert!(host_port(text).is_err(), "{text}");
    }
}

#[test]
fn masters_are_resolved_once_each_and_need_a_port() {
    let list = masters(" 127.0.0.1:1\n[::1]:2\t127.0.0.1:1 ").unwrap();
    let list: Vec<String> = list.iter().map(ToString::to_string).collect();
    assert_eq!(list, ["127.0.0.1:1", "[::1]:2"]);
    assert_eq!(masters("  \n ").unwrap(), []);
    assert!(masters("127.0.0.1").unwrap_err().contains("no port"));
    assert!(masters("127.0.0.1:0").unwrap_err().contains("no port"));
}

#[test]
fn integers_are_those_of_python() {
    for (text, value) in [("7", 7), (" -1 ", -1), ("+1_000", 1000), ("007", 7)] {
        assert_eq!(integer(text), Ok(value));
    }
    for text in ["", "-", "1_", "_1", "1__0", "0x1", "1.0", "- 1", "99999999999999999999"] {
        assert!(integer(text).is_err(), "{text}");
    }
}

#[test]
fn literals_have_prefixes() {
    for (text, value) in [("16", 16), ("0x1f", 31), ("0X1F", 31), ("0o17", 15), ("0b1_1", 3)] {
        assert_eq!(unsigned_literal(text), Ok(value));
    }
    assert_eq!(unsigned_literal("0xffffffffffffffff"), Ok(u64::MAX));
    for text in ["", "0x", "x", "-1", "0b2", "é", "0xffffffffffffffff0"] {
        assert!(unsigned_literal(text).is_err(), "{text}");
    }
}

#[test]
fn numbers_are_finite() {
    for (text, value) in [("1", 1.0), (" -1.5 ", -1.5), ("1e3", 1000.0), ("1_0.5", 10.5)] {
        assert_eq!(number(text), Ok(value));
    }
    for text in ["", "nan", "inf", "1_", "1_.0", "x"] {
        assert!(number(text).is_err(), "{text}");
    }
}

#[test]
fn booleans_ignore_case() {
    assert_eq!(boolean("Yes"), Ok(true));
    assert_eq!(boolean("OFF"), Ok(false));
    assert_eq!(boolean("maybe"), Err("Not a boolean: maybe".into()));
    assert!(boolean("").is_err());
}

#[test]
fn home_directories_are_expanded() {
    let home = env::var("HOME").unwrap();
    assert_eq!(expand_user("~/x".as_ref()), Path::new(&home).join("x"));
    assert_eq!(expand_user("~root/x".as_ref()), Path::new("/root/x"));
    assert_eq!(expand_user("~no such user/x".as_ref()), Path::new("~no such user/x"));
    assert_eq!(expand_user("a~/x".as_ref()), Path::new("a~/x"));
}
