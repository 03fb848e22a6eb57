//! Peers that send anything: the master neither panics nor breaks what they rely on (spec master.md
//! 20).

use std::collections::{BTreeMap, BTreeSet};

use neo_wire::{CellState, ClusterState, ErrorCode, Map, NodeId, NodeState, NodeType, Oid};
use neo_wire::{OidList, PackOrder, PackRequest, Packet, Partition, Ptid, Tid, Ttid, Value};

use super::harness::{Bench, OWN_PORT, Peer, address, identification, rows};
use crate::io::Entropy;
use crate::partition_table::PartitionTable;

/// Choices, most of which make some sense.
struct Chooser {
    entropy: Entropy,
    /// What was seen in packets of the master.
    ttids: Vec<Ttid>,
    tids: Vec<Tid>,
}

impl Chooser {
    fn below(&mut self, bound: u64) -> u64 {
        self.entropy.below(bound)
    }

    fn small(&mut self, bound: u32) -> u32 {
        u32::try_from(self.below(bound.into())).expect("a small number")
    }

    fn is_one_in(&mut self, bound: u64) -> bool {
        self.below(bound) == 0
    }

    fn partition(&mut self) -> Partition {
        Partition(if self.is_one_in(20) { u32::MAX } else { self.small(3) })
    }

    fn nid(&mut self) -> NodeId {
        if self.is_one_in(20) {
            return NodeId(i32::from_ne_bytes(self.small(u32::MAX).to_ne_bytes()));
        }
        let node_type = NodeType::ALL[self.small(4) as usize];
        let node_type = if self.is_one_in(3) { node_type } else { NodeType::Storage };
        NodeId::new(node_type, self.small(5))
    }

    fn tid(&mut self) -> Tid {
        let known = self.entropy.choose(&self.tids).copied();
        match self.below(8) {
            0 => Tid::ZERO,
            1 => Tid::INVALID,
            2 => Tid::MAX,
            3 => Tid(self.below(1000)),
            4 => known.unwrap_or_default().next(),
            _ => known.unwrap_or_default(),
        }
    }

    fn ttid(&mut self) -> Ttid {
        let known = self.entropy.choose(&self.ttids).copied();
        match self.below(8) {
            0 if self.is_one_in(5) => self.tid().as_ttid(),
            _ => known.unwrap_or_default(),
        }
    }

    fn maybe<T>(&mut self, value: T) -> Option<T> {
        (!self.is_one_in(3)).then_some(value)
    }

    fn nids(&mut self) -> Vec<NodeId> {
        (0..self.below(3)).map(|_| self.nid()).collect()
    }

    fn partitions(&mut self) -> Vec<Partition> {
        (0..self.below(3)).map(|_| self.partition()).collect()
    }

    fn pack_order(&mut self) -> PackOrder {
        PackOrder {
            tid: self.tid(),
            approved: [None, Some(true), Some(false)][self.small(3) as usize],
            partial: self.is_one_in(2),
            oids: Some(OidList::Concatenated(vec![Oid(1)])),
            pack_tid: self.tid(),
        }
    }

    fn identification(&mut self) -> Packet {
        let node_type = match self.below(20) {
            0..8 => NodeType::Storage,
            8..16 => NodeType::Client,
            16..19 => NodeType::Admin,
            _ => NodeType::Master,
        };
        let number = 1 + self.small(4);
        let port = match self.below(30) {
            0 => OWN_PORT,
            1 => 2001,
            _ => 2000 + 1000 * (node_type as u16) + u16::try_from(number).expect("a port"),
        };
        let nid = match self.below(20) {
            0 => Some(self.nid()),
            number if number % 2 == 0 => None,
            _ => Some(NodeId::new(node_type, number)),
        };
        let is_somewhere = node_type != NodeType::Client && !self.is_one_in(10);
        let port = is_somewhere.then_some(port);
        let mut packet = identification(node_type, nid, port);
        let time = self.below(2_000_000_000) as f64;
        if let Packet::RequestIdentification { id_timestamp, extra, .. } = &mut packet {
            *id_timestamp = self.maybe(neo_wire::Timestamp(time));
            if node_type == NodeType::Master && !self.is_one_in(50) {
                *id_timestamp = None;
            }
            let partitions = self.partitions().into_iter();
            let partitions = partitions.map(|x| Value::Unsigned(x.0.into())).collect();
            let entries = [
                ("new_nid", Value::Array(partitions)),
                ("new_nid", Value::Array(Vec::new())),
                ("read_only", Value::Bool(true)),
                ("read_only", Value::Nil),
                ("backup", "copy".into()),
                ("devpath", Value::Array(vec!["disk".into()])),
            ];
            if self.is_one_in(8) {
                let (key, value) = entries[self.small(6) as usize].clone();
                extra.0.push((key.into(), value));
            }
        }
        packet
    }

