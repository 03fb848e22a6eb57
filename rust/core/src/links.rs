//! The rules that hold on every connection, whoever is at its ends (spec protocol.md 4.3, 4.4, 8,
//! 10): message identifiers, pairing of answers, what is answered in any state, and how a
//! connection ends.

use std::collections::BTreeMap;

use neo_wire::packet::Kind;
use neo_wire::{Address, ErrorCode, Message, Packet};
use tracing::{debug, info, warn};

use crate::dump::Dump;
use crate::io::{ConnectionId, Output, Outputs};

/// A request of ours that is not answered yet.
#[derive(Debug)]
struct Pending<R> {
    answer_code: u16,
    context: R,
}

#[derive(Debug)]
struct Link<R> {
    established: bool,
    next_msg_id: u32,
    pending: BTreeMap<u32, Pending<R>>,
    /// msg_id of the last packet received: what an Error that answers an answer carries.
    last_msg_id: Option<u32>,
}

/// Every connection of a node. `R` says what the node asked, and is given back with the answer.
#[derive(Debug)]
pub struct Links<R> {
    links: BTreeMap<ConnectionId, Link<R>>,
    opened: u64,
}

/// What a received message is, for the node.
#[derive(Debug, PartialEq)]
pub enum Incoming<R> {
    /// To be answered under this msg_id with [`Links::answer`], now or later; or a notification,
    /// whose msg_id only an Error can repeat.
    Packet {
        /// Its identifier.
        msg_id: u32,
        /// The packet.
        packet: Packet,
    },
    /// The answer to a request of ours: the expected one, or an Error.
    Answer {
        /// What the node said when asking.
        context: R,
        /// The answer.
        packet: Packet,
    },
    /// Already dealt with.
    Nothing,
}

/// How a connection ended.
#[derive(Debug, PartialEq)]
pub struct Lost<R> {
    /// Whether it had been established.
    pub established: bool,
    /// Requests that will never be answered, in the order they were sent.
    pub pending: Vec<R>,
}

impl<R> Default for Links<R> {
    fn default() -> Self {
        Self { links: BTreeMap::new(), opened: 0 }
    }
}

impl<R: std::fmt::Debug> Links<R> {
    /// Connections and what is asked there.
    pub(crate) fn dump(&self, dump: &mut Dump) {
        dump.list("connections", self.links.iter().map(|(id, link)| (id.0, link.established)));
        let pending = self.links.iter().flat_map(|(id, link)| {
            link.pending.iter().map(|(msg_id, request)| (id.0, msg_id, &request.context))
        });
        dump.list("requests without answer", pending);
    }
}

impl<R> Links<R> {
    fn insert(&mut self, connection: ConnectionId, established: bool) {
        let link =
            Link { established, next_msg_id: 0, pending: BTreeMap::new(), last_msg_id: None };
        self.links.insert(connection, link);
    }

    /// Registers a connection that the shell accepted.
    pub fn accepted(&mut self, connection: ConnectionId) {
        self.insert(connection, true);
    }

    /// Opens a connection.
    pub fn connect<F>(&mut self, address: Address, out: &mut Outputs<F>) -> ConnectionId {
        self.opened += 1;
        let connection = ConnectionId::opened(self.opened);
        self.insert(connection, false);
        out.push(Output::Connect { connection, address });
        connection
    }

    /// Notes that a connection we asked for exists; false if we gave it up meanwhile.
    pub fn connected(&mut self, connection: ConnectionId) -> bool {
        let link = self.links.get_mut(&connection);
        link.map(|link| link.established = true).is_some()
    }

    /// Whether packets can be sent on it.
    #[must_use]
    pub fn is_established(&self, connection: ConnectionId) -> bool {
        self.links.get(&connection).is_some_and(|link| link.established)
    }

    /// Whether it still is one of ours, established or being so.
    #[must_use]
    pub fn contains(&self, connection: ConnectionId) -> bool {
        self.links.contains_key(&connection)
    }

    /// Every connection.
    pub fn ids(&self) -> impl Iterator<Item = ConnectionId> {
        self.links.keys().copied()
    }

