//! One primary acts.
//!
//! Two masters that both commit transactions would give the same TID twice, or lose one of two
//! updates. Elections may overlap for a while, and a former primary may believe that it still is
//! one; but once another one has locked a transaction on a storage, it locks none any more.

use neo_wire::Packet;

use crate::host::NodeIndex;

/// A process of a master.
type Process = (NodeIndex, u32);

/// See the module.
#[derive(Default)]
pub struct Primary {
    acting: Option<Process>,
    former: Vec<Process>,
}

impl Primary {
    /// A master sends something to a storage that is attached to it.
    pub fn sent(&mut self, from: Process, packet: &Packet) -> Result<(), (&'static str, String)> {
        if !matches!(packet, Packet::AskLockInformation { .. }) || self.acting == Some(from) {
            return Ok(());
        }
        self.former.extend(self.acting.replace(from));
        if self.former.contains(&from) {
            let text = format!("master {from:?} locks a transaction after another one did");
            return Err(("one primary acts", text));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use neo_wire::{Tid, Ttid};

    use super::*;

    #[test]
    fn a_former_primary_must_not_come_back() {
        let lock = Packet::AskLockInformation { ttid: Ttid(1), tid: Tid(2), pack: false };
        let mut primary = Primary::default();
        assert!(primary.sent((NodeIndex(0), 1), &lock).is_ok());
        assert!(primary.sent((NodeIndex(1), 1), &lock).is_ok());
        assert!(primary.sent((NodeIndex(0), 2), &lock).is_ok(), "another process");
        assert!(primary.sent((NodeIndex(1), 1), &lock).is_err());
    }
}
