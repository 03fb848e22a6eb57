//! The nodes that a node knows: one directory for every role (spec master.md 3, protocol.md 7.9).

use std::collections::BTreeMap;
use std::fmt;

use neo_wire::{Address, Map, NodeId, NodeInfo, NodeState, NodeType, Text, Timestamp, Value};

use crate::io::ConnectionId;

mod allocation;
mod clock;
mod notification;
mod visibility;

pub use clock::MonotonicClock;
pub use notification::{NodeChange, StaleNotification};
pub use visibility::is_visible;

/// A record of one [`NodeDirectory`]. It stays the same when the NID, the address or the
/// connection of the node changes, and is never used again after the record was removed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct NodeKey(u64);

/// What is known about a node (spec master.md 3.1).
///
/// What the directory indexes only changes by its setters.
#[derive(Clone, PartialEq, Debug)]
pub struct NodeRecord {
    node_type: NodeType,
    address: Option<Address>,
    nid: Option<NodeId>,
    connection: Option<ConnectionId>,
    /// Its state.
    pub state: NodeState,
    /// When the primary accepted its current identification.
    pub id_timestamp: Option<Timestamp>,
    /// What it gave at identification, without the keys that were consumed then.
    pub extra: Map<Text, Value>,
    /// RequestIdentification and AcceptIdentification were exchanged on the current connection.
    pub identified: bool,
}

impl NodeRecord {
    /// Its kind, for ever.
    #[must_use]
    pub const fn node_type(&self) -> NodeType {
        self.node_type
    }

    /// Where it listens, if it does.
    #[must_use]
    pub const fn address(&self) -> Option<&Address> {
        self.address.as_ref()
    }

    /// Its identifier.
    #[must_use]
    pub const fn nid(&self) -> Option<NodeId> {
        self.nid
    }

    /// The connection with it, established or being so.
    #[must_use]
    pub const fn connection(&self) -> Option<ConnectionId> {
        self.connection
    }

    /// The connection with it, if it is identified there.
    #[must_use]
    pub const fn identified_connection(&self) -> Option<ConnectionId> {
        if self.identified { self.connection } else { None }
    }

    /// Whether it is RUNNING.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.state == NodeState::Running
    }

    /// What is told about it.
    #[must_use]
    pub fn info(&self) -> NodeInfo {
        NodeInfo {
            node_type: self.node_type,
            address: self.address.clone(),
            nid: self.nid,
            state: self.state,
            id_timestamp: self.id_timestamp,
        }
    }
}

/// For logs: `S1 (127.0.0.1:2051, RUNNING)`.
impl fmt::Display for NodeRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.nid {
            Some(nid) => write!(f, "{nid} (")?,
            None => write!(f, "{} (", self.node_type)?,
        }
        if let Some(address) = &self.address {
            write!(f, "{address}, ")?;
        }
        write!(f, "{})", self.state)
    }
}

/// Every known node; a NID, an address or a connection belongs to one record at most.
#[derive(Clone, Debug, Default)]
pub struct NodeDirectory {
    records: BTreeMap<NodeKey, NodeRecord>,
    by_nid: BTreeMap<NodeId, NodeKey>,
    by_address: BTreeMap<Address, NodeKey>,
    by_connection: BTreeMap<ConnectionId, NodeKey>,
    next_key: u64,
    last_notification: Option<Timestamp>,
}

impl NodeDirectory {
    /// A record of this type, DOWN, with neither NID nor address nor connection.
    pub fn create(&mut self, node_type: NodeType) -> NodeKey {
        let key = NodeKey(self.next_key);
        self.next_key += 1;
        let record = NodeRecord {
            node_type,
            address: None,
            nid: None,
            connection: None,
            state: NodeState::Down,
            id_timestamp: None,
            extra: Map::default(),
            identified: false,
        };
        self.records.insert(key, record);
        key
    }

    /// The master at this address; a record is made if there is none. A record of another type
    /// loses the address.
    pub fn master_at(&mut self, address: &Address) -> NodeKey {
        if let Some((key, record)) = self.find_address(address)
            && record.node_type == NodeType::Master
        {
            return key;
        }
        let key = self.create(NodeType::Master);
        self.set_address(key, Some(address.clone()));
        key
    }

    /// The storage with this NID; a record is made, DOWN and without address, if there is none:
    /// so are the storages that only a partition table mentions. A record of another type loses
    /// the NID.
    pub fn storage_with(&mut self, nid: NodeId) -> NodeKey {
        if let Some((key, record)) = self.find_nid(nid)
            && record.node_type == NodeType::Storage
        {
            return key;
        }
        let key = self.create(NodeType::Storage);
        self.set_nid(key, Some(nid));
        key
    }

    /// The record; none if it was removed.
    #[must_use]
    pub fn get(&self, key: NodeKey) -> Option<&NodeRecord> {
        self.records.get(&key)
    }

    /// The record, to change what is not indexed; none if it was removed.
    pub fn get_mut(&mut self, key: NodeKey) -> Option<&mut NodeRecord> {
        self.records.get_mut(&key)
    }

    /// What is told about a node; none if it was removed.
    #[must_use]
    pub fn info(&self, key: NodeKey) -> Option<NodeInfo> {
        self.get(key).map(NodeRecord::info)
    }

    /// The node with this NID.
    #[must_use]
    pub fn by_nid(&self, nid: NodeId) -> Option<NodeKey> {
        self.by_nid.get(&nid).copied()
    }

