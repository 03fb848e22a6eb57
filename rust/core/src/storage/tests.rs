//! A storage, its master and clients that say what the test wants, and a database that answers
//! when the test says so.

mod cells;
mod commit;
mod identification;
mod lockless;
mod locks;
mod pack;
mod reads;
mod relock;
mod repair;
mod stacks;
mod start;
mod undo;

use bytes::Bytes;
use neo_wire::{
    Cell, CellState, Digest, ErrorCode, Message, NodeState, NodeType, Packet, Ptid, RowList,
};

use super::*;
use crate::database::{Answer, JobOutput, LastIds};

const UP: CellState = CellState::UpToDate;
const OUT: CellState = CellState::OutOfDate;

fn nid(number: u32) -> NodeId {
    NodeId::new(NodeType::Storage, number)
}

fn client_nid(number: u32) -> NodeId {
    NodeId::new(NodeType::Client, number)
}

fn master_nid() -> NodeId {
    NodeId::new(NodeType::Master, 1)
}

fn address(port: u16) -> Address {
    Address { host: "127.0.0.1".into(), port }
}

fn config() -> Config {
    Config {
        cluster: "test".into(),
        masters: vec![address(1)],
        address: address(2),
        device_path: vec!["host".into(), "1".into()],
        nid: None,
        disable_pack: false,
        memory_limit: 1000,
    }
}

fn error(code: ErrorCode, message: &str) -> Packet {
    Packet::error(code, message)
}

fn rows(cells: &[&[(u32, CellState)]]) -> RowList {
    let row = |row: &&[(u32, CellState)]| {
        row.iter().map(|(number, state)| Cell { nid: nid(*number), state: *state }).collect()
    };
    cells.iter().map(row).collect()
}

fn store(ttid: Ttid, oid: Oid, serial: Tid, data: &'static [u8]) -> Packet {
    Packet::AskStoreObject {
        oid,
        serial,
        compression: 0,
        checksum: Digest::of(data),
        data: Bytes::from_static(data),
        data_serial: None,
        ttid,
    }
}

fn stored(conflict: Option<Tid>) -> Packet {
    Packet::AnswerStoreObject { conflict }
}

fn metadata(ttid: Ttid, oids: &[Oid]) -> Packet {
    Packet::AskStoreTransaction {
        ttid,
        user: "u".into(),
        description: "d".into(),
        extension: Bytes::new(),
        oids: oids.to_vec(),
        pack: None,
    }
}

fn load(oid: Oid) -> Packet {
    Packet::AskObject { oid, at: None, before: None }
}

struct Bed {
    storage: Storage,
    now: Now,
    reads: VecDeque<(Ticket, Query)>,
    writes: VecDeque<(Ticket, Vec<WriteJob>)>,
    sent: BTreeMap<ConnectionId, Vec<(u32, Packet)>>,
    closed: BTreeSet<ConnectionId>,
    opened: Vec<ConnectionId>,
    timers: BTreeSet<TimerId>,
    saved: Vec<Address>,
    exit: Option<Exit>,
    master: ConnectionId,
    accepted: u64,
    msg_ids: BTreeMap<ConnectionId, u32>,
    time: f64,
}

impl Bed {
    fn on(config: Config, settings: &Configuration, rows: Vec<CellRow>) -> Self {
        Self {
            storage: Storage::new(config, settings, rows),
            now: Now { monotonic_ms: 0, wall_s: 0.0 },
            reads: VecDeque::new(),
            writes: VecDeque::new(),
            sent: BTreeMap::new(),
            closed: BTreeSet::new(),
            opened: Vec::new(),
            timers: BTreeSet::new(),
            saved: Vec::new(),
            exit: None,
            master: ConnectionId(0),
            accepted: 0,
            msg_ids: BTreeMap::new(),
            time: 0.0,
        }
    }