    /// What a storage, a client or an admin may say, or may not.
    fn packet(&mut self) -> Packet {
        let (ttid, tid, nids) = (self.ttid(), self.tid(), self.nids());
        let (partition, partitions, nid) = (self.partition(), self.partitions(), self.nid());
        let oids = vec![Oid(self.below(5)), Oid(self.below(u64::MAX))];
        let dry_run = self.is_one_in(2);
        match self.below(28) {
            0 => Packet::NotifyReady {},
            1 => Packet::AskUnfinishedTransactions { partitions },
            2 => Packet::NotifyReplicationDone { partition, tid },
            3 => Packet::NotifyPackCompleted { tid },
            4 => Packet::AskPackOrders { min_id: tid },
            5 => Packet::NotifyPartitionCorrupted { partition, nids: vec![None] },
            6..=9 => {
                Packet::AskBeginTransaction { tid: dry_run.then_some(tid).filter(|_| nid.0 == 1) }
            }
            10 => Packet::AskNewOIDs { count: self.small(1000) },
            11 => Packet::FailedVote { ttid, nids },
            12..=15 => {
                let pack = PackRequest { oids: None, pack_tid: tid };
                Packet::AskFinishTransaction {
                    ttid,
                    oids,
                    deleted: partitions,
                    checked: self.partitions(),
                    pack: self.is_one_in(10).then_some(pack),
                }
            }
            16 => Packet::AskFinalTID { ttid },
            17 => Packet::AbortTransaction { ttid, nids },
            18 => Packet::WaitForPack { tid },
            19 => {
                let state = ClusterState::ALL[self.small(7) as usize];
                let is_end = state == ClusterState::Stopping && !self.is_one_in(20);
                let state = if is_end { ClusterState::Verifying } else { state };
                Packet::SetClusterState { state }
            }
            20 => Packet::SetNodeState { nid, state: NodeState::ALL[self.small(4) as usize] },
            21 => {
                Packet::AddPendingNodes { nids: (1..5).map(super::harness::storage_nid).collect() }
            }
            22 => Packet::SetNumReplicas { num_replicas: i64::from(self.small(4)) - 1 },
            23 => Packet::TweakPartitionTable { dry_run, nids },
            24 => Packet::Truncate { tid },
            25 => Packet::CheckReplicas {
                partitions: Map(vec![(partition, dry_run.then_some(nid))]),
                min_tid: tid,
                max_tid: None,
            },
            26 => Packet::Repair { nids, dry_run },
            _ => [
                Packet::AskClusterState {},
                Packet::AskRecovery {},
                Packet::AskLastIDs {},
                Packet::AskLastTransaction {},
                Packet::FlushLog {},
                Packet::CloseClient {},
                Packet::Ping {},
                Packet::Pong {},
                Packet::error(ErrorCode::NotReady, ""),
            ][self.small(9) as usize]
                .clone(),
        }
    }

