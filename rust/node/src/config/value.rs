//! Syntax of values (spec tools.md 3). Reasons are short texts, to be completed by the caller with
//! where the value comes from.

use std::env;
use std::ffi::{OsStr, OsString};
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use nix::unistd::{Uid, User};

use super::ini::is_space;

/// Parses a decimal integer as Python's `int` does: blanks around it, a sign, `_` between digits.
///
/// # Errors
/// A reason.
pub fn integer(text: &str) -> Result<i64, String> {
    let digits = digits(text).ok_or_else(|| format!("invalid int value: '{text}'"))?;
    digits.parse().map_err(|_| format!("int value out of range: '{text}'"))
}

/// Parses an integer literal of Python: like [`integer`], or with a prefix `0x`, `0o`, `0b`.
///
/// # Errors
/// A reason.
pub fn unsigned_literal(text: &str) -> Result<u64, String> {
    let text = text.trim_matches(is_space);
    let lower = text.to_ascii_lowercase();
    let radix = match lower.get(..2) {
        Some("0x") => 16,
        Some("0o") => 8,
        Some("0b") => 2,
        _ => 10,
    };
    let body = if radix == 10 { &lower[..] } else { lower[2..].trim_start_matches('_') };
    let invalid = || format!("invalid integer: '{text}'");
    let digits = body.split('_').map(|group| {
        let good = !group.is_empty() && group.chars().all(|c| c.is_digit(radix));
        good.then_some(group)
    });
    let digits: String = digits.collect::<Option<_>>().ok_or_else(invalid)?;
    u64::from_str_radix(&digits, radix).map_err(|_| format!("integer out of range: '{text}'"))
}

/// Parses a number as Python's `float` does, but for values that are not finite.
///
/// # Errors
/// A reason.
pub fn number(text: &str) -> Result<f64, String> {
    let invalid = || format!("invalid float value: '{text}'");
    let trimmed = text.trim_matches(is_space);
    let bytes = trimmed.as_bytes();
    let lone = |index: usize| {
        let digit = |at: Option<&u8>| at.is_some_and(u8::is_ascii_digit);
        !(digit(index.checked_sub(1).and_then(|at| bytes.get(at))) && digit(bytes.get(index + 1)))
    };
    if bytes.iter().enumerate().any(|(index, &byte)| byte == b'_' && lone(index)) {
        return Err(invalid());
    }
    let number: f64 = trimmed.replace('_', "").parse().map_err(|_| invalid())?;
    if number.is_finite() { Ok(number) } else { Err(invalid()) }
}

fn digits(text: &str) -> Option<String> {
    let text = text.trim_matches(is_space);
    let (sign, body) = match text.strip_prefix('-') {
        Some(body) => ("-", body),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    let groups = body.split('_').map(|group| {
        let good = !group.is_empty() && group.bytes().all(|byte| byte.is_ascii_digit());
        good.then_some(group)
    });
    Some(format!("{sign}{}", groups.collect::<Option<String>>()?))
}

/// Parses a flag of a configuration file.
///
/// # Errors
/// A reason.
pub fn boolean(text: &str) -> Result<bool, String> {
    match text.to_lowercase().as_str() {
        "1" | "yes" | "true" | "on" => Ok(true),
        "0" | "no" | "false" | "off" => Ok(false),
        _ => Err(format!("Not a boolean: {text}")),
    }
}

/// A host and a port that are not resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPort {
    /// Name or numeric address, without brackets.
    pub host: String,
    /// TCP port, if given.
    pub port: Option<u16>,
}

/// Splits `host`, `host:port`, `[ipv6]` or `[ipv6]:port` (spec tools.md 3.1).
///
/// # Errors
/// A reason.
pub fn host_port(text: &str) -> Result<HostPort, String> {
    let refuse = |why: &str| Err(format!("{why} in address '{text}': write host:port"));
    let (host, port) = match text.strip_prefix('[') {
        Some(bracket) => match bracket.split_once(']') {
            Some((host, "")) => (host, None),
            Some((host, rest)) if rest.starts_with(':') => (host, Some(&rest[1..])),
            _ => return refuse("misplaced bracket"),
        },
        None => match text.split_once(':') {
            Some((host, port)) if !port.contains(':') => (host, Some(port)),
            _ => (text, None),
        },
    };
    if host.is_empty() {
        return refuse("no host");
    }
    let port = match port {
        None => None,
        Some(port) if port.bytes().all(|byte| byte.is_ascii_digit()) => match port.parse() {
            Ok(port) => Some(port),
            Err(_) => return refuse("bad port"),
        },
        Some(_) => return refuse("bad port"),
    };
    Ok(HostPort { host: host.to_owned(), port })
}

/// Parses and resolves an address; the first answer is kept.
///
/// # Errors
/// A reason.
pub fn address(text: &str, default_port: u16) -> Result<SocketAddr, String> {
    let HostPort { host, port } = host_port(text)?;
    let mut answers = (host.as_str(), port.unwrap_or(default_port))
        .to_socket_addrs()
        .map_err(|error| format!("cannot resolve host '{host}': {error}"))?;
    answers.next().ok_or_else(|| format!("cannot resolve host '{host}': no address"))
}

/// Parses a list of masters separated by blanks, without repetition (spec tools.md 3.2). A port is
/// needed: a master has no usual one.
///
/// # Errors
/// A reason.
pub fn masters(text: &str) -> Result<Vec<SocketAddr>, String> {
    let mut masters = Vec::new();
    for word in text.split(is_space).filter(|word| !word.is_empty()) {
        let master = address(word, 0)?;
        if master.port() == 0 {
            return Err(format!("no port in address of master '{word}': write host:port"));
        }
        if !masters.contains(&master) {
            masters.push(master);
        }
    }
    Ok(masters)
}

/// Expands `~` and `~user` at the beginning of a path; unknown users are left (spec tools.md 3.5).
#[must_use]
pub fn expand_user(path: &OsStr) -> PathBuf {
    let bytes = path.as_bytes();
    let Some(rest) = bytes.strip_prefix(b"~") else {
        return path.into();
    };
    let end = rest.iter().position(|&byte| byte == b'/').unwrap_or(rest.len());
    let (user, tail) = rest.split_at(end);
    let home = match std::str::from_utf8(user) {
        Ok("") => env::var_os("HOME").or_else(|| home(User::from_uid(Uid::current()))),
        Ok(name) => home(User::from_name(name)),
        Err(_) => None,
    };
    let Some(home) = home else {
        return path.into();
    };
    let mut expanded = home.into_vec();
    while expanded.last() == Some(&b'/') {
        expanded.pop();
    }
    expanded.extend_from_slice(tail);
    if expanded.is_empty() {
        expanded.push(b'/');
    }
    OsString::from_vec(expanded).into()
}

/// A user that is not found and a failed search are alike: the path stays as it is.
fn home(user: nix::Result<Option<User>>) -> Option<OsString> {
    user.ok().flatten().map(|user| user.dir.into_os_string())
}

#[cfg(test)]
mod tests;
