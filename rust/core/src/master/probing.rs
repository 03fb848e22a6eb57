//! Who claims to be a node that is already connected waits until that connection shows that it is
//! alive: after a silent failure of the network the old one is dead, and a node is not locked out
//! until TCP notices (spec master.md 4.5).

use neo_wire::Packet;

use super::identification::Request;
use super::{Asker, Master, PROBING, Question, Turn};
use crate::io::{ConnectionId, Now, Output};

/// No peer may make us remember more requests than this: others are refused at once.
const MAX_HELD: usize = 64;

#[derive(Debug)]
struct Held {
    from: Asker,
    request: Request,
    /// The connection of who is known as this node; none once it is closed or has answered.
    other: Option<ConnectionId>,
    is_alive: bool,
    deadline_ms: u64,
}

/// The identifications that wait.
#[derive(Debug, Default)]
pub(super) struct Probing {
    held: Vec<Held>,
}

impl Probing {
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// A connection showed that it is alive.
    pub fn answered(&mut self, connection: ConnectionId) {
        for held in &mut self.held {
            if held.other == Some(connection) {
                (held.other, held.is_alive) = (None, true);
            }
        }
    }

    /// A connection ended: that of who waits, or that of who did not answer.
    pub fn forget(&mut self, connection: ConnectionId) {
        self.held.retain(|held| held.from.connection != connection);
        for held in &mut self.held {
            if held.other == Some(connection) {
                held.other = None;
            }
        }
    }

    /// Whether a request of this connection waits.
    pub fn is_held(&self, connection: ConnectionId) -> bool {
        self.held.iter().any(|held| held.from.connection == connection)
    }

    fn is_probed(&self, connection: ConnectionId) -> bool {
        self.held.iter().any(|held| held.other == Some(connection))
    }

    fn take_answerable(&mut self) -> Option<Held> {
        let place = self.held.iter().position(|held| held.other.is_none())?;
        Some(self.held.remove(place))
    }

    fn expired(&self, now: Now) -> Vec<ConnectionId> {
        let late = |held: &&Held| held.deadline_ms <= now.monotonic_ms;
        let held = self.held.iter().filter(late);
        held.filter_map(|held| held.other).collect()
    }

    fn next_delay_ms(&self, now: Now) -> Option<u64> {
        let deadlines = self.held.iter().map(|held| held.deadline_ms);
        Some(deadlines.min()?.saturating_sub(now.monotonic_ms))
    }
}

impl Master {
    /// Makes an identification wait until `other` shows that it is alive.
    pub(super) fn hold(
        &mut self,
        turn: &mut Turn<'_>,
        from: Asker,
        request: Request,
        other: ConnectionId,
    ) {
        if self.probing.held.len() >= MAX_HELD {
            return self.identify(turn, from, request, true);
        }
        if !self.probing.is_probed(other) {
            self.ask(turn, other, Packet::Ping {}, Question::Probe);
        }
        self.probing.held.push(Held {
            from,
            request,
            other: Some(other),
            is_alive: false,
            deadline_ms: turn.now.monotonic_ms + self.config.limits.probe_ms,
        });
        self.set_probing_timer(turn);
    }

    fn set_probing_timer(&self, turn: &mut Turn<'_>) {
        let timer = PROBING;
        turn.out.push(match self.probing.next_delay_ms(turn.now) {
            Some(delay_ms) => Output::SetTimer { timer, delay_ms },
            None => Output::CancelTimer { timer },
        });
    }

    /// Ends the connections that did not answer in time.
    pub(super) fn give_up_silent(&mut self, turn: &mut Turn<'_>) {
        for connection in self.probing.expired(turn.now) {
            tracing::warn!(?connection, "this connection is dead");
            self.cut(turn, connection);
        }
        self.set_probing_timer(turn);
    }

    /// Examines again one request of those that need not wait any more; whether there was one.
    pub(super) fn answer_held(&mut self, turn: &mut Turn<'_>) -> bool {
        let Some(held) = self.probing.take_answerable() else {
            return false;
        };
        self.set_probing_timer(turn);
        self.identify(turn, held.from, held.request, held.is_alive);
        true
    }
}
