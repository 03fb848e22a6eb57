//! The command-line tool `neoctl`: one command, one connection to an admin, then exit (spec
//! tools.md 8).
//!
//! [`Command::parse`] understands the words of the command line, [`Ctl`] is the node that carries
//! the command out: what goes to stdout is an effect, what goes to stderr is in the exit. What an
//! operator should know before a command is asked by another one, [`Ctl::cautions`].

mod caution;
mod command;
mod dialogue;
mod failure;
mod format;
mod help;
mod json;
mod values;

use std::collections::VecDeque;

use neo_wire::{Address, ErrorCode, Packet};

use crate::io::{ConnectionId, Exit, Input, Node, Nothing, Now, Output, Outputs, TimerId};
use crate::links::{Incoming, Links, Lost};
use dialogue::Next;

pub use command::{Check, Command, Goal, Rows, Targets};
pub use failure::{Failure, FailureKind};
pub use help::COMMANDS;

const TIMEOUT: TimerId = TimerId(0);
const RETRY: TimerId = TimerId(1);
const PATIENCE: TimerId = TimerId(2);

/// How long to wait before asking again what is waited for, in milliseconds.
const RETRY_MS: u64 = 100;

/// How long an admin may take to be there, when there is another one, in milliseconds.
const PATIENCE_MS: u64 = 3000;

/// What is wrong with the words of a command, in one line for the operator.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0}")]
pub struct UsageError(String);

/// What only this node does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Effect {
    /// Write this text to stdout as it is (newlines are in it).
    Print(String),
    /// It fails: the exit that follows has the same text.
    Failed(Failure),
}

/// What is asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Asked {
    /// Whether this admin is there and has a master.
    Probe,
    /// Something that the command needs.
    Command,
}

/// A command being carried out.
#[derive(Debug)]
pub struct Ctl {
    /// The one that is spoken to.
    admin: Address,
    others: VecDeque<Address>,
    /// How many of the others were not tried yet.
    untried: usize,
    command: Command,
    only_cautions: bool,
    json: bool,
    timeout_ms: Option<u64>,
    answers: Vec<Packet>,
    /// What is waited for, if it was looked at.
    waiting: Option<String>,
    links: Links<Asked>,
    done: bool,
}

impl Ctl {
    /// To give a command to the admin at this address.
    #[must_use]
    pub fn new(admin: Address, command: Command) -> Self {
        Self {
            admin,
            others: VecDeque::new(),
            untried: 0,
            command,
            only_cautions: false,
            json: false,
            timeout_ms: None,
            answers: Vec::new(),
            waiting: None,
            links: Links::default(),
            done: false,
        }
    }

    /// Only asks what the operator should know before the command, which is not given: a line is
    /// printed for each caution, if any.
    #[must_use]
    pub fn cautions(admin: Address, command: Command) -> Self {
        Self { only_cautions: true, ..Self::new(admin, command) }
    }

    /// Goes to other admins, in this order, if one is not there or has no master.
    #[must_use]
    pub fn or_at(mut self, others: impl IntoIterator<Item = Address>) -> Self {
        self.others.extend(others);
        self
    }

    /// Prints an object for programs.
    #[must_use]
    pub const fn as_json(mut self, json: bool) -> Self {
        self.json = json;
        self
    }

    /// Gives up after so many milliseconds, if any: the command may be carried out all the same.
    #[must_use]
    pub const fn with_timeout(mut self, timeout_ms: Option<u64>) -> Self {
        self.timeout_ms = timeout_ms;
        self
    }

    fn exit(&mut self, exit: Exit, out: &mut Outputs<Effect>) {
        if !std::mem::replace(&mut self.done, true) {
            out.push(Output::Exit { exit });
        }
    }

    fn fail(&mut self, failure: Failure, out: &mut Outputs<Effect>) {
        if !self.done {
            let exit = Exit::Failure(failure.text.clone());
            out.push(Output::Own(Effect::Failed(failure)));
            self.exit(exit, out);
        }
    }

    fn start(&mut self, out: &mut Outputs<Effect>) {
        if let Some(delay_ms) = self.timeout_ms {
            let timer = TIMEOUT;
            out.push(Output::SetTimer { timer, delay_ms });
        }
        self.untried = self.others.len();
        self.connect(out);
    }

    fn connect(&mut self, out: &mut Outputs<Effect>) {
        self.answers.clear();
        self.links.connect(self.admin.clone(), out);
        self.be_patient(out);
    }

    /// Only with somebody else to turn to.
    fn be_patient(&self, out: &mut Outputs<Effect>) {
        if !self.others.is_empty() {
            let (timer, delay_ms) = (PATIENCE, PATIENCE_MS);
            out.push(Output::SetTimer { timer, delay_ms });
        }
    }

    /// A process that is stopped accepts connections: whether it answers is known before anything
    /// is asked that can not be asked twice.
    fn connected(&mut self, connection: ConnectionId, out: &mut Outputs<Effect>) {
        if self.others.is_empty() {
            return self.advance(connection, out);
        }
        let probe = Packet::AskClusterState {};
        // Established: it can not be given back.
        let _ = self.links.request(connection, probe, Asked::Probe, out);
    }

