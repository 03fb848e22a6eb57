//! Identifiers and times that our core chooses differ from the recorded ones: they are translated
//! both ways, by type, as they are met.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use neo_wire::codec::{Codec, Reader};
use neo_wire::{Message, Packet, Tid, Value};

/// A packet as its array of arguments.
fn arguments(packet: &Packet) -> Vec<Value> {
    let mut bytes = BytesMut::new();
    Message { msg_id: Some(0), packet: packet.clone() }.encode(&mut bytes);
    let bytes = bytes.freeze();
    let Value::Array(items) = Value::decode(&mut Reader::new(&bytes)).unwrap() else {
        panic!("{packet:?}");
    };
    let Some(Value::Array(arguments)) = items.into_iter().nth(2) else { panic!("{packet:?}") };
    arguments
}

fn packet(code: u16, arguments: Vec<Value>) -> Packet {
    let message = [Value::Unsigned(0), Value::Unsigned(code.into()), Value::Array(arguments)];
    let mut bytes = BytesMut::new();
    Value::Array(message.to_vec()).encode(&mut bytes);
    Message::decode(&Bytes::from(bytes)).unwrap().packet
}

/// The notation of each argument (spec protocol.md 5.1).
fn notations(code: u16) -> Vec<String> {
    let schema = Packet::schemas().into_iter().find(|schema| schema.code == code).unwrap();
    schema.arguments.into_iter().map(|argument| argument.notation).collect()
}

/// Cuts `a, {b: c}, d` at the commas that are in no bracket.
fn split(list: &str) -> Vec<&str> {
    let (mut depth, mut start, mut items) = (0, 0, Vec::new());
    for (index, c) in list.char_indices() {
        match c {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth -= 1,
            ',' | ':' if depth == 0 => {
                items.push(list[start..index].trim());
                start = index + 1;
            }
            _ => {}
        }
    }
    items.push(list[start..].trim());
    items
}

/// Structures that have a name in the notation.
fn expand(notation: &str) -> &str {
    match notation {
        "node" => "(NodeTypes, ?addr, ?nid, NodeStates, ?f64)",
        "cell" => "(nid, CellStates)",
        "addr" => "(bin, uint)",
        notation => notation,
    }
}

/// Calls `leaf` with the notation of each scalar of a value and its place.
fn walk(notation: &str, value: &mut Value, leaf: &mut impl FnMut(&str, &mut Value)) {
    let notation = expand(notation.trim_start_matches('?'));
    let inner = notation.get(1..notation.len() - 1).unwrap_or_default();
    match (notation.as_bytes().first(), value) {
        (Some(b'['), Value::Array(items)) => {
            items.iter_mut().for_each(|item| walk(inner, item, leaf));
        }
        (Some(b'('), Value::Array(items)) => {
            for (notation, item) in split(inner).into_iter().zip(items) {
                walk(notation, item, leaf);
            }
        }
        (Some(b'{'), Value::Map(entries)) => {
            let [key, value] = split(inner)[..] else { panic!("{notation}") };
            for entry in entries {
                walk(key, &mut entry.0, leaf);
                walk(value, &mut entry.1, leaf);
            }
        }
        (_, value) => leaf(notation, value),
    }
}

fn encoded(value: &Value) -> Vec<u8> {
    let mut bytes = BytesMut::new();
    value.encode(&mut bytes);
    bytes.to_vec()
}

/// What our core calls what was recorded.
#[derive(Debug, Default)]
pub struct Mapping {
    /// Types, in the notation of the protocol, of the values that our core may choose.
    chosen: Vec<&'static str>,
    /// By type: the recorded value, ours.
    ours: BTreeMap<(String, Vec<u8>), Value>,
    recorded: BTreeMap<(String, Vec<u8>), Value>,
}

