//! The edges of what is accepted (spec protocol.md 3.3, 4.3, 5) and what is shared.

#![allow(clippy::unwrap_used, clippy::panic)] // a test fails by panicking

use bytes::{Bytes, BytesMut};
use neo_wire::codec::{Codec, DecodeError, Reader, write_array_header};
use neo_wire::scan::{MAX_PACKET, ScanError};
use neo_wire::{Address, Digest, ErrorCode, FrameError, Framer, HANDSHAKE, Map, Message};
use neo_wire::{NodeId, Oid, Packet, Partition, Ptid, Text, Tid, Timestamp, Value};

fn decode<T: Codec>(bytes: &[u8]) -> Result<T, DecodeError> {
    let frame = Bytes::copy_from_slice(bytes);
    let mut reader = Reader::new(&frame);
    let value = T::decode(&mut reader)?;
    assert_eq!(reader.remaining(), 0);
    Ok(value)
}

fn encode(value: &impl Codec) -> Vec<u8> {
    let mut out = BytesMut::new();
    value.encode(&mut out);
    out.to_vec()
}

fn greeted(bytes: &[u8]) -> Framer {
    let mut framer = Framer::new();
    framer.buffer().extend_from_slice(&HANDSHAKE);
    framer.buffer().extend_from_slice(bytes);
    framer
}

fn scan(bytes: &[u8]) -> Result<Option<Message>, FrameError> {
    greeted(bytes).next()
}

#[test]
fn integers_have_one_canonical_form_at_each_limit() {
    let limits: [(u64, &[u8]); 9] = [
        (0, b"\x00"),
        (127, b"\x7f"),
        (128, b"\xcc\x80"),
        (255, b"\xcc\xff"),
        (256, b"\xcd\x01\x00"),
        (65_535, b"\xcd\xff\xff"),
        (65_536, b"\xce\x00\x01\x00\x00"),
        (0xffff_ffff, b"\xce\xff\xff\xff\xff"),
        (0x1_0000_0000, b"\xcf\x00\x00\x00\x01\x00\x00\x00\x00"),
    ];
    for (number, bytes) in limits {
        assert_eq!(encode(&number), bytes);
        assert_eq!(decode(bytes), Ok(number));
        assert_eq!(encode(&Value::Unsigned(number)), bytes);
    }
    assert_eq!(decode(&encode(&u64::MAX)), Ok(u64::MAX));
}

#[test]
fn nids_have_one_canonical_form_at_each_limit() {
    let limits: [(i32, &[u8]); 8] = [
        (-1, b"\xff"),
        (-32, b"\xe0"),
        (-33, b"\xd0\xdf"),
        (-128, b"\xd0\x80"),
        (-129, b"\xd1\xff\x7f"),
        (-32_769, b"\xd2\xff\xff\x7f\xff"),
        (-0x1000_0000 + 1, b"\xd2\xf0\x00\x00\x01"),
        (0x00ff_ffff, b"\xce\x00\xff\xff\xff"),
    ];
    for (nid, bytes) in limits {
        assert_eq!(encode(&NodeId(nid)), bytes);
        assert_eq!(decode(bytes), Ok(NodeId(nid)));
    }
    assert_eq!(encode(&Value::Negative(i64::MIN)), b"\xd3\x80\x00\x00\x00\x00\x00\x00\x00");
}

#[test]
fn numbers_that_do_not_fit_are_refused() {
    let too_large = b"\xcf\x00\x00\x00\x01\x00\x00\x00\x00";
    assert_eq!(decode::<u32>(too_large), Err(DecodeError::Range("integer")));
    assert_eq!(decode::<Partition>(too_large), Err(DecodeError::Range("integer")));
    assert_eq!(decode::<Ptid>(b"\xff"), Err(DecodeError::Range("integer")));
    assert_eq!(decode::<u64>(b"\xd0\xff"), Err(DecodeError::Range("integer")));
    assert_eq!(decode::<NodeId>(b"\xce\x80\x00\x00\x00"), Err(DecodeError::Range("nid")));
    assert_eq!(
        decode::<NodeId>(b"\xd3\xff\xff\xff\xff\x7f\xff\xff\xff"),
        Err(DecodeError::Range("nid"))
    );
    let port = b"\x92\xc4\x00\xce\x00\x01\x00\x00";
    assert_eq!(decode::<Address>(port), Err(DecodeError::Range("port")));
    assert_eq!(decode::<ErrorCode>(&[14]), Err(DecodeError::Enum("ErrorCodes", 14)));
    assert_eq!(decode::<ErrorCode>(&[13]), Ok(ErrorCode::UndoPackError));
    assert!(decode::<u64>(&encode(&Timestamp(1.0))).is_err());
}

