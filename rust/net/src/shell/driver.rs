//! The node and what surrounds it: one input after the other.

use std::collections::VecDeque;
use std::net;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Poll, Waker};

use neo_core::io::{Exit, Input, Node, Output, Outputs};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::Sleep;
use tracing::{info, warn};

use super::clock::Clock;
use super::effects::{Context, Effects};
use super::sockets::Sockets;
use super::timers::Timer;
use super::wake::{Pending, Shared, Source, waker};
use super::{ShellConfig, ShellError};

pub struct Driver<N: Node, X> {
    pub(super) node: N,
    pub(super) effects: X,
    pub(super) sockets: Sockets<N::Event>,
    pub(super) clock: Clock,
    pub(super) shared: Arc<Shared<N::Event>>,
    pub(super) taken: Pending<N::Event>,
    pub(super) sleep: Pin<Box<Sleep>>,
    pub(super) sleep_waker: Waker,
    /// When [`Driver::sleep`] ends, if it is not over.
    pub(super) armed_ms: Option<u64>,
    outputs: Outputs<N::Effect>,
    events: VecDeque<N::Event>,
    signals: Vec<(i32, Signal)>,
    signals_waker: Waker,
    stopping: bool,
    exit: Option<Exit>,
    exit_flush_ms: u64,
    heartbeat_ms: Option<u64>,
    /// Nothing is waited for any more.
    pub(super) exit_now: bool,
}

const STOP_SIGNALS: [SignalKind; 2] = [SignalKind::terminate(), SignalKind::interrupt()];

