//! Who is told about whom (spec master.md 3.5, protocol.md 7.9).

use neo_wire::{NodeInfo, NodeType, Text, Value};

use super::{NodeDirectory, NodeKey, NodeRecord};
use crate::io::ConnectionId;

/// Key of `extra`: the name of a backup cluster for the client that its master is; the list of
/// those it monitors for an admin.
const BACKUP: &str = "backup";

fn as_name(value: &Value) -> Option<&[u8]> {
    match value {
        Value::Bin(text) => Some(text.as_bytes()),
        Value::Str(text) => Some(text.as_bytes()),
        _ => None,
    }
}

fn monitors(admin: &NodeRecord, client: &NodeRecord) -> bool {
    let key = Text::from(BACKUP);
    let name = client.extra.get(&key).and_then(as_name);
    let list = admin.extra.get(&key).and_then(Value::as_array);
    match (name, list) {
        (Some(name), Some(list)) => list.iter().any(|item| as_name(item) == Some(name)),
        _ => false,
    }
}

/// Whether `receiver` is told about `subject`. A node is told about itself only in the list that
/// follows its identification, or if its type is told about its type.
#[must_use]
pub fn is_visible(subject: &NodeRecord, receiver: &NodeRecord) -> bool {
    use NodeType::{Admin, Client, Master, Storage};
    match (subject.node_type(), receiver.node_type()) {
        (Master, _) | (Storage, Storage | Client | Admin) | (Client, Storage | Admin) => true,
        (Admin, Client) => monitors(subject, receiver),
        (Storage | Client | Admin, _) => false,
    }
}

impl NodeDirectory {
    /// The full list that follows AcceptIdentification: the receiver first, then whatever it is
    /// told about.
    #[must_use]
    pub fn visible_to(&self, receiver: NodeKey) -> Vec<NodeInfo> {
        let Some(record) = self.get(receiver) else {
            return Vec::new();
        };
        let others = self
            .iter()
            .filter(|(key, subject)| *key != receiver && is_visible(subject, record))
            .map(|(_, subject)| subject.info());
        std::iter::once(record.info()).chain(others).collect()
    }

    /// Whom to send one NotifyNodeInformation about these nodes, and what to put in: the
    /// identified nodes that are told about one of them at least.
    #[must_use]
    pub fn audience(&self, subjects: &[NodeKey]) -> Vec<(ConnectionId, Vec<NodeInfo>)> {
        self.identified()
            .filter_map(|(_, receiver, connection)| {
                let infos: Vec<_> = subjects
                    .iter()
                    .filter_map(|key| self.get(*key))
                    .filter(|subject| is_visible(subject, receiver))
                    .map(NodeRecord::info)
                    .collect();
                (!infos.is_empty()).then_some((connection, infos))
            })
            .collect()
    }
}
