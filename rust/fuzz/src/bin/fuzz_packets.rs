//! A packet that can be decoded is encoded to what decodes to it again, and the framer agrees.

#![no_main]

use bytes::{Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;
use neo_wire::scan::ScanError;
use neo_wire::{FrameError, HANDSHAKE, Message};

fn encode(message: &Message) -> Bytes {
    let mut out = BytesMut::new();
    message.encode(&mut out);
    out.freeze()
}

fuzz_target!(init: neo_fuzz::plant(neo_fuzz::packets), |input: &[u8]| {
    let direct = Message::decode(&Bytes::copy_from_slice(input));
    let stream = [&HANDSHAKE[..], input].concat();
    let (received, error) = neo_fuzz::receive(&stream, [stream.len()]);
    let Ok(message) = direct else {
        // The input can also be several packets, or the start of one.
        return;
    };
    match error {
        // Only the framer counts the levels of the packet itself.
        Some(error) => assert_eq!(error, FrameError::Scan(ScanError::TooDeep)),
        None => assert_eq!(received, std::slice::from_ref(&message)),
    }
    let canonical = encode(&message);
    let again = Message::decode(&canonical);
    assert_eq!(again.as_ref(), Ok(&message));
    assert_eq!(again.as_ref().map(encode), Ok(canonical));
});
