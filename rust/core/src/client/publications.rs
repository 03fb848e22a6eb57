//! What becomes visible to the application, one after the other, in the order of the master's link
//! (spec client.md 4.2).

use bytes::Bytes;
use neo_wire::{Oid, Tid};

use super::api::{Answer, CallId, Effect, Publication};
use super::{Client, Context};
use crate::io::Output;

/// Something to publish, or to do when what came before is published.
#[derive(Debug)]
pub(super) enum Item {
    /// Another client committed.
    Foreign { tid: Tid, oids: Vec<Oid> },
    /// A transaction of ours is committed; `call` publishes it, if it still is there.
    Local { call: Option<CallId>, tid: Tid, records: Vec<(Oid, Option<Bytes>)> },
    /// A link to a primary was made.
    Reset { last_tid: Tid },
    /// The last TID of the link is published.
    Reconciled,
    /// A sync ends here.
    Barrier(CallId),
}

impl Client {
    /// Publishes what can be now: one thing at a time.
    pub(super) fn publish(&mut self, cx: &mut Context<'_>) {
        while !self.publishing {
            let Some(item) = self.publications.pop_front() else {
                return;
            };
            match item {
                Item::Barrier(call) => self.answer(call, Ok(Answer::Done), cx),
                Item::Reconciled => self.reconciled(cx),
                Item::Foreign { tid, oids } => {
                    self.start_publishing(self.published.max(Some(tid)));
                    cx.out.push(Output::Own(Effect::Publish(Publication::Foreign { tid, oids })));
                }
                Item::Reset { last_tid } => {
                    self.start_publishing(Some(last_tid));
                    let publication = Publication::Reset { last_tid };
                    cx.out.push(Output::Own(Effect::Publish(publication)));
                }
                Item::Local { call, tid, records } => {
                    // A commit whose outcome was asked for may be older than what is published.
                    self.start_publishing(self.published.max(Some(tid)));
                    match call.filter(|call| self.calls.contains(call)) {
                        Some(call) => {
                            self.answer(call, Ok(Answer::Finished { tid, records }), cx);
                        }
                        None => {
                            let publication = Publication::Abandoned { tid, records };
                            cx.out.push(Output::Own(Effect::Publish(publication)));
                        }
                    }
                }
            }
        }
    }

    fn start_publishing(&mut self, last_tid: Option<Tid>) {
        self.publishing = true;
        self.being_published = last_tid;
    }

    /// The shell says that the last publication is done.
    pub(super) fn published(&mut self, cx: &mut Context<'_>) {
        self.publishing = false;
        self.published = self.being_published.take().or(self.published);
        self.publish(cx);
    }
}
