//! Shows what the INI parser makes of files, so that it can be compared with Python's. It reads
//! a JSON array of texts and writes, for each, the name of the error or the sections as arrays of
//! `[key, value]` or `[key, null, error]`.

use std::io::{self, Write};

use neo_node::config::ini::{Ini, IniError};
use serde_json::{Value, json};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let texts: Vec<String> = serde_json::from_str(&io::read_to_string(io::stdin())?)?;
    let results: Vec<Value> = texts.iter().map(|text| dump(text)).collect();
    serde_json::to_writer(io::stdout(), &results)?;
    Ok(io::stdout().flush()?)
}

fn dump(text: &str) -> Value {
    let ini = match Ini::parse(text) {
        Ok(ini) => ini,
        Err(error) => return json!(class(&error)),
    };
    let sections = ini.sections().map(|section| {
        let keys = ini.keys(section).unwrap_or_default().into_iter();
        let values = keys.map(|key| match ini.get(section, key) {
            Ok(value) => json!([key, value]),
            Err(error) => json!([key, null, class(&error)]),
        });
        json!([section, values.collect::<Vec<_>>()])
    });
    Value::Array(sections.collect())
}

/// The class of this error in Python's `configparser`.
fn class(error: &IniError) -> &'static str {
    match error {
        IniError::NoSection(_) => "NoSectionError",
        IniError::MissingSectionHeader { .. } => "MissingSectionHeaderError",
        IniError::DuplicateSection { .. } => "DuplicateSectionError",
        IniError::DuplicateOption { .. } => "DuplicateOptionError",
        IniError::Parsing { .. } => "ParsingError",
        IniError::InterpolationSyntax { .. } => "InterpolationSyntaxError",
        IniError::InterpolationMissingOption { .. } => "InterpolationMissingOptionError",
        IniError::InterpolationDepth { .. } => "InterpolationDepthError",
        IniError::InterpolationTooLong { .. } => "(no limit in Python)",
    }
}
