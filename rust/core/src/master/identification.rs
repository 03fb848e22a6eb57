//! Who is let in, as what, and what it is told first (spec master.md 4, protocol.md 7).

use neo_wire::{Address, CellState, ClusterState, ErrorCode, Map, NodeId, NodeState, NodeType};
use neo_wire::{Packet, Partition, Text, Timestamp, Value};
use tracing::{info, warn};

use super::{Asker, Master, Phase, Question, Turn};
use crate::io::ConnectionId;
use crate::nodes::{NodeKey, NodeRecord};

const ALREADY_CONNECTED: &str = "already connected";
const RETRY_LATER: &str = "Retry Later";

/// A RequestIdentification.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Request {
    pub node_type: NodeType,
    pub nid: Option<NodeId>,
    pub address: Option<Address>,
    pub cluster: Text,
    pub id_timestamp: Option<Timestamp>,
    pub extra: Map<Text, Value>,
}

impl Request {
    /// The request that a packet is, if it is one.
    pub fn from_packet(packet: Packet) -> Option<Self> {
        match packet {
            Packet::RequestIdentification {
                node_type,
                nid,
                address,
                cluster,
                id_timestamp,
                extra,
            } => Some(Self { node_type, nid, address, cluster, id_timestamp, extra }),
            _ => None,
        }
    }

    fn take_extra(&mut self, key: &str) -> Option<Value> {
        let place = self.extra.0.iter().rposition(|(name, _)| name == key)?;
        let (_, value) = self.extra.0.remove(place);
        self.extra.0.retain(|(name, _)| name != key);
        Some(value)
    }

    /// The partitions of which a storage has a copy, to get a new NID; none if malformed.
    fn take_new_partitions(&mut self) -> Option<Vec<Partition>> {
        let Some(value) = self.take_extra("new_nid") else {
            return Some(Vec::new());
        };
        let partitions = value.as_array()?.iter().map(|item| {
            let number = u32::try_from(item.as_unsigned()?).ok()?;
            Some(Partition(number))
        });
        partitions.collect()
    }

    fn take_read_only(&mut self) -> bool {
        let is_backup = self.extra.get(&Text::from("backup")).is_some();
        match self.take_extra("read_only") {
            Some(Value::Bool(read_only)) => read_only,
            _ => is_backup,
        }
    }
}

/// Why somebody is not let in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Refusal {
    /// An error, then the end of the connection.
    Close(ErrorCode, &'static str),
    /// Another connection claims to be the same node; this one waits if that one may be dead.
    Conflict(ConnectionId),
    /// Another master is the primary.
    Elected,
}

impl Refusal {
    const fn protocol(text: &'static str) -> Self {
        Self::Close(ErrorCode::ProtocolError, text)
    }
}

/// How somebody is let in.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Admission {
    state: Option<NodeState>,
    /// Where a cell is to be added (a storage with a copied database).
    partitions: Vec<Partition>,
    read_only: bool,
}

impl From<NodeState> for Admission {
    fn from(state: NodeState) -> Self {
        Self { state: Some(state), ..Self::default() }
    }
}

impl Master {
    pub(super) fn own_nid(&self) -> Option<NodeId> {
        self.nodes.get(self.own).and_then(|own| own.nid())
    }

    /// Handles a RequestIdentification on the primary. `probed` if the connection that it was in
    /// conflict with has shown that it is alive.
    pub(super) fn identify(
        &mut self,
        turn: &mut Turn<'_>,
        from: Asker,
        mut request: Request,
        probed: bool,
    ) {
        let original = request.clone();
        let refusal = match self.examine(turn, &mut request) {
            Ok((matched, admission)) => {
                match self.accept(turn, from, request, matched, admission) {
                    Ok(()) => return,
                    Err(refusal) => refusal,
                }
            }
            Err(refusal) => refusal,
        };
        match refusal {
            Refusal::Close(code, text) => self.refuse(turn, from, code, text),
            Refusal::Conflict(other) if self.evict_for(turn, &original, other) => {
                self.identify(turn, from, original, probed);
            }
            Refusal::Conflict(_) if probed => {
                self.protocol_error(turn, from, ALREADY_CONNECTED);
            }
            Refusal::Conflict(other) => self.hold(turn, from, original, other),
            Refusal::Elected => {
                if let Some(address) = original.address {
                    let elected = self.nodes.master_at(&address);
                    self.masters_changed = true;
                    self.become_secondary(turn, elected, None);
                }
            }
        }
    }

