//! A client, with a master and storages that say what the test wants.

mod commit;
mod conflicts;
mod copies;
mod life;
mod limits;
mod loads;
mod master;
mod publications;
mod reads;
mod recovery;

use bytes::Bytes;
use neo_wire::packet::StoredData;
use neo_wire::{
    Cell, CellState, Digest, ErrorCode, Message, NodeState, NodeType, Ptid, RowList, Ttid,
};

use super::api::{Conflict, Content, Metadata, Publication, Stored, Write};
use super::*;

const UP: CellState = CellState::UpToDate;
const OUT: CellState = CellState::OutOfDate;
const T: TransactionKey = TransactionKey(1);
const TTID: Ttid = Ttid(100);

fn storage(number: u32) -> NodeId {
    NodeId::new(NodeType::Storage, number)
}

fn master_nid() -> NodeId {
    NodeId::new(NodeType::Master, 1)
}

fn own_nid() -> NodeId {
    NodeId::new(NodeType::Client, 1)
}

fn address(port: u16) -> Address {
    Address { host: "127.0.0.1".into(), port }
}

fn config() -> Config {
    Config {
        cluster: "test".into(),
        masters: vec![address(1)],
        read_only: false,
        write_buffer: 1000,
        max_reconnections: None,
    }
}

fn rows(cells: &[&[(u32, CellState)]]) -> RowList {
    let row = |row: &&[(u32, CellState)]| {
        row.iter().map(|(number, state)| Cell { nid: storage(*number), state: *state }).collect()
    };
    cells.iter().map(row).collect()
}

fn data(bytes: &'static [u8]) -> Content {
    let record = Bytes::from_static(bytes);
    let checksum = Digest::of(&record);
    Content::Data { stored: StoredData { compression: 0, checksum, data: record.clone() }, record }
}

fn write(oid: u64, base: u64, content: Content) -> Request {
    let write = Write { oid: Oid(oid), base: Tid(base), content, data_serial: None };
    Request::Write { transaction: T, write }
}

fn store(oid: u64, base: u64, bytes: &'static [u8]) -> Packet {
    Packet::AskStoreObject {
        oid: Oid(oid),
        serial: Tid(base),
        compression: 0,
        checksum: Digest::of(bytes),
        data: Bytes::from_static(bytes),
        data_serial: None,
        ttid: TTID,
    }
}

fn stored(conflict: Option<u64>) -> Packet {
    Packet::AnswerStoreObject { conflict: conflict.map(Tid) }
}

fn vote() -> Request {
    Request::Vote { transaction: T, metadata: Metadata::default() }
}

fn finish() -> Request {
    Request::Finish { transaction: T }
}

struct Bed {
    client: Client,
    now: Now,
    sent: BTreeMap<ConnectionId, Vec<(u32, Packet)>>,
    closed: BTreeSet<ConnectionId>,
    opened: Vec<(ConnectionId, Address)>,
    timers: BTreeMap<TimerId, u64>,
    returned: BTreeMap<CallId, Result<Answer, ClientError>>,
    publications: Vec<Publication>,
    calls: u64,
    msg_ids: BTreeMap<ConnectionId, u32>,
    time: f64,
}

impl Bed {
    fn on(config: Config) -> Self {
        Self {
            client: Client::new(config, Entropy::new(1)),
            now: Now { monotonic_ms: 0, wall_s: 0.0 },
            sent: BTreeMap::new(),
            closed: BTreeSet::new(),
            opened: Vec::new(),
            timers: BTreeMap::new(),
            returned: BTreeMap::new(),
            publications: Vec::new(),
            calls: 0,
            msg_ids: BTreeMap::new(),
            time: 0.0,
        }
    }

    fn new() -> Self {
        Self::on(config())
    }

    /// Connected to a cluster with this table, whose last TID is 50.
    fn ready(cells: &[&[(u32, CellState)]]) -> Self {
        let mut bed = Self::new();
        let call = bed.call(Request::Connect);
        bed.accept_by_master();
        bed.welcome(cells, 50);
        assert_eq!(bed.result(call), Ok(Answer::Done));
        bed
    }

    /// Two partitions on S1, S2; a transaction began.
    fn begun(cells: &[&[(u32, CellState)]]) -> Self {
        let mut bed = Self::ready(cells);
        bed.begin();
        bed
    }