#[test]
fn a_msg_id_is_32_bits_and_nil_in_an_error_only() {
    let ping = |msg_id: &[u8]| scan(&[b"\x93", msg_id, b"\x02\x90"].concat());
    let out_of_range = Err(FrameError::Decode(DecodeError::Range("integer")));
    let nil = Err(FrameError::Decode(DecodeError::Range("msg_id")));
    assert_eq!(ping(b"\xce\xff\xff\xff\xff").unwrap().unwrap().msg_id, Some(u32::MAX));
    assert_eq!(ping(b"\xcf\x00\x00\x00\x01\x00\x00\x00\x00"), out_of_range);
    assert_eq!(ping(b"\xff"), out_of_range);
    assert_eq!(ping(b"\xc0"), nil);
    let error = scan(b"\x93\xc0\xcd\x80\x00\x92\x06\xc4\x00").unwrap().unwrap();
    let packet = Packet::error(ErrorCode::ProtocolError, "");
    assert_eq!(error, Message { msg_id: None, packet });
}

#[test]
fn timestamps_keep_their_64_bits() {
    let quiet_nan = b"\xcb\x7f\xf8\x00\x00\x00\x00\x00\x01";
    let signalling_nan = b"\xcb\x7f\xf0\x00\x00\x00\x00\x00\x01";
    let negative_zero = b"\xcb\x80\x00\x00\x00\x00\x00\x00\x00";
    for bytes in [quiet_nan, signalling_nan, negative_zero] {
        let time: Timestamp = decode(bytes).unwrap();
        assert_eq!(encode(&time), bytes);
        assert_eq!(time, time);
        assert_eq!(decode::<Value>(bytes), Ok(Value::Float(time)));
    }
    assert_ne!(decode::<Timestamp>(negative_zero), decode::<Timestamp>(&encode(&Timestamp(0.0))));
    // Forms that only the Python NEO accepts, and we as well.
    assert_eq!(decode(b"\xca\x3f\x80\x00\x00"), Ok(Timestamp(1.0)));
    assert_eq!(decode(b"\xd0\xff"), Ok(Timestamp(-1.0)));
    assert_eq!(decode(b"\xcd\x01\x00"), Ok(Timestamp(256.0)));
}

#[test]
fn identifiers_and_digests_have_their_exact_length() {
    for length in [0, 7, 9] {
        let bytes = [&[0xc4, length], &vec![0; length.into()][..]].concat();
        assert_eq!(decode::<Tid>(&bytes), Err(DecodeError::Length("tid")));
        assert_eq!(decode::<Oid>(&bytes), Err(DecodeError::Length("oid")));
        assert_eq!(decode::<Digest>(&bytes), Err(DecodeError::Length("digest")));
    }
}

#[test]
fn a_text_is_any_bytes_but_not_a_str() {
    let text: Text = decode(b"\xc4\x03a\xff\x00").unwrap();
    assert_eq!(text.as_bytes(), b"a\xff\x00");
    assert_eq!(encode(&text), b"\xc4\x03a\xff\x00");
    assert_eq!(decode::<Text>(b"\xa1a"), Err(DecodeError::Type("a bin", 0xa1)));
    assert_eq!(decode::<Value>(b"\xa1\xff"), Err(DecodeError::Utf8));
}

#[test]
fn an_entry_that_is_repeated_counts_once_and_travels_twice() {
    let bytes = b"\x82\xc4\x01a\x01\xc4\x01a\x02";
    let map: Map<Text, u32> = decode(bytes).unwrap();
    assert_eq!(map.get(&Text::from("a")), Some(&2));
    assert_eq!(map.get("a"), Some(&2));
    assert_eq!(map.get("b"), None);
    assert_eq!(encode(&map), bytes);
}

#[test]
fn an_ext_holds_one_number_of_the_right_enumeration() {
    use neo_wire::NodeType;
    assert_eq!(decode(b"\xd4\x04\x03"), Ok(NodeType::Admin));
    assert_eq!(decode(b"\xc7\x09\x04\xcf\0\0\0\0\0\0\0\x01"), Ok(NodeType::Storage));
    assert_eq!(decode::<NodeType>(b"\xd4\x03\x01"), Err(DecodeError::Range("ext type")));
    assert_eq!(decode::<NodeType>(b"\xd4\x04\x04"), Err(DecodeError::Enum("NodeTypes", 4)));
    assert_eq!(decode::<NodeType>(b"\xd5\x04\x01\x01"), Err(DecodeError::Trailing));
    assert_eq!(decode::<NodeType>(b"\xc7\x00\x04"), Err(DecodeError::Truncated));
    assert_eq!(decode::<NodeType>(b"\xd4\x04\xff"), Err(DecodeError::Range("integer")));
    assert_eq!(decode::<Value>(b"\xd4\x02\x0e"), Err(DecodeError::Enum("ext", 14)));
    assert_eq!(decode::<Value>(b"\xd4\x05\x00"), Err(DecodeError::Enum("ext", 0)));
}

