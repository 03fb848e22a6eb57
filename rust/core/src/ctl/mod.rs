//! The command-line tool `neoctl`: one command, one connection to an admin, then exit (spec
//! tools.md 8).
//!
//! [`Command::parse`] understands the words of the command line, [`Ctl`] is the node that carries
//! the command out: what goes to stdout is an effect, what goes to stderr is in the exit.

mod command;
mod dialogue;
mod format;
mod help;
mod values;

use neo_wire::{Address, ErrorCode, Packet};

use crate::io::{ConnectionId, Exit, Input, Node, Nothing, Now, Output, Outputs, TimerId};
use crate::links::{Incoming, Links, Lost};
use dialogue::Next;

pub use command::{Check, Command, Rows, Targets};
pub use help::COMMANDS;

const TIMEOUT: TimerId = TimerId(0);

/// What is wrong with the words of a command, in one line for the operator.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0}")]
pub struct UsageError(String);

/// What only this node does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Effect {
    /// Write this text to stdout as it is (newlines are in it).
    Print(String),
}

/// A command being carried out.
#[derive(Debug)]
pub struct Ctl {
    admin: Address,
    command: Command,
    answers: Vec<Packet>,
    timeout_ms: Option<u64>,
    links: Links<()>,
    done: bool,
}

impl Ctl {
    /// To give a command to the admin at this address.
    #[must_use]
    pub fn new(admin: Address, command: Command) -> Self {
        Self {
            admin,
            command,
            answers: Vec::new(),
            timeout_ms: None,
            links: Links::default(),
            done: false,
        }
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

    fn fail(&mut self, text: String, out: &mut Outputs<Effect>) {
        self.exit(Exit::Failure(text), out);
    }

    fn advance(&mut self, connection: ConnectionId, out: &mut Outputs<Effect>) {
        match dialogue::next(&self.command, &self.answers) {
            Next::Ask(request) => {
                if self.links.request(connection, request, (), out).is_err() {
                    self.fail("ERROR: Connection closed".into(), out);
                }
            }
            Next::Tell(packet) => {
                self.links.notify(connection, packet, out);
                self.exit(Exit::Success, out);
            }
            Next::Done(text) => {
                if let Some(text) = text {
                    out.push(Output::Own(Effect::Print(text + "\n")));
                }
                self.exit(Exit::Success, out);
            }
            Next::Fail(text) => self.fail(text, out),
        }
    }

    fn answered(&mut self, connection: ConnectionId, packet: Packet, out: &mut Outputs<Effect>) {
        let Packet::Error { code, message } = &packet else {
            self.answers.push(packet);
            return self.advance(connection, out);
        };
        match code {
            ErrorCode::Ack => {
                self.answers.push(packet);
                self.advance(connection, out);
            }
            ErrorCode::Denied => self.fail(message.to_string(), out),
            // What every other node says to a peer that did not identify.
            ErrorCode::ProtocolError if message.as_bytes().starts_with(b"unexpected packet") => {
                self.fail(format!("{} is not an admin node", self.admin), out);
            }
            ErrorCode::ProtocolError if message.is_empty() => {
                self.fail("ERROR: protocol error".into(), out);
            }
            _ => self.fail(format!("ERROR: {message}"), out),
        }
    }

    fn lost(&mut self, lost: &Lost<()>, out: &mut Outputs<Effect>) {
        let text =
            if lost.established { "ERROR: Connection closed" } else { "ERROR: not connected" };
        self.fail(text.into(), out);
    }
}

impl Node for Ctl {
    type Event = Nothing;
    type Effect = Effect;

    fn handle(&mut self, _now: Now, input: Input<Nothing>, out: &mut Outputs<Effect>) {
        match input {
            Input::Start => {
                self.links.connect(self.admin.clone(), out);
                if let Some(delay_ms) = self.timeout_ms {
                    let timer = TIMEOUT;
                    out.push(Output::SetTimer { timer, delay_ms });
                }
            }
            Input::Connected { connection } => {
                if self.links.connected(connection) {
                    self.advance(connection, out);
                }
            }
            Input::Received { connection, message } => {
                let received = self.links.receive(connection, message, out);
                if let Incoming::Answer { packet, .. } = received.incoming
                    && !self.done
                {
                    self.answered(connection, packet, out);
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
            Input::Stop => self.fail("ERROR: interrupted".into(), out),
            Input::Timer { .. } => self.fail("ERROR: timed out".into(), out),
            Input::Accepted { .. } => {}
            Input::Own(nothing) => match nothing {},
        }
    }
}

#[cfg(test)]
mod tests;
