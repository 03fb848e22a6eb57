//! What goes wrong, and when.

use std::collections::BTreeMap;

use super::{Event, World};
use crate::host::{DiskFault, Kind, NodeIndex};
use crate::network::{EndRef, KEEP_ALIVE};
use crate::schedule::Time;

/// A kind of fault.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum FaultKind {
    /// The process is killed: the system closes its connections and keeps what it wrote.
    Kill,
    /// The machine loses power: nobody is told, what was not synced is lost.
    PowerCut,
    /// The process does nothing for a while.
    Pause,
    /// Its clock jumps forward.
    ClockForward,
    /// Its clock jumps back.
    ClockBack,
    /// A connection of it is reset, maybe in the middle of a packet.
    Reset,
    /// Its end of a connection vanishes; the peer learns it when it speaks.
    HalfOpen,
    /// What another node sends to it does not arrive for a while.
    OneWay,
    /// Nothing passes between it and some others for a while.
    Partition,
    /// It accepts no connection for a while.
    RefuseConnections,
    /// Its disk is slow for a while.
    SlowDisk,
    /// A commit fails and leaves nothing.
    FailedCommit,
    /// A commit is reported as failed although it is durable.
    LyingCommit,
    /// Every commit fails for a while.
    DiskFull,
}

impl FaultKind {
    /// Those of every node.
    pub const COMMON: [Self; 10] = [
        Self::Kill,
        Self::PowerCut,
        Self::Pause,
        Self::ClockForward,
        Self::ClockBack,
        Self::Reset,
        Self::HalfOpen,
        Self::OneWay,
        Self::Partition,
        Self::RefuseConnections,
    ];

    /// Those of disks.
    pub const DISK: [Self; 4] =
        [Self::SlowDisk, Self::FailedCommit, Self::LyingCommit, Self::DiskFull];
}

/// When, relative to the handling of a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Moment {
    /// The packet is lost, as far as the process is concerned.
    Before,
    /// After so many of its outputs: only for faults that end the process.
    Between(usize),
    /// Everything that it wanted to send has left.
    After,
}

/// A fault that waits for a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Trigger {
    /// The kind of node that receives the packet, and gets the fault.
    pub of: Kind,
    /// The packet.
    pub code: u16,
    /// How many of them pass before.
    pub skip: u32,
    /// When exactly.
    pub moment: Moment,
    /// What happens.
    pub kind: FaultKind,
}

/// How often each fault was made, by the packet that the node had received last.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Coverage(pub BTreeMap<(Kind, u16, FaultKind), u64>);

impl Coverage {
    /// Adds those of another simulation.
    pub fn add(&mut self, other: &Self) {
        for (key, count) in &other.0 {
            *self.0.entry(*key).or_default() += count;
        }
    }
}

impl World {
    /// Adds a fault that waits for a packet.
    pub fn add_trigger(&mut self, trigger: Trigger) {
        self.triggers.push(trigger);
    }

    /// Faults may be made from now on.
    pub fn disturb(&mut self) {
        self.disturbed = true;
    }

    /// Stops making faults, and repairs. What would only be noticed much later is noticed soon.
    pub fn heal(&mut self) {
        self.disturbed = false;
        self.triggers.clear();
        for (from, to) in self.network.blocks() {
            self.schedule.after(Time::ZERO, Event::Unblock(from, to));
        }
        self.notice_half_open();
        for node in self.nodes() {
            self.host_mut(node).heal();
            let slot = &mut self.slots[node.0];
            slot.refuses_until = Time::ZERO;
            slot.paused_until = slot.paused_until.min(self.schedule.now() + Time::s(1));
            if !slot.running {
                let delay = self.random.time(Time::ms(1), Time::s(1));
                self.schedule.after(delay, Event::Boot(node));
            }
        }
    }

    /// Nodes learn soon about connections whose other end vanished, which takes much longer in
    /// fact: meanwhile others would do nothing but what they did a thousand times.
    pub fn notice_half_open(&mut self) {
        for end in self.network.half_open() {
            let delay = self.random.time(Time::ms(1), Time::s(1));
            self.schedule.after(delay, Event::Cut(end));
        }
    }

    pub(super) fn pull_trigger(&mut self, node: NodeIndex, code: u16) -> Option<Trigger> {
        if self.triggers.is_empty() {
            return None;
        }
        let kind = self.host(node).kind();
        let index =
            self.triggers.iter().position(|trigger| trigger.code == code && trigger.of == kind)?;
        let trigger = &mut self.triggers[index];
        if trigger.skip > 0 {
            trigger.skip -= 1;
            return None;
        }
        Some(self.triggers.swap_remove(index))
    }

