//! Plays recordings of all the connections of one node.

use std::collections::{BTreeMap, VecDeque};

use neo_core::io::{ConnectionId, Input, Node, Now, Output, TimerId};
use neo_wire::packet::Kind;
use neo_wire::{Message, Packet};

use crate::mapping::Mapping;
use crate::stream::{self, Event, What};

/// How far a packet may be from its recorded place among those of its connection: answers may be
/// given in any order.
const WINDOW: usize = 4;

/// What is answered to a packet, if anything is.
type Responder = Box<dyn Fn(&Packet) -> Option<Packet>>;

/// A recording in which the node is one of the sides.
pub struct Track {
    name: &'static str,
    side: &'static str,
    offset_s: f64,
    events: VecDeque<Event>,
    /// What is answered to packets that were not recorded.
    responder: Responder,
}

impl Track {
    /// `side` is the name of the node in the recording; `offset_s` what to add to its times to
    /// have those of the other tracks.
    pub fn new(name: &'static str, side: &'static str, offset_s: f64) -> Self {
        let events = stream::load(name).into();
        Self { name, side, offset_s, events, responder: Box::new(|_| None) }
    }

    /// Only one of its connections.
    pub fn only(mut self, conn: i64) -> Self {
        self.events.retain(|event| event.conn == conn);
        self
    }

    /// Only what comes up to some place of the recording.
    pub fn until(mut self, order: i64) -> Self {
        self.events.retain(|event| event.order <= order);
        self
    }

    /// A peer that nobody recorded: it connects and says this, whatever it is told.
    pub fn unrecorded(name: &'static str, said: Vec<(f64, Packet)>) -> Self {
        let event = |order: usize, time_s, what| Event {
            time_s,
            conn: 0,
            from: name.to_owned(),
            order: i64::try_from(order).unwrap(),
            what,
        };
        let mut events = VecDeque::new();
        for (index, (time_s, packet)) in said.into_iter().enumerate() {
            if index == 0 {
                events.push_back(event(0, time_s, What::Open));
            }
            let message = Message { msg_id: u32::try_from(index).ok(), packet };
            events.push_back(event(index + 1, time_s, What::Message(message)));
        }
        Self { name, side: "", offset_s: 0.0, events, responder: Box::new(|_| None) }
    }

    /// What the peer also said on the last connection, although nobody recorded it.
    pub fn then(mut self, peer: &str, said: Vec<(f64, Packet)>) -> Self {
        let last = self.events.back().map_or((0, 0), |event| (event.conn, event.order));
        let (conn, mut order) = last;
        for (time_s, packet) in said {
            order += 1;
            let msg_id = u32::try_from(1_000_000 + order).ok();
            let what = What::Message(Message { msg_id, packet });
            self.events.push_back(Event { time_s, conn, from: peer.to_owned(), order, what });
        }
        self
    }

    /// Answers, or notifies, when the node says something that was not recorded.
    pub fn answering(mut self, responder: impl Fn(&Packet) -> Option<Packet> + 'static) -> Self {
        self.responder = Box::new(responder);
        self
    }
}

/// What the recorded node sent.
#[derive(Debug)]
struct Expected {
    order: i64,
    message: Message,
    matched: bool,
    /// The peer went on although our node has not sent it.
    overdue: bool,
}

#[derive(Debug, Default)]
struct Connection {
    id: Option<ConnectionId>,
    /// The node opened it.
    opened: bool,
    expected: Vec<Expected>,
    /// msg_id of our requests, by those of the recorded ones.
    msg_ids: BTreeMap<u32, u32>,
    /// The place in the recording up to which it was played.
    played: i64,
}

/// A connection of a track.
type Place = (usize, i64);