impl<N, X> Driver<N, X>
where
    N: Node,
    N::Event: Send + 'static,
    X: Effects<N>,
{
    pub fn new(
        config: ShellConfig,
        listener: Option<net::TcpListener>,
        shared: Arc<Shared<N::Event>>,
        node: N,
        effects: X,
    ) -> Result<Self, ShellError> {
        let listener = listener.map(TcpListener::from_std).transpose()?;
        let stop = STOP_SIGNALS.iter().filter(|_| config.stop_signals);
        let others = config.dump_signals.iter().copied().map(SignalKind::from_raw);
        let signals = stop
            .copied()
            .chain(others)
            .map(|kind| Ok((kind.as_raw_value(), signal(kind)?)))
            .collect::<std::io::Result<_>>()?;
        Ok(Self {
            node,
            effects,
            clock: Clock::start(),
            taken: Pending::default(),
            sleep: Box::pin(tokio::time::sleep(std::time::Duration::ZERO)),
            sleep_waker: waker(&shared, Source::Timers),
            armed_ms: None,
            outputs: Vec::new(),
            events: VecDeque::new(),
            signals,
            signals_waker: waker(&shared, Source::Signals),
            stopping: false,
            exit: None,
            exit_flush_ms: config.exit_flush_ms,
            heartbeat_ms: config.heartbeat_ms,
            exit_now: false,
            sockets: Sockets::new(config, listener, shared.clone()),
            shared,
        })
    }

    /// Gives its first input to the node.
    pub fn start(&mut self) {
        self.sockets.again.push(Source::Signals);
        self.heartbeat();
        self.give(Input::Start);
    }

    /// Lets the node handle an input and the events that its effects answer at once, and carries
    /// out what it wants.
    pub fn give(&mut self, input: Input<N::Event>) {
        if self.exit.is_some() {
            return;
        }
        self.handle(input);
        self.give_events();
    }

    fn give_events(&mut self) {
        while let Some(event) = self.events.pop_front() {
            self.handle(Input::Own(event));
        }
    }

    fn handle(&mut self, input: Input<N::Event>) {
        let now = self.clock.now();
        let mut outputs = std::mem::take(&mut self.outputs);
        self.node.handle(now, input, &mut outputs);
        let mut exit = None;
        for output in outputs.drain(..) {
            match output {
                Output::Connect { connection, address } => {
                    self.sockets.connect(connection, address)
                }
                Output::Send { connection, msg_id, packet } => {
                    self.sockets.send(connection, msg_id, &packet)
                }
                Output::Abort { connection } => self.sockets.abort(connection, now.monotonic_ms),
                Output::Close { connection } => self.sockets.remove(connection),
                Output::SetTimer { timer, delay_ms } => {
                    let deadline_ms = now.monotonic_ms.saturating_add(delay_ms);
                    self.sockets.timers.set(Timer::Node(timer), deadline_ms);
                }
                Output::CancelTimer { timer } => self.sockets.timers.cancel(Timer::Node(timer)),
                Output::StopListening => self.sockets.stop_listening(),
                Output::Exit { exit: why } => exit = exit.or(Some(why)),
                Output::Own(effect) => {
                    let (effects, mut context) = self.context();
                    effects.effect(effect, &mut context);
                }
            }
        }
        self.outputs = outputs;
        if let Some(exit) = exit {
            self.exit(exit);
        }
    }

    fn context(&mut self) -> (&mut X, Context<'_, N::Event>) {
        let context =
            Context { events: &mut self.events, sockets: &self.sockets, clock: self.clock };
        (&mut self.effects, context)
    }

    /// Calls the effects outside of any input, then gives what they answer.
    pub fn call_effects(&mut self, call: impl FnOnce(&mut X, &mut Context<'_, N::Event>)) {
        if self.exit.is_some() {
            return;
        }
        let (effects, mut context) = self.context();
        call(effects, &mut context);
        self.give_events();
    }

    fn exit(&mut self, exit: Exit) {
        if self.exit.is_some() {
            return;
        }
        self.exit = Some(exit);
        self.events.clear();
        let now_ms = self.clock.monotonic_ms();
        self.sockets.abort_all(now_ms);
        self.sockets.timers.set(Timer::Exit, now_ms + self.exit_flush_ms);
    }

    /// How the process ends, once nothing is left to do.
    pub fn finished(&mut self) -> Option<Exit> {
        if self.exit_now || self.sockets.is_empty() { self.exit.take() } else { None }
    }

    /// Asks the node to stop; the second time, does not wait for it.
    pub fn stop(&mut self) {
        if !std::mem::replace(&mut self.stopping, true) {
            info!("asked to stop");
            self.effects.stopping();
            return self.give(Input::Stop);
        }
        warn!("asked to stop again: what was going on is left");
        let exit = Exit::Failure("stopped before it had finished".into());
        self.exit.get_or_insert(exit);
        self.exit_now = true;
    }

    /// Tells that the loop runs, and when to tell it again.
    pub fn heartbeat(&mut self) {
        if let Some(period_ms) = self.heartbeat_ms {
            self.effects.heartbeat();
            self.sockets.timers.set(Timer::Heartbeat, self.clock.monotonic_ms() + period_ms);
        }
    }

    /// The state of the node and of its connections, in lines of text.
    pub fn dump(&self) -> String {
        format!("{}\n{}", self.sockets.dump(), self.node.dump())
    }

    /// Tells what the node was when an invariant broke.
    pub fn broken(&mut self, cause: &str) {
        // The state that broke it may not even be shown.
        let state = catch_unwind(AssertUnwindSafe(|| self.dump()));
        self.effects.broken(cause, &state.unwrap_or_default());
    }

    pub fn signals(&mut self) {
        let mut context = std::task::Context::from_waker(&self.signals_waker);
        let mut received = Vec::new();
        for (number, signal) in &mut self.signals {
            // Several of a kind are one.
            while signal.poll_recv(&mut context) == Poll::Ready(Some(())) {
                received.push(*number);
            }
        }
        for number in received {
            if STOP_SIGNALS.iter().any(|kind| kind.as_raw_value() == number) {
                self.stop();
            } else {
                info!("{}", self.dump());
            }
        }
    }
}