    /// Steps 1 to 4 of spec master.md 4.2.
    fn examine(
        &mut self,
        turn: &Turn<'_>,
        request: &mut Request,
    ) -> Result<(Option<NodeKey>, Admission), Refusal> {
        if request.cluster != self.config.cluster {
            return Err(Refusal::protocol("invalid cluster name"));
        }
        if request.address.as_ref() == Some(&self.config.address) {
            return Err(Refusal::protocol("address conflict"));
        }
        if request.node_type == NodeType::Storage
            && let (Some(address), Some(nid)) = (&request.address, request.nid)
            && self.recovery.is_impostor(address, nid, turn.now)
        {
            warn!(%nid, %address, "this NID was granted to an empty storage: it gets another one");
            request.nid = None;
        }
        let matched = self.match_record(request)?;
        let other_type = |key| {
            let record = self.nodes.get(key);
            record.is_some_and(|record| record.node_type() != request.node_type)
        };
        if matched.is_some_and(other_type) {
            return Err(Refusal::protocol("this node is known with another type"));
        }
        let admission = match request.node_type {
            NodeType::Client => self.admit_client(request)?,
            NodeType::Storage => self.admit_storage(request, matched)?,
            NodeType::Master => self.admit_master(request)?,
            NodeType::Admin => NodeState::Running.into(),
        };
        Ok((matched, admission))
    }

    /// The record of the node that asks, if it has one (step 3).
    fn match_record(&self, request: &mut Request) -> Result<Option<NodeKey>, Refusal> {
        let by_nid = request.nid.and_then(|nid| self.nodes.find_nid(nid));
        let by_address = request.address.as_ref();
        let by_address = by_address.and_then(|address| self.nodes.find_address(address));
        let is_temporary = request.nid.is_some_and(NodeId::is_temporary);
        let node_type = request.node_type;
        let conflict = |record: &NodeRecord, connection| {
            // A node of another type is another node, alive or not.
            if record.node_type() == node_type {
                Refusal::Conflict(connection)
            } else {
                Refusal::protocol(ALREADY_CONNECTED)
            }
        };
        if let Some((key, record)) = by_address {
            if let Some(connection) = record.identified_connection() {
                return Err(conflict(record, connection));
            }
            let is_same = by_nid.is_none_or(|(other, _)| other == key);
            if !is_same && !is_temporary {
                return Err(Refusal::protocol(ALREADY_CONNECTED));
            }
            // A storage is its NID: another one, or an empty database, that comes at the address
            // of one that has cells does not inherit them.
            let wanted = request.nid.filter(|nid| nid.node_type() == Some(NodeType::Storage));
            let is_other = |nid| match wanted {
                Some(wanted) => wanted != nid,
                None => self.table.has_cells(nid),
            };
            let is_taken =
                record.node_type() == NodeType::Storage && record.nid().is_some_and(is_other);
            return Ok(Some(key).filter(|_| !is_taken));
        }
        match by_nid {
            None => Ok(None),
            Some((key, _)) if key == self.own => Ok(None),
            Some((key, record)) => match record.identified_connection() {
                Some(_) if is_temporary => {
                    request.nid = None;
                    Ok(None)
                }
                Some(connection) => Err(conflict(record, connection)),
                None => Ok(Some(key)),
            },
        }
    }

    fn admit_client(&self, request: &mut Request) -> Result<Admission, Refusal> {
        let read_only = request.take_read_only();
        match self.cluster_state {
            Some(ClusterState::Running) => {}
            // To learn what became of its transaction (spec master.md 17).
            Some(ClusterState::Stopping) if self.phase == Phase::Service && !read_only => {}
            _ => return Err(Refusal::Close(ErrorCode::NotReady, RETRY_LATER)),
        }
        Ok(Admission { read_only, ..NodeState::Running.into() })
    }

    fn admit_storage(
        &self,
        request: &mut Request,
        matched: Option<NodeKey>,
    ) -> Result<Admission, Refusal> {
        let retry_later = Refusal::Close(ErrorCode::NotReady, RETRY_LATER);
        let partitions = request.take_new_partitions();
        let partitions = partitions.ok_or(Refusal::protocol("new_nid is malformed"))?;
        if self.cluster_state == Some(ClusterState::Stopping) {
            return Err(retry_later);
        }
        if self.phase == Phase::Recovering {
            return match request.address {
                Some(_) => Ok(NodeState::Pending.into()),
                None => Err(retry_later),
            };
        }
        if request.address.is_some() {
            let is_known = matched.is_some() && self.is_granted(request, matched);
            return Ok(if is_known { NodeState::Running } else { NodeState::Pending }.into());
        }
        let is_wrong = |partition: &Partition| partition.0 >= self.table.partitions();
        if request.nid.is_some() || partitions.is_empty() || partitions.iter().any(is_wrong) {
            return Err(Refusal::protocol(""));
        }
        Ok(Admission { partitions, ..NodeState::Down.into() })
    }

    fn admit_master(&self, request: &Request) -> Result<Admission, Refusal> {
        let Some(address) = &request.address else {
            return Err(Refusal::protocol(""));
        };
        if self.phase == Phase::Recovering
            && let Some(timestamp) = request.id_timestamp
            && (timestamp, address) < (self.primary_timestamp, &self.config.address)
        {
            return Err(Refusal::Elected);
        }
        Ok(NodeState::Running.into())
    }

