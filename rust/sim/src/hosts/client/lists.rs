//! Lists of what there is: history of an object, transactions and objects of a partition.

use neo_core::client::api::{Answer, ClientError, Request};
use neo_wire::{Oid, Packet, Partition, Tid};

use super::ClientHost;
use super::threads::Step;
use crate::host::Turn;
use crate::oracle::journal::Listed;

/// What is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Question {
    /// Revisions of an object, the last ones first.
    History(Oid, u64),
    /// Transactions of a partition from a TID.
    Transactions(Partition, Tid, u64),
    /// Objects of a partition.
    Objects(Partition),
}

impl ClientHost {
    /// The thread asks for a list.
    pub(super) fn list(&mut self, i: usize, turn: &mut Turn<'_>) {
        let snapshot = self.threads[i].snapshot;
        let partition = Partition(turn.random.below(u64::from(self.workload.partitions)) as u32);
        let length = turn.random.between(1, 20);
        let (question, key, packet) = match turn.random.below(3) {
            0 => {
                let oid = Oid(1 + turn.random.below(self.workload.objects));
                let packet = Packet::AskObjectHistory { oid, first: 0, last: length };
                (Question::History(oid, length), oid.0, packet)
            }
            1 => {
                let recent = turn.oracle.journal.recent();
                let index = turn.random.index(recent.len() + 1);
                let min_tid = recent.get(index).copied().unwrap_or_default();
                let packet = Packet::AskTIDsFrom { min_tid, max_tid: snapshot, length, partition };
                let question = Question::Transactions(partition, min_tid, length);
                (question, u64::from(partition.0), packet)
            }
            _ => {
                let length = self.workload.objects + 1;
                let min_oid = Oid::ZERO;
                let packet = Packet::AskOIDsFrom { partition, length, min_oid, tid: snapshot };
                (Question::Objects(partition), u64::from(partition.0), packet)
            }
        };
        self.threads[i].step = Step::Listing(question);
        self.call(i, Request::Read { key, packet, except: Vec::new() }, turn);
    }

    /// A storage answered, or nobody did.
    pub(super) fn listed(
        &mut self,
        i: usize,
        question: Question,
        result: Result<Answer, ClientError>,
        turn: &mut Turn<'_>,
    ) {
        let packet = match result {
            Ok(Answer::Packet { packet, .. }) => Some(packet),
            _ => None,
        };
        let listed = match (question, packet) {
            (Question::History(oid, count), Some(Packet::AnswerObjectHistory { history, .. })) => {
                Some(Listed::History(oid, count, history.into_iter().map(|x| x.0).collect()))
            }
            (
                Question::Transactions(partition, min, count),
                Some(Packet::AnswerTIDsFrom { tids }),
            ) => Some(Listed::Transactions(partition, min, count, tids)),
            (
                Question::Objects(partition),
                Some(Packet::AnswerOIDsFrom { next_oid: None, oids }),
            ) => Some(Listed::Objects(partition, oids)),
            (_, Some(packet)) => {
                let text = format!("{packet:?} for {question:?}");
                turn.oracle.violation("calls return what they should", text);
                None
            }
            (_, None) => None,
        };
        if let Some(listed) = listed {
            turn.oracle.journal.list(self.threads[i].snapshot, listed);
        }
        self.think(i, turn);
    }
}
