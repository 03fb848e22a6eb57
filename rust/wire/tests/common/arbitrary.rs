//! Arbitrary packets, made from the table of packets: any valid arguments, as values.

use neo_wire::packet::PacketSchema;
use neo_wire::{CellState, ClusterState, NodeState, NodeType, Packet, Text, Timestamp, Value};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

/// The values of one packet: msg_id, code, arguments.
pub fn packet() -> impl Strategy<Value = Value> {
    select(Packet::schemas()).prop_flat_map(|schema| {
        let arguments: Vec<_> = schema
            .arguments
            .iter()
            .map(|argument| strategy(&schema, argument.name, &argument.notation))
            .collect();
        let msg_id = if schema.name == "Error" {
            prop_oneof![Just(Value::Nil), integer(u32::MAX.into())].boxed()
        } else {
            integer(u32::MAX.into())
        };
        (msg_id, arguments).prop_map(move |(msg_id, arguments)| {
            let code = Value::Unsigned(schema.code.into());
            Value::Array(vec![msg_id, code, Value::Array(arguments)])
        })
    })
}

fn strategy(schema: &PacketSchema, name: &str, notation: &str) -> BoxedStrategy<Value> {
    match (schema.name, name) {
        ("Error", "code") => integer(13),
        // Its oids may be one bin.
        ("AnswerPackOrders", _) => parsed(&notation.replace("?[oid]", "?oids")),
        ("AddTransaction", "pack") => parsed(&notation.replace("?[oid]", "?oids")),
        _ => parsed(notation),
    }
}

/// Integers of every size up to a limit.
fn integer(limit: u64) -> BoxedStrategy<Value> {
    (any::<u64>(), 0..64_u32)
        .prop_map(move |(number, shift)| Value::Unsigned((number >> shift) % (limit + 1)))
        .boxed()
}

fn bytes(length: impl Into<proptest::collection::SizeRange>) -> BoxedStrategy<Value> {
    vec(any::<u8>(), length).prop_map(|bytes| Value::Bin(Text(bytes.into()))).boxed()
}

fn nid() -> BoxedStrategy<Value> {
    (any::<i32>(), 0..32_u32)
        .prop_map(|(nid, shift)| match u64::try_from(nid >> shift) {
            Ok(nid) => Value::Unsigned(nid),
            Err(_) => Value::Negative((nid >> shift).into()),
        })
        .boxed()
}

fn float() -> BoxedStrategy<Value> {
    any::<u64>().prop_map(|bits| Value::Float(Timestamp(f64::from_bits(bits)))).boxed()
}

/// Values of any type, nested.
pub fn anything() -> BoxedStrategy<Value> {
    let negative = (1..=i64::MAX, 0..63_u32).prop_map(|(n, shift)| Value::Negative(!(n >> shift)));
    let leaf = prop_oneof![
        Just(Value::Nil),
        any::<bool>().prop_map(Value::Bool),
        integer(u64::MAX - 1),
        negative,
        float(),
        bytes(0..300),
        ".{0,40}".prop_map(Value::Str),
        select(CellState::ALL).prop_map(Value::CellState),
        select(ClusterState::ALL).prop_map(Value::ClusterState),
        select(NodeState::ALL).prop_map(Value::NodeState),
        select(NodeType::ALL).prop_map(Value::NodeType),
        (0..14_u8).prop_map(Value::ErrorCode),
    ];
    leaf.prop_recursive(5, 60, 20, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..20).prop_map(Value::Array),
            vec((inner.clone(), inner), 0..20).prop_map(Value::Map),
        ]
    })
    .boxed()
}

/// Values of a type in the notation of the specification.
fn parsed(notation: &str) -> BoxedStrategy<Value> {
    if let Some(inner) = notation.strip_prefix('?') {
        return prop_oneof![1 => Just(Value::Nil), 3 => parsed(inner)].boxed();
    }
    let inner = || &notation[1..notation.len() - 1];
    match notation.as_bytes()[0] {
        b'[' => {
            let lengths = prop_oneof![30 => 0..20_usize, 1 => 200..300_usize];
            let item = parsed(inner());
            return lengths
                .prop_flat_map(move |length| vec(item.clone(), length))
                .prop_map(Value::Array)
                .boxed();
        }
        b'(' => {
            let items: Vec<_> = split(inner(), ',').into_iter().map(parsed).collect();
            return items.prop_map(Value::Array).boxed();
        }
        b'{' => {
            let pair = split(inner(), ':');
            let entry = (parsed(pair[0]), parsed(pair[1]));
            return vec(entry, 0..20).prop_map(Value::Map).boxed();
        }
        _ => {}
    }
    match notation {
        "oid" | "tid" | "ttid" => bytes(8),
        "digest" => bytes(20),
        "bin" => prop_oneof![30 => bytes(0..300), 1 => bytes(65_000..66_000)].boxed(),
        "bool" => any::<bool>().prop_map(Value::Bool).boxed(),
        "uint" => integer(u32::MAX.into()),
        "nid" => nid(),
        "f64" => float(),
        "any" => anything(),
        "oids" => {
            prop_oneof![parsed("[oid]"), (0..20_usize).prop_flat_map(|count| bytes(8 * count)),]
                .boxed()
        }
        "addr" => (bytes(0..20), integer(65_535))
            .prop_map(|(host, port)| Value::Array(vec![host, port]))
            .boxed(),
        "node" => parsed("(NodeTypes, ?addr, ?nid, NodeStates, ?f64)"),
        "cell" => parsed("(nid, CellStates)"),
        "CellStates" => select(CellState::ALL).prop_map(Value::CellState).boxed(),
        "ClusterStates" => select(ClusterState::ALL).prop_map(Value::ClusterState).boxed(),
        "NodeStates" => select(NodeState::ALL).prop_map(Value::NodeState).boxed(),
        "NodeTypes" => select(NodeType::ALL).prop_map(Value::NodeType).boxed(),
        _ => panic!("unknown type {notation:?}"),
    }
}

/// Cuts at a separator that is not inside brackets.
fn split(notation: &str, separator: char) -> Vec<&str> {
    let mut depth = 0;
    notation
        .split(|c| {
            depth += i32::from("([{".contains(c)) - i32::from(")]}".contains(c));
            depth == 0 && c == separator
        })
        .map(str::trim)
        .collect()
}
