//! How a storage, a client or an admin finds the primary master and stays with it (spec protocol.md
//! 7.6, 7.11, 8.8).
//!
//! The owner keeps the connections and gives this struct what happens to the one it opened:
//! known masters are tried round robin, a hint to the primary is followed, and the search starts
//! again whenever the connection is lost, for ever. There is one way in: [`PrimarySearch::start`].

use neo_wire::{Address, ErrorCode, NodeId, NodeType, Packet};
use tracing::{debug, info, warn};

use crate::io::{ConnectionId, Now, Output, Outputs, TimerId};
use crate::links::{Links, Lost};
use crate::pacing::Pacing;

/// No cluster has that many masters: what a peer claims beyond is not remembered.
const MAX_MASTERS: usize = 256;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Phase {
    /// Not started, or stopped.
    Idle,
    /// The timer says when to go on.
    Waiting,
    /// Connected or being so, not accepted yet.
    Trying(ConnectionId, Address),
    /// Identified by the primary master.
    Attached(ConnectionId, Address),
}

/// What the master replied to RequestIdentification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identification {
    /// It is the primary master and we are in its cluster.
    Accepted {
        /// NID of the primary master.
        master: NodeId,
        /// The NID to use from now on.
        own: NodeId,
    },
    /// It said why not. The search goes on by itself; a client may prefer to tell its user.
    Refused {
        /// NOT_READY, PROTOCOL_ERROR or READ_ONLY_ACCESS.
        code: ErrorCode,
        /// For people.
        message: String,
    },
    /// It broke the rules. The search goes on by itself.
    Broken,
}

/// The search for the primary master. `R` of its methods is the owner's context of requests, `F`
/// its effects.
#[derive(Debug)]
pub struct PrimarySearch {
    /// Configured ones first: these are never forgotten.
    masters: Vec<Address>,
    configured: usize,
    changed: bool,
    turn: usize,
    hint: Option<Address>,
    pacing: Pacing,
    timer: TimerId,
    phase: Phase,
}

impl PrimarySearch {
    /// With the masters of the configuration; `timer` must be of no other use to the owner.
    #[must_use]
    pub fn new(masters: impl IntoIterator<Item = Address>, timer: TimerId) -> Self {
        let mut search = Self {
            masters: Vec::new(),
            configured: 0,
            changed: false,
            turn: 0,
            hint: None,
            pacing: Pacing::default(),
            timer,
            phase: Phase::Idle,
        };
        masters.into_iter().for_each(|master| search.learn(master));
        search.configured = search.masters.len();
        search.changed = false;
        search
    }

    /// Every known master: configured ones, then in the order they were learnt.
    #[must_use]
    pub fn masters(&self) -> &[Address] {
        &self.masters
    }

    /// Adds a master (NotifyNodeInformation, the dynamic list).
    pub fn learn(&mut self, master: Address) {
        if self.masters.contains(&master) {
            return;
        }
        if self.masters.len() >= MAX_MASTERS {
            warn!(%master, "too many masters: this one is ignored");
            return;
        }
        self.masters.push(master);
        self.changed = true;
    }

    /// Forgets a master that the primary does not know any more, unless it is configured.
    pub fn forget(&mut self, master: &Address) {
        let learnt = self.masters.iter().skip(self.configured);
        if let Some(index) = learnt.into_iter().position(|known| known == master) {
            self.masters.remove(self.configured + index);
            self.changed = true;
        }
    }

    /// Takes the masters of the first full list of the primary: others are forgotten, unless
    /// configured (spec master.md 2.3).
    pub fn replace(&mut self, masters: &[Address]) {
        let known = self.masters.split_off(self.configured);
        let count = known.len();
        self.masters.extend(known.into_iter().filter(|known| masters.contains(known)));
        self.changed |= self.masters.len() < self.configured + count;
        masters.iter().cloned().for_each(|master| self.learn(master));
    }

    /// Whether the list of masters changed since this was last asked: the dynamic list is to be
    /// written again (spec tools.md 4.1).
    pub fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// The connection to the primary master, once it accepted us.
    #[must_use]
    pub fn attached(&self) -> Option<ConnectionId> {
        match &self.phase {
            Phase::Attached(connection, _) => Some(*connection),
            _ => None,
        }
    }

    /// Whether the search opened this connection and still holds it.
    #[must_use]
    pub fn owns(&self, connection: ConnectionId) -> bool {
        self.current().is_some_and(|(own, _)| own == connection)
    }

    /// Whether a search is under way or has ended with the primary.
    #[must_use]
    pub fn is_started(&self) -> bool {
        self.phase != Phase::Idle
    }

    fn current(&self) -> Option<(ConnectionId, &Address)> {
        match &self.phase {
            Phase::Trying(connection, address) | Phase::Attached(connection, address) => {
                Some((*connection, address))
            }
            _ => None,
        }
    }

    /// Starts searching; nothing if it is under way or has ended with the primary.
    pub fn start<R, F>(&mut self, now: Now, links: &mut Links<R>, out: &mut Outputs<F>) {
        if self.phase == Phase::Idle {
            self.next(now, links, out);
        }
    }

    /// Stops searching and leaves the primary, if any. Returns what was waiting there.
    pub fn stop<R, F>(&mut self, links: &mut Links<R>, out: &mut Outputs<F>) -> Option<Lost<R>> {
        let connection = self.current().map(|(connection, _)| connection);
        self.phase = Phase::Idle;
        self.hint = None;
        out.push(Output::CancelTimer { timer: self.timer });
        links.abort(connection?, out)
    }