    /// An answer that makes sense, more or less.
    fn answer(&mut self, question: &Packet, disk: &PartitionTable) -> Packet {
        let tid = self.tid();
        if !self.is_one_in(20) {
            match question {
                Packet::AskRecovery {} => {
                    return Packet::AnswerRecovery {
                        ptid: disk.ptid(),
                        backup_tid: None,
                        truncate_tid: None,
                    };
                }
                Packet::AskPartitionTable {} => {
                    return Packet::AnswerPartitionTable {
                        ptid: disk.ptid().unwrap_or(Ptid(1)),
                        num_replicas: disk.num_replicas(),
                        rows: disk.rows(),
                    };
                }
                _ => {}
            }
        }
        if self.is_one_in(200) {
            return Packet::error(ErrorCode::ProtocolError, "");
        }
        match question {
            Packet::AskRecovery {} => Packet::AnswerRecovery {
                ptid: [None, Some(Ptid(1)), Some(Ptid(2))][self.small(3) as usize],
                backup_tid: None,
                truncate_tid: self.is_one_in(10).then_some(tid),
            },
            Packet::AskPartitionTable {} => {
                let tables = ["UU|UU", "U.|.U", "OU|UO", "U|U.", "U|", "UF|OU"];
                Packet::AnswerPartitionTable {
                    ptid: Ptid(1 + self.below(2)),
                    num_replicas: self.small(2),
                    rows: rows(tables[self.small(6) as usize]),
                }
            }
            Packet::AskLockedTransactions {} => Packet::AnswerLockedTransactions {
                transactions: Map(vec![(self.ttid(), self.is_one_in(2).then_some(tid))]),
            },
            Packet::AskFinalTID { .. } => {
                Packet::AnswerFinalTID { tid: self.is_one_in(2).then_some(tid) }
            }
            Packet::AskLastIDs {} => Packet::AnswerLastIDs {
                last_tid: Some(Tid(self.below(1000))),
                last_oid: Some(Oid(self.below(1000))),
                first_tid: tid,
            },
            Packet::AskPackOrders { .. } => {
                Packet::AnswerPackOrders { orders: vec![self.pack_order()] }
            }
            Packet::AskLockInformation { ttid, .. } => Packet::AnswerInformationLocked {
                ttid: if self.is_one_in(20) { self.ttid() } else { *ttid },
            },
            _ => Packet::Pong {},
        }
    }
}

/// What a peer relies on.
#[derive(Default)]
struct View {
    node_type: Option<NodeType>,
    nid: Option<NodeId>,
    accepted: bool,
    known: BTreeSet<NodeId>,
    last_timestamp: Option<f64>,
    ptid: Option<Ptid>,
    cells: BTreeSet<(Partition, NodeId)>,
    operating: bool,
    last_tid: Tid,
    ttids: BTreeSet<Ttid>,
    /// What a client began.
    begun: Vec<Ttid>,
    questions: Vec<(u32, Packet)>,
    /// What a storage records.
    disk: PartitionTable,
}

impl View {
    fn sees(&mut self, msg_id: u32, packet: &Packet) {
        let is_storage = self.node_type == Some(NodeType::Storage);
        match packet {
            Packet::AcceptIdentification { your_nid, .. } => {
                self.accepted = true;
                self.nid = *your_nid;
                let wanted = your_nid.and_then(NodeId::node_type);
                assert_eq!(wanted, self.node_type, "a NID of another namespace");
            }
            Packet::NotifyNodeInformation { timestamp, nodes } => {
                assert!(self.accepted);
                let last = self.last_timestamp.replace(timestamp.0);
                assert!(last.is_none_or(|last| last < timestamp.0));
                if last.is_none() {
                    assert_eq!(nodes[0].nid, self.nid, "itself first");
                    assert!(nodes[0].id_timestamp.is_some());
                }
                for node in nodes {
                    let is_master = node.node_type == NodeType::Master;
                    assert!(is_master || self.node_type != Some(NodeType::Master));
                    let Some(nid) = node.nid else {
                        assert!(is_master);
                        continue;
                    };
                    if node.state == NodeState::Unknown {
                        self.known.remove(&nid);
                        let has_cells = self.cells.iter().any(|(_, owner)| *owner == nid);
                        assert!(!has_cells || Some(nid) == self.nid, "{nid} has cells");
                    } else {
                        self.known.insert(nid);
                    }
                }
            }
            Packet::SendPartitionTable { ptid, rows, num_replicas } => {
                let loaded = self.disk.load(*ptid, *num_replicas, rows, |_| true);
                assert!(loaded.is_ok());
                self.ptid = *ptid;
                self.cells.clear();
                for (partition, row) in (0..).map(Partition).zip(rows) {
                    assert!(!is_storage || !row.is_empty());
                    for cell in row {
                        assert!(self.known.contains(&cell.nid), "{} is not known", cell.nid);
                        assert!(self.cells.insert((partition, cell.nid)));
                    }
                }
            }
            Packet::NotifyPartitionChanges { ptid, cells, num_replicas } => {
                if self.ptid.is_some() {
                    let changed = self.disk.apply_changes(*ptid, *num_replicas, cells, |_| true);
                    assert!(changed.is_ok());
                }
                let last = self.ptid.replace(*ptid);
                assert!(last.is_none_or(|last| last < *ptid));
                assert!(!is_storage || last.is_some_and(|last| last.0 + 1 == ptid.0));
                for change in cells {
                    if change.state == CellState::Discarded {
                        self.cells.remove(&(change.partition, change.nid));
                    } else {
                        assert!(self.known.contains(&change.nid), "{} is not known", change.nid);
                        self.cells.insert((change.partition, change.nid));
                    }
                }
            }
            Packet::StartOperation { .. } => {
                assert!(is_storage && !self.operating && self.ptid.is_some());
                self.operating = true;
            }
            Packet::StopOperation {} => {
                self.operating = false;
                self.ttids.clear();
            }
            Packet::AskLockInformation { ttid, tid, .. } => {
                assert!(self.operating && tid.0 >= ttid.0);
                assert!(self.ttids.insert(*ttid), "locked twice");
            }
            Packet::NotifyUnlockInformation { ttid } => {
                assert!(self.operating && self.ttids.remove(ttid));
            }
            Packet::AskRecovery {}
            | Packet::AskPartitionTable {}
            | Packet::AskLockedTransactions {}
            | Packet::AskLastIDs {}
            | Packet::ValidateTransaction { .. } => assert!(is_storage && !self.operating),
            Packet::Truncate { tid } => {
                assert!(is_storage && !self.operating && *tid != Tid::ZERO);
            }
            Packet::InvalidateObjects { tid, .. }
            | Packet::InvalidatePartitions { tid, .. }
            | Packet::AnswerTransactionFinished { tid, .. } => {
                assert!(*tid > self.last_tid);
                self.last_tid = *tid;
            }
            _ => {}
        }
        if packet.expected_answer().is_some() {
            self.questions.push((msg_id, packet.clone()));
        }
    }
}