    pub(super) fn fire(&mut self, trigger: Option<Trigger>, node: NodeIndex, end: EndRef) {
        if let Some(trigger) = trigger {
            self.inject(trigger.kind, node, Some(end));
        }
    }

    /// Makes a fault: at this connection of the node, or at one of its own choice.
    pub fn inject(&mut self, kind: FaultKind, node: NodeIndex, end: Option<EndRef>) {
        if !self.disturbed || !self.slots[node.0].running {
            return;
        }
        let code = self.slots[node.0].last_code;
        let of = self.host(node).kind();
        *self.coverage.0.entry((of, code, kind)).or_default() += 1;
        self.note(node, format_args!("FAULT {kind:?}"));
        self.trace.mix(kind as u64);
        let now = self.now();
        match kind {
            FaultKind::Kill => {
                self.crash(node, false);
                let delay = self.random.scale(Time::s(5));
                self.schedule.after(delay, Event::Boot(node));
            }
            FaultKind::PowerCut => {
                self.crash(node, true);
                let delay = self.random.scale(Time::s(150));
                self.schedule.after(delay, Event::Boot(node));
            }
            FaultKind::Pause => {
                let delay = self.random.scale(Time::s(30));
                self.slots[node.0].paused_until = now + delay;
            }
            FaultKind::ClockForward | FaultKind::ClockBack => {
                let jump_s = self.random.scale(Time::s(3_000)).0 as f64 / 1e6;
                let sign = if kind == FaultKind::ClockBack { -1.0 } else { 1.0 };
                self.slots[node.0].wall_offset_s += sign * jump_s;
            }
            FaultKind::Reset | FaultKind::HalfOpen | FaultKind::OneWay => {
                if let Some(end) = end.or_else(|| self.any_end(node)) {
                    self.break_link(kind, node, end);
                }
            }
            FaultKind::Partition => self.isolate(node, end),
            FaultKind::RefuseConnections => {
                let delay = self.random.scale(Time::s(10));
                self.slots[node.0].refuses_until = now + delay;
            }
            FaultKind::SlowDisk => {
                let latency = self.random.scale(Time::s(2));
                let until = now + self.random.scale(Time::s(10));
                self.disk_fault(node, DiskFault::Slow(latency, until));
            }
            FaultKind::FailedCommit => self.disk_fault(node, DiskFault::FailedCommit),
            FaultKind::LyingCommit => self.disk_fault(node, DiskFault::LyingCommit),
            FaultKind::DiskFull => {
                let until = now + self.random.scale(Time::s(10));
                self.disk_fault(node, DiskFault::Full(until));
            }
        }
    }

    fn disk_fault(&mut self, node: NodeIndex, fault: DiskFault) {
        self.host_mut(node).disk_fault(fault);
    }

    fn any_end(&mut self, node: NodeIndex) -> Option<EndRef> {
        let ends: Vec<EndRef> = self.slots[node.0].ends.values().copied().collect();
        if ends.is_empty() {
            return None;
        }
        Some(ends[self.random.index(ends.len())])
    }

    fn break_link(&mut self, kind: FaultKind, node: NodeIndex, end: EndRef) {
        match kind {
            FaultKind::Reset => {
                let end = if self.random.one_in(2) { end } else { end.peer() };
                let bytes = self.random.index(200);
                self.network.light_fuse(end, bytes);
            }
            FaultKind::HalfOpen => {
                let end = if self.random.one_in(2) { end } else { end.peer() };
                self.cut(end);
                self.schedule.after(KEEP_ALIVE, Event::Cut(end.peer()));
            }
            _ => {
                let other = self.network.node(end.peer());
                if other != node {
                    self.block(other, node);
                }
            }
        }
    }

    /// Nothing passes between a node and others: the one at the other end, or any number.
    fn isolate(&mut self, node: NodeIndex, end: Option<EndRef>) {
        let others: Vec<NodeIndex> = match end {
            Some(end) => vec![self.network.node(end.peer())],
            None => {
                let one_in = self.random.between(1, 2);
                let nodes: Vec<NodeIndex> = self.nodes().collect();
                nodes.into_iter().filter(|_| self.random.one_in(one_in)).collect()
            }
        };
        for other in others.into_iter().filter(|other| *other != node) {
            self.block(other, node);
            self.block(node, other);
        }
    }

    fn block(&mut self, from: NodeIndex, to: NodeIndex) {
        let duration = self.random.scale(Time::s(120));
        self.network.block(from, to);
        self.schedule.after(duration, Event::Unblock(from, to));
        if duration > KEEP_ALIVE {
            for end in self.network.ends_of(to) {
                if self.network.node(end.peer()) == from {
                    self.schedule.after(KEEP_ALIVE, Event::Cut(end));
                    self.schedule.after(KEEP_ALIVE, Event::Cut(end.peer()));
                }
            }
        }
    }
}
