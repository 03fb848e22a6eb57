//! Which NID a node gets (spec master.md 3.3, protocol.md 7.4).

use neo_wire::{Address, NodeId, NodeType};

use super::NodeDirectory;
use crate::io::Entropy;

/// The greatest number in a NID.
const MAX_NUMBER: u32 = 0x00ff_ffff;

impl NodeDirectory {
    fn is_available(&self, nid: NodeId, address: Option<&Address>) -> bool {
        self.find_nid(nid)
            .is_none_or(|(_, record)| address.is_some() && record.address() == address)
    }

    /// Whether a node of this type and at this address gets the NID that it asks for: one of its
    /// namespace, that nobody has or that is already the one of its address. `own` is the NID of
    /// the primary master.
    #[must_use]
    pub fn can_grant(
        &self,
        requested: NodeId,
        node_type: NodeType,
        address: Option<&Address>,
        own: Option<NodeId>,
    ) -> bool {
        // The Python NEO grants any NID, then fails to print those that are in no namespace.
        let regular = requested.node_type() == Some(node_type)
            && requested != NodeId::new(node_type, 0)
            && own != Some(requested);
        regular && self.is_available(requested, address)
    }

    /// The smallest NID of the type that is free, or already the one of `address`, and that is not
    /// `reserved` (those in the partition table, that of the primary). None if there is none left.
    pub fn first_nid(
        &self,
        node_type: NodeType,
        address: Option<&Address>,
        reserved: impl Fn(NodeId) -> bool,
    ) -> Option<NodeId> {
        (1..=MAX_NUMBER)
            .map(|number| NodeId::new(node_type, number))
            .find(|nid| self.is_available(*nid, address) && !reserved(*nid))
    }

    /// A free NID of the type that nobody is likely to have got elsewhere: for storages as long as
    /// no partition table is loaded, since the NIDs that it holds are not known yet. None if a
    /// search from a random number finds nothing.
    pub fn random_nid(&self, node_type: NodeType, entropy: &mut Entropy) -> Option<NodeId> {
        let start = entropy.below(u64::from(MAX_NUMBER));
        let start = u32::try_from(start).unwrap_or_default() + 1;
        (start..=MAX_NUMBER)
            .chain(1..start)
            .map(|number| NodeId::new(node_type, number))
            .find(|nid| self.by_nid(*nid).is_none())
    }
}
