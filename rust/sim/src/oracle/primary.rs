//! One primary acts.
//!
//! Two masters that both commit transactions would give the same TID twice, or lose one of two
//! updates. Elections may overlap for a while, and a former primary may believe that it still is
//! one; but once another one has told a storage to operate, it locks no transaction any more.

use neo_wire::Packet;

use crate::host::NodeIndex;

/// A process of a master.
type Process = (NodeIndex, u32);

/// See the module.
#[derive(Default)]
pub struct Primary {
    acting: Option<Process>,
    /// A former one, which could not see that its storages had left it, served a client.
    past_served: bool,
}

impl Primary {
    /// A master sends something to a storage that is attached to it.
    pub fn sent(&mut self, from: Process, packet: &Packet) -> Result<(), (&'static str, String)> {
        match packet {
            Packet::StartOperation { .. } => self.acting = Some(from),
            Packet::AskLockInformation { .. } if self.acting != Some(from) => {
                let text =
                    format!("master {from:?} locks a transaction, {:?} operates", self.acting);
                return Err(("one primary acts", text));
            }
            _ => {}
        }
        Ok(())
    }
}

impl Primary {
    /// A master answers a client about the present.
    pub fn answered(&mut self, from: Process, packet: &Packet) {
        let is_present = matches!(packet, Packet::AnswerLastTransaction { .. } | Packet::Pong {});
        self.past_served |= is_present && self.acting.is_some_and(|acting| acting != from);
    }

    /// Whether some client may be in the past, until the network tells the master it is linked to
    /// that its storages are gone: nothing else could (spec master.md 5.7, protocol.md 8).
    #[must_use]
    pub fn is_past_served(&self) -> bool {
        self.past_served
    }
}

#[cfg(test)]
mod tests {
    use neo_wire::{Tid, Ttid};

    use super::*;

    #[test]
    fn a_former_primary_must_not_come_back_without_starting_operation() {
        let start = Packet::StartOperation { backup: false };
        let lock = Packet::AskLockInformation { ttid: Ttid(1), tid: Tid(2), pack: false };
        let (one, other) = ((NodeIndex(0), 1), (NodeIndex(1), 1));
        let mut primary = Primary::default();
        assert!(primary.sent(one, &start).is_ok() && primary.sent(one, &lock).is_ok());
        assert!(primary.sent(other, &start).is_ok() && primary.sent(other, &lock).is_ok());
        assert!(primary.sent(one, &lock).is_err());
        assert!(primary.sent(one, &start).is_ok() && primary.sent(one, &lock).is_ok());
    }
}