    /// Whether a request of ours waits for an answer there.
    #[must_use]
    pub fn has_pending(&self, connection: ConnectionId) -> bool {
        self.links.get(&connection).is_some_and(|link| !link.pending.is_empty())
    }

    /// The contexts of the requests that wait for an answer there.
    pub fn pending(&self, connection: ConnectionId) -> impl Iterator<Item = &R> {
        let link = self.links.get(&connection);
        link.into_iter().flat_map(|link| link.pending.values().map(|pending| &pending.context))
    }

    /// Whether nothing was ever received there.
    #[must_use]
    pub fn is_silent(&self, connection: ConnectionId) -> bool {
        self.links.get(&connection).is_some_and(|link| link.last_msg_id.is_none())
    }

    /// Sends a request; its answer comes back with `context`. On a closed connection nothing is
    /// sent and the context is given back.
    ///
    /// # Errors
    /// The context, if the connection is closed.
    pub fn request<F>(
        &mut self,
        connection: ConnectionId,
        packet: Packet,
        context: R,
        out: &mut Outputs<F>,
    ) -> Result<u32, R> {
        let Some(link) = self.links.get_mut(&connection) else {
            return Err(context);
        };
        let Some(answer_code) = packet.expected_answer() else {
            // A table of ours says what is a request: this is an error in the node's code.
            debug_assert!(false, "{} is not a request", packet.name());
            return Err(context);
        };
        // After a wrap, numbers still in use are passed over (spec protocol.md 4.3).
        while link.pending.contains_key(&link.next_msg_id) {
            link.next_msg_id = link.next_msg_id.wrapping_add(1);
        }
        let msg_id = link.next_msg_id;
        link.next_msg_id = msg_id.wrapping_add(1);
        link.pending.insert(msg_id, Pending { answer_code, context });
        out.push(Output::Send { connection, msg_id, packet });
        Ok(msg_id)
    }

    /// Sends a notification; nothing on a closed connection.
    pub fn notify<F>(&mut self, connection: ConnectionId, packet: Packet, out: &mut Outputs<F>) {
        if let Some(link) = self.links.get_mut(&connection) {
            let msg_id = link.next_msg_id;
            link.next_msg_id = msg_id.wrapping_add(1);
            out.push(Output::Send { connection, msg_id, packet });
        }
    }

    /// Answers a request of the peer, or sends what goes under its msg_id (AddTransaction,
    /// AddObject); nothing on a closed connection.
    pub fn answer<F>(
        &self,
        connection: ConnectionId,
        msg_id: u32,
        packet: Packet,
        out: &mut Outputs<F>,
    ) {
        if self.links.contains_key(&connection) {
            out.push(Output::Send { connection, msg_id, packet });
        }
    }

    /// Answers with an Error.
    pub fn answer_error<F>(
        &self,
        connection: ConnectionId,
        msg_id: u32,
        code: ErrorCode,
        message: &str,
        out: &mut Outputs<F>,
    ) {
        self.answer(connection, msg_id, Packet::error(code, message), out);
    }

    /// Answers with an Error, then closes once it has left: PROTOCOL_ERROR and NOT_READY.
    pub fn refuse<F>(
        &mut self,
        connection: ConnectionId,
        msg_id: u32,
        code: ErrorCode,
        message: &str,
        out: &mut Outputs<F>,
    ) -> Option<Lost<R>> {
        debug!(?connection, ?code, message, "refused");
        self.answer_error(connection, msg_id, code, message, out);
        self.abort(connection, out)
    }

    /// Refuses a packet that the current role does not accept (spec protocol.md 10.4).
    pub fn unexpected<F>(
        &mut self,
        connection: ConnectionId,
        msg_id: u32,
        role: &str,
        packet: &Packet,
        out: &mut Outputs<F>,
    ) -> Option<Lost<R>> {
        warn!(?connection, packet = packet.name(), role, "unexpected packet");
        let message = format!("unexpected packet: no handler found in {role}");
        self.refuse(connection, msg_id, ErrorCode::ProtocolError, &message, out)
    }