struct World {
    bench: Bench,
    chooser: Chooser,
    views: BTreeMap<Peer, View>,
    /// What storages recorded.
    disks: BTreeMap<NodeId, PartitionTable>,
    /// How often each state of the cluster was seen.
    states: BTreeMap<ClusterState, u64>,
    commits: u64,
}

impl World {
    fn new(seed: u64) -> Self {
        let bench = Bench::new(|config| {
            config.autostart = 2;
            config.replicas = 1;
            config.masters = vec![address(10_001)];
        });
        Self {
            bench,
            chooser: Chooser { entropy: Entropy::new(seed), ttids: Vec::new(), tids: Vec::new() },
            views: BTreeMap::new(),
            disks: BTreeMap::new(),
            states: BTreeMap::new(),
            commits: 0,
        }
    }

    fn look(&mut self) {
        for (peer, view) in &mut self.views {
            for (msg_id, packet) in self.bench.sent(*peer) {
                match &packet {
                    Packet::AnswerBeginTransaction { ttid } => view.begun.push(*ttid),
                    Packet::AnswerTransactionFinished { tid, .. } => {
                        self.chooser.tids.push(*tid);
                        self.commits += 1;
                    }
                    _ => {}
                }
                view.sees(msg_id, &packet);
                match (view.nid, &packet) {
                    (Some(nid), Packet::AcceptIdentification { .. }) => {
                        view.disk = self.disks.get(&nid).cloned().unwrap_or_default();
                    }
                    (Some(nid), _) if view.disk.ptid().is_some() => {
                        self.disks.insert(nid, view.disk.clone());
                    }
                    _ => {}
                }
            }
        }
        let closed = &self.bench.closed;
        self.views.retain(|peer, _| !closed.contains(&peer.0));
        if let Some(state) = self.bench.master.cluster_state() {
            *self.states.entry(state).or_default() += 1;
        }
    }

    fn any_peer(&mut self) -> Option<Peer> {
        let peers: Vec<_> = self.views.keys().copied().collect();
        self.chooser.entropy.choose(&peers).copied()
    }

    fn newcomer(&mut self) {
        let peer = self.bench.connect();
        let request = self.chooser.identification();
        let node_type = match &request {
            Packet::RequestIdentification { node_type, .. } => *node_type,
            _ => NodeType::Client,
        };
        let view = View { node_type: Some(node_type), ..View::default() };
        self.views.insert(peer, view);
        self.bench.send(peer, request);
    }