    fn input(&mut self, input: Input<Event>) {
        let mut outputs = Vec::new();
        self.client.handle(self.now, input, &mut outputs);
        for output in outputs {
            match output {
                Output::Connect { connection, address } => {
                    self.opened.push((connection, address));
                }
                Output::Send { connection, msg_id, packet } => {
                    assert!(!self.closed.contains(&connection), "sent to nobody: {packet:?}");
                    self.sent.entry(connection).or_default().push((msg_id, packet));
                }
                Output::Abort { connection } | Output::Close { connection } => {
                    self.closed.insert(connection);
                }
                Output::SetTimer { timer, delay_ms } => {
                    self.timers.insert(timer, delay_ms);
                }
                Output::CancelTimer { timer } => {
                    self.timers.remove(&timer);
                }
                Output::Own(Effect::Return { call, result }) => {
                    assert!(self.returned.insert(call, result).is_none(), "returned twice");
                }
                Output::Own(Effect::Publish(publication)) => self.publications.push(publication),
                Output::Exit { .. } | Output::StopListening => panic!("{output:?}"),
            }
        }
    }

    fn call(&mut self, request: Request) -> CallId {
        self.calls += 1;
        let call = CallId(self.calls);
        self.input(Input::Own(Event::Call { call, request: Box::new(request) }));
        call
    }

    /// What a call returned; it must have.
    fn result(&mut self, call: CallId) -> Result<Answer, ClientError> {
        self.returned.remove(&call).expect("the call still waits")
    }

    /// Calls and expects an answer at once.
    fn run(&mut self, request: Request) -> Result<Answer, ClientError> {
        let call = self.call(request);
        self.result(call)
    }

    fn waits(&self, call: CallId) -> bool {
        !self.returned.contains_key(&call)
    }

    /// The last connection opened to a port: 1 is the master, 100 + n is storage n.
    fn link(&self, port: u16) -> ConnectionId {
        let mut opened = self.opened.iter().rev();
        opened.find(|(_, to)| to.port == port).expect("not opened").0
    }

    fn master(&self) -> ConnectionId {
        self.link(1)
    }

    fn storage(&self, number: u16) -> ConnectionId {
        self.link(100 + number)
    }

    /// What was sent since this was last asked.
    fn sent(&mut self, connection: ConnectionId) -> Vec<(u32, Packet)> {
        self.sent.remove(&connection).unwrap_or_default()
    }

    /// Expects one packet there, which is this one; returns its msg_id.
    fn expect(&mut self, connection: ConnectionId, expected: &Packet) -> u32 {
        let sent = self.sent(connection);
        let [(msg_id, packet)] = &sent[..] else { panic!("{sent:#?}") };
        assert_eq!(packet, expected);
        *msg_id
    }

    fn answer(&mut self, connection: ConnectionId, msg_id: u32, packet: Packet) {
        let message = Message { msg_id: Some(msg_id), packet };
        self.input(Input::Received { connection, message });
    }

    fn answer_error(&mut self, connection: ConnectionId, msg_id: u32, code: ErrorCode) {
        self.answer(connection, msg_id, Packet::error(code, "because"));
    }

    fn notify(&mut self, connection: ConnectionId, packet: Packet) {
        let next = self.msg_ids.entry(connection).or_insert(0);
        let msg_id = *next;
        *next += 1;
        self.answer(connection, msg_id, packet);
    }

    fn notify_master(&mut self, packet: Packet) {
        self.notify(self.master(), packet);
    }

    fn lose(&mut self, connection: ConnectionId) {
        self.input(Input::Closed { connection });
        self.closed.insert(connection);
    }

    fn wait(&mut self, ms: u64) {
        self.now.monotonic_ms += ms;
        for (timer, _) in std::mem::take(&mut self.timers) {
            self.input(Input::Timer { timer });
        }
    }

    fn accept_by_master(&mut self) {
        let connection = self.master();
        self.input(Input::Connected { connection });
        let sent = self.sent(connection);
        assert!(matches!(sent[..], [(0, Packet::RequestIdentification { .. })]), "{sent:?}");
        let accept = Packet::AcceptIdentification {
            node_type: NodeType::Master,
            nid: Some(master_nid()),
            your_nid: Some(own_nid()),
        };
        self.answer(connection, 0, accept);
    }

    fn nodes(&mut self, nodes: &[(NodeId, NodeState)]) {
        self.time += 1.0;
        let timestamp = Timestamp(self.time);
        let info = |(nid, state): &(NodeId, NodeState)| NodeInfo {
            node_type: nid.node_type().unwrap(),
            address: (nid.node_type() == Some(NodeType::Storage))
                .then(|| address(100 + nid.0 as u16)),
            nid: Some(*nid),
            state: *state,
            id_timestamp: Some(timestamp),
        };
        let nodes = nodes.iter().map(info).collect();
        self.notify_master(Packet::NotifyNodeInformation { timestamp, nodes });
    }

