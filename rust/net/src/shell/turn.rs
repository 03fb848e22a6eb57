//! One turn of the loop: take what is ready, handle it, write once, then wait.

use std::future::Future;
use std::task::{Context, Poll};

use neo_core::io::{Exit, Input, Node};

use super::driver::Driver;
use super::effects::Effects;
use super::timers::Timer;
use super::wake::{Injected, Source};

/// Inputs handled between two looks at the sockets, so that no connection waits long.
const INPUTS: usize = 128;

impl<N, X> Driver<N, X>
where
    N: Node,
    N::Event: Send + 'static,
    X: Effects<N>,
{
    /// Does everything that can be done now; ready with the end of the process.
    pub fn turn(&mut self, context: &mut Context<'_>) -> Poll<Exit> {
        self.take_pending();
        self.fire_timers();
        for _ in 0..INPUTS {
            if !self.sockets.is_busy() || self.sockets.should_write() {
                break;
            }
            let now_ms = self.clock.monotonic_ms();
            if let Some(input) = self.sockets.next(now_ms) {
                self.give(input);
            }
        }
        self.call_effects(|effects, context| effects.end_of_turn(context));
        let now_ms = self.clock.monotonic_ms();
        for connection in self.sockets.flush(now_ms) {
            self.call_effects(|effects, context| effects.drained(connection, context));
        }
        if let Some(exit) = self.finished() {
            return Poll::Ready(exit);
        }
        self.arm();
        if self.sockets.has_work() || self.shared.sleep(context.waker()) {
            context.waker().wake_by_ref();
        }
        Poll::Pending
    }

    fn take_pending(&mut self) {
        let mut taken = std::mem::take(&mut self.taken);
        self.shared.take(&mut taken);
        taken.ready.append(&mut self.sockets.again);
        for source in taken.ready.drain(..) {
            match source {
                Source::Connection(id) => self.sockets.poll(id),
                Source::Listener => self.sockets.accept(self.clock.monotonic_ms()),
                Source::Signals => self.signals(),
                // The clock is looked at in any case.
                Source::Timers => self.armed_ms = None,
            }
        }
        for injected in taken.injected.drain(..) {
            match injected {
                Injected::Event(event) => self.give(Input::Own(event)),
                Injected::Stop => self.stop(),
            }
        }
        self.taken = taken;
    }

    fn fire_timers(&mut self) {
        let now_ms = self.clock.monotonic_ms();
        // Not those that are set meanwhile: one without delay would never let others in.
        for _ in 0..self.sockets.timers.len() {
            let Some(timer) = self.sockets.timers.pop(now_ms) else {
                break;
            };
            match timer {
                Timer::Node(timer) => self.give(Input::Timer { timer }),
                Timer::Closing(id) => self.sockets.closing_timeout(id, now_ms),
                Timer::Accept => self.sockets.accept(now_ms),
                Timer::Exit => self.exit_now = true,
                Timer::Heartbeat => self.heartbeat(),
            }
        }
    }

    /// Makes sure that the loop wakes up for the next timer. A sleep that is too short is left as
    /// it is: timers of timeouts move at each packet.
    fn arm(&mut self) {
        let Some(next_ms) = self.sockets.timers.next_ms() else {
            return;
        };
        if self.armed_ms.is_some_and(|armed_ms| armed_ms <= next_ms) {
            return;
        }
        self.sleep.as_mut().reset(self.clock.instant(next_ms).into());
        self.armed_ms = Some(next_ms);
        let mut context = Context::from_waker(&self.sleep_waker);
        if self.sleep.as_mut().poll(&mut context).is_ready() {
            self.armed_ms = None;
            self.sockets.again.push(Source::Timers);
        }
    }
}
