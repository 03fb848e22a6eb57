use std::collections::{BTreeMap, BTreeSet, VecDeque};

use neo_wire::{
    Address, Cell, CellState, ClusterState, ErrorCode, Map, Message, NodeId, NodeState,
};
use neo_wire::{NodeType, Packet, Ptid, RowList, Tid, Timestamp, Ttid, Value};

use crate::io::{ConnectionId, Entropy, Exit, Input, Node, Now, Output, TimerId};
use crate::master::{Effect, Master, MasterConfig};

pub const OWN_PORT: u16 = 10_000;

pub fn address(port: u16) -> Address {
    Address { host: "127.0.0.1".into(), port }
}

pub fn storage_nid(number: u32) -> NodeId {
    NodeId::new(NodeType::Storage, number)
}

/// Rows as `UU|O.`: columns are S1, S2...
pub fn rows(text: &str) -> RowList {
    let cell = |(number, letter)| {
        let state = match letter {
            'U' => CellState::UpToDate,
            'O' => CellState::OutOfDate,
            'F' => CellState::Feeding,
            _ => return None,
        };
        let nid = storage_nid(number);
        Some(Cell { nid, state })
    };
    let row = |row: &str| (1..).zip(row.chars()).filter_map(cell).collect();
    text.split('|').map(row).collect()
}

/// One end of a connection with the master.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Peer(pub ConnectionId);

pub struct Bench {
    pub master: Master,
    pub now: Now,
    accepted: u64,
    next_msg_id: BTreeMap<ConnectionId, u32>,
    sent: BTreeMap<ConnectionId, VecDeque<(u32, Packet)>>,
    /// Requests that were sent, by the code of their answer.
    asked: BTreeMap<(ConnectionId, u16), VecDeque<u32>>,
    pub closed: BTreeSet<ConnectionId>,
    pub opened: Vec<(Peer, Address)>,
    pub timers: BTreeMap<TimerId, u64>,
    pub effects: Vec<Effect>,
    pub exit: Option<Exit>,
    pub is_listening: bool,
}

impl Bench {
    /// A master that has started.
    pub fn new(configure: impl FnOnce(&mut MasterConfig)) -> Self {
        let mut config = MasterConfig::new("test".into(), address(OWN_PORT));
        config.partitions = 2;
        configure(&mut config);
        let now = Now { monotonic_ms: 1_000_000, wall_s: 1_700_000_000.0 };
        let mut bench = Self {
            master: Master::new(config, Entropy::new(1)),
            now,
            accepted: 0,
            next_msg_id: BTreeMap::new(),
            sent: BTreeMap::new(),
            asked: BTreeMap::new(),
            closed: BTreeSet::new(),
            opened: Vec::new(),
            timers: BTreeMap::new(),
            effects: Vec::new(),
            exit: None,
            is_listening: true,
        };
        bench.input(Input::Start);
        bench
    }

    pub fn input(&mut self, input: Input<crate::io::Nothing>) {
        self.now.wall_s += 0.01;
        let mut out = Vec::new();
        self.master.handle(self.now, input, &mut out);
        for output in out {
            assert!(self.exit.is_none(), "{output:?} after the end");
            match output {
                Output::Connect { connection, address } => {
                    self.opened.push((Peer(connection), address))
                }
                Output::Send { connection, msg_id, packet } => {
                    assert!(
                        !self.closed.contains(&connection),
                        "{packet:?} on a closed connection"
                    );
                    if let Some(code) = packet.expected_answer() {
                        let asked = self.asked.entry((connection, code)).or_default();
                        asked.push_back(msg_id);
                    }
                    self.sent.entry(connection).or_default().push_back((msg_id, packet));
                }
                Output::Abort { connection } | Output::Close { connection } => {
                    self.closed.insert(connection);
                }
                Output::SetTimer { timer, delay_ms } => {
                    self.timers.insert(timer, self.now.monotonic_ms + delay_ms);
                }
                Output::CancelTimer { timer } => {
                    self.timers.remove(&timer);
                }
                Output::StopListening => self.is_listening = false,
                Output::Exit { exit } => self.exit = Some(exit),
                Output::Own(effect) => self.effects.push(effect),
            }
        }
    }