/// The framer waits for what is within the limits and refuses one more, on the header alone.
#[test]
fn lengths_are_limited_as_those_of_the_python_neo() {
    let lengths: [(&[u8], u32); 5] = [
        (b"\xc6", 0x400_0000),
        (b"\xdb", 0x400_0000),
        (b"\xc9", 0x400_0000),
        (b"\xdd", 0x400_0000),
        (b"\xdf", 0x200_0000),
    ];
    for (marker, limit) in lengths {
        let packet = |length: u32| [b"\x93\x00\x01\x91", marker, &length.to_be_bytes()].concat();
        assert_eq!(scan(&packet(limit)), Ok(None));
        let error = ScanError::TooLong((limit + 1).into());
        assert_eq!(scan(&packet(limit + 1)), Err(error.into()));
    }
}

#[test]
fn a_packet_is_limited_whatever_it_is_made_of() {
    let mut bytes = BytesMut::new();
    write_array_header(&mut bytes, 3);
    bytes.extend_from_slice(b"\x00\x01\x92\xc6\x04\x00\x00\x00");
    bytes.resize(bytes.len() + 0x400_0000, 0);
    bytes.extend_from_slice(b"\xc6\x03\xff\xff\x00");
    assert_eq!(scan(&bytes), Ok(None));
    let length = bytes.len();
    bytes.truncate(length - 5);
    bytes.extend_from_slice(b"\xc6\x04\x00\x00\x00");
    let error = ScanError::TooLong((length + 0x400_0000) as u64);
    assert!(length + 0x400_0000 > MAX_PACKET);
    assert_eq!(scan(&bytes), Err(error.into()));
}

#[test]
fn after_an_error_nothing_is_read_any_more() {
    let good = b"\x93\x00\x02\x90";
    for bad in [&b"\xc1"[..], b"\x93\x00\x02\xc1", b"\x93\x00\x7f\x90", b"\x92\x00\x02"] {
        let mut framer = greeted(&[good, bad, good].concat());
        assert!(matches!(framer.next(), Ok(Some(_))));
        let error = framer.next().unwrap_err();
        framer.buffer().extend_from_slice(good);
        for _ in 0..5 {
            assert_eq!(framer.next(), Err(error.clone()));
        }
    }
}

/// From the receive buffer to the consumer, `data` stays where it is.
#[test]
fn data_of_objects_is_a_slice_of_the_receive_buffer() {
    let data: Bytes = (0..100_000).map(|i| i as u8).collect();
    let (oid, serial, checksum) = (Oid(1), Tid(2), Digest::of(&data));
    let answer = Packet::AnswerObject {
        oid,
        serial,
        next_serial: None,
        compression: Some(0),
        checksum,
        data: data.clone(),
        data_serial: None,
    };
    let store = Packet::AskStoreObject {
        oid,
        serial,
        compression: 0,
        checksum,
        data: data.clone(),
        data_serial: None,
        ttid: Tid(3).as_ttid(),
    };
    let add = Packet::AddObject {
        oid,
        serial,
        compression: 0,
        checksum,
        data: data.clone(),
        data_serial: None,
    };
    let mut stream = BytesMut::from(&HANDSHAKE[..]);
    for (msg_id, packet) in (0..).zip([answer, store, add]) {
        neo_wire::encode_message(msg_id, &packet, &mut stream);
    }
    let mut framer = Framer::new();
    framer.buffer().extend_from_slice(&stream);
    let buffer = framer.buffer().as_ptr_range();
    for _ in 0..3 {
        let (Packet::AnswerObject { data: received, .. }
        | Packet::AskStoreObject { data: received, .. }
        | Packet::AddObject { data: received, .. }) = framer.next().unwrap().unwrap().packet
        else {
            panic!("another packet");
        };
        assert_eq!(received, data);
        let slice = received.as_ptr_range();
        assert!(buffer.start <= slice.start && slice.end <= buffer.end);
    }
}