    /// Closes once what was sent has left. Returns what was waiting there, if it was still open.
    pub fn abort<F>(&mut self, connection: ConnectionId, out: &mut Outputs<F>) -> Option<Lost<R>> {
        let lost = self.closed(connection)?;
        out.push(Output::Abort { connection });
        Some(lost)
    }

    /// Closes at once. Returns what was waiting there, if it was still open.
    pub fn close<F>(&mut self, connection: ConnectionId, out: &mut Outputs<F>) -> Option<Lost<R>> {
        let lost = self.closed(connection)?;
        out.push(Output::Close { connection });
        Some(lost)
    }

    /// Forgets a connection that the shell says is closed. None if we had closed it ourselves.
    pub fn closed(&mut self, connection: ConnectionId) -> Option<Lost<R>> {
        let link = self.links.remove(&connection)?;
        let pending = link.pending.into_values().map(|pending| pending.context).collect();
        Some(Lost { established: link.established, pending })
    }

    /// Sorts out a received message: pairs answers with requests, answers Ping, logs what only is
    /// to be logged. `role` names the handler in errors. An unexpected answer ends the connection:
    /// what the node then loses is in [`Received::lost`].
    pub fn receive<F>(
        &mut self,
        connection: ConnectionId,
        message: Message,
        out: &mut Outputs<F>,
    ) -> Received<R> {
        let Some(link) = self.links.get_mut(&connection) else {
            // What arrives on a connection that we closed is not looked at (spec protocol.md 8.1).
            return Received::nothing();
        };
        let Message { msg_id, packet } = message;
        let previous = link.last_msg_id;
        link.last_msg_id = msg_id.or(previous);
        if !packet.is_answer() {
            return self.receive_packet(connection, msg_id, packet, out);
        }
        let pending = msg_id.filter(|id| {
            link.pending.get(id).is_some_and(|pending| {
                pending.answer_code == packet.code() || packet.kind() == Kind::Error
            })
        });
        if let Some(pending) = pending.and_then(|id| link.pending.remove(&id)) {
            return Received::incoming(Incoming::Answer { context: pending.context, packet });
        }
        if let Packet::Error { code, message } = &packet {
            if matches!(code, ErrorCode::ProtocolError | ErrorCode::Ack) {
                info!(?connection, ?code, %message, "the peer reports");
                return Received::nothing();
            }
            let text = format!("unexpected packet: {message}");
            let id = msg_id.or(previous).unwrap_or_default();
            let lost = self.refuse(connection, id, ErrorCode::ProtocolError, &text, out);
            return Received { incoming: Incoming::Nothing, lost };
        }
        let id = msg_id.map_or_else(|| "None".into(), |id| id.to_string());
        let text = format!("Unexpected answer: {}[{id}]", packet.name());
        warn!(?connection, text, "the peer breaks the rules");
        let id = previous.or(msg_id).unwrap_or_default();
        let lost = self.refuse(connection, id, ErrorCode::ProtocolError, &text, out);
        Received { incoming: Incoming::Nothing, lost }
    }

    fn receive_packet<F>(
        &mut self,
        connection: ConnectionId,
        msg_id: Option<u32>,
        packet: Packet,
        out: &mut Outputs<F>,
    ) -> Received<R> {
        // The decoder only lets a missing msg_id pass in Error.
        let Some(msg_id) = msg_id else {
            return Received::nothing();
        };
        if matches!(packet, Packet::Ping {}) {
            self.answer(connection, msg_id, Packet::Pong {}, out);
            return Received::nothing();
        }
        Received::incoming(Incoming::Packet { msg_id, packet })
    }
}

/// What came of a received message.
#[derive(Debug, PartialEq)]
pub struct Received<R> {
    /// What the node has to handle.
    pub incoming: Incoming<R>,
    /// Given if the message ended the connection.
    pub lost: Option<Lost<R>>,
}

impl<R> Received<R> {
    fn nothing() -> Self {
        Self { incoming: Incoming::Nothing, lost: None }
    }

    fn incoming(incoming: Incoming<R>) -> Self {
        Self { incoming, lost: None }
    }
}

#[cfg(test)]
mod tests;