    /// A new storage, identified by the master as S1.
    fn new() -> Self {
        let mut bed = Self::on(config(), &Configuration::default(), Vec::new());
        bed.input(Input::Start);
        bed.accept_by_master(nid(1));
        bed.commit();
        bed
    }

    /// S1 in operation with this table.
    fn serving(cells: &[&[(u32, CellState)]]) -> Self {
        let mut bed = Self::new();
        bed.nodes(&[(nid(1), NodeState::Running)]);
        let rows = rows(cells);
        bed.tell_master(Packet::SendPartitionTable { ptid: Some(Ptid(1)), num_replicas: 0, rows });
        bed.tell_master(Packet::StartOperation { backup: false });
        bed.commit();
        assert_eq!(bed.told_master(), [Packet::NotifyReady {}]);
        bed
    }

    /// S1 alone, with two partitions, and a client.
    fn simple() -> (Self, ConnectionId) {
        let mut bed = Self::serving(&[&[(1, UP)], &[(1, UP)]]);
        let client = bed.client(1);
        (bed, client)
    }

    fn input(&mut self, input: Input<Event>) {
        let mut outputs = Vec::new();
        self.storage.handle(self.now, input, &mut outputs);
        for output in outputs {
            match output {
                Output::Connect { connection, .. } => self.opened.push(connection),
                Output::Send { connection, msg_id, packet } => {
                    self.sent.entry(connection).or_default().push((msg_id, packet));
                }
                Output::Abort { connection } | Output::Close { connection } => {
                    self.closed.insert(connection);
                }
                Output::SetTimer { timer, .. } => {
                    self.timers.insert(timer);
                }
                Output::CancelTimer { timer } => {
                    self.timers.remove(&timer);
                }
                Output::Exit { exit } => self.exit = Some(exit),
                Output::StopListening => {}
                Output::Own(Effect::Read { ticket, query }) => {
                    self.reads.push_back((ticket, query));
                }
                Output::Own(Effect::Write { ticket, jobs }) => {
                    self.writes.push_back((ticket, jobs));
                }
                Output::Own(Effect::SaveMasters(masters)) => self.saved = masters,
            }
        }
    }

    /// Connects the last connection that was opened, which the master accepts.
    fn accept_by_master(&mut self, own: NodeId) {
        self.master = *self.opened.last().unwrap();
        self.msg_ids.insert(self.master, 0);
        self.input(Input::Connected { connection: self.master });
        let asked = self.sent(self.master);
        assert!(matches!(asked[..], [Packet::RequestIdentification { .. }]), "{asked:?}");
        let packet = Packet::AcceptIdentification {
            node_type: NodeType::Master,
            nid: Some(master_nid()),
            your_nid: Some(own),
        };
        let message = Message { msg_id: Some(0), packet };
        self.input(Input::Received { connection: self.master, message });
    }

    fn tell(&mut self, connection: ConnectionId, packet: Packet) -> u32 {
        let next = self.msg_ids.entry(connection).or_insert(0);
        let msg_id = *next;
        *next += 1;
        let message = Message { msg_id: Some(msg_id), packet };
        self.input(Input::Received { connection, message });
        msg_id
    }

    fn tell_master(&mut self, packet: Packet) -> u32 {
        self.tell(self.master, packet)
    }

    /// What was sent on a connection since this was last asked.
    fn sent(&mut self, connection: ConnectionId) -> Vec<Packet> {
        self.answers(connection).into_iter().map(|(_, packet)| packet).collect()
    }

    fn answers(&mut self, connection: ConnectionId) -> Vec<(u32, Packet)> {
        self.sent.remove(&connection).unwrap_or_default()
    }

    fn told_master(&mut self) -> Vec<Packet> {
        self.sent(self.master)
    }

    /// What was sent in answer to one request.
    fn ask(&mut self, connection: ConnectionId, packet: Packet) -> Vec<Packet> {
        let msg_id = self.tell(connection, packet);
        let answers = self.answers(connection);
        answers.into_iter().filter(|(id, _)| *id == msg_id).map(|(_, packet)| packet).collect()
    }