    fn table(&mut self, cells: &[&[(u32, CellState)]]) {
        let rows = rows(cells);
        let ptid = Some(Ptid(1));
        self.notify_master(Packet::SendPartitionTable { ptid, num_replicas: 0, rows });
    }

    /// What a master says after it accepted us.
    fn welcome(&mut self, cells: &[&[(u32, CellState)]], last_tid: u64) {
        let mut nodes = vec![(own_nid(), NodeState::Running)];
        let numbers: BTreeSet<u32> =
            cells.iter().flat_map(|row| row.iter().map(|cell| cell.0)).collect();
        nodes.extend(numbers.into_iter().map(|number| (storage(number), NodeState::Running)));
        self.nodes(&nodes);
        self.table(cells);
        let master = self.master();
        let msg_id = self.expect(master, &Packet::AskLastTransaction {});
        self.answer(master, msg_id, Packet::AnswerLastTransaction { tid: Tid(last_tid) });
        let last_tid = Tid(last_tid);
        assert_eq!(self.publications, [Publication::Reset { last_tid }]);
        self.publish();
    }

    /// Expects something to be published, which then is.
    fn publish(&mut self) -> Publication {
        let publication = self.publications.remove(0);
        self.input(Input::Own(Event::Published));
        publication
    }

    /// A storage accepts our connection.
    fn accept_by(&mut self, number: u16) {
        let connection = self.storage(number);
        self.input(Input::Connected { connection });
        let request = Packet::RequestIdentification {
            node_type: NodeType::Client,
            nid: Some(own_nid()),
            address: None,
            cluster: "test".into(),
            id_timestamp: self.client.identity.and_then(|identity| identity.id_timestamp),
            extra: neo_wire::Map::default(),
        };
        let msg_id = self.expect(connection, &request);
        let accept = Packet::AcceptIdentification {
            node_type: NodeType::Storage,
            nid: Some(storage(number.into())),
            your_nid: Some(own_nid()),
        };
        self.answer(connection, msg_id, accept);
    }

    fn begin(&mut self) {
        let call = self.call(Request::Begin { transaction: T, tid: None });
        assert_eq!(self.result(call), Ok(Answer::Done));
        let master = self.master();
        let msg_id = self.expect(master, &Packet::AskBeginTransaction { tid: None });
        self.answer(master, msg_id, Packet::AnswerBeginTransaction { ttid: TTID });
    }

    /// Writes something, which is sent to these storages.
    fn write_to(&mut self, numbers: &[u16], request: Request) -> Vec<u32> {
        assert_eq!(self.run(request), Ok(Answer::Done));
        numbers
            .iter()
            .map(|number| {
                let known = self.opened.iter().any(|(id, to)| {
                    to.port == 100 + number && self.client.links.is_established(*id)
                });
                if !known {
                    self.accept_by(*number);
                }
                let sent = self.sent(self.storage(*number));
                assert_eq!(sent.len(), 1, "{sent:?}");
                sent[0].0
            })
            .collect()
    }

    /// An object is stored on S1, alone.
    fn stored_on_s1(&mut self) {
        let msg_ids = self.write_to(&[1], write(0, 50, data(b"x")));
        self.answer(self.storage(1), msg_ids[0], stored(None));
    }

    /// Asks for votes, which S1 gives.
    fn voted_by_s1(&mut self) {
        let call = self.call(vote());
        let connection = self.storage(1);
        let sent = self.sent(connection);
        assert!(matches!(sent[..], [(_, Packet::AskStoreTransaction { .. })]), "{sent:?}");
        self.answer(connection, sent[0].0, Packet::AnswerStoreTransaction {});
        assert_eq!(self.result(call), Ok(Answer::Voted(vec![])));
    }

    /// The master is asked to commit: call and msg_id.
    fn finishing(&mut self) -> (CallId, u32) {
        let call = self.call(finish());
        let sent = self.sent(self.master());
        assert!(matches!(sent[..], [(_, Packet::AskFinishTransaction { .. })]), "{sent:?}");
        (call, sent[0].0)
    }

    /// After a loss: connects again.
    fn reconnect(&mut self, last_tid: u64) {
        self.wait(1000);
        self.accept_by_master();
        self.welcome(&[&[(1, UP)]], last_tid);
    }
}
