//! The INI dialect of configuration files: that of the `ConfigParser` class of Python 3 with its
//! default settings (spec tools.md 2.1), kept identical by a test on generated files.

mod interpolation;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use thiserror::Error;

/// Name of the section that gives values to all the others. It is not a section itself.
pub const DEFAULT_SECTION: &str = "DEFAULT";

/// Why a file, or a value in it, is refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum IniError {
    /// The file has no such section.
    #[error("No section: '{0}'")]
    NoSection(String),
    /// A line precedes the first section.
    #[error("line {line}: '{text}' comes before the first [section]")]
    MissingSectionHeader {
        /// From 1.
        line: usize,
        /// Content of the line.
        text: String,
    },
    /// A section is given twice.
    #[error("line {line}: section [{section}] is given twice")]
    DuplicateSection {
        /// Where the second one is, from 1.
        line: usize,
        /// Its name.
        section: String,
    },
    /// A key is given twice in a section.
    #[error("line {line}: '{key}' is given twice in section [{section}]")]
    DuplicateOption {
        /// Where the second one is, from 1.
        line: usize,
        /// Name of the section.
        section: String,
        /// The key, in lower case.
        key: String,
    },
    /// Some lines are neither a section, nor `key = value`, nor a continuation. The first of them.
    #[error("line {line}: '{text}' is neither [section] nor key = value")]
    Parsing {
        /// From 1.
        line: usize,
        /// Content of the line.
        text: String,
    },
    /// A `%` is not part of `%%` or `%(key)s`.
    #[error("'%' must be followed by '%' or '(key)s' in the value of '{key}', found: '{found}'")]
    InterpolationSyntax {
        /// Key whose value is wanted.
        key: String,
        /// The value, from the wrong `%`.
        found: String,
    },
    /// `%(other)s` names a key that does not exist.
    #[error("the value of '{key}' refers to '{reference}', which is not defined")]
    InterpolationMissingOption {
        /// Key whose value is wanted.
        key: String,
        /// The unknown key.
        reference: String,
    },
    /// References are nested too deeply, or for ever.
    #[error("the value of '{key}' has too many levels of %(key)s")]
    InterpolationDepth {
        /// Key whose value is wanted.
        key: String,
    },
    /// References multiply the text beyond any use (a limit that Python does not have).
    #[error("the value of '{key}' is too long once its %(key)s are replaced")]
    InterpolationTooLong {
        /// Key whose value is wanted.
        key: String,
    },
}

/// The keys of a section with their values, in the order of the file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Keys {
    order: Vec<String>,
    values: BTreeMap<String, String>,
}

impl Keys {
    fn set(&mut self, key: &str, value: &str) {
        if self.values.insert(key.to_owned(), value.to_owned()).is_none() {
            self.order.push(key.to_owned());
        }
    }
}

/// A configuration file in memory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ini {
    defaults: Keys,
    order: Vec<String>,
    sections: BTreeMap<String, Keys>,
}

