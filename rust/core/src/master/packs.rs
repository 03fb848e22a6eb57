//! Pack orders, as far as the master knows them: those that are not completed yet (spec master.md
//! 14).

use std::collections::{BTreeMap, BTreeSet};

use neo_wire::{NodeId, OidList, PackOrder, PackRequest, Packet, Tid};

use super::Asker;
use super::old_packs::Search;

/// What is known about packs.
#[derive(Debug, Default)]
pub(super) struct Packs {
    orders: BTreeMap<Tid, PackOrder>,
    /// The greatest order known to be completed; those up to there are not kept.
    max_completed: Option<Tid>,
    /// Up to which order each storage packed all its partitions.
    completed: BTreeMap<NodeId, Tid>,
    /// WaitForPack.
    waiting: Vec<(Tid, Asker)>,
    /// Questions to storages about old orders.
    pub searches: BTreeMap<u64, Search>,
    pub next_search: u64,
}

impl Packs {
    /// Forgets everything.
    pub fn reset(&mut self) {
        let next_search = self.next_search;
        *self = Self { next_search, ..Self::default() };
    }

    pub const fn max_completed(&self) -> Option<Tid> {
        self.max_completed
    }

    /// Adds what storages answer (14.3). A known signature never changes.
    pub fn merge(&mut self, orders: Vec<PackOrder>) {
        for order in orders {
            // Storages of the Python NEO give one string of bytes, which others do not accept.
            let oids = order.oids.map(|oids| OidList::List(oids.list()));
            let order = PackOrder { oids, ..order };
            let tid = order.tid;
            let known = self.orders.entry(tid).or_insert_with(|| order.clone());
            known.approved = known.approved.or(order.approved);
            if self.max_completed.is_some_and(|completed| tid <= completed) {
                self.max_completed = Some(tid.previous());
            }
        }
    }

    /// Old orders are there again, from this one.
    pub fn recover(&mut self, min_id: Tid, orders: Vec<PackOrder>) {
        self.merge(orders);
        let before = min_id.previous();
        self.max_completed = self.max_completed.map(|completed| completed.min(before));
    }

    /// The order of a transaction that gets its final TID. Returns whether it is approved: it is
    /// unless an older one is not signed (14.2).
    pub fn order(&mut self, tid: Tid, request: PackRequest) -> bool {
        let approved = self.orders.values().all(|order| order.approved.is_some());
        let order = PackOrder {
            tid,
            approved: approved.then_some(true),
            partial: request.oids.as_ref().is_some_and(|oids| !oids.is_empty()),
            oids: request.oids.map(OidList::List),
            pack_tid: request.pack_tid,
        };
        self.orders.insert(tid, order);
        approved
    }

    pub fn is_approved(&self, tid: Tid) -> bool {
        let order = self.orders.get(&tid);
        order.is_some_and(|order| order.approved == Some(true))
    }

    /// Whether an order that a truncation at this TID would remove is approved, or completed by any
    /// storage: what it packed there is not what was before it.
    pub fn is_needed_after(&self, tid: Tid) -> bool {
        let approved = self.orders.values().filter(|order| order.approved == Some(true));
        let completed = self.completed.values().chain(&self.max_completed);
        approved.map(|order| &order.tid).chain(completed).any(|order| *order > tid)
    }

    pub fn reject_unsigned(&mut self) {
        for order in self.orders.values_mut() {
            order.approved = order.approved.or(Some(false));
        }
    }

    /// Every signature that is known, for a storage that gets ready; none if there is none.
    pub fn signed(&self) -> Option<Packet> {
        let signed = |wanted| {
            let orders = self.orders.values();
            let orders = orders.filter(move |order| order.approved == Some(wanted));
            orders.map(|order| order.tid)
        };
        let completed = self.max_completed.filter(|tid| *tid != Tid::ZERO);
        let approved: Vec<_> = completed.into_iter().chain(signed(true)).collect();
        let rejected: Vec<_> = signed(false).collect();
        let is_empty = approved.is_empty() && rejected.is_empty();
        (!is_empty).then_some(Packet::NotifyPackSigned { approved, rejected })
    }

    /// Orders from an identifier on: all, or only the first approved one.
    pub fn orders_from(&self, min_id: Tid, only_next: bool) -> Vec<PackOrder> {
        let orders = self.orders.range(min_id..).map(|(_, order)| order);
        if only_next {
            let mut orders = orders.filter(|order| order.approved == Some(true));
            return orders.next().cloned().into_iter().collect();
        }
        orders.cloned().collect()
    }

    pub fn set_completed(&mut self, nid: NodeId, tid: Tid) {
        self.completed.insert(nid, tid);
    }

    pub fn forget_node(&mut self, nid: NodeId) {
        self.completed.remove(&nid);
    }

    /// What is completed on all of these storages that said something; none if none did.
    pub fn least_completed(&self, nids: &BTreeSet<NodeId>) -> Option<Tid> {
        let completed = self.completed.iter();
        let completed = completed.filter(|(nid, _)| nids.contains(nid));
        completed.map(|(_, tid)| *tid).min()
    }

    /// Forgets what is completed by all of these storages; returns who waited for it.
    pub fn complete(&mut self, nids: &BTreeSet<NodeId>) -> Vec<Asker> {
        let Some(completed) = self.least_completed(nids) else {
            return Vec::new();
        };
        self.orders.retain(|tid, _| *tid > completed);
        self.max_completed = self.max_completed.max(Some(completed));
        let orders = &self.orders;
        let done = |(tid, _): &mut (Tid, Asker)| !orders.contains_key(tid);
        let done = self.waiting.extract_if(.., done);
        done.map(|(_, asker)| asker).collect()
    }

    /// Remembers who waits for an order; false if it is not known, so completed.
    pub fn wait(&mut self, tid: Tid, asker: Asker) -> bool {
        let is_known = self.orders.contains_key(&tid);
        if is_known {
            self.waiting.push((tid, asker));
        }
        is_known
    }

    /// Forgets those who are gone.
    pub fn forget_askers(&mut self, is_gone: impl Fn(&Asker) -> bool) {
        self.waiting.retain(|(_, asker)| !is_gone(asker));
        self.searches.retain(|_, search| !is_gone(&search.asker));
    }
}

#[cfg(test)]
mod tests;
