//! How long a round trip takes: raw sockets, then the shell, in one run, interleaved.
//!
//! `ping_pong [ROUND_TRIPS]`
//!
//! The raw line is what the machine can do: two threads, blocking sockets, 5 bytes each way.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Instant;

use neo_core::io::{ConnectionId, Exit, Input, Node, Nothing, Now, Output, Outputs};
use neo_net::{NoEffects, Shell, ShellConfig};
use neo_wire::{Address, HANDSHAKE, Packet};

const RUNS: usize = 5;
/// Ping with msg_id 7.
const PING: [u8; 4] = *b"\x93\x07\x02\x90";
const PONG: [u8; 6] = *b"\x93\x07\xcd\x80\x02\x90";

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Answers pings.
struct Echo;

impl Node for Echo {
    type Event = Nothing;
    type Effect = Nothing;

    fn handle(&mut self, _now: Now, input: Input<Nothing>, out: &mut Outputs<Nothing>) {
        match input {
            Input::Received { connection, message } => out.push(Output::Send {
                connection,
                msg_id: message.msg_id.unwrap_or_default(),
                packet: Packet::Pong {},
            }),
            Input::Closed { .. } => out.push(Output::Exit { exit: Exit::Success }),
            _ => {}
        }
    }
}

/// Sends pings one by one.
struct Pinger {
    address: SocketAddr,
    left: usize,
}

impl Pinger {
    fn ping(&mut self, connection: ConnectionId, out: &mut Outputs<Nothing>) {
        match self.left.checked_sub(1) {
            Some(left) => {
                self.left = left;
                out.push(Output::Send { connection, msg_id: 7, packet: Packet::Ping {} });
            }
            None => out.push(Output::Exit { exit: Exit::Success }),
        }
    }
}

impl Node for Pinger {
    type Event = Nothing;
    type Effect = Nothing;

    fn handle(&mut self, _now: Now, input: Input<Nothing>, out: &mut Outputs<Nothing>) {
        match input {
            Input::Start => out.push(Output::Connect {
                connection: ConnectionId::opened(0),
                address: Address::from_socket(self.address),
            }),
            Input::Connected { connection } | Input::Received { connection, .. } => {
                self.ping(connection, out);
            }
            Input::Closed { .. } => {
                out.push(Output::Exit { exit: Exit::Failure("connection lost".into()) })
            }
            _ => {}
        }
    }
}

fn config(listen: bool) -> ShellConfig {
    ShellConfig {
        listen: listen.then_some(SocketAddr::from(([127, 0, 0, 1], 0))),
        stop_signals: false,
        ..ShellConfig::default()
    }
}

fn raw_server(listener: &TcpListener) -> Result<()> {
    let (mut stream, _) = listener.accept()?;
    stream.set_nodelay(true)?;
    let mut ping = PING;
    while stream.read_exact(&mut ping).is_ok() {
        stream.write_all(&PONG)?;
    }
    Ok(())
}

fn raw_client(address: SocketAddr, count: usize, handshake: bool) -> Result<f64> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    if handshake {
        stream.write_all(&HANDSHAKE)?;
        stream.read_exact(&mut [0; HANDSHAKE.len()])?;
    }
    let start = Instant::now();
    let mut pong = PONG;
    for _ in 0..count {
        stream.write_all(&PING)?;
        stream.read_exact(&mut pong)?;
    }
    Ok(start.elapsed().as_secs_f64())
}

fn raw(count: usize) -> Result<f64> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let server = thread::spawn(move || raw_server(&listener));
    let elapsed = raw_client(address, count, false)?;
    server.join().map_err(|_| "the server panicked")??;
    Ok(elapsed)
}

fn shell(count: usize, client: impl FnOnce(SocketAddr) -> Result<f64>) -> Result<f64> {
    let shell = Shell::bind(config(true))?;
    let address = shell.address().ok_or("no address")?;
    let server = thread::spawn(move || shell.run(Echo, NoEffects));
    let elapsed = client(address)?;
    let _ = count;
    server.join().map_err(|_| "the server panicked")??;
    Ok(elapsed)
}

fn shell_client(address: SocketAddr, count: usize) -> Result<f64> {
    let pinger = Pinger { address, left: count };
    let shell = Shell::bind(config(false))?;
    let start = Instant::now();
    match shell.run(pinger, NoEffects)? {
        Exit::Success => Ok(start.elapsed().as_secs_f64()),
        Exit::Failure(why) => Err(why.into()),
    }
}

fn main() -> Result<()> {
    let count = match std::env::args().nth(1) {
        Some(count) => count.parse()?,
        None => 20_000,
    };
    let names = ["raw sockets", "raw client, shell", "shell both sides"];
    let mut best = [f64::MAX; 3];
    for _ in 0..RUNS {
        let results = [
            raw(count)?,
            shell(count, |address| raw_client(address, count, true))?,
            shell(count, |address| shell_client(address, count))?,
        ];
        for (best, result) in best.iter_mut().zip(results) {
            *best = best.min(result);
        }
    }
    for (name, seconds) in names.iter().zip(best) {
        let each_us = seconds / count as f64 * 1e6;
        println!("{name:20} {each_us:6.1} us, {:8.0} round trips/s", 1e6 / each_us);
    }
    Ok(())
}