    /// Lets time pass; timers fire.
    pub fn wait(&mut self, delay_ms: u64) {
        let end_ms = self.now.monotonic_ms + delay_ms;
        while let Some((timer, at_ms)) = self
            .timers
            .iter()
            .map(|(timer, at_ms)| (*timer, *at_ms))
            .filter(|(_, at_ms)| *at_ms <= end_ms)
            .min_by_key(|(_, at_ms)| *at_ms)
        {
            self.now.wall_s += at_ms.saturating_sub(self.now.monotonic_ms) as f64 / 1e3;
            self.now.monotonic_ms = self.now.monotonic_ms.max(at_ms);
            self.timers.remove(&timer);
            self.input(Input::Timer { timer });
        }
        self.now.wall_s += (end_ms - self.now.monotonic_ms) as f64 / 1e3;
        self.now.monotonic_ms = end_ms;
    }

    /// A peer connects.
    pub fn connect(&mut self) -> Peer {
        self.accepted += 1;
        let connection = ConnectionId(self.accepted);
        self.input(Input::Accepted { connection });
        Peer(connection)
    }

    /// A connection of the master is established.
    pub fn connected(&mut self, peer: Peer) {
        self.input(Input::Connected { connection: peer.0 });
    }

    /// The peer closes.
    pub fn close(&mut self, peer: Peer) {
        self.input(Input::Closed { connection: peer.0 });
        self.closed.insert(peer.0);
    }

    /// A request or notification of the peer.
    pub fn send(&mut self, peer: Peer, packet: Packet) -> u32 {
        let next = self.next_msg_id.entry(peer.0).or_default();
        let msg_id = *next;
        *next += 1;
        self.answer(peer, msg_id, packet);
        msg_id
    }

    /// An answer of the peer.
    pub fn answer(&mut self, peer: Peer, msg_id: u32, packet: Packet) {
        if let Some(asked) = self.asked.get_mut(&(peer.0, packet.code())) {
            asked.retain(|id| *id != msg_id);
        }
        let message = Message { msg_id: Some(msg_id), packet };
        self.input(Input::Received { connection: peer.0, message });
    }

    /// The peer answers the oldest request of this kind.
    pub fn reply(&mut self, peer: Peer, packet: Packet) {
        let asked = self.asked.get_mut(&(peer.0, packet.code()));
        let msg_id = asked.and_then(VecDeque::pop_front).expect("a request");
        self.answer(peer, msg_id, packet);
    }

    /// What was sent to a peer and not looked at yet.
    pub fn sent(&mut self, peer: Peer) -> Vec<(u32, Packet)> {
        self.sent.remove(&peer.0).into_iter().flatten().collect()
    }

    /// The same, without identifiers.
    pub fn packets(&mut self, peer: Peer) -> Vec<Packet> {
        self.sent(peer).into_iter().map(|(_, packet)| packet).collect()
    }

    /// Names of what was sent to a peer.
    pub fn names(&mut self, peer: Peer) -> Vec<&'static str> {
        self.packets(peer).iter().map(Packet::name).collect()
    }

    /// Forgets what was sent to everybody.
    pub fn clear(&mut self) {
        self.sent.clear();
    }

    /// Sends a request; returns the packet that answers it, if there is one at once.
    pub fn ask(&mut self, peer: Peer, packet: Packet) -> Option<Packet> {
        let msg_id = self.send(peer, packet);
        self.answer_to(peer, msg_id)
    }

    /// The answer to a request, if there is one; what was sent before it is forgotten.
    pub fn answer_to(&mut self, peer: Peer, msg_id: u32) -> Option<Packet> {
        let queue = self.sent.get_mut(&peer.0)?;
        let is_answer = |(id, packet): &(u32, Packet)| *id == msg_id && packet.is_answer();
        let place = queue.iter().position(is_answer)?;
        queue.drain(..=place).next_back().map(|(_, packet)| packet)
    }

    pub fn is_closed(&self, peer: Peer) -> bool {
        self.closed.contains(&peer.0)
    }

    pub fn state(&self) -> ClusterState {
        self.master.cluster_state().expect("primary")
    }

    pub fn node_state(&self, nid: NodeId) -> Option<NodeState> {
        let (_, record) = self.master.nodes().find_nid(nid)?;
        Some(record.state)
    }

    /// The rows of the master's table as `UU|O.`, for this number of storages.
    pub fn table(&self, storages: u32) -> String {
        let table = self.master.partition_table();
        let row = |partition| {
            let cell = |number| match table.cell(partition, storage_nid(number)) {
                Some(CellState::UpToDate) => 'U',
                Some(CellState::OutOfDate) => 'O',
                Some(CellState::Feeding) => 'F',
                Some(_) => '?',
                None => '.',
            };
            (1..=storages).map(cell).collect::<String>()
        };
        let partitions = (0..table.partitions()).map(neo_wire::Partition);
        partitions.map(row).collect::<Vec<_>>().join("|")
    }
}

