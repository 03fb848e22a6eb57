//! Text of a record.

use std::fmt::{self, Write};

use jiff::Zoned;
use tracing::field::{Field, Visit};
use tracing::{Level, Metadata};

/// Message and fields of a record or of a span.
#[derive(Debug, Default, Clone)]
pub struct Fields {
    message: String,
    others: String,
}

impl Fields {
    /// Adds the fields of a surrounding span.
    pub(super) fn extend(&mut self, span: &Self) {
        self.others.push_str(&span.others);
    }

    fn push(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        let written = match field.name() {
            "message" => self.message.write_fmt(value),
            name => write!(self.others, " {name}={value}"),
        };
        if written.is_err() {
            self.others.push_str(" (a value could not be shown)");
        }
    }
}

impl fmt::Display for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        f.write_str(&self.others)
    }
}

/// As the database has it (spec tools.md 11.4).
pub(super) fn level_number(level: &Level) -> u8 {
    match *level {
        Level::ERROR => 40,
        Level::WARN => 30,
        Level::INFO => 20,
        Level::DEBUG | Level::TRACE => 10,
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.push(field, format_args!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.push(field, format_args!("{value}"));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.push(field, format_args!("{value}"));
    }
}

/// A record to be shown, with its end of line.
pub(super) struct Record<'a> {
    date: Zoned,
    level: &'static str,
    module: &'a str,
    line: u32,
    fields: &'a Fields,
}

impl<'a> Record<'a> {
    /// A record of this instant.
    pub(super) fn now(metadata: &'a Metadata<'_>, fields: &'a Fields) -> Self {
        let path = metadata.module_path().unwrap_or(metadata.target());
        Self {
            date: Zoned::now(),
            level: match *metadata.level() {
                Level::ERROR => "ERROR",
                Level::WARN => "WARNING",
                Level::INFO => "INFO",
                Level::DEBUG | Level::TRACE => "DEBUG",
            },
            module: path.rsplit("::").next().unwrap_or(path),
            line: metadata.line().unwrap_or(0),
            fields,
        }
    }
}

impl fmt::Display for Record<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let date = self.date.datetime();
        let prefix = format!(
            "{:04}-{:02}-{:02} {:02}:{:02}:{:02}.{:04} {:<9} {:<10} [{:>14}:{}]",
            date.year(),
            date.month(),
            date.day(),
            date.hour(),
            date.minute(),
            date.second(),
            date.subsec_nanosecond() / 100_000,
            self.level,
            "NEO",
            self.module,
            self.line,
        );
        let text = self.fields.to_string();
        for line in text.split('\n') {
            writeln!(f, "{prefix} {line}")?;
        }
        Ok(())
    }
}
