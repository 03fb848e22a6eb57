//! One step of a node: it gets an input, what it wants is carried out.

use neo_core::io::{Exit, Nothing, Output};
use neo_wire::{Packet, encode_message};

use super::{Event, World};
use crate::bugs::Bugs;
use crate::host::{Host, Kind, NodeIndex, Turn};
use crate::network::Item;
use crate::schedule::Time;

impl World {
    /// Lets a host do something, then carries out what it wants: the first `limit` outputs only,
    /// if the process is to end in the middle.
    pub(super) fn turn_with<R>(
        &mut self,
        node: NodeIndex,
        limit: Option<usize>,
        step: impl FnOnce(&mut dyn Host, &mut Turn<'_>) -> R,
    ) -> R {
        let (mut outputs, mut wakes) = (Vec::new(), Vec::new());
        let (now, time) = (self.node_now(node), self.now());
        let slot = &mut self.slots[node.0];
        let mut turn = Turn {
            now,
            time,
            node,
            random: &mut self.random,
            trace: &mut self.trace,
            oracle: &mut self.oracle,
            bugs: self.bugs,
            outputs: &mut outputs,
            wakes: &mut wakes,
        };
        let result = step(&mut *slot.host, &mut turn);
        let life = slot.life;
        for (delay, wake) in wakes {
            self.schedule.after(delay, Event::Wake { node, life, wake });
        }
        outputs.truncate(limit.unwrap_or(usize::MAX));
        let mut exit = None;
        for output in outputs {
            if let Output::Exit { exit: asked } = output {
                exit = Some(asked);
            } else {
                self.carry_out(node, output);
            }
        }
        if let Some(exit) = exit {
            self.flush();
            let result = match exit {
                Exit::Success => Ok(()),
                Exit::Failure(sentence) => Err(sentence),
            };
            self.exited(node, result);
        }
        result
    }

    fn carry_out(&mut self, node: NodeIndex, output: Output<Nothing>) {
        match output {
            Output::Connect { connection, address } => {
                let to = self.by_address.get(&address).copied();
                self.note(node, format_args!("connect {connection:?} {address}"));
                let opener = (node, connection);
                let end = self.network.connect(opener, to, &mut self.schedule, &mut self.random);
                self.slots[node.0].ends.insert(connection, end);
            }
            Output::Send { connection, msg_id, packet } => {
                let Some(end) = self.slots[node.0].ends.get(&connection).copied() else {
                    return;
                };
                let to = self.network.node(end.peer());
                if self.loses(to, &packet) {
                    return;
                }
                if self.trace.is_verbose() {
                    let text = format!("{connection:?} -> {msg_id} {packet:?}");
                    self.note(node, format_args!("{text}"));
                }
                let life = self.slots[node.0].life;
                if self.network.is_open(end.peer()) {
                    let from = (self.slots[node.0].host.kind(), node, life);
                    let to = (self.slots[to.0].host.kind(), end);
                    self.oracle.sent(from, to, &packet);
                }
                encode_message(msg_id, &packet, self.network.out(end));
                if self.dirty.last() != Some(&end) {
                    self.dirty.push(end);
                }
            }
            Output::Abort { connection } => {
                if let Some(end) = self.slots[node.0].ends.remove(&connection) {
                    self.note(node, format_args!("abort {connection:?}"));
                    let (schedule, random) = (&mut self.schedule, &mut self.random);
                    self.network.flush(end, schedule, random);
                    self.network.leave(end, Item::Fin, schedule, random);
                }
            }
            Output::Close { connection } => {
                if let Some(end) = self.slots[node.0].ends.remove(&connection) {
                    self.note(node, format_args!("close {connection:?}"));
                    let (schedule, random) = (&mut self.schedule, &mut self.random);
                    self.network.leave(end, Item::Fin, schedule, random);
                }
            }
            Output::SetTimer { timer, delay_ms } => {
                let slot = &mut self.slots[node.0];
                slot.timers_set += 1;
                slot.timers.insert(timer, slot.timers_set);
                let (life, generation) = (slot.life, slot.timers_set);
                self.schedule
                    .after(Time::ms(delay_ms), Event::Timer { node, life, timer, generation });
            }
            Output::CancelTimer { timer } => {
                self.slots[node.0].timers.remove(&timer);
            }
            Output::StopListening => self.slots[node.0].listening = false,
            Output::Exit { .. } => {}
            Output::Own(nothing) => match nothing {},
        }
    }

    /// Whether a bug made on purpose loses a packet.
    fn loses(&self, to: NodeIndex, packet: &Packet) -> bool {
        let first = |kind| {
            let mut nodes = self.nodes();
            let first = nodes.find(|node| self.host(*node).kind() == kind);
            first == Some(to)
        };
        match (self.bugs, packet) {
            (Bugs::LostInvalidation, Packet::InvalidateObjects { .. }) => first(Kind::Client),
            (Bugs::LostUnlock, Packet::NotifyUnlockInformation { .. }) => first(Kind::Storage),
            _ => false,
        }
    }

    /// What was written leaves.
    pub(super) fn flush(&mut self) {
        let mut dirty = std::mem::take(&mut self.dirty);
        for end in dirty.drain(..) {
            self.network.flush(end, &mut self.schedule, &mut self.random);
        }
        self.dirty = dirty;
    }
}