/// A node, its recorded peers, and what is different.
pub struct Player<N: Node> {
    node: N,
    /// Carries out what only this kind of node wants, and gives what comes of it.
    effects: Box<dyn FnMut(N::Effect) -> Vec<N::Event>>,
    mapping: Mapping,
    tracks: Vec<Track>,
    connections: BTreeMap<Place, Connection>,
    places: BTreeMap<ConnectionId, Place>,
    /// Connections that our node opened and nobody recorded: they stay as they are.
    timers: BTreeMap<TimerId, u64>,
    now: Now,
    accepted: u64,
    /// What happens by itself, with its time in seconds.
    calls: VecDeque<(f64, N::Event)>,
    /// What those that were not recorded answered.
    replies: VecDeque<Input<N::Event>>,
    differences: Vec<String>,
}

impl<N: Node> Player<N> {
    pub fn new(
        node: N,
        mapping: Mapping,
        tracks: Vec<Track>,
        effects: impl FnMut(N::Effect) -> Vec<N::Event> + 'static,
    ) -> Self {
        let mut connections: BTreeMap<Place, Connection> = BTreeMap::new();
        for (index, track) in tracks.iter().enumerate() {
            for event in &track.events {
                let connection = connections.entry((index, event.conn)).or_default();
                let ours = event.from == track.side;
                match &event.what {
                    What::Open => connection.opened = ours,
                    What::Refused => connection.opened = !ours,
                    What::Message(message) if ours => connection.expected.push(Expected {
                        order: event.order,
                        message: message.clone(),
                        matched: false,
                        overdue: false,
                    }),
                    _ => {}
                }
            }
        }
        Self {
            node,
            effects: Box::new(effects),
            mapping,
            tracks,
            connections,
            places: BTreeMap::new(),
            timers: BTreeMap::new(),
            now: Now { monotonic_ms: 0, wall_s: 1_795_364_660.0 },
            accepted: 0,
            calls: VecDeque::new(),
            replies: VecDeque::new(),
            differences: Vec::new(),
        }
    }

    /// Gives these events, each before what was recorded later.
    pub fn calling(mut self, calls: Vec<(f64, N::Event)>) -> Self {
        self.calls = calls.into();
        self
    }

    /// Makes the calls that come before the next event of any track.
    fn call(&mut self) {
        let heads = self.tracks.iter().filter_map(|track| {
            let others = track.events.iter().filter(|event| event.from != track.side);
            others.map(|event| event.time_s + track.offset_s).next()
        });
        let Some(first_s) = heads.min_by(f64::total_cmp) else { return };
        while let Some((time_s, event)) = self.calls.pop_front_if(|(time_s, _)| *time_s <= first_s)
        {
            self.advance((time_s.max(0.0) * 1000.0) as u64);
            self.input(Input::Own(event));
        }
    }

    /// Plays everything. Returns the differences, in words.
    pub fn play(mut self) -> Vec<String> {
        self.input(Input::Start);
        self.call();
        while let Some(index) = self.next_track() {
            let track = &mut self.tracks[index];
            let Some(event) = track.events.pop_front() else { break };
            let time_ms = ((event.time_s + track.offset_s).max(0.0) * 1000.0) as u64;
            self.advance(time_ms);
            self.feed(index, event);
            self.call();
        }
        for ((track, conn), connection) in &self.connections {
            for expected in connection.expected.iter().filter(|expected| !expected.matched) {
                let name = self.tracks[*track].name;
                let packet = &expected.message.packet;
                self.differences.push(format!("{name} {conn}: not sent: {packet:?}"));
            }
        }
        self.differences
    }

    /// The track to go on with: the earliest event among those that did not come before something
    /// that our node has not sent yet. If all wait for it, it will not come.
    fn next_track(&mut self) -> Option<usize> {
        for index in 0..self.tracks.len() {
            self.skip_own(index);
        }
        let mut heads: Vec<(f64, usize)> = Vec::new();
        for (index, track) in self.tracks.iter().enumerate() {
            heads.extend(track.events.front().map(|x| (x.time_s + track.offset_s, index)));
        }
        heads.sort_by(|a, b| a.0.total_cmp(&b.0));
        let ready = heads.iter().find(|(_, index)| self.is_ready(*index));
        let (_, index) = *ready.or(heads.first())?;
        if let Some(event) = self.tracks[index].events.front()
            && let Some(connection) = self.connections.get_mut(&(index, event.conn))
        {
            let before = connection.expected.iter_mut().filter(|x| x.order < event.order);
            before.for_each(|expected| expected.overdue = true);
        }
        Some(index)
    }

