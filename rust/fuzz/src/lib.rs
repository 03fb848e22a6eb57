//! What the fuzz targets share: seeds made from the golden data, and reading in chunks.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::Read;
use std::path::{Path, PathBuf};

use neo_wire::{FrameError, Framer, Message};
use serde_json::Value;

/// Reads a stream in chunks of the given lengths (the last one is repeated) until its end or the
/// first error.
pub fn receive(
    stream: &[u8],
    lengths: impl IntoIterator<Item = usize>,
) -> (Vec<Message>, Option<FrameError>) {
    let (mut framer, mut messages) = (Framer::new(), Vec::new());
    let mut rest = stream;
    for length in lengths {
        if rest.is_empty() {
            break;
        }
        let (chunk, left) = rest.split_at(length.clamp(1, rest.len()));
        rest = left;
        framer.buffer().extend_from_slice(chunk);
        loop {
            match framer.next() {
                Ok(Some(message)) => messages.push(message),
                Ok(None) => break,
                Err(error) => return (messages, Some(error)),
            }
        }
    }
    (messages, None)
}

/// Every packet of the golden data, the malformed ones included.
///
/// # Errors
/// Data that can not be read.
pub fn packets() -> Result<Vec<Vec<u8>>, Box<dyn Error>> {
    let file = std::fs::File::open(data().join("packets.jsonl.gz"))?;
    let mut text = String::new();
    flate2::read::GzDecoder::new(file).read_to_string(&mut text)?;
    let mut packets = Vec::new();
    for line in text.lines() {
        let line: Value = serde_json::from_str(line)?;
        packets.push(unhex(line["hex"].as_str().ok_or("no hex")?)?);
    }
    Ok(packets)
}

/// Every direction of every recorded connection.
///
/// # Errors
/// Data that can not be read.
pub fn streams() -> Result<Vec<Vec<u8>>, Box<dyn Error>> {
    let mut streams: BTreeMap<(PathBuf, String), Vec<u8>> = BTreeMap::new();
    for entry in std::fs::read_dir(data().join("streams"))? {
        let path = entry?.path();
        if path.to_string_lossy().ends_with(".decoded.jsonl") {
            continue;
        }
        for line in std::fs::read_to_string(&path)?.lines() {
            let line: Value = serde_json::from_str(line)?;
            if let Some(hex) = line["hex"].as_str() {
                let way = format!("{} {}", line["conn"], line["dir"]);
                let stream = streams.entry((path.clone(), way)).or_default();
                stream.extend(unhex(hex)?);
            }
        }
    }
    Ok(streams.into_values().collect())
}

/// Writes seeds in the corpus: the first directory of the command line, if it has nothing yet.
/// libFuzzer reads it afterwards.
///
/// # Panics
/// If it can not: fuzzing from nothing would look like fuzzing.
pub fn plant(seeds: impl FnOnce() -> Result<Vec<Vec<u8>>, Box<dyn Error>>) {
    let Some(corpus) = std::env::args().skip(1).find(|arg| Path::new(arg).is_dir()) else {
        return;
    };
    if let Err(error) = plant_in(Path::new(&corpus), seeds) {
        panic!("seeds for {corpus}: {error}");
    }
}

fn plant_in(
    corpus: &Path,
    seeds: impl FnOnce() -> Result<Vec<Vec<u8>>, Box<dyn Error>>,
) -> Result<(), Box<dyn Error>> {
    if std::fs::read_dir(corpus)?.next().is_some() {
        return Ok(());
    }
    for (number, seed) in seeds()?.iter().enumerate() {
        std::fs::write(corpus.join(format!("seed-{number:04}")), seed)?;
    }
    Ok(())
}

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/vectors")
}

fn unhex(text: &str) -> Result<Vec<u8>, Box<dyn Error>> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return Err("odd number of digits".into());
    }
    pairs.iter().map(|pair| Ok(u8::from_str_radix(std::str::from_utf8(pair)?, 16)?)).collect()
}
