//! How processes start and end.

use neo_core::io::Input;

use super::{Event, World};
use crate::host::{Kind, NodeIndex};
use crate::network::{Item, KEEP_ALIVE};
use crate::schedule::Time;

impl World {
    /// Starts a process, if there is none.
    pub fn boot(&mut self, node: NodeIndex) {
        let now = self.now();
        let slot = &mut self.slots[node.0];
        if slot.running {
            return;
        }
        slot.running = true;
        slot.powered = true;
        slot.listening = true;
        slot.life += 1;
        slot.booted = now;
        slot.paused_until = Time::ZERO;
        slot.timers.clear();
        slot.ends.clear();
        slot.accepted = 0;
        slot.last_code = 0;
        let life = slot.life;
        self.note(node, format_args!("process {life} starts"));
        let result = self.turn_with(node, None, |host, turn| host.boot(turn));
        match result {
            Ok(()) => self.input(node, Input::Start),
            Err(sentence) => self.exited(node, Err(sentence)),
        }
    }

    /// An operator stops everything and begins again with empty disks.
    pub fn start_over(&mut self) {
        for node in self.nodes() {
            self.crash(node, false);
        }
        for node in self.nodes() {
            self.host_mut(node).wipe();
            let delay = self.random.time(Time::ms(10), Time::s(2));
            self.schedule.after(delay, Event::Boot(node));
        }
    }

    /// An operator empties the disk of a machine, and starts it again.
    pub fn empty(&mut self, node: NodeIndex) {
        self.crash(node, false);
        self.host_mut(node).wipe();
        self.schedule.after(Time::s(1), Event::Boot(node));
    }

    /// Stops every process of a kind.
    pub fn stop(&mut self, kind: Kind) {
        for node in self.nodes_of(kind) {
            self.crash(node, false);
        }
    }

    /// Applications go on.
    pub fn resume(&mut self) {
        for node in self.nodes() {
            if self.is_running(node) {
                self.turn_with(node, None, |host, turn| host.resume(turn));
            } else {
                self.host_mut(node).go_on();
                self.boot(node);
            }
        }
        self.flush();
    }

    /// A process ends by itself; whoever watches it starts another one.
    pub(super) fn exited(&mut self, node: NodeIndex, result: Result<(), String>) {
        if !self.slots[node.0].running {
            return;
        }
        self.note(node, format_args!("exit: {result:?}"));
        self.oracle.exited(node, &result);
        self.crash(node, false);
        if !self.host(node).starts_again() {
            return;
        }
        let delay = self.random.time(Time::ms(10), Time::s(2));
        self.schedule.after(delay, Event::Boot(node));
    }

    /// A process is killed, or its machine loses power.
    pub fn crash(&mut self, node: NodeIndex, power: bool) {
        let slot = &mut self.slots[node.0];
        if !slot.running {
            return;
        }
        slot.running = false;
        slot.life += 1;
        slot.powered = !power;
        slot.timers.clear();
        let ends = std::mem::take(&mut slot.ends);
        let what = if power { "loses power" } else { "is gone" };
        self.note(node, format_args!("{what}"));
        self.turn_with(node, None, |host, turn| host.crash(power, turn));
        for end in ends.into_values() {
            if power {
                self.network.forget(end);
                self.schedule.after(KEEP_ALIVE, Event::Cut(end.peer()));
            } else {
                let item = if self.random.one_in(2) { Item::Fin } else { Item::Reset };
                let (schedule, random) = (&mut self.schedule, &mut self.random);
                self.network.leave(end, item, schedule, random);
            }
        }
    }
}
