//! State of one transaction on a storage (spec storage.md 11.1).

use std::collections::{BTreeMap, BTreeSet};

use neo_wire::{NodeId, Oid, Tid};

use crate::database::{Payload, StoredObject};
use crate::io::ConnectionId;

/// How a transaction was voted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Voted {
    /// Not yet.
    No,
    /// Without its metadata.
    Objects,
    /// With its metadata: this node is asked for its TID after a crash.
    Metadata,
}

/// What a transaction stores for an object.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Store {
    /// What the client sent.
    pub payload: Payload,
    /// Undo: the revision it goes back to.
    pub value_tid: Option<Tid>,
}

impl Store {
    /// Bytes that it holds in memory.
    pub fn bytes(&self) -> usize {
        if let Payload::Data(data) = &self.payload { data.data.len() } else { 0 }
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Transaction {
    /// Who builds it.
    pub client: NodeId,
    /// By this connection.
    pub connection: ConnectionId,
    /// Given by the lock.
    pub tid: Option<Tid>,
    /// How far it is.
    pub voted: Voted,
    /// Objects stored or checked, with the revision they are based on.
    pub serials: BTreeMap<Oid, Tid>,
    /// Objects stored.
    pub stores: BTreeMap<Oid, Store>,
    /// Objects accepted without lock.
    pub lockless: BTreeSet<Oid>,
    /// Objects whose lock its client was asked to give back.
    pub deadlock: BTreeSet<Oid>,
    /// Objects whose last revision is being looked up.
    pub checking: BTreeSet<Oid>,
    /// The unlock was asked of the database.
    pub unlocking: bool,
    /// What it was based on is aborted: it can not be committed.
    pub orphan: bool,
}

impl Transaction {
    pub fn new(client: NodeId, connection: ConnectionId) -> Self {
        Self {
            client,
            connection,
            tid: None,
            voted: Voted::No,
            serials: BTreeMap::new(),
            stores: BTreeMap::new(),
            lockless: BTreeSet::new(),
            deadlock: BTreeSet::new(),
            checking: BTreeSet::new(),
            unlocking: false,
            orphan: false,
        }
    }

    /// Whether what it stores for an object is sure to be there, as its TTID, if it is committed.
    pub fn can_be_followed(&self, oid: Oid) -> bool {
        self.stores.contains_key(&oid)
            && !self.orphan
            && !self.checking.contains(&oid)
            && !self.lockless.contains(&oid)
            && !self.deadlock.contains(&oid)
    }

    /// What the database gets at the vote. `readable` tells whether the cell of an object is.
    pub fn objects(&self, readable: impl Fn(Oid) -> bool) -> Vec<StoredObject> {
        let object = |(oid, store): (&Oid, &Store)| StoredObject {
            oid: *oid,
            payload: store.payload.clone(),
            value_tid: store.value_tid,
            value_required: store.value_tid.is_some() && readable(*oid),
        };
        self.stores.iter().map(object).collect()
    }
}
