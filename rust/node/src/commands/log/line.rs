//! Rows as lines.

use std::io::{self, Write};

use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use serde_json::json;

use super::packet::Logged;
use super::source::{Content, Row, Source};
use crate::config::LogConfig;
use crate::config::log::NodeColumn;

/// Writes rows as they are asked for.
pub struct Lines<'a> {
    config: &'a LogConfig,
    zone: TimeZone,
    /// The last second shown, with its text: most rows are of the same one.
    second: Option<(i64, String)>,
}

impl<'a> Lines<'a> {
    /// For these options.
    ///
    /// # Errors
    /// The format of dates is not one.
    pub fn new(config: &'a LogConfig) -> Result<Self, String> {
        let lines = Self { config, zone: TimeZone::system(), second: None };
        match lines.format(0) {
            Ok(_) => Ok(lines),
            Err(error) => Err(format!("invalid format of dates '{}': {error}", config.date)),
        }
    }

    fn format(&self, second: i64) -> Result<String, jiff::Error> {
        let date = Zoned::new(Timestamp::from_second(second)?, self.zone.clone());
        jiff::fmt::strtime::format(&self.config.date, &date)
    }

    /// The date, with the space that follows it; 4 decimals, truncated.
    fn date(&mut self, date: f64) -> String {
        if self.config.date.is_empty() {
            return String::new();
        }
        let second = date.floor();
        #[allow(clippy::cast_possible_truncation, reason = "truncated is what is wanted")]
        let (second, fraction) = (second as i64, ((date - second) * 10_000.) as u32);
        let text = match &self.second {
            Some((last, text)) if *last == second => text,
            _ => {
                // A date that is none is shown as the number it is.
                let text = self.format(second).unwrap_or_else(|_| second.to_string());
                &self.second.insert((second, text)).1
            }
        };
        format!("{text}.{fraction:04} ")
    }

    fn node(&self, source: &Source, row: &Row) -> String {
        let name = || row.node.name.clone().unwrap_or_else(|| source.stem.clone());
        let nid = || row.node.nid.map_or_else(name, |nid| nid.to_string());
        match self.config.node_column {
            NodeColumn::Nid => nid(),
            NodeColumn::Name => name(),
            NodeColumn::ClusterNid => match &row.node.cluster {
                Some(cluster) => format!("{cluster}/{}", nid()),
                None => nid(),
            },
        }
    }

    /// Writes a row, unless it is one of a node that is not wanted.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write(&mut self, source: &Source, row: &Row, out: &mut impl Write) -> io::Result<()> {
        let node = self.node(source, row);
        if !(self.config.nodes.is_empty() || self.config.nodes.contains(&node)) {
            return Ok(());
        }
        if self.config.json {
            return self.write_json(&node, row, out);
        }
        let (level, lines) = match &row.content {
            Content::Record { level, text } => {
                let lines = text.split('\n').map(str::to_owned).collect();
                (Some(*level), lines)
            }
            Content::Packet { .. } => {
                let packet = logged(&row.content);
                let lines = packet.map(|packet| packet.lines(self.config.packets));
                (None, lines.unwrap_or_default())
            }
        };
        let date = self.date(row.date);
        let color = level.filter(|_| self.config.color).and_then(color);
        let severity = match level {
            _ if self.config.color => String::new(),
            Some(level) => format!("{:<9} ", severity(level)),
            None => format!("{:<9} ", "PACKET"),
        };
        let column = if self.config.hide_node { String::new() } else { format!("{node:<10} ") };
        for line in lines {
            let text = format!("{date}{severity}{column}{line}");
            match color {
                Some(color) => writeln!(out, "\x1b[{color}m{text}\x1b[39;49;0m")?,
                None => writeln!(out, "{text}")?,
            }
        }
        Ok(())
    }

    fn write_json(&self, node: &str, row: &Row, out: &mut impl Write) -> io::Result<()> {
        let micros = row.date * 1e6;
        #[allow(clippy::cast_possible_truncation, reason = "years fit")]
        let time = Timestamp::from_microsecond(micros as i64).ok();
        let mut object = match &row.content {
            Content::Record { level, text } => {
                json!({ "severity": severity(*level), "message": text })
            }
            content => {
                let packet = logged(content).map(|packet| packet.to_json(self.config.packets));
                let mut object = packet.unwrap_or_default();
                object["severity"] = json!("PACKET");
                object
            }
        };
        object["date"] = json!(row.date);
        object["time"] = json!(time.map(|time| time.to_string()));
        object["node"] = json!(node);
        object["cluster"] = json!(row.node.cluster);
        writeln!(out, "{object}")
    }
}

fn logged(content: &Content) -> Option<Logged<'_>> {
    match content {
        Content::Packet { msg_id, code, peer, body, version } => Some(Logged {
            msg_id: *msg_id,
            code: *code,
            peer,
            body: body.as_deref(),
            version: *version,
        }),
        Content::Record { .. } => None,
    }
}

fn severity(level: i64) -> String {
    match level {
        10 => "DEBUG".into(),
        20 => "INFO".into(),
        30 => "WARNING".into(),
        40 => "ERROR".into(),
        50 => "CRITICAL".into(),
        level => format!("Level {level}"),
    }
}

fn color(level: i64) -> Option<&'static str> {
    match level {
        10 => Some("34"),
        20 => Some("32"),
        30 => Some("33"),
        40 => Some("31"),
        50 => Some("31;01"),
        _ => None,
    }
}
