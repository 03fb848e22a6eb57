//! A node that answers Ping, as every node does, and sends some: what tests of connections talk
//! to.
//!
//! `echo_node [--tls CA CERT KEY] [--listen ADDRESS] [--connect ADDRESS [--pings N]]`
//! `          [--never-stop] [--broken]`
//!
//! Prints what happens, one line each: `listening 127.0.0.1:1234`, `accepted`, `connected`,
//! `received Ping`, `pong`, `closed`. With `--connect`, connects once, sends N pings (1), and ends
//! when they are answered (status 0) or the connection is lost (status 1). With `--never-stop`, it
//! does nothing but print `asked to stop`; with `--broken`, it can not stand a packet.

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use neo_core::io::{ConnectionId, Exit, Input, Node, Nothing, Now, Output, Outputs};
use neo_net::{NoEffects, Shell, ShellConfig, Tls};
use neo_wire::{Address, Packet};

struct Echo {
    connect: Option<SocketAddr>,
    pings: u32,
    pongs: u32,
    never_stop: bool,
    broken: bool,
}

const OURS: ConnectionId = ConnectionId::opened(0);

/// Tests wait for these lines.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    if writeln!(out, "{line}").and_then(|()| out.flush()).is_err() {
        std::process::exit(3);
    }
}

impl Echo {
    fn received(&mut self, connection: ConnectionId, packet: &Packet, msg_id: u32) -> Outs {
        assert!(!self.broken, "an invariant of this node is broken");
        say(&format!("received {}", packet.name()));
        match packet {
            Packet::Ping {} => Some(Output::Send { connection, msg_id, packet: Packet::Pong {} }),
            Packet::Pong {} => {
                self.pongs += 1;
                (self.pongs == self.pings).then_some(Output::Exit { exit: Exit::Success })
            }
            _ => Some(Output::Abort { connection }),
        }
    }
}

type Outs = Option<Output<Nothing>>;

impl Node for Echo {
    type Event = Nothing;
    type Effect = Nothing;

    fn handle(&mut self, _now: Now, input: Input<Nothing>, out: &mut Outputs<Nothing>) {
        match input {
            Input::Start => out.extend(self.connect.map(|address| Output::Connect {
                connection: OURS,
                address: Address::from_socket(address),
            })),
            Input::Accepted { .. } => say("accepted"),
            Input::Connected { connection } => {
                say("connected");
                out.extend((0..self.pings).map(|msg_id| Output::Send {
                    connection,
                    msg_id,
                    packet: Packet::Ping {},
                }));
            }
            Input::Received { connection, message } => out.extend(self.received(
                connection,
                &message.packet,
                message.msg_id.unwrap_or_default(),
            )),
            Input::Closed { connection } => {
                say("closed");
                if connection == OURS {
                    out.push(Output::Exit { exit: Exit::Failure("connection lost".into()) });
                }
            }
            Input::Stop if self.never_stop => say("asked to stop"),
            Input::Stop => out.push(Output::Exit { exit: Exit::Success }),
            Input::Timer { .. } | Input::Own(_) => {}
        }
    }
}

fn run() -> Result<Exit, String> {
    let mut config = ShellConfig::default();
    let mut node = Echo { connect: None, pings: 1, pongs: 0, never_stop: false, broken: false };
    let mut words = std::env::args().skip(1);
    while let Some(option) = words.next() {
        let mut value = || words.next().ok_or_else(|| format!("{option}: a value is missing"));
        let bad = |error: &dyn std::fmt::Display| format!("{option}: {error}");
        match option.as_str() {
            "--tls" => {
                let [ca, cert, key] = [value()?, value()?, value()?].map(PathBuf::from);
                let tls = Tls::open(&ca, &cert, &key);
                config.tls = Some(tls.map_err(|error| error.to_string())?);
            }
            "--listen" => config.listen = Some(value()?.parse().map_err(|e| bad(&e))?),
            "--connect" => node.connect = Some(value()?.parse().map_err(|e| bad(&e))?),
            "--pings" => node.pings = value()?.parse().map_err(|e| bad(&e))?,
            "--never-stop" => node.never_stop = true,
            "--broken" => node.broken = true,
            _ => return Err(format!("{option}: unknown option")),
        }
    }
    let shell = Shell::bind(config).map_err(|error| error.to_string())?;
    if let Some(address) = shell.address() {
        say(&format!("listening {address}"));
    }
    shell.run(node, NoEffects).map_err(|error| error.to_string())
}

fn main() -> ExitCode {
    match run() {
        Ok(Exit::Success) => ExitCode::SUCCESS,
        Ok(Exit::Failure(why)) | Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}
