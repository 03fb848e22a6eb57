//! Streams cut anywhere give the same messages as in one piece, and the same error.
//!
//! The input is a number of cuts, the lengths of the chunks, and the stream.

#![no_main]

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use neo_wire::{HANDSHAKE, Message};

/// As long as most packets, and short enough to be mutated well.
const SEED_SIZE: usize = 4096;

fn seeds() -> Result<Vec<Vec<u8>>, Box<dyn std::error::Error>> {
    let cuts = [5, 1, 5, 1, 16, 255];
    let packets = neo_fuzz::packets()?.into_iter();
    let packets = packets.map(|packet| [&HANDSHAKE[..], &packet].concat());
    Ok(neo_fuzz::streams()?
        .into_iter()
        .chain(packets)
        .filter(|stream| !stream.is_empty())
        .map(|stream| [&cuts[..], &stream[..stream.len().min(SEED_SIZE)]].concat())
        .collect())
}

fuzz_target!(init: neo_fuzz::plant(seeds), |input: &[u8]| {
    let Some((&count, input)) = input.split_first() else {
        return;
    };
    let (lengths, stream) = input.split_at(input.len().min(usize::from(count)));
    let whole = neo_fuzz::receive(stream, [stream.len()]);
    let lengths = lengths.iter().map(|length| usize::from(*length));
    let cut = neo_fuzz::receive(stream, lengths.chain(std::iter::repeat(1)));
    assert_eq!(cut, whole);

    let mut again = BytesMut::from(&HANDSHAKE[..]);
    whole.0.iter().for_each(|message: &Message| message.encode(&mut again));
    if !whole.0.is_empty() {
        assert_eq!(neo_fuzz::receive(&again, [again.len()]), (whole.0, None));
    }
});