    /// The node at this address.
    #[must_use]
    pub fn by_address(&self, address: &Address) -> Option<NodeKey> {
        self.by_address.get(address).copied()
    }

    /// The node at the other end of this connection.
    #[must_use]
    pub fn by_connection(&self, connection: ConnectionId) -> Option<NodeKey> {
        self.by_connection.get(&connection).copied()
    }

    fn found(&self, key: NodeKey) -> Option<(NodeKey, &NodeRecord)> {
        self.get(key).map(|record| (key, record))
    }

    /// The node with this NID and its record.
    #[must_use]
    pub fn find_nid(&self, nid: NodeId) -> Option<(NodeKey, &NodeRecord)> {
        self.by_nid(nid).and_then(|key| self.found(key))
    }

    /// The node at this address and its record.
    #[must_use]
    pub fn find_address(&self, address: &Address) -> Option<(NodeKey, &NodeRecord)> {
        self.by_address(address).and_then(|key| self.found(key))
    }

    /// The node at the other end of this connection and its record.
    #[must_use]
    pub fn find_connection(&self, connection: ConnectionId) -> Option<(NodeKey, &NodeRecord)> {
        self.by_connection(connection).and_then(|key| self.found(key))
    }

    /// Whether the node with this NID is known and RUNNING.
    #[must_use]
    pub fn is_running(&self, nid: NodeId) -> bool {
        self.find_nid(nid).is_some_and(|(_, record)| record.is_running())
    }

    /// Gives a node a NID, or none. Returns the node that had it before, which has none now.
    pub fn set_nid(&mut self, key: NodeKey, nid: Option<NodeId>) -> Option<NodeKey> {
        let record = self.records.get_mut(&key)?;
        let previous = std::mem::replace(&mut record.nid, nid);
        let holder = reindex(&mut self.by_nid, key, previous, nid)?;
        self.records.get_mut(&holder)?.nid = None;
        Some(holder)
    }

    /// Gives a node an address, or none. Returns the node that had it before, which has none now.
    pub fn set_address(&mut self, key: NodeKey, address: Option<Address>) -> Option<NodeKey> {
        let record = self.records.get_mut(&key)?;
        let previous = std::mem::replace(&mut record.address, address.clone());
        let holder = reindex(&mut self.by_address, key, previous, address)?;
        self.records.get_mut(&holder)?.address = None;
        Some(holder)
    }

    /// Binds a connection to a node, or none; a new one is not identified. Returns the node that
    /// had it before, which has none now.
    pub fn set_connection(
        &mut self,
        key: NodeKey,
        connection: Option<ConnectionId>,
    ) -> Option<NodeKey> {
        let record = self.records.get_mut(&key)?;
        let previous = std::mem::replace(&mut record.connection, connection);
        record.identified &= previous == connection && connection.is_some();
        let holder = reindex(&mut self.by_connection, key, previous, connection)?;
        let record = self.records.get_mut(&holder)?;
        (record.connection, record.identified) = (None, false);
        Some(holder)
    }

    /// Forgets a connection. Returns the node that had it, which stays as it is otherwise.
    pub fn disconnect(&mut self, connection: ConnectionId) -> Option<NodeKey> {
        let key = self.by_connection(connection)?;
        self.set_connection(key, None);
        Some(key)
    }

    /// Removes a record, and returns it as it was.
    pub fn remove(&mut self, key: NodeKey) -> Option<NodeRecord> {
        let record = self.records.remove(&key)?;
        if let Some(nid) = record.nid {
            self.by_nid.remove(&nid);
        }
        if let Some(address) = &record.address {
            self.by_address.remove(address);
        }
        if let Some(connection) = record.connection {
            self.by_connection.remove(&connection);
        }
        Some(record)
    }

    /// Every node by increasing NID, then those without NID by address, then the others.
    pub fn iter(&self) -> impl Iterator<Item = (NodeKey, &NodeRecord)> {
        let without_nid = self.by_address.values();
        let others = self.records.iter().filter_map(|(key, record)| {
            (record.nid.is_none() && record.address.is_none()).then_some((*key, record))
        });
        self.by_nid
            .values()
            .filter_map(|key| self.found(*key))
            .chain(
                without_nid
                    .filter_map(|key| self.found(*key))
                    .filter(|(_, record)| record.nid.is_none()),
            )
            .chain(others)
    }

    /// The nodes of a type, in the order of [`NodeDirectory::iter`].
    pub fn of_type(&self, node_type: NodeType) -> impl Iterator<Item = (NodeKey, &NodeRecord)> {
        self.iter().filter(move |(_, record)| record.node_type == node_type)
    }

    /// The identified nodes, in the order of [`NodeDirectory::iter`], with their connections.
    pub fn identified(&self) -> impl Iterator<Item = (NodeKey, &NodeRecord, ConnectionId)> {
        self.iter().filter_map(|(key, record)| {
            let connection = record.identified_connection()?;
            Some((key, record, connection))
        })
    }

    /// How many nodes are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether no node is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }
}

/// Moves `key` in an index; returns another key that was at the new place.
fn reindex<I: Ord>(
    index: &mut BTreeMap<I, NodeKey>,
    key: NodeKey,
    previous: Option<I>,
    new: Option<I>,
) -> Option<NodeKey> {
    if let Some(previous) = previous {
        index.remove(&previous);
    }
    index.insert(new?, key).filter(|holder| *holder != key)
}

#[cfg(test)]
mod tests;
