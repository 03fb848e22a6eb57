//! What a node does with NotifyNodeInformation (spec protocol.md 7.9).

use std::collections::BTreeSet;

use neo_wire::{NodeInfo, NodeState, NodeType, Timestamp};

use super::{NodeDirectory, NodeKey, NodeRecord};
use crate::io::ConnectionId;

/// The primary master broke a rule: times of NotifyNodeInformation strictly increase on a
/// connection (spec protocol.md 7.9).
#[derive(Clone, Copy, PartialEq, Debug, thiserror::Error)]
#[error("node information of {received:?} does not come after that of {last:?}")]
pub struct StaleNotification {
    /// The time received.
    pub received: Timestamp,
    /// The last time received before.
    pub last: Option<Timestamp>,
}

/// What a notification changed about one node.
#[derive(Clone, PartialEq, Debug)]
pub struct NodeChange {
    /// The record; none if it is removed.
    pub key: Option<NodeKey>,
    /// The node as it is now; UNKNOWN if it is removed.
    pub info: NodeInfo,
    /// Its state before; none for a node that was not known.
    pub previous: Option<NodeState>,
    /// Its id_timestamp is not what it was: it identified again with the primary, or its NID now
    /// belongs to another process.
    pub renewed: bool,
    /// The connection with it. It still is that of the record, unless this one is removed.
    pub connection: Option<ConnectionId>,
}

impl NodeDirectory {
    /// The time of the last NotifyNodeInformation that was applied.
    #[must_use]
    pub const fn last_notification(&self) -> Option<Timestamp> {
        self.last_notification
    }

    /// Applies a NotifyNodeInformation of the primary master. `full_list` for the one that follows
    /// AcceptIdentification: other nodes are then forgotten, but those to `keep` (storages with
    /// cells), which become DOWN, and the time may be any.
    ///
    /// # Errors
    /// If the time is not greater than the last one; nothing is changed then.
    pub fn apply(
        &mut self,
        timestamp: Timestamp,
        nodes: &[NodeInfo],
        full_list: bool,
        keep: impl Fn(&NodeRecord) -> bool,
    ) -> Result<Vec<NodeChange>, StaleNotification> {
        let last = self.last_notification.filter(|_| !full_list);
        if timestamp.0.is_nan() || last.is_some_and(|last| timestamp.0 <= last.0) {
            return Err(StaleNotification { received: timestamp, last });
        }
        self.last_notification = Some(timestamp);
        let mut changes = Vec::new();
        let mut listed = BTreeSet::new();
        for info in nodes {
            listed.extend(self.apply_one(info, &mut changes));
        }
        if full_list {
            let others: Vec<_> = self
                .iter()
                .filter(|(key, _)| !listed.contains(key))
                .map(|(key, record)| (key, keep(record)))
                .collect();
            for (key, keep) in others {
                if keep {
                    self.set_down(key, &mut changes);
                } else {
                    self.forget(key, &mut changes);
                }
            }
        }
        Ok(changes)
    }

    fn set_down(&mut self, key: NodeKey, changes: &mut Vec<NodeChange>) {
        let Some(record) = self.get_mut(key) else {
            return;
        };
        let previous = std::mem::replace(&mut record.state, NodeState::Down);
        let change = NodeChange {
            key: Some(key),
            info: record.info(),
            previous: Some(previous),
            renewed: false,
            connection: record.connection(),
        };
        if previous != NodeState::Down {
            changes.push(change);
        }
    }

    fn forget(&mut self, key: NodeKey, changes: &mut Vec<NodeChange>) {
        if let Some(record) = self.remove(key) {
            let mut info = record.info();
            info.state = NodeState::Unknown;
            changes.push(NodeChange {
                key: None,
                info,
                previous: Some(record.state),
                renewed: false,
                connection: record.connection(),
            });
        }
    }

    /// The record that an information is about. A master is what listens at its address, and its
    /// NID changes; any other node is its NID, and its address changes.
    fn subject(&self, info: &NodeInfo) -> Option<NodeKey> {
        let by_nid = info.nid.and_then(|nid| self.by_nid(nid));
        let by_address = info.address.as_ref().and_then(|address| self.find_address(address));
        if info.node_type == NodeType::Master || info.nid.is_none() {
            return by_address.map(|(key, _)| key).or(by_nid);
        }
        let anonymous = by_address.filter(|(_, record)| record.nid().is_none());
        by_nid.or(anonymous.map(|(key, _)| key))
    }

    fn apply_one(&mut self, info: &NodeInfo, changes: &mut Vec<NodeChange>) -> Option<NodeKey> {
        let mut subject = self.subject(info);
        if let Some(key) = subject {
            let other_type = |record: &NodeRecord| record.node_type() != info.node_type;
            if info.state == NodeState::Unknown || self.get(key).is_some_and(other_type) {
                self.forget(key, changes);
                subject = None;
            }
        }
        if info.state == NodeState::Unknown {
            return None;
        }
        let known = subject.is_some();
        let key = subject.unwrap_or_else(|| self.create(info.node_type));
        let robbed = [self.set_nid(key, info.nid), self.set_address(key, info.address.clone())];
        for other in robbed.into_iter().flatten() {
            let nobody = |record: &NodeRecord| record.nid.is_none() && record.address.is_none();
            if self.get(other).is_some_and(nobody) {
                self.forget(other, changes);
            }
        }
        let record = self.get_mut(key)?;
        let previous = std::mem::replace(&mut record.state, info.state);
        let id_timestamp = std::mem::replace(&mut record.id_timestamp, info.id_timestamp);
        changes.push(NodeChange {
            key: Some(key),
            info: record.info(),
            previous: known.then_some(previous),
            renewed: known && id_timestamp != info.id_timestamp,
            connection: record.connection(),
        });
        Some(key)
    }
}
