//! Work done by several threads, whose results come out in the order it went in.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, Scope};

/// Where work goes in.
pub struct Input<I, O> {
    work: SyncSender<(I, SyncSender<O>)>,
    order: SyncSender<Receiver<O>>,
}

/// Where results come out.
pub struct Output<O>(Receiver<Receiver<O>>);

/// Starts as many threads as there are cores; at most `depth` pieces of work are inside.
pub fn start<'scope, I: Send + 'scope, O: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    depth: usize,
    work: impl Fn(I) -> O + Send + Sync + 'scope,
) -> (Input<I, O>, Output<O>) {
    let (input, received) = sync_channel::<(I, SyncSender<O>)>(depth);
    let received = Arc::new(Mutex::new(received));
    let work = Arc::new(work);
    for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
        let (received, work) = (Arc::clone(&received), Arc::clone(&work));
        scope.spawn(move || {
            loop {
                let next = received.lock().unwrap_or_else(PoisonError::into_inner).recv();
                let Ok((piece, result)) = next else { return };
                // Nobody waits for it if the other end failed.
                let _ = result.send(work(piece));
            }
        });
    }
    let (order, results) = sync_channel(depth);
    (Input { work: input, order }, Output(results))
}

impl<I, O> Input<I, O> {
    /// Puts work in, waiting for room. False if nobody wants results any more.
    pub fn put(&self, piece: I) -> bool {
        let (result, receiver) = sync_channel(1);
        self.order.send(receiver).is_ok() && self.work.send((piece, result)).is_ok()
    }
}

impl<O> Output<O> {
    /// The next result, waiting for it; none at the end.
    pub fn next(&self) -> Option<O> {
        self.0.recv().ok()?.recv().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_in_the_order_of_the_work() {
        let results = thread::scope(|scope| {
            let (input, output) = start(scope, 3, |number: u32| {
                // The first ones take longer.
                (0..1000 * (100 - number)).fold(0, |sum: u32, x| sum.wrapping_add(x));
                number
            });
            scope.spawn(move || (0..100).for_each(|number| assert!(input.put(number))));
            std::iter::from_fn(|| output.next()).collect::<Vec<_>>()
        });
        assert_eq!(results, (0..100).collect::<Vec<_>>());
    }

    #[test]
    fn who_puts_is_told_that_nobody_wants_results() {
        thread::scope(|scope| {
            let (input, output) = start(scope, 1, |number: u32| number);
            assert!(input.put(1));
            drop(output);
            assert!((0..5).any(|number| !input.put(number)));
        });
    }
}
