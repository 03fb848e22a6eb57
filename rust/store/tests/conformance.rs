//! The same random operations on SQLite and on the model: every result and every read must be
//! the same, whatever happens in between.

#![allow(missing_docs, clippy::unwrap_used, clippy::panic)]

#[path = "conformance/generator.rs"]
mod generator;
#[path = "conformance/questions.rs"]
mod questions;

use std::path::{Path, PathBuf};

use neo_core::io::Entropy;
use neo_store::database::WriteJob;
use neo_store::memory::{MemoryDisk, MemoryWriter};
use neo_store::sqlite::{self, Options, SqliteWriter};
use neo_store::{Reader, Writer};
use tempfile::TempDir;

use generator::Generator;

const STEPS: u32 = 250;

/// What is different from one run to the other.
#[derive(Clone, Copy, Debug)]
enum Mode {
    Wal,
    Rollback,
    InMemory,
    Dedup,
}

/// Both databases.
struct Pair {
    mode: Mode,
    directory: TempDir,
    path: PathBuf,
    disk: MemoryDisk,
    model: MemoryWriter,
    real: Option<SqliteWriter>,
    model_reader: Box<dyn Reader>,
    real_reader: Option<Box<dyn Reader>>,
    copies: u32,
}

fn open(path: &Path, mode: Mode) -> SqliteWriter {
    let path = path.display();
    let database = match mode {
        Mode::Wal | Mode::Dedup => path.to_string(),
        Mode::Rollback => format!("file:{path}?journal_mode=DELETE&synchronous=OFF"),
        Mode::InMemory => ":memory:".to_owned(),
    };
    let dedup = matches!(mode, Mode::Dedup);
    sqlite::open(&Options { database, dedup, ..Options::default() }).unwrap()
}

impl Pair {
    fn new(mode: Mode) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s1.sqlite");
        let disk = MemoryDisk::new();
        let model = disk.open().unwrap();
        let real = open(&path, mode);
        Self {
            mode,
            directory,
            path,
            model_reader: model.reader().unwrap(),
            real_reader: Some(real.reader().unwrap()),
            disk,
            model,
            real: Some(real),
            copies: 0,
        }
    }

    fn run(&mut self, jobs: Vec<WriteJob>) {
        let expected = self.model.run(jobs.clone()).unwrap();
        let found = self.real.as_mut().unwrap().run(jobs.clone()).unwrap();
        let jobs = jobs.into_iter().zip(found.into_iter().zip(expected));
        for (job, (found, expected)) in jobs {
            // With deduplication there are fewer rows.
            let rows = matches!(job, WriteJob::PruneOrphans { .. });
            if !(rows && matches!(self.mode, Mode::Dedup)) {
                assert_eq!(found, expected, "{job:?}");
            }
        }
    }

    fn compare(&self, generator: &mut Generator, all: bool) {
        let real = self.real_reader.as_ref().unwrap();
        let statistics = !matches!(self.mode, Mode::Dedup);
        for query in questions::questions(generator, all, statistics) {
            let expected = self.model_reader.answer(&query).unwrap();
            assert_eq!(real.answer(&query).unwrap(), expected, "{query:?}");
        }
    }

    /// The process ends, cleanly or not, or the machine does: then the files are what they were
    /// at the moment of the last commit.
    fn reopen(&mut self, entropy: &mut Entropy) {
        if matches!(self.mode, Mode::InMemory) {
            return;
        }
        let way = entropy.below(3);
        if way == 2 {
            self.copies += 1;
            let copy = self.directory.path().join(format!("copy{}.sqlite", self.copies));
            for suffix in ["", "-wal"] {
                let from = format!("{}{suffix}", self.path.display());
                if Path::new(&from).exists() {
                    std::fs::copy(from, format!("{}{suffix}", copy.display())).unwrap();
                }
            }
            self.path = copy;
        }
        self.real_reader = None;
        let real = self.real.take().unwrap();
        if way == 0 {
            Box::new(real).close().unwrap();
            let log = format!("{}-wal", self.path.display());
            assert!(!Path::new(&log).exists(), "one file is left by a clean stop");
        } else {
            drop(real);
        }
        let real = open(&self.path, self.mode);
        self.disk.crash(usize::MAX).unwrap();
        self.model = self.disk.open().unwrap();
        self.model_reader = self.model.reader().unwrap();
        self.real_reader = Some(real.reader().unwrap());
        self.real = Some(real);
    }
}

fn run(seed: u64, mode: Mode) {
    let mut entropy = Entropy::new(seed);
    let mut pair = Pair::new(mode);
    let mut generator = Generator::new(seed);
    for step in 0..STEPS {
        let jobs = generator.jobs();
        let context = format!("seed {seed}, {mode:?}, step {step}: {jobs:?}");
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            pair.run(jobs);
            if entropy.below(25) == 0 {
                pair.reopen(&mut entropy);
                generator.forget_spilled();
            }
            pair.compare(&mut generator, step % 25 == 0);
        }));
        if let Err(panic) = outcome {
            eprintln!("{context}");
            std::panic::resume_unwind(panic);
        }
    }
    pair.compare(&mut generator, true);
    let statistics = pair.real_reader.unwrap().data_statistics().unwrap();
    assert_eq!(statistics.orphans, 0, "seed {seed}");
    generator.check_variety();
}

#[test]
fn with_a_write_ahead_log() {
    (0..20).for_each(|seed| run(seed, Mode::Wal));
}

#[test]
fn with_a_rollback_journal() {
    (100..110).for_each(|seed| run(seed, Mode::Rollback));
}

#[test]
fn in_memory() {
    (200..210).for_each(|seed| run(seed, Mode::InMemory));
}

#[test]
fn with_deduplication() {
    (300..310).for_each(|seed| run(seed, Mode::Dedup));
}
