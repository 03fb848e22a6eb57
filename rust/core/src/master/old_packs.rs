//! Questions about packs, by clients and storages, and those asked to storages when the master does
//! not keep the answer (spec master.md 14.3, 14.5).

use std::collections::{BTreeMap, BTreeSet};

use neo_wire::{NodeId, PackOrder, Packet, Partition, Tid};
use tracing::debug;

use super::{Asker, Master, Phase, Question, Turn};
use crate::nodes::NodeKey;

/// A question about orders that are completed, so only known by storages.
#[derive(Debug)]
pub(super) struct Search {
    pub asker: Asker,
    min_id: Tid,
    /// For a storage: it only wants the next one.
    only_next: bool,
    /// Who is to answer for which partitions.
    asked: BTreeMap<NodeId, BTreeSet<Partition>>,
    orders: Vec<PackOrder>,
}

impl Master {
    /// AskPackOrders.
    pub(super) fn ask_orders(
        &mut self,
        turn: &mut Turn<'_>,
        from: Asker,
        only_next: bool,
        min_id: Tid,
    ) {
        // No order has this identifier, and there is none before it.
        let min_id = min_id.max(Tid(1));
        let is_kept = self.packs.max_completed().is_none_or(|tid| min_id > tid);
        if is_kept {
            let orders = self.packs.orders_from(min_id, only_next);
            return self.answer(turn, from, Packet::AnswerPackOrders { orders });
        }
        let number = self.packs.next_search;
        self.packs.next_search += 1;
        let search =
            Search { asker: from, min_id, only_next, asked: BTreeMap::new(), orders: Vec::new() };
        self.packs.searches.insert(number, search);
        let all = (0..self.table.partitions()).map(Partition).collect();
        self.search_orders(turn, number, all);
    }

    /// Asks about partitions to few storages: those that can read the most of what is left.
    fn search_orders(&mut self, turn: &mut Turn<'_>, number: u64, mut left: BTreeSet<Partition>) {
        while !left.is_empty() {
            let mut readable: BTreeMap<NodeId, BTreeSet<Partition>> = BTreeMap::new();
            for partition in &left {
                for nid in self.table.readable(*partition) {
                    if self.storage_connection(nid).is_some() {
                        readable.entry(nid).or_default().insert(*partition);
                    }
                }
            }
            // The lowest NID of those that are equally good.
            let best = readable
                .into_iter()
                .min_by_key(|(_, partitions)| std::cmp::Reverse(partitions.len()));
            let Some((nid, partitions)) = best else {
                // The cluster is not operational: it leaves operation.
                break;
            };
            left.retain(|partition| !partitions.contains(partition));
            let Some(search) = self.packs.searches.get_mut(&number) else {
                return;
            };
            search.asked.entry(nid).or_default().extend(partitions);
            let min_id = search.min_id;
            if let Some(connection) = self.storage_connection(nid) {
                let question = Question::OldPackOrders(number);
                self.ask(turn, connection, Packet::AskPackOrders { min_id }, question);
            }
        }
        self.end_search(turn, number);
    }

    /// A storage answers about old orders.
    pub(super) fn on_old_orders(
        &mut self,
        turn: &mut Turn<'_>,
        number: u64,
        key: NodeKey,
        packet: Packet,
    ) {
        let Packet::AnswerPackOrders { orders } = packet else {
            return;
        };
        let nid = self.nodes.get(key).and_then(|record| record.nid());
        let search = self.packs.searches.get_mut(&number);
        if let (Some(nid), Some(search)) = (nid, search) {
            if search.asked.remove(&nid).is_some() {
                search.orders.extend(orders);
            }
            self.end_search(turn, number);
        }
    }

    fn end_search(&mut self, turn: &mut Turn<'_>, number: u64) {
        let is_over = |search: &Search| search.asked.is_empty();
        if !self.packs.searches.get(&number).is_some_and(is_over) {
            return;
        }
        if let Some(search) = self.packs.searches.remove(&number) {
            self.packs.recover(search.min_id, search.orders);
            let orders = self.packs.orders_from(search.min_id, search.only_next);
            let answer = Packet::AnswerPackOrders { orders };
            self.answer(turn, search.asker, answer);
            self.complete_packs(turn);
        }
    }

    /// A storage in service is lost, with what it was asked and what it asked.
    pub(super) fn on_packer_lost(&mut self, turn: &mut Turn<'_>, key: NodeKey, nid: NodeId) {
        debug_assert!(self.nodes.get(key).is_none_or(|x| x.connection().is_none()));
        let links = &self.links;
        self.packs.forget_askers(|asker| !links.contains(asker.connection));
        self.packs.forget_node(nid);
        let mut orphans = Vec::new();
        for (number, search) in &mut self.packs.searches {
            if let Some(partitions) = search.asked.remove(&nid) {
                orphans.push((*number, partitions));
            }
        }
        for (number, partitions) in orphans {
            self.search_orders(turn, number, partitions);
        }
        self.complete_packs(turn);
    }

    /// NotifyPackCompleted.
    pub(super) fn on_pack_completed(&mut self, turn: &mut Turn<'_>, key: NodeKey, tid: Tid) {
        let nid = self.nodes.get(key).and_then(|record| record.nid());
        let Some(nid) = nid.filter(|_| self.phase != Phase::Recovering) else {
            return;
        };
        debug!(%nid, %tid, "packed");
        self.packs.set_completed(nid, tid);
        if self.phase == Phase::Service {
            self.complete_packs(turn);
        }
    }

    pub(super) fn complete_packs(&mut self, turn: &mut Turn<'_>) {
        for asker in self.packs.complete(&self.table.readable_nids()) {
            self.answer(turn, asker, Packet::WaitedForPack {});
        }
    }

    /// WaitForPack.
    pub(super) fn wait_for_pack(&mut self, turn: &mut Turn<'_>, from: Asker, tid: Tid) {
        if !self.packs.wait(tid, from) {
            self.answer(turn, from, Packet::WaitedForPack {});
        }
    }
}