pub fn identification(node_type: NodeType, nid: Option<NodeId>, port: Option<u16>) -> Packet {
    Packet::RequestIdentification {
        node_type,
        nid,
        address: port.map(address),
        cluster: "test".into(),
        id_timestamp: None,
        extra: Map::default(),
    }
}

pub fn storage(nid: Option<NodeId>, port: u16) -> Packet {
    let mut packet = identification(NodeType::Storage, nid, Some(port));
    if let Packet::RequestIdentification { extra, .. } = &mut packet {
        extra.0.push(("devpath".into(), Value::Array(Vec::new())));
        extra.0.push(("new_nid".into(), Value::Array(Vec::new())));
    }
    packet
}

pub fn master(nid: u32, port: u16, id_timestamp: Option<f64>) -> Packet {
    Packet::RequestIdentification {
        node_type: NodeType::Master,
        nid: Some(NodeId::new(NodeType::Master, nid)),
        address: Some(address(port)),
        cluster: "test".into(),
        id_timestamp: id_timestamp.map(Timestamp),
        extra: Map::default(),
    }
}

/// Playing whole nodes.
impl Bench {
    /// A peer that was accepted; with its NID.
    pub fn identified(&mut self, request: Packet) -> (Peer, NodeId) {
        let peer = self.connect();
        match self.ask(peer, request) {
            Some(Packet::AcceptIdentification { your_nid: Some(nid), .. }) => (peer, nid),
            other => panic!("not accepted: {other:?}"),
        }
    }

    pub fn admin(&mut self) -> Peer {
        let (peer, _) = self.identified(identification(NodeType::Admin, None, Some(9999)));
        self.clear();
        peer
    }

    pub fn client(&mut self) -> Peer {
        let (peer, _) = self.identified(identification(NodeType::Client, None, None));
        self.clear();
        peer
    }

    /// The code and text of the Error that answers.
    pub fn error(&mut self, peer: Peer, packet: Packet) -> (ErrorCode, String) {
        match self.ask(peer, packet) {
            Some(Packet::Error { code, message }) => (code, message.to_string()),
            other => panic!("not an error: {other:?}"),
        }
    }

    /// Answers everything that a storage without data or markers is asked before operation, then
    /// gets ready. Returns the names of what it was sent.
    pub fn serve(&mut self, peer: Peer, database: &Database) -> Vec<&'static str> {
        let mut names = Vec::new();
        loop {
            let sent = self.sent(peer);
            if sent.is_empty() {
                return names;
            }
            for (msg_id, packet) in sent {
                names.push(packet.name());
                if let (Packet::AskLastIDs {}, Some(tid)) = (&packet, database.packed) {
                    self.send(peer, Packet::NotifyPackCompleted { tid });
                }
                if matches!(packet, Packet::StartOperation { .. }) {
                    self.send(peer, Packet::NotifyReady {});
                } else if let Some(answer) = database.answer(&packet) {
                    self.answer(peer, msg_id, answer);
                }
            }
        }
    }

    /// Serves several storages until nobody has anything to say.
    pub fn serve_all(&mut self, storages: &[(Peer, &Database)]) {
        loop {
            let mut quiet = true;
            for (peer, database) in storages {
                quiet &= self.serve(*peer, database).is_empty();
            }
            if quiet {
                return;
            }
        }
    }
}

/// What a storage has.
#[derive(Clone, Debug, Default)]
pub struct Database {
    pub ptid: Option<u64>,
    pub num_replicas: u32,
    pub rows: RowList,
    pub backup_tid: Option<Tid>,
    pub truncate_tid: Option<Tid>,
    pub locked: Vec<(Ttid, Option<Tid>)>,
    pub finished: Vec<(Ttid, Tid)>,
    pub first_tid: Option<Tid>,
    pub last_tid: Option<Tid>,
    pub last_oid: Option<neo_wire::Oid>,
    pub orders: Vec<neo_wire::PackOrder>,
    /// Up to which order its cells are packed: it tells so before its last identifiers.
    pub packed: Option<Tid>,
}

impl Database {
    pub fn with(ptid: u64, num_replicas: u32, text: &str) -> Self {
        Self { ptid: Some(ptid), num_replicas, rows: rows(text), ..Self::default() }
    }

