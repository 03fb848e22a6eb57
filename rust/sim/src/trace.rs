//! What happened: a hash of all of it, and its lines if somebody reads them.

use std::collections::VecDeque;
use std::fmt::Arguments;

/// What is done with the lines of a trace.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Lines {
    /// Nothing: only the hash is made.
    #[default]
    None,
    /// The last ones are kept, for the report of a failure.
    Keep,
    /// They are printed at once.
    Print,
}

/// Lines kept for a report.
const KEPT: usize = 200;

/// See the module.
#[derive(Debug)]
pub struct Trace {
    hash: u64,
    mode: Lines,
    lines: VecDeque<String>,
}

impl Trace {
    /// An empty trace.
    #[must_use]
    pub fn new(mode: Lines) -> Self {
        Self { hash: 0, mode, lines: VecDeque::new() }
    }

    /// Two runs are the same if their hashes are.
    #[must_use]
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// Takes a number into the hash.
    pub fn mix(&mut self, value: u64) {
        const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
        self.hash = (self.hash.rotate_left(23) ^ value).wrapping_mul(FACTOR);
    }

    /// Takes bytes into the hash.
    pub fn mix_bytes(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.mix(u64::from_le_bytes(*word));
        }
        for byte in rest {
            self.mix(u64::from(*byte));
        }
        self.mix(bytes.len() as u64);
    }

    /// Whether lines are of any use.
    #[must_use]
    pub fn is_verbose(&self) -> bool {
        self.mode != Lines::None
    }

    /// Adds a line.
    pub fn line(&mut self, text: Arguments<'_>) {
        match self.mode {
            Lines::None => {}
            Lines::Keep => {
                if self.lines.len() == KEPT {
                    self.lines.pop_front();
                }
                self.lines.push_back(text.to_string());
            }
            Lines::Print => println!("{text}"),
        }
    }

    /// The last lines.
    pub fn last(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().map(String::as_str)
    }
}
