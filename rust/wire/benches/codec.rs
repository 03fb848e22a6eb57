//! Cost of the codec for the two packets that carry most bytes: a store of 1 kB and an answer of
//! 64 kB. `cargo bench -p neo-wire --bench codec`.

#![allow(clippy::unwrap_used)] // a benchmark stops on a bug

use bytes::{Bytes, BytesMut};
use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use neo_wire::{Digest, Framer, HANDSHAKE, Message, Oid, Packet, Tid, Ttid};

/// The counter shows GB/s of whole packets, 1 GB being 10^9 bytes. What is decoded is not copied,
/// so that the size of the data makes no difference there.
fn main() {
    divan::main();
}

fn data(length: usize) -> Bytes {
    (0..length).map(|i| (i * 31) as u8).collect()
}

fn store_1kb() -> Message {
    let packet = Packet::AskStoreObject {
        oid: Oid(0x1234),
        serial: Tid(0x040d_30ad_4249_4388),
        compression: 0,
        checksum: Digest([7; 20]),
        data: data(1000),
        data_serial: None,
        ttid: Ttid(0x040d_30ad_4249_4399),
    };
    Message { msg_id: Some(1000), packet }
}

fn answer_64kb() -> Message {
    let packet = Packet::AnswerObject {
        oid: Oid(0x1234),
        serial: Tid(0x040d_30ad_4249_4388),
        next_serial: None,
        compression: Some(0),
        checksum: Digest([7; 20]),
        data: data(64_000),
        data_serial: None,
    };
    Message { msg_id: Some(1000), packet }
}

/// A line of the report.
#[derive(Clone, Copy)]
struct Case(&'static str, fn() -> Message);

impl std::fmt::Display for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}

const CASES: [Case; 2] =
    [Case("AskStoreObject 1 kB", store_1kb), Case("AnswerObject 64 kB", answer_64kb)];

fn encoded(message: &Message) -> Bytes {
    let mut out = BytesMut::new();
    message.encode(&mut out);
    out.freeze()
}

/// Into a buffer that has room, as that of a busy connection.
#[divan::bench(args = CASES)]
fn encode(bencher: Bencher<'_, '_>, case: Case) {
    let message = (case.1)();
    let size = encoded(&message).len();
    let mut out = BytesMut::with_capacity(2 * size);
    bencher.counter(BytesCount::new(size)).bench_local(|| {
        out.clear();
        black_box(&message).encode(&mut out);
        black_box(&out);
    });
}

/// One packet whose bytes are known to be complete.
#[divan::bench(args = CASES)]
fn decode(bencher: Bencher<'_, '_>, case: Case) {
    let frame = encoded(&(case.1)());
    bencher
        .counter(BytesCount::new(frame.len()))
        .bench_local(|| Message::decode(black_box(&frame)).unwrap());
}

/// All that happens between the socket and the consumer once the bytes are in the buffer: where
/// does the packet end, cut it, decode it. The buffer is filled outside of the measure.
#[divan::bench(args = CASES)]
fn receive(bencher: Bencher<'_, '_>, case: Case) {
    let frame = encoded(&(case.1)());
    bencher
        .counter(BytesCount::new(frame.len()))
        .with_inputs(|| {
            let mut framer = Framer::new();
            framer.buffer().extend_from_slice(&HANDSHAKE);
            assert_eq!(framer.next(), Ok(None));
            framer.buffer().extend_from_slice(&frame);
            framer
        })
        .bench_local_values(|mut framer| {
            let message = framer.next().unwrap();
            (message, framer)
        });
}