/// What a line is, once comments and empty lines are put apart.
enum Line<'a> {
    Section(&'a str),
    Key { key: String, value: &'a str },
    Other,
}

impl Ini {
    /// Parses a whole file. Lines end as in any system (`\n`, `\r\n`, `\r`).
    ///
    /// # Errors
    /// Every error that is not about interpolation nor [`IniError::NoSection`].
    pub fn parse(text: &str) -> Result<Self, IniError> {
        let mut parser = Parser::default();
        let text = text.replace("\r\n", "\n").replace('\r', "\n");
        for (index, line) in text.split('\n').enumerate() {
            parser.line(index + 1, line)?;
        }
        parser.finish()
    }

    /// Names of the sections, in the order of the file, without `DEFAULT`.
    pub fn sections(&self) -> impl Iterator<Item = &str> {
        self.order.iter().map(String::as_str)
    }

    /// Keys of a section: its own ones, then those of `DEFAULT`, each once.
    ///
    /// # Errors
    /// [`IniError::NoSection`].
    pub fn keys(&self, section: &str) -> Result<Vec<&str>, IniError> {
        let own = self.section(section)?;
        let inherited = self.defaults.order.iter().filter(|key| !own.values.contains_key(*key));
        Ok(own.order.iter().chain(inherited).map(String::as_str).collect())
    }

    /// Value of a key in a section or, failing that, in `DEFAULT`, with its `%(key)s` replaced.
    /// The case of `key` does not matter.
    ///
    /// # Errors
    /// [`IniError::NoSection`], or an error of interpolation.
    pub fn get(&self, section: &str, key: &str) -> Result<Option<String>, IniError> {
        let own = self.section(section)?;
        let key = key.to_lowercase();
        let lookup = |key: &str| {
            let value = own.values.get(key).or_else(|| self.defaults.values.get(key));
            value.map(String::as_str)
        };
        lookup(&key).map(|value| interpolation::interpolate(&key, value, &lookup)).transpose()
    }

    /// Whether a section gives this key itself, instead of inheriting it.
    ///
    /// # Errors
    /// [`IniError::NoSection`].
    pub fn is_own(&self, section: &str, key: &str) -> Result<bool, IniError> {
        Ok(self.section(section)?.values.contains_key(&key.to_lowercase()))
    }

    fn section(&self, name: &str) -> Result<&Keys, IniError> {
        self.sections.get(name).ok_or_else(|| IniError::NoSection(name.to_owned()))
    }
}

/// The key that continuation lines extend.
struct OpenValue {
    key: String,
    lines: Vec<String>,
}

#[derive(Default)]
struct Parser {
    ini: Ini,
    section: Option<String>,
    open: Option<OpenValue>,
    indent: usize,
    seen: BTreeSet<(String, String)>,
    first_error: Option<IniError>,
}

impl Parser {
    fn line(&mut self, number: usize, line: &str) -> Result<(), IniError> {
        let text = trim(line);
        if text.starts_with(['#', ';']) {
            return Ok(());
        }
        if text.is_empty() {
            if let Some(open) = &mut self.open {
                open.lines.push(String::new());
            }
            return Ok(());
        }
        let indent = line.chars().take_while(|&c| is_space(c)).count();
        if indent > self.indent
            && let Some(open) = &mut self.open
        {
            open.lines.push(text.to_owned());
            return Ok(());
        }
        self.indent = indent;
        match classify(text) {
            Line::Section(name) => self.start_section(number, name),
            _ if self.section.is_none() => {
                Err(IniError::MissingSectionHeader { line: number, text: text.to_owned() })
            }
            Line::Key { key, value } => self.start_key(number, text, key, value),
            Line::Other => {
                self.note(number, text);
                Ok(())
            }
        }
    }

    fn start_section(&mut self, number: usize, name: &str) -> Result<(), IniError> {
        self.close();
        if name != DEFAULT_SECTION {
            if self.ini.sections.contains_key(name) {
                let section = name.to_owned();
                return Err(IniError::DuplicateSection { line: number, section });
            }
            self.ini.sections.insert(name.to_owned(), Keys::default());
            self.ini.order.push(name.to_owned());
        }
        self.section = Some(name.to_owned());
        Ok(())
    }

    fn start_key(
        &mut self,
        line: usize,
        text: &str,
        key: String,
        value: &str,
    ) -> Result<(), IniError> {
        self.close();
        if key.is_empty() {
            self.note(line, text);
        }
        let section = self.section.clone().unwrap_or_default();
        if !self.seen.insert((section.clone(), key.clone())) {
            return Err(IniError::DuplicateOption { line, section, key });
        }
        if !key.is_empty() {
            self.open = Some(OpenValue { key, lines: vec![value.to_owned()] });
        }
        Ok(())
    }

    /// Remembers an error that must not hide a graver one further in the file.
    fn note(&mut self, line: usize, text: &str) {
        if self.first_error.is_none() {
            self.first_error = Some(IniError::Parsing { line, text: text.to_owned() });
        }
    }

    fn close(&mut self) {
        if let (Some(open), Some(section)) = (self.open.take(), &self.section) {
            let keys = match self.ini.sections.get_mut(section) {
                Some(keys) => keys,
                None => &mut self.ini.defaults,
            };
            keys.set(&open.key, open.lines.join("\n").trim_end_matches(is_space));
        }
    }

    fn finish(mut self) -> Result<Ini, IniError> {
        self.close();
        match self.first_error {
            Some(error) => Err(error),
            None => Ok(self.ini),
        }
    }
}

fn classify(text: &str) -> Line<'_> {
    if let Some(header) = text.strip_prefix('[')
        && let Some(end) = header.rfind(']')
        && end > 0
    {
        return Line::Section(&header[..end]);
    }
    match text.split_once(['=', ':']) {
        Some((key, value)) => {
            let key = key.trim_end_matches(is_space).to_lowercase();
            Line::Key { key, value: trim(value) }
        }
        None => Line::Other,
    }
}

fn trim(text: &str) -> &str {
    text.trim_matches(is_space)
}

/// Blank as Python's `str.isspace` says: Unicode's white space and four control characters.
pub(crate) fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\x1c'..='\x1f').contains(&c)
}