impl Mapping {
    /// For a node that chooses values of these types; of any other type they must be equal.
    pub fn new(chosen: &[&'static str]) -> Self {
        Self { chosen: chosen.to_vec(), ..Self::default() }
    }

    fn translated(&self, packet_code: u16, mut arguments: Vec<Value>) -> Vec<Value> {
        for (notation, value) in notations(packet_code).iter().zip(&mut arguments) {
            walk(notation, value, &mut |notation, value| {
                if let Some(ours) = self.ours.get(&(notation.to_owned(), encoded(value))) {
                    *value = ours.clone();
                }
            });
        }
        arguments
    }

    /// What a recorded packet would be on our side.
    pub fn to_ours(&self, recorded: &Packet) -> Packet {
        let code = recorded.code();
        packet(code, self.translated(code, arguments(recorded)))
    }

    /// Compares a packet of ours with a recorded one; learns what our core chose.
    pub fn matches(&mut self, recorded: &Packet, ours: &Packet) -> bool {
        if recorded.code() != ours.code() {
            return false;
        }
        let code = recorded.code();
        let (mut left, mut right) = (Vec::new(), Vec::new());
        for (packet, leaves) in [(recorded, &mut left), (ours, &mut right)] {
            let mut arguments = arguments(packet);
            sort_nodes(packet, &mut arguments);
            for (notation, value) in notations(code).iter().zip(&mut arguments) {
                let mut shape = value.clone();
                walk(notation, value, &mut |notation, value| {
                    leaves.push((notation.to_owned(), value.clone()));
                });
                walk(notation, &mut shape, &mut |_, value| *value = Value::Nil);
                leaves.push((String::new(), shape));
            }
        }
        left.len() == right.len()
            && left.into_iter().zip(right).all(|(recorded, ours)| self.same(recorded, ours))
    }

    fn same(&mut self, (notation, recorded): (String, Value), (_, ours): (String, Value)) -> bool {
        let key = (notation.clone(), encoded(&recorded));
        let back = (notation.clone(), encoded(&ours));
        match (self.ours.get(&key), self.recorded.get(&back)) {
            (Some(known), _) => *known == ours,
            (None, Some(_)) => false,
            (None, None) => {
                let fixed = is_constant(&recorded) || is_constant(&ours);
                if fixed || !self.chosen.contains(&notation.as_str()) {
                    return recorded == ours;
                }
                self.ours.insert(key, ours.clone());
                self.recorded.insert(back, recorded);
                true
            }
        }
    }
}

/// What no node chooses: nil, and the first and last identifiers (spec protocol.md 5.4).
fn is_constant(value: &Value) -> bool {
    match value {
        Value::Nil => true,
        Value::Bin(bytes) => {
            let constants = [Tid::ZERO, Tid::MAX, Tid::INVALID];
            constants.iter().any(|tid| bytes.as_bytes() == tid.to_bytes())
        }
        _ => false,
    }
}

/// The order of nodes in a list has no meaning.
fn sort_nodes(packet: &Packet, arguments: &mut [Value]) {
    if let Packet::AnswerNodeList { .. } | Packet::NotifyNodeInformation { .. } = packet
        && let Some(Value::Array(nodes)) = arguments.last_mut()
    {
        nodes.sort_by_key(encoded);
    }
}

#[test]
fn what_a_node_chose_is_translated_ever_after() {
    use neo_wire::Ttid;
    let begin = |ttid| Packet::AnswerBeginTransaction { ttid: Ttid(ttid) };
    let mut mapping = Mapping::new(&["ttid"]);
    assert!(mapping.matches(&begin(5), &begin(105)));
    assert!(mapping.matches(&begin(5), &begin(105)));
    assert!(!mapping.matches(&begin(5), &begin(106)), "it was 105");
    assert!(!mapping.matches(&begin(6), &begin(105)), "this is 5");
    assert!(mapping.matches(&begin(6), &begin(106)));
    assert!(!mapping.matches(&begin(0), &begin(107)), "nobody chooses it");
    let abort = |ttid| Packet::AbortTransaction { ttid: Ttid(ttid), nids: Vec::new() };
    assert_eq!(mapping.to_ours(&abort(6)), abort(106));
    assert_eq!(mapping.to_ours(&abort(7)), abort(7));
}

#[test]
fn what_a_node_does_not_choose_must_be_equal() {
    use neo_wire::{NodeId, NodeState};
    let packet = |nid, state| Packet::SetNodeState { nid: NodeId(nid), state };
    let mut mapping = Mapping::new(&["tid"]);
    assert!(mapping.matches(&packet(1, NodeState::Down), &packet(1, NodeState::Down)));
    assert!(!mapping.matches(&packet(1, NodeState::Down), &packet(2, NodeState::Down)));
    assert!(!mapping.matches(&packet(1, NodeState::Down), &packet(1, NodeState::Running)));
    assert!(!mapping.matches(&packet(1, NodeState::Down), &Packet::Ping {}));
    let list =
        |nids: &[i32]| Packet::AddPendingNodes { nids: nids.iter().copied().map(NodeId).collect() };
    assert!(!mapping.matches(&list(&[1]), &list(&[1, 2])));
}