    /// This admin can not help: the next one, or the same ones later if something is waited for.
    fn unavailable(&mut self, failure: Failure, out: &mut Outputs<Effect>) {
        if self.done {
            return;
        }
        if self.untried > 0
            && let Some(next) = self.others.pop_front()
        {
            self.untried -= 1;
            self.others.push_back(std::mem::replace(&mut self.admin, next));
            return self.connect(out);
        }
        if let Command::Wait(_) = self.command {
            self.untried = self.others.len();
            let text = failure.text;
            self.waiting = Some(text.strip_prefix("ERROR: ").unwrap_or(&text).to_owned());
            return self.retry(out);
        }
        self.fail(failure, out);
    }

    fn retry(&mut self, out: &mut Outputs<Effect>) {
        let (timer, delay_ms) = (RETRY, RETRY_MS);
        out.push(Output::SetTimer { timer, delay_ms });
    }

    fn advance(&mut self, connection: ConnectionId, out: &mut Outputs<Effect>) {
        let next = match self.only_cautions {
            true => caution::next(&self.command, &self.answers),
            false => dialogue::next(&self.command, &self.answers),
        };
        match next {
            Next::Ask(request) => {
                if self.links.request(connection, request, Asked::Command, out).is_err() {
                    self.fail(Failure::closed(), out);
                }
            }
            Next::Tell(packet) => {
                self.links.notify(connection, packet, out);
                if self.json {
                    out.push(Output::Own(Effect::Print("{}\n".into())));
                }
                self.exit(Exit::Success, out);
            }
            Next::Done(reply) => {
                let text = if self.json { Some(reply.json.to_string()) } else { reply.text };
                if let Some(text) = text {
                    out.push(Output::Own(Effect::Print(text + "\n")));
                }
                self.exit(Exit::Success, out);
            }
            Next::Later(reason) => {
                self.waiting = Some(reason);
                self.answers.clear();
                self.retry(out);
            }
            Next::Fail(failure) => self.fail(failure, out),
        }
    }

    fn answered(
        &mut self,
        connection: ConnectionId,
        asked: Asked,
        packet: Packet,
        out: &mut Outputs<Effect>,
    ) {
        if asked == Asked::Probe {
            out.push(Output::CancelTimer { timer: PATIENCE });
        }
        let Packet::Error { code, message } = &packet else {
            if asked == Asked::Command {
                self.answers.push(packet);
            }
            return self.advance(connection, out);
        };
        let text = match code {
            ErrorCode::Ack => {
                self.answers.push(packet);
                return self.advance(connection, out);
            }
            ErrorCode::Denied => message.to_string(),
            // What every other node says to a peer that did not identify.
            ErrorCode::ProtocolError if message.as_bytes().starts_with(b"unexpected packet") => {
                format!("{} is not an admin node", self.admin)
            }
            ErrorCode::ProtocolError if message.is_empty() => "ERROR: protocol error".into(),
            _ => format!("ERROR: {message}"),
        };
        let failure = Failure { kind: FailureKind::Answered(*code), text };
        if *code == ErrorCode::NotReady {
            // Nothing was done.
            let _ = self.links.close(connection, out);
            return self.unavailable(failure, out);
        }
        self.fail(failure, out);
    }

    fn lost(&mut self, lost: &Lost<Asked>, out: &mut Outputs<Effect>) {
        if !lost.established {
            return self.unavailable(Failure::not_connected(), out);
        }
        let harmless = lost.pending.contains(&Asked::Probe);
        if harmless || matches!(self.command, Command::Wait(_)) {
            return self.unavailable(Failure::closed(), out);
        }
        self.fail(Failure::closed(), out);
    }

    fn on_timer(&mut self, timer: TimerId, out: &mut Outputs<Effect>) {
        let connection = self.links.ids().next();
        match (timer, connection) {
            (TIMEOUT, _) => {
                let text = match self.waiting.take() {
                    Some(reason) => format!("ERROR: timed out: {reason}"),
                    None => "ERROR: timed out".into(),
                };
                self.fail(Failure { kind: FailureKind::TimedOut, text }, out);
            }
            (PATIENCE, Some(connection)) => {
                let _ = self.links.close(connection, out);
                self.unavailable(Failure::not_connected(), out);
            }
            (RETRY, Some(connection)) => self.advance(connection, out),
            (RETRY, None) => self.connect(out),
            _ => {}
        }
    }
}

impl Node for Ctl {
    type Event = Nothing;
    type Effect = Effect;

    fn handle(&mut self, _now: Now, input: Input<Nothing>, out: &mut Outputs<Effect>) {
        if self.done {
            return;
        }
        match input {
            Input::Start => self.start(out),
            Input::Connected { connection } => {
                if self.links.connected(connection) {
                    self.connected(connection, out);
                }
            }
            Input::Received { connection, message } => {
                let received = self.links.receive(connection, message, out);
                if let Incoming::Answer { context, packet } = received.incoming {
                    self.answered(connection, context, packet, out);
                }
                if let Some(lost) = received.lost {
                    self.lost(&lost, out);
                }
            }
            Input::Closed { connection } => {
                if let Some(lost) = self.links.closed(connection) {
                    self.lost(&lost, out);
                }
            }
            Input::Stop => self.fail(Failure::refused("ERROR: interrupted"), out),
            Input::Timer { timer } => self.on_timer(timer, out),
            Input::Accepted { .. } => {}
            Input::Own(nothing) => match nothing {},
        }
    }
}

#[cfg(test)]
mod tests;