    /// Removes what the recorded node did from the head of a track.
    fn skip_own(&mut self, index: usize) {
        let track = &mut self.tracks[index];
        while let Some(event) = track.events.front() {
            let own = event.from == track.side && !matches!(event.what, What::Open);
            if !own {
                break;
            }
            track.events.pop_front();
        }
    }

    fn is_ready(&self, index: usize) -> bool {
        let Some(event) = self.tracks[index].events.front() else { return false };
        let Some(connection) = self.connections.get(&(index, event.conn)) else { return true };
        let bound = connection.id.is_some();
        let mut before = connection.expected.iter().filter(|x| x.order < event.order);
        (bound || !connection.opened) && before.all(|x| x.matched || x.overdue)
    }

    fn advance(&mut self, time_ms: u64) {
        loop {
            let first = self.timers.iter().min_by_key(|(_, due_ms)| **due_ms);
            let Some((timer, due_ms)) = first.map(|(timer, due_ms)| (*timer, *due_ms)) else {
                break;
            };
            if due_ms > time_ms {
                break;
            }
            self.timers.remove(&timer);
            self.set_time(due_ms);
            self.input(Input::Timer { timer });
        }
        self.set_time(time_ms);
    }

    fn set_time(&mut self, time_ms: u64) {
        let later_ms = time_ms.saturating_sub(self.now.monotonic_ms);
        self.now.monotonic_ms += later_ms;
        self.now.wall_s += later_ms as f64 / 1000.0;
    }

    fn feed(&mut self, index: usize, event: Event) {
        let place = (index, event.conn);
        let name = self.tracks[index].name;
        let Some(connection) = self.connections.get_mut(&place) else { return };
        connection.played = event.order;
        let (own, id) = (event.from == self.tracks[index].side, connection.id);
        match event.what {
            What::Open if own => match id {
                Some(connection) => self.input(Input::Connected { connection }),
                None => self.differences.push(format!("{name} {}: not opened", event.conn)),
            },
            What::Open => {
                self.accepted += 1;
                let id = ConnectionId(self.accepted);
                connection.id = Some(id);
                self.places.insert(id, place);
                self.input(Input::Accepted { connection: id });
            }
            What::End | What::Refused => {
                if let Some(connection) = connection.id.take() {
                    self.places.remove(&connection);
                    self.input(Input::Closed { connection });
                }
            }
            What::Message(Message { msg_id, packet }) => {
                // Nobody is there any more: our node closed it.
                let Some(id) = id else { return };
                let mut msg_id = msg_id;
                if packet.is_answer() {
                    // What our node did not ask is already a difference.
                    let asked = msg_id.and_then(|id| connection.msg_ids.get(&id));
                    let Some(asked) = asked else { return };
                    msg_id = Some(*asked);
                }
                let message = Message { msg_id, packet: self.mapping.to_ours(&packet) };
                self.input(Input::Received { connection: id, message });
            }
        }
    }

