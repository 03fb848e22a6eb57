//! What the world knows of a node: a machine with a process on it.
//!
//! A host is the glue around a core ([`neo_core::io::Node`]): it makes the core when the process
//! starts, carries out the effects that only this kind of node has, and keeps what outlives the
//! process (its disk).

use neo_core::io::{Input, Node, Nothing, Now, Output};

use crate::bugs::Bugs;
use crate::hosts::storage::StorageHost;
use crate::oracle::Oracle;
use crate::random::Random;
use crate::schedule::Time;
use crate::trace::Trace;

/// A node of the world, in the order they were added.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct NodeIndex(pub usize);

/// What a machine is for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Kind {
    /// A master.
    Master,
    /// A storage.
    Storage,
    /// An application with a client.
    Client,
    /// An admin.
    Admin,
    /// Somebody who types commands.
    Operator,
}

/// Something that a host wants to be reminded of; it numbers them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Wake(pub u64);

/// What a host is given at each step.
pub struct Turn<'a> {
    /// The time as the node sees it.
    pub now: Now,
    /// The time of the world.
    pub time: Time,
    /// Which node.
    pub node: NodeIndex,
    /// For every choice.
    pub random: &'a mut Random,
    /// What happens is noted there.
    pub trace: &'a mut Trace,
    /// What the application sees is told there.
    pub oracle: &'a mut Oracle,
    /// Bugs to be made on purpose.
    pub bugs: Bugs,
    /// What the node wants done.
    pub outputs: &'a mut Vec<Output<Nothing>>,
    /// Reminders, after a delay.
    pub wakes: &'a mut Vec<(Time, Wake)>,
}

impl Turn<'_> {
    /// Asks for a reminder; it is lost if the process ends before.
    pub fn wake(&mut self, delay: Time, wake: Wake) {
        self.wakes.push((delay, wake));
    }

    /// Adds a line to the trace.
    pub fn note(&mut self, text: std::fmt::Arguments<'_>) {
        if self.trace.is_verbose() {
            let node = self.node.0;
            self.trace.line(format_args!("               #{node}   {text}"));
        }
    }
}

/// What the disk of a machine can do wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DiskFault {
    /// Everything takes this much longer, until the time given.
    Slow(Time, Time),
    /// The next commit fails and leaves nothing.
    FailedCommit,
    /// The next commit is reported as failed although it is durable.
    LyingCommit,
    /// Every commit fails, until the time given.
    Full(Time),
}

/// See the module.
pub trait Host {
    /// Its kind.
    fn kind(&self) -> Kind;

    /// Starts a process.
    ///
    /// # Errors
    /// The sentence with which it ends at once.
    fn boot(&mut self, turn: &mut Turn<'_>) -> Result<(), String>;

    /// Gives an input to the process.
    ///
    /// # Errors
    /// The sentence with which the process ends.
    fn handle(&mut self, turn: &mut Turn<'_>, input: Input<Nothing>) -> Result<(), String>;

    /// What was asked with [`Turn::wake`].
    ///
    /// # Errors
    /// The sentence with which the process ends.
    fn wake(&mut self, _turn: &mut Turn<'_>, _wake: Wake) -> Result<(), String> {
        Ok(())
    }

    /// The process ends without a word; with the whole machine if `machine`.
    fn crash(&mut self, machine: bool, turn: &mut Turn<'_>);

    /// Whether another process starts when this one ended.
    fn starts_again(&self) -> bool {
        true
    }

    /// Something happens to its disk, if it has one.
    fn disk_fault(&mut self, _fault: DiskFault) {}

    /// No disturbance from now on: disks work.
    fn heal(&mut self) {}

    /// Its disk is empty again.
    fn wipe(&mut self) {}

    /// The application does everything once more, then nothing new.
    fn quiet(&mut self) {}

    /// What starts now is not concerned by [`Host::quiet`] any more.
    fn go_on(&mut self) {}

    /// The application goes on after [`Host::quiet`].
    fn resume(&mut self, _turn: &mut Turn<'_>) {
        self.go_on();
    }

    /// Whether everything the application started has ended.
    fn is_quiet(&self) -> bool {
        true
    }

    /// Nothing is left when nobody wants anything.
    ///
    /// # Errors
    /// What is left.
    fn check_rest(&self) -> Result<(), String> {
        Ok(())
    }

    /// Everything about it, for who looks for a bug.
    fn describe(&self) -> String {
        String::new()
    }

    /// The storage, if it is one.
    fn storage(&self) -> Option<&StorageHost> {
        None
    }
}

/// Gives an input to a core; its outputs go to the turn, its effects to `effects`.
pub fn drive<N: Node>(
    core: &mut N,
    turn: &mut Turn<'_>,
    input: Input<N::Event>,
    effects: &mut Vec<N::Effect>,
) {
    let mut out = Vec::new();
    core.handle(turn.now, input, &mut out);
    for output in out {
        match output {
            Output::Own(effect) => effects.push(effect),
            other => turn.outputs.extend(common_output(other)),
        }
    }
}

/// The same input for another kind of node.
pub fn common_input<E>(input: Input<Nothing>) -> Input<E> {
    match input {
        Input::Start => Input::Start,
        Input::Accepted { connection } => Input::Accepted { connection },
        Input::Connected { connection } => Input::Connected { connection },
        Input::Received { connection, message } => Input::Received { connection, message },
        Input::Closed { connection } => Input::Closed { connection },
        Input::Timer { timer } => Input::Timer { timer },
        Input::Stop => Input::Stop,
        Input::Own(nothing) => match nothing {},
    }
}

fn common_output<F>(output: Output<F>) -> Option<Output<Nothing>> {
    Some(match output {
        Output::Connect { connection, address } => Output::Connect { connection, address },
        Output::Send { connection, msg_id, packet } => Output::Send { connection, msg_id, packet },
        Output::Abort { connection } => Output::Abort { connection },
        Output::Close { connection } => Output::Close { connection },
        Output::SetTimer { timer, delay_ms } => Output::SetTimer { timer, delay_ms },
        Output::CancelTimer { timer } => Output::CancelTimer { timer },
        Output::StopListening => Output::StopListening,
        Output::Exit { exit } => Output::Exit { exit },
        Output::Own(_) => return None,
    })
}