    fn nodes(&mut self, nodes: &[(NodeId, NodeState)]) {
        self.time += 1.0;
        let timestamp = Timestamp(self.time);
        let info = |(nid, state): &(NodeId, NodeState)| NodeInfo {
            node_type: nid.node_type().unwrap(),
            address: None,
            nid: Some(*nid),
            state: *state,
            id_timestamp: (*state == NodeState::Running).then_some(timestamp),
        };
        let nodes = nodes.iter().map(info).collect();
        self.tell_master(Packet::NotifyNodeInformation { timestamp, nodes });
    }

    fn accept(&mut self) -> ConnectionId {
        self.accepted += 1;
        let connection = ConnectionId(self.accepted);
        self.input(Input::Accepted { connection });
        connection
    }

    fn identification(&self, nid: NodeId) -> Packet {
        Packet::RequestIdentification {
            node_type: nid.node_type().unwrap(),
            nid: Some(nid),
            address: None,
            cluster: "test".into(),
            id_timestamp: Some(Timestamp(self.time)),
            extra: neo_wire::Map::default(),
        }
    }

    /// A client that the master announced and that is accepted.
    fn client(&mut self, number: u32) -> ConnectionId {
        self.nodes(&[(client_nid(number), NodeState::Running)]);
        let connection = self.accept();
        let request = self.identification(client_nid(number));
        let accepted = Packet::AcceptIdentification {
            node_type: NodeType::Storage,
            nid: Some(nid(1)),
            your_nid: Some(client_nid(number)),
        };
        assert_eq!(self.ask(connection, request), [accepted]);
        connection
    }

    fn lose(&mut self, connection: ConnectionId) {
        self.input(Input::Closed { connection });
    }

    /// The jobs that wait to be committed, which then are.
    fn commit(&mut self) -> Vec<WriteJob> {
        let mut all = Vec::new();
        while let Some((ticket, jobs)) = self.writes.pop_front() {
            let results = jobs.iter().map(|_| Ok(JobOutput::Done)).collect();
            all.extend(jobs);
            self.input(Input::Own(Event::Written { ticket, results }));
        }
        all
    }

    /// Answers the oldest query, which must be this one.
    fn answer(&mut self, expected: &Query, answer: Answer) {
        let (ticket, query) = self.reads.pop_front().unwrap();
        assert_eq!(query, *expected);
        self.input(Input::Own(Event::Answered { ticket, answer }));
    }

    fn answer_last(&mut self, oid: Oid, last: Option<Tid>) {
        self.answer(&Query::LastSerial(oid), Answer::LastSerial(last));
    }

    /// Stores an object based on its last revision: it is locked.
    fn lock(&mut self, client: ConnectionId, ttid: Ttid, oid: Oid) {
        let msg_id = self.tell(client, store(ttid, oid, Tid(5), b"data"));
        if !self.reads.is_empty() {
            self.answer_last(oid, Some(Tid(5)));
        }
        assert_eq!(self.answers(client), [(msg_id, stored(None))]);
    }

    /// Votes with metadata, and locks as this TID.
    fn vote_and_lock(&mut self, client: ConnectionId, ttid: Ttid, tid: Tid) {
        let msg_id = self.tell(client, metadata(ttid, &[]));
        self.commit();
        assert_eq!(self.answers(client), [(msg_id, Packet::AnswerStoreTransaction {})]);
        self.tell_master(Packet::AskLockInformation { ttid, tid, pack: false });
        self.commit();
        assert_eq!(self.told_master(), [Packet::AnswerInformationLocked { ttid }]);
    }

    /// Nothing is left of any transaction or request.
    fn assert_idle(&self) {
        assert!(self.storage.is_idle(), "{:#?}", self.storage);
        assert_eq!(self.storage.stored_bytes, 0);
    }
}
