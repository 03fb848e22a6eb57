//! `%(key)s` in values (spec tools.md 2.1).

use super::IniError;

/// Levels of nested references, as in Python.
const DEPTH_MAX: usize = 10;

/// Bytes of a value once all is replaced: ten levels of references could fill the memory.
const LENGTH_MAX: usize = 1 << 20;

/// Replaces the references in `value`, recursively.
pub(super) fn interpolate<'a>(
    key: &str,
    value: &'a str,
    lookup: &dyn Fn(&str) -> Option<&'a str>,
) -> Result<String, IniError> {
    let mut interpolation = Interpolation { key, lookup, steps: 0, text: String::new() };
    interpolation.expand(value, 1)?;
    Ok(interpolation.text)
}

struct Interpolation<'k, 'l, 'a> {
    key: &'k str,
    lookup: &'l dyn Fn(&str) -> Option<&'a str>,
    steps: usize,
    text: String,
}

impl Interpolation<'_, '_, '_> {
    fn expand(&mut self, mut rest: &str, depth: usize) -> Result<(), IniError> {
        if depth > DEPTH_MAX {
            return Err(IniError::InterpolationDepth { key: self.key.to_owned() });
        }
        while let Some(start) = rest.find('%') {
            self.push(&rest[..start])?;
            let after = &rest[start + 1..];
            if let Some(tail) = after.strip_prefix('%') {
                self.push("%")?;
                rest = tail;
                continue;
            }
            let Some((name, tail)) = reference(after) else {
                return Err(IniError::InterpolationSyntax {
                    key: self.key.to_owned(),
                    found: rest[start..].to_owned(),
                });
            };
            let name = name.to_lowercase();
            let Some(value) = (self.lookup)(&name) else {
                return Err(IniError::InterpolationMissingOption {
                    key: self.key.to_owned(),
                    reference: name,
                });
            };
            if value.contains('%') {
                self.expand(value, depth + 1)?;
            } else {
                self.push(value)?;
            }
            rest = tail;
        }
        self.push(rest)
    }

    fn push(&mut self, text: &str) -> Result<(), IniError> {
        self.steps += 1;
        self.text.push_str(text);
        if self.text.len() > LENGTH_MAX || self.steps > LENGTH_MAX {
            return Err(IniError::InterpolationTooLong { key: self.key.to_owned() });
        }
        Ok(())
    }
}

/// Splits `(name)s` from what follows it.
fn reference(text: &str) -> Option<(&str, &str)> {
    let (name, tail) = text.strip_prefix('(')?.split_once(')')?;
    let tail = tail.strip_prefix('s')?;
    (!name.is_empty()).then_some((name, tail))
}
