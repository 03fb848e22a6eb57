//! Whatever a peer sends first, it is recognized or refused at its first wrong byte, and the
//! reason is the right one (spec protocol.md 3.2).

#![no_main]

use libfuzzer_sys::fuzz_target;
use neo_wire::{FrameError, Framer, HANDSHAKE};

fn seeds() -> Result<Vec<Vec<u8>>, Box<dyn std::error::Error>> {
    let mut seeds: Vec<Vec<u8>> = neo_fuzz::packets()?;
    seeds.retain(|seed| seed.len() <= 16);
    seeds.extend((0..=HANDSHAKE.len()).map(|length| HANDSHAKE[..length].to_vec()));
    Ok(seeds)
}

fuzz_target!(init: neo_fuzz::plant(seeds), |input: &[u8]| {
    let same = input.iter().zip(&HANDSHAKE).take_while(|(a, b)| a == b).count();
    let mut framer = Framer::new();
    for (position, byte) in input.iter().take(HANDSHAKE.len()).enumerate() {
        framer.buffer().extend_from_slice(&[*byte]);
        let result = framer.next();
        if position < same {
            assert_eq!(result, Ok(None));
            assert_eq!(framer.is_greeted(), position + 1 == HANDSHAKE.len());
            continue;
        }
        let neo = same == HANDSHAKE.len() - 1;
        let expected = if neo { FrameError::Version } else { FrameError::NotNeo };
        assert_eq!(result, Err(expected.clone()));
        // In one piece, the reason is the same.
        assert_eq!(neo_fuzz::receive(input, [input.len()]), (vec![], Some(expected)));
        return;
    }
    // Greeted or not, nothing was taken for a packet.
    assert!(framer.buffer().is_empty() || !framer.is_greeted());
    let (_, error) = neo_fuzz::receive(input, [input.len()]);
    assert!(!matches!(error, Some(FrameError::Version | FrameError::NotNeo)));
});