    /// Whether it gets the NID that it asks for: one of its namespace, that nobody else has.
    fn is_granted(&self, request: &Request, matched: Option<NodeKey>) -> bool {
        let is_regular = |nid: &NodeId| {
            nid.node_type() == Some(request.node_type)
                && *nid != NodeId::new(request.node_type, 0)
                && self.own_nid() != Some(*nid)
        };
        let holder = |nid| self.nodes.by_nid(nid);
        let nid = request.nid.filter(is_regular);
        nid.is_some_and(|nid| holder(nid).is_none() || holder(nid) == matched)
    }

    /// The NID of somebody who is let in (spec master.md 3.3).
    fn allocate_nid(&mut self, request: &Request, matched: Option<NodeKey>) -> Option<NodeId> {
        if self.is_granted(request, matched) {
            return request.nid;
        }
        // What it has at its address, which is not a copy that it lost.
        let known = matched.and_then(|key| self.nodes.get(key)?.nid());
        if known.is_some() {
            return known;
        }
        if request.node_type == NodeType::Storage && self.may_have_cells_unknown() {
            return self.nodes.random_nid(request.node_type, &mut self.entropy);
        }
        // Whoever is known at this address was matched, or is somebody else.
        let is_reserved = |nid| self.table.has_cells(nid);
        self.nodes.first_nid(request.node_type, None, is_reserved)
    }

    /// Steps 5 to 10 of spec master.md 4.2.
    fn accept(
        &mut self,
        turn: &mut Turn<'_>,
        from: Asker,
        request: Request,
        matched: Option<NodeKey>,
        admission: Admission,
    ) -> Result<(), Refusal> {
        if let Some(old) = matched.and_then(|key| self.nodes.get(key)?.connection()) {
            // We were connecting to this master: what it opened takes over if we know nothing
            // of what it thinks of us (spec master.md 4.5).
            if !self.links.is_silent(old) {
                return Err(Refusal::protocol(ALREADY_CONNECTED));
            }
            self.links.close(old, turn.out);
        }
        let nid = self.allocate_nid(&request, matched);
        let nid = nid.ok_or(Refusal::protocol("no NID is left"))?;
        let is_anonymous = request.nid.is_none();
        let node_type = request.node_type;
        let key = matched.unwrap_or_else(|| self.nodes.create(node_type));
        self.nodes.set_connection(key, None);
        self.nodes.set_nid(key, Some(nid));
        if let Some(robbed) = self.nodes.set_address(key, request.address.clone()) {
            self.tell_nodes(turn, &[robbed]);
        }
        let id_timestamp = self.clock.next(turn.now.wall_s);
        if let Some(record) = self.nodes.get_mut(key) {
            record.extra = request.extra;
            record.id_timestamp = Some(id_timestamp);
            record.state = admission.state.unwrap_or(NodeState::Running);
            info!(node = %record, connection = ?from.connection, "accepted");
        }
        self.masters_changed |= node_type == NodeType::Master;
        if let (NodeType::Storage, Phase::Recovering) = (node_type, self.phase) {
            let anonymous = request.address.filter(|_| is_anonymous);
            self.recovery.identified(key, anonymous);
        }
        if admission.read_only {
            self.transactions.add_reader(key);
        }
        self.tell_nodes(turn, &[key]);
        self.add_copies(turn, nid, &admission.partitions);
        self.nodes.set_connection(key, Some(from.connection));
        if let Some(record) = self.nodes.get_mut(key) {
            record.identified = true;
        }
        let accepted = Packet::AcceptIdentification {
            node_type: NodeType::Master,
            nid: self.own_nid(),
            your_nid: Some(nid),
        };
        self.answer(turn, from, accepted);
        let nodes = self.nodes.visible_to(key);
        self.tell_one(turn, from.connection, nodes);
        self.welcome(turn, from.connection, key, node_type);
        Ok(())
    }

    /// A storage that has a copy of partitions gets cells there.
    fn add_copies(&mut self, turn: &mut Turn<'_>, nid: NodeId, partitions: &[Partition]) {
        let mut changes = Vec::new();
        for partition in partitions {
            // They were compared with the size of the table.
            let change = self.table.set_cell(*partition, nid, CellState::OutOfDate);
            changes.extend(change.ok().flatten());
        }
        self.tell_changes(turn, changes);
    }

    /// What follows the list of nodes (step 10).
    fn welcome(
        &mut self,
        turn: &mut Turn<'_>,
        connection: ConnectionId,
        key: NodeKey,
        node_type: NodeType,
    ) {
        match (node_type, self.phase) {
            (NodeType::Master, _) => {}
            (NodeType::Storage, Phase::Recovering) => {
                self.ask(turn, connection, Packet::AskRecovery {}, Question::Recovery);
            }
            (NodeType::Storage, _) => self.join_storage(turn, key),
            _ => self.notify(turn, connection, self.table_packet()),
        }
    }
}
