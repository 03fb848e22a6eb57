//! What only one kind of node does.

use neo_core::io::{ConnectionId, Node, Nothing, Now};
use std::collections::VecDeque;

use super::clock::Clock;
use super::sockets::Sockets;

/// Carries out the effects of one kind of node, on the thread of the loop: it must not block.
pub trait Effects<N: Node> {
    /// Does what `Output::Own` says. Outputs are carried out in order.
    fn effect(&mut self, effect: N::Effect, context: &mut Context<'_, N::Event>);

    /// The queue of a connection was above [`Context::HIGH_WATER`] and is now below half of it:
    /// who produces for it can go on.
    fn drained(&mut self, connection: ConnectionId, context: &mut Context<'_, N::Event>) {
        let _ = (connection, context);
    }

    /// Everything that was ready is handled; what was sent leaves now. A good time to hand over
    /// what was gathered to another thread.
    fn end_of_turn(&mut self, context: &mut Context<'_, N::Event>) {
        let _ = context;
    }

    /// The loop runs: called every [`super::ShellConfig::heartbeat_ms`].
    fn heartbeat(&mut self) {}

    /// The node was asked to stop for the first time.
    fn stopping(&mut self) {}

    /// An invariant is broken: what the node was. The process ends right after.
    fn broken(&mut self, cause: &str, state: &str) {
        let _ = (cause, state);
    }
}

/// For nodes without effects of their own.
#[derive(Debug, Clone, Copy)]
pub struct NoEffects;

impl<N: Node<Effect = Nothing>> Effects<N> for NoEffects {
    fn effect(&mut self, effect: Nothing, _context: &mut Context<'_, N::Event>) {
        match effect {}
    }
}

/// What an effect can do and know.
pub struct Context<'a, E> {
    pub(super) events: &'a mut VecDeque<E>,
    pub(super) sockets: &'a Sockets<E>,
    pub(super) clock: Clock,
}

impl<E: Send + 'static> Context<'_, E> {
    /// Above this many queued bytes, what a peer asks is not handled until it has drained them.
    pub const HIGH_WATER: usize = super::connection::HIGH_WATER;

    /// Gives an event to the node, right after the outputs being carried out and before any other
    /// input.
    pub fn answer(&mut self, event: E) {
        self.events.push_back(event);
    }

    /// How many bytes wait to leave by a connection; none if it is closed.
    #[must_use]
    pub fn queued(&self, connection: ConnectionId) -> usize {
        self.sockets.queued(connection)
    }

    /// The time.
    #[must_use]
    pub fn now(&self) -> Now {
        self.clock.now()
    }
}
