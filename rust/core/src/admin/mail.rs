//! Notifications as mails (spec tools.md 9.4): headers and text, as they are sent.

use neo_wire::{Text, Timestamp};

use super::health::Severity;
use crate::dates::format_timestamp;

/// Who writes, and who is told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MailConfig {
    /// Address of the sender, as people see it: the one of the envelope is empty.
    pub from: String,
    /// Addresses of the recipients. Without any, nothing is sent.
    pub to: Vec<String>,
}

/// A mail to be sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mail {
    /// Recipients.
    pub to: Vec<String>,
    /// Headers, an empty line and the text. Lines end with CR LF.
    pub message: String,
}

/// Most bytes of an encoded word, without what surrounds them (RFC 2047).
const WORD_BYTES: usize = 42;

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Base64 with padding (RFC 4648).
#[must_use]
pub fn base64(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let byte = |index: usize| u32::from(group.get(index).copied().unwrap_or_default());
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for digit in 0..4 {
            let value = (bits >> (18 - 6 * digit)) & 63;
            let letter = BASE64[value as usize].into();
            text.push(if digit <= group.len() { letter } else { '=' });
        }
    }
    text
}

/// A text that no header can be broken with, in encoded words if it is not ASCII.
fn header_text(text: &str) -> String {
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.is_ascii() {
        return text;
    }
    let mut words = vec![String::new()];
    for c in text.chars() {
        if words.last().is_some_and(|word| word.len() + c.len_utf8() > WORD_BYTES) {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut() {
            word.push(c);
        }
    }
    let words = words.iter().map(|word| format!("=?utf-8?b?{}?=", base64(word.as_bytes())));
    words.collect::<Vec<_>>().join("\r\n ")
}

/// The name that precedes an address, quoted if it has to be.
fn display_name(name: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || " !#$%&'*+-/=?^_`{|}~".contains(c);
    let encoded = header_text(name);
    if !name.is_ascii() || encoded.chars().all(plain) {
        return encoded;
    }
    format!("\"{}\"", encoded.replace('\\', "\\\\").replace('"', "\\\""))
}

/// A date as in mails, in UTC.
fn date(time_s: f64) -> String {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    // 1970-01-01 was a Thursday.
    let days = (time_s / 86400.0).floor().rem_euclid(7.0);
    let weekday = DAYS.get(days as usize).copied().unwrap_or_default();
    let text = format_timestamp(Timestamp(time_s.floor()));
    let (day, time) = text.split_once(' ').unwrap_or((&text, "00:00:00"));
    let mut fields = day.split('-');
    let year = fields.next().unwrap_or_default();
    let month = fields.next().and_then(|month| month.parse::<usize>().ok()).unwrap_or_default();
    let month = MONTHS.get(month.wrapping_sub(1)).copied().unwrap_or_default();
    let day = fields.next().unwrap_or_default();
    format!("{weekday}, {day} {month} {year} {time} -0000")
}

/// What a notification says.
pub(super) struct Notice<'a> {
    /// Name of the cluster of the admin.
    pub(super) cluster: &'a Text,
    /// The worst of all clusters.
    pub(super) severity: Severity,
    /// Names of the clusters that changed and are not well, in order.
    pub(super) names: Vec<String>,
    /// The summary.
    pub(super) text: &'a str,
}

impl Notice<'_> {
    /// The mail, written at this time, in seconds since 1970.
    pub(super) fn mail(&self, config: &MailConfig, now_s: f64) -> Mail {
        let severity = match self.severity {
            Severity::Ok => "OK",
            Severity::Warning => "WARNING",
            Severity::Problem => "PROBLEM",
        };
        let mut subject = format!("NEO monitoring: {severity}");
        if !self.names.is_empty() {
            subject = format!("{subject} ({})", self.names.join(", "));
        }
        let from = display_name(&format!("NEO {}", self.cluster));
        let encoding = if self.text.is_ascii() { "7bit" } else { "8bit" };
        let to: Vec<_> = config.to.iter().map(|address| header_text(address)).collect();
        let mut message = [
            "MIME-Version: 1.0".to_owned(),
            "Content-Type: text/plain; charset=\"utf-8\"".to_owned(),
            format!("Content-Transfer-Encoding: {encoding}"),
            format!("Date: {}", date(now_s)),
            format!("Subject: {}", header_text(&subject)),
            format!("From: {from} <{}>", header_text(&config.from)),
            format!("To: {}", to.join(",\r\n ")),
            String::new(),
        ]
        .join("\r\n");
        for line in self.text.lines() {
            message.push_str("\r\n");
            message.push_str(line);
        }
        message.push_str("\r\n");
        Mail { to: config.to.clone(), message }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mail(cluster: &str, names: &[&str], text: &str) -> String {
        let config = MailConfig { from: "user@host".into(), to: vec!["ops@example.com".into()] };
        let notice = Notice {
            cluster: &Text::from(cluster),
            severity: Severity::Warning,
            names: names.iter().map(ToString::to_string).collect(),
            text,
        };
        notice.mail(&config, 1_795_365_934.9).message.replace("\r\n", "\n")
    }

    #[test]
    fn the_mail_of_the_specification() {
        let text = "\
RUNNING; UP_TO_DATE=2; ltid=040d30cd929800dd (2026-11-22 16:45:34.357913)

bak
    BACKINGUP; UP_TO_DATE=2; ltid=040d30cd873d34b9; lag=2.661253";
        let expected = "\
MIME-Version: 1.0
Content-Type: text/plain; charset=\"utf-8\"
Content-Transfer-Encoding: 7bit
Date: Sun, 22 Nov 2026 16:45:34 -0000
Subject: NEO monitoring: WARNING (bak)
From: NEO test <user@host>
To: ops@example.com

RUNNING; UP_TO_DATE=2; ltid=040d30cd929800dd (2026-11-22 16:45:34.357913)

bak
    BACKINGUP; UP_TO_DATE=2; ltid=040d30cd873d34b9; lag=2.661253
";
        assert_eq!(mail("test", &["bak"], text), expected);
    }

    #[test]
    fn no_name_breaks_a_header() {
        let text = mail("a, \"b\"\nBcc: x@y", &["one", "two"], "lag=ε");
        assert!(text.contains("From: \"NEO a, \\\"b\\\" Bcc: x@y\" <user@host>\n"), "{text}");
        assert!(text.contains("Content-Transfer-Encoding: 8bit\n"), "{text}");
        assert!(text.contains("Subject: NEO monitoring: WARNING (one, two)\n"), "{text}");
        let text = mail("é", &["é"], "RUNNING");
        assert!(text.contains("From: =?utf-8?b?TkVPIMOp?= <user@host>\n"), "{text}");
        let long = mail("x", &["é".repeat(60).as_str()], "RUNNING");
        assert!(long.lines().all(|line| line.len() < 78), "{long}");
    }

    #[test]
    fn dates() {
        assert_eq!(date(0.0), "Thu, 01 Jan 1970 00:00:00 -0000");
        assert_eq!(date(951_827_696.5), "Tue, 29 Feb 2000 12:34:56 -0000");
    }

    #[test]
    fn base64_of_the_rfc() {
        for (text, expected) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v")] {
            assert_eq!(base64(text.as_bytes()), expected);
        }
        assert_eq!(base64(b"foobar"), "Zm9vYmFy");
        assert_eq!(base64(&[0xff, 0xfe, 0x3e]), "//4+");
    }
}
