//! Which master is the primary: a challenge between those in RECOVERING (spec master.md 5).

use neo_wire::{Address, NodeState, NodeType, Packet};
use tracing::{debug, info, warn};

use super::{Asker, MASTERS, Master, Phase, Turn};
use crate::io::{ConnectionId, Output};
use crate::nodes::NodeKey;

/// No cluster has that many masters: what a peer claims beyond is not remembered.
const MAX_MASTERS: usize = 256;

impl Master {
    /// Connects to every known master that is not connected, and challenges it (5.3).
    pub(super) fn challenge_masters(&mut self, turn: &mut Turn<'_>) {
        if self.phase != Phase::Recovering {
            return;
        }
        let unconnected: Vec<_> = self
            .nodes
            .of_type(NodeType::Master)
            .filter(|(key, record)| *key != self.own && record.connection().is_none())
            .filter_map(|(key, record)| Some((key, record.address()?.clone())))
            .collect();
        let down: Vec<_> = unconnected
            .iter()
            .map(|(key, _)| *key)
            .filter(|key| self.set_node_state(*key, NodeState::Down))
            .collect();
        self.tell_nodes(turn, &down);
        let mut next_ms = None;
        for (key, address) in unconnected {
            match self.pacing.delay_ms(&address, turn.now) {
                0 => self.connect_to_master(turn, key, address),
                delay_ms => {
                    next_ms = Some(next_ms.map_or(delay_ms, |next: u64| next.min(delay_ms)));
                }
            }
        }
        if let Some(delay_ms) = next_ms {
            let timer = MASTERS;
            turn.out.push(Output::SetTimer { timer, delay_ms });
        }
    }

    pub(super) fn connect_to_master(
        &mut self,
        turn: &mut Turn<'_>,
        key: NodeKey,
        address: Address,
    ) {
        self.pacing.attempt(&address, turn.now);
        let connection = self.links.connect(address, turn.out);
        self.nodes.set_connection(key, Some(connection));
    }

    /// What a master that we challenge says before it answers.
    pub(super) fn on_challenged(&mut self, turn: &mut Turn<'_>, from: Asker, packet: Packet) {
        match packet {
            Packet::NotPrimaryMaster { primary, known_masters } => {
                let hint = self.learn_masters(primary, known_masters);
                let Some(primary) = hint.filter(|hint| *hint != self.own) else {
                    // The peer closes, and the challenge is sent again.
                    return;
                };
                let is_beaten = |key| self.nodes.get(key).is_some_and(|record| record.identified);
                if !is_beaten(primary) {
                    self.become_secondary(turn, primary, None);
                }
            }
            packet => self.unexpected(turn, from, "master, election", &packet),
        }
    }

    /// The answer of a master that we challenge.
    pub(super) fn on_challenge_answer(
        &mut self,
        turn: &mut Turn<'_>,
        connection: ConnectionId,
        packet: Packet,
    ) {
        let peer = self.nodes.by_connection(connection);
        match (packet, peer) {
            (
                Packet::AcceptIdentification { node_type: NodeType::Master, nid, your_nid },
                Some(peer),
            ) if self.phase == Phase::Recovering => {
                self.become_secondary(turn, peer, Some(connection));
                self.on_accepted(turn, connection, nid, your_nid);
            }
            (packet, _) => {
                warn!(?connection, ?packet, "this master does not accept the challenge");
                self.cut(turn, connection);
            }
        }
    }

    /// Remembers the masters that a master knows; returns the one it believes to be the primary.
    pub(super) fn learn_masters(
        &mut self,
        primary: Option<u32>,
        known: Vec<Address>,
    ) -> Option<NodeKey> {
        let index = primary.and_then(|index| usize::try_from(index).ok());
        let primary = index.and_then(|index| known.get(index).cloned());
        for address in known {
            self.learn_master(&address);
        }
        primary.and_then(|address| self.known_master(&address))
    }

    fn known_master(&self, address: &Address) -> Option<NodeKey> {
        let (key, record) = self.nodes.find_address(address)?;
        (record.node_type() == NodeType::Master).then_some(key)
    }

    /// Remembers a master by its address.
    pub(super) fn learn_master(&mut self, address: &Address) -> Option<NodeKey> {
        if let Some((key, record)) = self.nodes.find_address(address) {
            return (record.node_type() == NodeType::Master).then_some(key);
        }
        if self.nodes.of_type(NodeType::Master).count() >= MAX_MASTERS {
            warn!(%address, "too many masters: this one is ignored");
            return None;
        }
        self.masters_changed = true;
        Some(self.nodes.master_at(address))
    }

    /// The loss of a master on the primary.
    pub(super) fn on_master_lost(&mut self, turn: &mut Turn<'_>, key: NodeKey, established: bool) {
        if self.phase == Phase::Recovering {
            let address = self.nodes.get(key).and_then(|record| record.address());
            if let (Some(address), false) = (address, established) {
                self.pacing.failed(address);
            }
            // Nobody is told now, so that there is no storm while masters settle.
            self.challenge_masters(turn);
        } else if self.set_node_state(key, NodeState::Down) {
            self.tell_nodes(turn, &[key]);
        }
    }

    /// Gives up challenges that are not answered: masters past RECOVERING never yield. Returns
    /// those whose state changed.
    pub(super) fn end_election(&mut self, turn: &mut Turn<'_>) -> Vec<NodeKey> {
        turn.out.push(Output::CancelTimer { timer: MASTERS });
        let absent: Vec<_> = self
            .nodes
            .of_type(NodeType::Master)
            .filter(|(key, record)| *key != self.own && !record.identified)
            .map(|(key, record)| (key, record.connection()))
            .collect();
        let mut changed = Vec::new();
        for (key, connection) in absent {
            if let Some(connection) = connection {
                self.nodes.set_connection(key, None);
                self.links.close(connection, turn.out);
            }
            if self.set_node_state(key, NodeState::Down) {
                changed.push(key);
            }
        }
        changed
    }

    /// Gives the primary role up: another master has it. `kept` if it accepted us there.
    pub(super) fn become_secondary(
        &mut self,
        turn: &mut Turn<'_>,
        primary: NodeKey,
        kept: Option<ConnectionId>,
    ) {
        if let Some(record) = self.nodes.get(primary) {
            info!(primary = %record, "another master is the primary");
        }
        debug!(?kept, "this master is secondary from now on");
        self.close_everything(turn, kept);
        self.leave_primary_role(turn);
        self.secondary = super::Secondary::new(primary);
        self.phase = Phase::Secondary;
        match kept {
            Some(connection) => self.secondary.attach(connection),
            None => self.try_primary(turn),
        }
    }
}