    /// To be called when a connection is established, after [`Links::connected`]: identifies, if
    /// the connection is of this search. Returns whether it is.
    pub fn on_connected<R, F>(
        &mut self,
        connection: ConnectionId,
        request: Packet,
        context: R,
        links: &mut Links<R>,
        out: &mut Outputs<F>,
    ) -> bool {
        let Phase::Trying(own, address) = &self.phase else {
            return false;
        };
        if *own != connection {
            return false;
        }
        debug!(%address, "connected to a master");
        self.pacing.reached(address);
        // Established: it can not be given back.
        let _ = links.request(connection, request, context, out);
        true
    }

    /// To be called when a timer fires. Returns whether it was the one of this search.
    pub fn on_timer<R, F>(
        &mut self,
        timer: TimerId,
        now: Now,
        links: &mut Links<R>,
        out: &mut Outputs<F>,
    ) -> bool {
        if timer == self.timer && self.phase == Phase::Waiting {
            self.next(now, links, out);
        }
        timer == self.timer
    }

    /// To be called with the answer to RequestIdentification (spec protocol.md 7.11).
    pub fn on_identification<R, F>(
        &mut self,
        packet: Packet,
        now: Now,
        links: &mut Links<R>,
        out: &mut Outputs<F>,
    ) -> Identification {
        let Phase::Trying(connection, address) = self.phase.clone() else {
            debug_assert!(false, "an answer in {:?}", self.phase);
            return Identification::Broken;
        };
        match packet {
            Packet::AcceptIdentification {
                node_type: NodeType::Master,
                nid: Some(master),
                your_nid: Some(own),
            } => {
                info!(%address, %master, nid = %own, "connected to the primary master");
                self.phase = Phase::Attached(connection, address);
                return Identification::Accepted { master, own };
            }
            Packet::AcceptIdentification { node_type: NodeType::Master, .. } => {
                // Nothing else waits there: this was the first request.
                let code = ErrorCode::ProtocolError;
                let _ = links.refuse(connection, 0, code, "No UUID supplied", out);
            }
            Packet::Error { code, message } => {
                let message = message.to_string();
                if code == ErrorCode::ProtocolError {
                    warn!(%address, "protocol error: {message}");
                } else {
                    debug!(%address, ?code, message, "not accepted");
                }
                let _ = links.close(connection, out);
                self.next(now, links, out);
                return Identification::Refused { code, message };
            }
            packet => {
                warn!(%address, packet = packet.name(), "this is not a master");
                let _ = links.close(connection, out);
            }
        }
        self.next(now, links, out);
        Identification::Broken
    }

    /// To be called with NotPrimaryMaster, whoever sent it. If the search leaves the connection for
    /// a better one, returns what was waiting there.
    pub fn on_not_primary<R, F>(
        &mut self,
        connection: ConnectionId,
        (primary, known_masters): (Option<u32>, Vec<Address>),
        now: Now,
        links: &mut Links<R>,
        out: &mut Outputs<F>,
    ) -> Option<Lost<R>> {
        let (own, address) = self.current()?;
        if own != connection {
            return None;
        }
        debug!(%address, ?primary, "not the primary master");
        let index = primary.and_then(|index| usize::try_from(index).ok());
        self.hint = index.and_then(|index| known_masters.get(index).cloned());
        known_masters.into_iter().for_each(|x| self.learn(x));
        self.hint.as_ref()?;
        let lost = links.close(connection, out);
        self.next(now, links, out);
        lost
    }

    /// To be called when a connection is not there any more, whoever ended it: goes on if it was
    /// the one of this search. Returns whether it was. `established`: see [`Lost::established`].
    pub fn on_closed<R, F>(
        &mut self,
        connection: ConnectionId,
        established: bool,
        now: Now,
        links: &mut Links<R>,
        out: &mut Outputs<F>,
    ) -> bool {
        let Some((own, address)) = self.current() else {
            return false;
        };
        if own != connection {
            return false;
        }
        debug!(%address, established, "connection to a master lost");
        if !established {
            let address = address.clone();
            self.pacing.failed(&address);
        }
        self.next(now, links, out);
        true
    }

    /// The hinted master, else the one that can be tried first; those that can be equally soon are
    /// taken in turn.
    fn choose(&self, now: Now) -> Option<(usize, u64)> {
        if let Some(hint) = &self.hint {
            let index = self.masters.iter().position(|master| master == hint);
            return index.map(|index| (index, self.pacing.delay_ms(hint, now)));
        }
        let count = self.masters.len();
        (0..count)
            .map(|offset| (self.turn + offset) % count)
            .map(|index| (index, self.pacing.delay_ms(&self.masters[index], now)))
            .min_by_key(|(_, delay_ms)| *delay_ms)
    }

    fn next<R, F>(&mut self, now: Now, links: &mut Links<R>, out: &mut Outputs<F>) {
        let Some((index, delay_ms)) = self.choose(now) else {
            // No master, or the hint was beyond what we remember.
            self.phase = Phase::Idle;
            if self.hint.take().is_some() {
                self.next(now, links, out);
            }
            return;
        };
        if delay_ms > 0 {
            let timer = self.timer;
            out.push(Output::SetTimer { timer, delay_ms });
            self.phase = Phase::Waiting;
            return;
        }
        self.hint = None;
        self.turn = index + 1;
        let address = self.masters[index].clone();
        self.pacing.attempt(&address, now);
        let connection = links.connect(address.clone(), out);
        self.phase = Phase::Trying(connection, address);
    }
}

#[cfg(test)]
mod tests;
