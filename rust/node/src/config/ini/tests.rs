use super::{Ini, IniError};

const FILE: &str = "\
# comment
[DEFAULT]
cluster: test
masters: 127.0.0.1:10000
  127.0.0.1:10001

 # comment inside a value
\t[::1]:10002
[master]
BIND = 127.0.0.1:10000 ; not a comment
log_dir = /var/log/%(cluster)s
logfile = %(LOG_dir)s/100%%.log
[storage 1]
cluster = other
";

fn get(text: &str, section: &str, key: &str) -> Result<Option<String>, IniError> {
    Ini::parse(text)?.get(section, key)
}

fn value(section: &str, key: &str) -> String {
    get(FILE, section, key).unwrap().unwrap()
}

#[test]
fn sections_inherit_from_default_and_override_it() {
    assert_eq!(value("master", "cluster"), "test");
    assert_eq!(value("storage 1", "cluster"), "other");
    assert_eq!(get(FILE, "master", "absent").unwrap(), None);
}

#[test]
fn a_value_continues_on_more_indented_lines() {
    assert_eq!(value("master", "masters"), "127.0.0.1:10000\n127.0.0.1:10001\n\n[::1]:10002");
}

#[test]
fn keys_ignore_case_and_comments_take_a_whole_line() {
    assert_eq!(value("master", "bind"), "127.0.0.1:10000 ; not a comment");
}

#[test]
fn references_are_replaced_recursively() {
    assert_eq!(value("master", "logfile"), "/var/log/test/100%.log");
}

#[test]
fn default_and_unknown_sections_cannot_be_read() {
    for section in ["DEFAULT", "storage", "Master"] {
        assert_eq!(get(FILE, section, "cluster"), Err(IniError::NoSection(section.into())));
    }
}

#[test]
fn keys_list_own_ones_first() {
    let ini = Ini::parse(FILE).unwrap();
    assert_eq!(ini.keys("storage 1").unwrap(), ["cluster", "masters"]);
    assert_eq!(ini.sections().collect::<Vec<_>>(), ["master", "storage 1"]);
}

#[test]
fn what_is_given_twice_is_refused_with_its_line() {
    let twice = Ini::parse("[a]\n[b]\n[a]\n").unwrap_err();
    assert_eq!(twice.to_string(), "line 3: section [a] is given twice");
    let twice = Ini::parse("[a]\nx=1\nX:2\n").unwrap_err();
    assert_eq!(twice.to_string(), "line 3: 'x' is given twice in section [a]");
    assert!(Ini::parse("[DEFAULT]\nx=1\n[DEFAULT]\ny=1\n").is_ok());
}

#[test]
fn lines_without_sense_are_refused() {
    let early = Ini::parse("cluster: test\n[a]\n").unwrap_err();
    assert!(matches!(early, IniError::MissingSectionHeader { line: 1, .. }));
    let bogus = Ini::parse("[a]\nbogus\nx = 1\n").unwrap_err();
    assert!(matches!(bogus, IniError::Parsing { line: 2, .. }));
}

#[test]
fn references_for_ever_and_explosions_end() {
    let looping = get("[a]\nx = %(y)s\ny = %(x)s\n", "a", "x").unwrap_err();
    assert!(matches!(looping, IniError::InterpolationDepth { .. }));
    let mut text = "[a]\nx0 = 0123456789\n".to_owned();
    for level in 1..10 {
        let reference = format!("%(x{})s", level - 1).repeat(20);
        text.push_str(&format!("x{level} = {reference}\n"));
    }
    let explosion = get(&text, "a", "x9").unwrap_err();
    assert_eq!(explosion, IniError::InterpolationTooLong { key: "x9".into() });
}

#[test]
fn wrong_references_are_refused() {
    for text in ["%", "50%", "%(a", "%()s", "%(a)d", "%x"] {
        let error = get(&format!("[s]\na = 1\nk = {text}\n"), "s", "k").unwrap_err();
        assert!(matches!(error, IniError::InterpolationSyntax { .. }), "{text}: {error}");
    }
    let error = get("[s]\nk = %(nothing)s\n", "s", "k").unwrap_err();
    assert_eq!(error.to_string(), "the value of 'k' refers to 'nothing', which is not defined");
}
