//! Whether an import that failed goes on, and how: the master of the Python NEO refuses that a
//! transaction begins while another one is pending, and closes the link.

use std::time::Duration;

use neo_client::Error;
use neo_core::client::api::ClientError;

/// Lost links after which it is more careful: maybe the master closes them to refuse, and what it
/// says gets lost. That many in all, or without a transaction being copied.
const LOSSES: u32 = 5;
const LOSSES_STALLED: u32 = 3;
/// Attempts in a row without a transaction being copied, before it is given up.
const ATTEMPTS: u32 = 3;
/// Between these, while what is lost may come back.
const PAUSE_MS: u64 = 1000;
/// The same number while somebody else has a transaction, which may end.
const ATTEMPTS_CONCURRENT: u32 = 15;
/// The first pause between these, which doubles, and the longest one.
const PAUSES_MS: (u64, u64) = (100, 5000);

/// What to do after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Go on after a pause.
    Again(Duration),
    /// Go on with a transaction at a time, from now on.
    OneByOne {
        /// The master said so.
        refused: bool,
    },
    /// It is no use.
    Stop {
        /// It may be because of a transaction of somebody else.
        concurrent: bool,
    },
}

/// See the module.
#[derive(Debug, Default)]
pub struct Retry {
    one_by_one: bool,
    /// How often it went on after a lost link.
    pub losses: u32,
    /// Failures since the last time a transaction was copied.
    stalled: u32,
}

impl Retry {
    /// Some transactions failed, the oldest one first; `progressed` if others were copied since the
    /// last time.
    pub fn next(&mut self, errors: &[Error], progressed: bool) -> Next {
        self.stalled = if progressed { 1 } else { self.stalled + 1 };
        let refusal = errors.iter().find_map(refusal);
        let lost = errors.first().is_some_and(is_lost);
        let refused = refusal.is_some();
        let too_often = self.stalled >= LOSSES_STALLED || self.losses >= LOSSES;
        if !self.one_by_one && (refused || (lost && too_often)) {
            self.one_by_one = true;
            self.stalled = 0;
            return Next::OneByOne { refused };
        }
        let concurrent = refusal.is_some_and(|text| text.contains("concurrent"));
        let attempts = match (concurrent, refused || lost) {
            (true, _) => ATTEMPTS_CONCURRENT,
            (false, true) => ATTEMPTS,
            (false, false) => 0,
        };
        if self.stalled > attempts {
            return Next::Stop { concurrent };
        }
        if !concurrent {
            self.losses += u32::from(lost);
            let pause = if self.stalled > 1 { PAUSE_MS } else { 0 };
            return Next::Again(Duration::from_millis(pause));
        }
        let (first, longest) = PAUSES_MS;
        let pause = first << (self.stalled - 1).min(16);
        Next::Again(Duration::from_millis(pause.min(longest)))
    }
}

/// The master does not let the transaction begin: what it says, if so.
fn refusal(error: &Error) -> Option<&str> {
    match error {
        Error::Client(ClientError::Storage(text)) if text.starts_with("protocol error") => {
            Some(text)
        }
        _ => None,
    }
}

fn is_lost(error: &Error) -> bool {
    matches!(error, Error::Client(ClientError::Disconnected(_) | ClientError::MasterLost(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const AGAIN: Next = Next::Again(Duration::ZERO);

    fn refused(text: &str) -> Error {
        ClientError::Storage(format!("protocol error: {text}")).into()
    }

    fn concurrent() -> Error {
        let text = "There can't be concurrent transactions when a TID is specified for any of them";
        refused(text)
    }

    fn lost() -> Error {
        ClientError::Disconnected("the link to the primary master was lost".into()).into()
    }

    #[test]
    fn a_refusal_makes_it_go_one_by_one_once() {
        for refusal in [concurrent(), refused("another transaction is pending")] {
            for errors in [vec![lost(), refusal.clone(), lost()], vec![refusal]] {
                let mut retry = Retry::default();
                assert_eq!(retry.next(&errors, true), Next::OneByOne { refused: true });
                assert!(matches!(retry.next(&errors, true), Next::Again(_)));
            }
        }
    }

    #[test]
    fn links_that_are_lost_again_and_again_make_it_go_one_by_one() {
        const ONE_BY_ONE: Next = Next::OneByOne { refused: false };
        let mut retry = Retry::default();
        assert_eq!(retry.next(&[lost()], false), AGAIN);
        let later = Next::Again(Duration::from_millis(PAUSE_MS));
        for _ in 2..LOSSES_STALLED {
            assert_eq!(retry.next(&[lost()], false), later);
        }
        assert_eq!(retry.next(&[lost()], false), ONE_BY_ONE);

        let mut retry = Retry::default();
        for _ in 0..LOSSES {
            assert_eq!(retry.next(&[lost()], true), AGAIN);
        }
        assert_eq!(retry.losses, LOSSES);
        assert_eq!(retry.next(&[lost()], true), ONE_BY_ONE);
        // Then it may go on for ever, as long as something is copied.
        for _ in 0..100 {
            assert_eq!(retry.next(&[lost()], true), AGAIN);
        }
    }

    #[test]
    fn it_ends_when_nothing_is_copied() {
        for (error, expected) in
            [(lost(), false), (refused("another reason"), false), (concurrent(), true)]
        {
            let mut retry = Retry::default();
            let errors = [error];
            let stop = (0..100).map(|_| retry.next(&errors, false)).find_map(|next| match next {
                Next::Stop { concurrent } => Some(concurrent),
                Next::Again(_) | Next::OneByOne { .. } => None,
            });
            assert_eq!(stop, Some(expected), "{errors:?}");
        }
    }

    #[test]
    fn a_transaction_of_somebody_else_is_waited_for_a_minute() {
        let mut retry = Retry::default();
        assert_eq!(retry.next(&[concurrent()], false), Next::OneByOne { refused: true });
        let mut waited = Duration::ZERO;
        while let Next::Again(pause) = retry.next(&[concurrent()], false) {
            waited += pause;
        }
        assert!((30..=60).contains(&waited.as_secs()), "{waited:?}");
    }

    #[test]
    fn other_failures_end_it_at_once() {
        let stop = Next::Stop { concurrent: false };
        let no_space = Error::from(ClientError::Storage("no space left".into()));
        assert_eq!(Retry::default().next(&[no_space, lost()], true), stop);
        let read_only = Error::from(ClientError::ReadOnly("backup".into()));
        assert_eq!(Retry::default().next(&[read_only], false), stop);
    }
}