    fn input(&mut self, input: Input<N::Event>) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front().or_else(|| self.replies.pop_front()) {
            let mut outputs = Vec::new();
            self.node.handle(self.now, input, &mut outputs);
            for output in outputs {
                match output {
                    Output::Own(effect) => {
                        inputs.extend((self.effects)(effect).into_iter().map(Input::Own));
                    }
                    output => self.output(output),
                }
            }
        }
    }

    fn output(&mut self, output: Output<N::Effect>) {
        match output {
            Output::Connect { connection, .. } => {
                if let Some(place) = self.next_opened()
                    && let Some(recorded) = self.connections.get_mut(&place)
                {
                    recorded.id = Some(connection);
                    self.places.insert(connection, place);
                }
            }
            Output::Send { connection, msg_id, packet } => self.sent(connection, msg_id, packet),
            Output::Abort { connection } | Output::Close { connection } => {
                self.left(connection);
            }
            Output::SetTimer { timer, delay_ms } => {
                self.timers.insert(timer, self.now.monotonic_ms + delay_ms);
            }
            Output::CancelTimer { timer } => {
                self.timers.remove(&timer);
            }
            Output::Exit { exit } => self.differences.push(format!("exit: {exit:?}")),
            Output::StopListening | Output::Own(_) => {}
        }
    }

    /// The connection that the recorded node opened first, of those that ours has not.
    fn next_opened(&self) -> Option<Place> {
        let mut opens = Vec::new();
        for (index, track) in self.tracks.iter().enumerate() {
            let own = track.events.iter().filter(|event| event.from == track.side);
            let open = own.filter(|event| matches!(event.what, What::Open | What::Refused));
            opens.extend(open.map(|event| (event.time_s + track.offset_s, (index, event.conn))));
        }
        opens.retain(|(_, place)| {
            self.connections.get(place).is_some_and(|x| x.opened && x.id.is_none() && x.played == 0)
        });
        opens.into_iter().min_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, place)| place)
    }

    /// Our node closed a connection: a difference if its peer still had something to say.
    fn left(&mut self, id: ConnectionId) {
        let Some(place @ (index, conn)) = self.places.remove(&id) else { return };
        if let Some(connection) = self.connections.get_mut(&place) {
            connection.id = None;
        }
        let track = &self.tracks[index];
        let talks = |event: &Event| {
            event.conn == conn && event.from != track.side && matches!(event.what, What::Message(_))
        };
        if track.events.iter().any(talks) {
            self.differences.push(format!("{} {conn}: closed too early", track.name));
        }
    }

    fn sent(&mut self, id: ConnectionId, msg_id: u32, packet: Packet) {
        let Some(place @ (index, conn)) = self.places.get(&id).copied() else {
            self.differences.push(format!("sent nowhere: {packet:?}"));
            return;
        };
        let Track { name, side, responder, .. } = &self.tracks[index];
        let name = *name;
        if side.is_empty() {
            if let Some(packet) = responder(&packet) {
                let message = Message { msg_id: Some(msg_id), packet };
                self.replies.push_back(Input::Received { connection: id, message });
            }
            return;
        }
        let Some(connection) = self.connections.get_mut(&place) else { return };
        let answers = packet.is_answer();
        let waiting = connection.expected.iter_mut().filter(|x| !x.matched).take(WINDOW);
        let mut same: Vec<&mut Expected> = waiting
            .filter(|expected| {
                let recorded = &expected.message;
                recorded.packet.code() == packet.code()
                    && (!answers || recorded.msg_id == Some(msg_id))
            })
            .collect();
        // What is overdue rather is never sent.
        same.sort_by_key(|expected| expected.overdue);
        let Some(expected) = same.into_iter().next() else {
            self.differences.push(format!("{name} {conn}: not recorded: {packet:?}"));
            if let Some(packet) = responder(&packet) {
                let message = Message { msg_id: Some(msg_id), packet };
                self.replies.push_back(Input::Received { connection: id, message });
            }
            return;
        };
        expected.matched = true;
        let recorded = &expected.message;
        if let (Kind::Request { .. }, Some(recorded)) = (packet.kind(), recorded.msg_id) {
            connection.msg_ids.insert(recorded, msg_id);
        }
        if !self.mapping.matches(&recorded.packet, &packet) {
            let recorded = &recorded.packet;
            let text = format!("{name} {conn}: sent {packet:?}, recorded {recorded:?}");
            self.differences.push(text);
        }
    }
}

/// Fails if something differs that is not listed, or if something listed does not differ. Each
/// item of `listed` is a part of the words of a difference, and its reason.
pub fn check(differences: &[String], listed: &[(&str, &str)]) {
    let unlisted: Vec<_> = differences
        .iter()
        .filter(|difference| !listed.iter().any(|(part, _)| difference.contains(part)))
        .collect();
    assert!(unlisted.is_empty(), "{unlisted:#?}");
    for (part, reason) in listed {
        let found = differences.iter().any(|difference| difference.contains(part));
        assert!(found, "no difference any more: {part} ({reason})");
    }
}