    fn one_step(&mut self) {
        let peer = self.any_peer();
        match (self.chooser.below(40), peer) {
            (0, Some(peer)) if self.chooser.is_one_in(3) => self.bench.close(peer),
            (1, _) => {
                let delay_ms = self.chooser.below(3000);
                self.bench.wait(delay_ms);
            }
            (2, _) if !self.bench.opened.is_empty() => {
                let (peer, _) = self.bench.opened.remove(0);
                if !self.bench.is_closed(peer) {
                    self.bench.close(peer);
                }
            }
            (3..=5, _) | (_, None) if self.views.len() < 10 => self.newcomer(),
            (6..=18, Some(peer)) => {
                let view = self.views.entry(peer).or_default();
                let node_type = view.node_type;
                self.chooser.ttids.clone_from(&view.begun);
                let mut packet = self.chooser.packet();
                // Whoever breaks the rules is out: most of the time, only say what one may.
                while !is_allowed(node_type, &packet) && !self.chooser.is_one_in(200) {
                    packet = self.chooser.packet();
                }
                if let Packet::AskFinishTransaction { ttid, .. }
                | Packet::AbortTransaction { ttid, .. } = &packet
                    && !self.chooser.is_one_in(20)
                {
                    view.begun.retain(|begun| begun != ttid);
                }
                self.bench.send(peer, packet);
            }
            (_, Some(peer)) => {
                let question = self.views.get_mut(&peer).and_then(|view| {
                    let is_asked = !view.questions.is_empty();
                    is_asked.then(|| (view.questions.remove(0), view.disk.clone()))
                });
                if let Some(((msg_id, question), disk)) = question {
                    let answer = self.chooser.answer(&question, &disk);
                    self.bench.answer(peer, msg_id, answer);
                } else if self.views.get(&peer).is_some_and(|view| view.operating) {
                    self.bench.send(peer, Packet::Ping {});
                }
            }
            (_, None) => {}
        }
        self.look();
        // A storage that is told to operate gets ready.
        let starting: Vec<_> = self
            .views
            .iter_mut()
            .filter(|(_, view)| view.operating && view.questions.is_empty())
            .filter(|(_, view)| view.node_type == Some(NodeType::Storage))
            .map(|(peer, _)| *peer)
            .collect();
        let master = &self.bench.master;
        let is_ready = |peer: &Peer| {
            let (_, record) = master.nodes().find_connection(peer.0)?;
            Some(master.readiness.is_ready(record.nid()?))
        };
        let ready = starting.iter().find(|peer| is_ready(peer) == Some(false));
        if let Some(peer) = ready.copied() {
            self.bench.send(peer, Packet::NotifyReady {});
            self.look();
        }
    }
}

fn is_allowed(node_type: Option<NodeType>, packet: &Packet) -> bool {
    let wanted = match packet {
        Packet::NotifyReady {} => return false,
        Packet::AskUnfinishedTransactions { .. }
        | Packet::NotifyReplicationDone { .. }
        | Packet::NotifyPackCompleted { .. }
        | Packet::NotifyPartitionCorrupted { .. } => NodeType::Storage,
        Packet::AskBeginTransaction { .. }
        | Packet::AskNewOIDs { .. }
        | Packet::FailedVote { .. }
        | Packet::AskFinishTransaction { .. }
        | Packet::AskFinalTID { .. }
        | Packet::AbortTransaction { .. }
        | Packet::WaitForPack { .. } => NodeType::Client,
        Packet::AskClusterState {}
        | Packet::AskRecovery {}
        | Packet::AskLastIDs {}
        | Packet::AskLastTransaction {}
        | Packet::Ping {} => return true,
        _ => NodeType::Admin,
    };
    node_type == Some(wanted)
}

#[test]
fn no_peer_makes_the_master_panic_or_break_its_promises() {
    let mut states = BTreeMap::new();
    let mut commits = 0;
    for seed in 0..400 {
        let mut world = World::new(seed);
        for _ in 0..1000 {
            if world.bench.exit.is_some() {
                break;
            }
            world.one_step();
        }
        for (state, count) in world.states {
            *states.entry(state).or_insert(0) += count;
        }
        commits += world.commits;
    }
    // It was worth it.
    for state in [ClusterState::Recovering, ClusterState::Verifying, ClusterState::Running] {
        assert!(states.get(&state).is_some_and(|count| *count > 1000), "{states:?}");
    }
    assert!(commits > 100, "{commits} commits, {states:?}");
}