    pub fn answer(&self, packet: &Packet) -> Option<Packet> {
        Some(match packet {
            Packet::Ping {} => Packet::Pong {},
            Packet::AskRecovery {} => Packet::AnswerRecovery {
                ptid: self.ptid.map(Ptid),
                backup_tid: self.backup_tid,
                truncate_tid: self.truncate_tid,
            },
            Packet::AskPartitionTable {} => Packet::AnswerPartitionTable {
                ptid: Ptid(self.ptid.expect("a table")),
                num_replicas: self.num_replicas,
                rows: self.rows.clone(),
            },
            Packet::AskLockedTransactions {} => Packet::AnswerLockedTransactions {
                transactions: self.locked.iter().copied().collect(),
            },
            Packet::AskFinalTID { ttid } => {
                let found = self.finished.iter().find(|(known, _)| known == ttid);
                Packet::AnswerFinalTID { tid: found.map(|(_, tid)| *tid) }
            }
            Packet::AskLastIDs {} => Packet::AnswerLastIDs {
                last_tid: self.last_tid,
                last_oid: self.last_oid,
                first_tid: self.first_tid.or(self.last_tid).unwrap_or(Tid::MAX),
            },
            Packet::AskPackOrders { .. } => {
                Packet::AnswerPackOrders { orders: self.orders.clone() }
            }
            _ => return None,
        })
    }
}

/// A cluster in operation, with new storages that are all ready. `nodes` gets a view of the admin.
pub struct Running {
    pub bench: Bench,
    pub admin: Peer,
    pub storages: Vec<Peer>,
}

impl Running {
    pub fn new(storages: u32, num_replicas: u32) -> Self {
        let mut bench = Bench::new(|config| config.replicas = num_replicas);
        let admin = bench.admin();
        let mut peers = Vec::new();
        for number in 1..=storages {
            let port = 2000 + u16::try_from(number).expect("a port");
            let (peer, nid) = bench.identified(storage(None, port));
            assert_eq!(nid, storage_nid(number));
            peers.push(peer);
        }
        let empty = Database::default();
        let all: Vec<_> = peers.iter().map(|peer| (*peer, &empty)).collect();
        bench.serve_all(&all);
        let state = ClusterState::Verifying;
        let answer = bench.error(admin, Packet::SetClusterState { state });
        assert_eq!(answer, (ErrorCode::Ack, "Cluster state changed".into()));
        bench.serve_all(&all);
        assert_eq!(bench.state(), ClusterState::Running);
        assert!(bench.master.is_at_rest());
        bench.clear();
        Self { bench, admin, storages: peers }
    }

    /// Begins a transaction.
    pub fn begin(&mut self, client: Peer) -> Ttid {
        let answer = self.bench.ask(client, Packet::AskBeginTransaction { tid: None });
        match answer {
            Some(Packet::AnswerBeginTransaction { ttid }) => ttid,
            other => panic!("not begun: {other:?}"),
        }
    }

    /// Asks to finish a transaction; returns the identifier of the request.
    pub fn finish(&mut self, client: Peer, ttid: Ttid, oids: &[u64]) -> u32 {
        let packet = finish(ttid, oids);
        self.bench.send(client, packet)
    }

    /// A storage locks what it was asked; returns the final TIDs.
    pub fn lock(&mut self, peer: Peer) -> Vec<(Ttid, Tid)> {
        let mut locked = Vec::new();
        for (msg_id, packet) in self.bench.sent(peer) {
            if let Packet::AskLockInformation { ttid, tid, .. } = packet {
                let answer = Packet::AnswerInformationLocked { ttid };
                self.bench.answer(peer, msg_id, answer);
                locked.push((ttid, tid));
            }
        }
        locked
    }

    /// Commits a transaction of these objects.
    pub fn commit(&mut self, client: Peer, oids: &[u64]) -> Tid {
        let ttid = self.begin(client);
        let msg_id = self.finish(client, ttid, oids);
        for peer in self.storages.clone() {
            self.lock(peer);
        }
        match self.bench.answer_to(client, msg_id) {
            Some(Packet::AnswerTransactionFinished { tid, .. }) => tid,
            other => panic!("not committed: {other:?}"),
        }
    }
}

pub fn finish(ttid: Ttid, oids: &[u64]) -> Packet {
    Packet::AskFinishTransaction {
        ttid,
        oids: oids.iter().copied().map(neo_wire::Oid).collect(),
        deleted: Vec::new(),
        checked: Vec::new(),
        pack: None,
    }
}
