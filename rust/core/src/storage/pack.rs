//! Packs: the approved orders are executed one after the other on the own cells that are
//! UP_TO_DATE, slice by slice, in the background of the database (spec storage.md 15).

use std::collections::VecDeque;

use neo_wire::{CellState, Oid, OidList, PackOrder, Packet, Partition, Tid};
use tracing::{debug, info, warn};

use super::jobs::Job;
use super::{Asked, Context, Storage};
use crate::database::model::MAX_ID;
use crate::database::{JobOutput, RecordKey, WriteJob};

/// Records that a slice looks at: some milliseconds, for others may wait for the database.
const RECORDS: u32 = 256;
/// Objects of a list that a slice looks at.
const OBJECTS: usize = 128;
const START: RecordKey = (Oid::ZERO, Tid::ZERO);

/// What is known of packs, and what is being done.
#[derive(Debug, Default)]
pub(super) struct Packer {
    /// The last approved order known.
    pub last: Tid,
    /// What the master was last told to be completed here.
    told: Option<Tid>,
    /// The master is asked for an order.
    asking: bool,
    order: Option<Order>,
    run: Option<Run>,
}

/// An approved order.
#[derive(Debug)]
struct Order {
    /// It is the first one after this one.
    after: Tid,
    tid: Tid,
    pack_tid: Tid,
    /// Of a partial pack, ascending.
    oids: Option<Vec<Oid>>,
}

/// The execution of an order.
#[derive(Debug)]
struct Run {
    /// The first one is being packed.
    cells: VecDeque<Partition>,
    /// Where its next slice begins; none if nothing is left.
    min: Option<RecordKey>,
    /// Where the rest of it begins once the slice that is being packed is done whole.
    rest: Option<RecordKey>,
    /// Cells that are recorded as packed by what is being committed.
    done: Vec<Partition>,
}

impl Order {
    fn new(after: Tid, order: PackOrder) -> Self {
        let PackOrder { tid, partial, oids, pack_tid, .. } = order;
        let mut oids = partial.then(|| oids.map_or_else(Vec::new, OidList::list));
        if let Some(oids) = &mut oids {
            oids.sort_unstable();
            oids.dedup();
        }
        Self { after, tid, pack_tid, oids }
    }

    fn begin(&self) -> WriteJob {
        WriteJob::BeginPack(PackOrder {
            tid: self.tid,
            approved: Some(true),
            partial: self.oids.is_some(),
            oids: self.oids.clone().map(OidList::List),
            pack_tid: self.pack_tid,
        })
    }

    /// What is to be done in a cell from a record on, and where the rest begins once it is done
    /// whole; none if nothing is left.
    fn slice(
        &self,
        partition: Partition,
        partitions: u32,
        min: RecordKey,
    ) -> Option<(WriteJob, Option<RecordKey>)> {
        let (pack_tid, limit) = (self.pack_tid, RECORDS);
        let Some(list) = &self.oids else {
            return Some((WriteJob::PackObjects { partition, pack_tid, min, limit }, None));
        };
        let left = list[list.partition_point(|oid| *oid < min.0)..].iter();
        let left = left.filter(|oid| oid.partition(partitions) == partition);
        let oids: Vec<Oid> = left.take(OBJECTS).copied().collect();
        let rest = (oids.last()?.next(), Tid::ZERO);
        Some((WriteJob::PackList { partition, pack_tid, oids, min, limit }, Some(rest)))
    }
}

impl Packer {
    /// Operation ends: what is being done is forgotten, and begun again in the next one, when the
    /// master tells what is approved. A node that does not pack answers then as if it were new.
    pub fn reset(&mut self) {
        *self = Self::default();
    }

    /// An own cell became readable: the master is told again what is completed.
    pub fn tell_again(&mut self) {
        self.told = None;
    }
}

impl Storage {
    /// NotifyPackSigned.
    pub(super) fn packs_signed(
        &mut self,
        approved: Vec<Tid>,
        rejected: Vec<Tid>,
        cx: &mut Context<'_>,
    ) {
        let last = approved.iter().copied().fold(self.packs.last, Ord::max);
        let is_new = last > self.packs.last;
        self.packs.last = last;
        if !self.config.disable_pack {
            let job = WriteJob::SignPacks { approved, rejected };
            self.ask_write(vec![job], Job::Nothing, cx);
            self.maybe_pack(cx);
        } else if is_new && self.is_operational() {
            // Nobody has to wait for a node that does not pack.
            self.tell_master(Packet::NotifyPackCompleted { tid: last }, cx);
        }
    }

    /// The least order completed on own cells; none if there is no cell, or if it is not known yet.
    pub(super) fn completed_pack(&self) -> Option<Tid> {
        let packs: Option<Vec<Tid>> = self.own.values().map(|cell| cell.pack).collect();
        packs?.into_iter().min()
    }

    /// Tells the master what is completed, if that changed.
    pub(super) fn tell_completed_pack(&mut self, cx: &mut Context<'_>) {
        let completed = self.completed_pack().filter(|_| !self.config.disable_pack);
        if let Some(tid) = completed.filter(|tid| self.packs.told != Some(*tid)) {
            self.packs.told = Some(tid);
            self.tell_master(Packet::NotifyPackCompleted { tid }, cx);
        }
    }

    /// Executes the order that follows what the latest own cells completed, or asks for it
    /// (spec storage.md 15.4).
    pub(super) fn maybe_pack(&mut self, cx: &mut Context<'_>) {
        // In backup mode, cells are packed up to where they are replicated.
        let is_possible =
            self.is_operational() && !self.config.disable_pack && self.backup_tid.is_none();
        if !is_possible || self.packs.asking || self.packs.run.is_some() {
            return;
        }
        let up_to_date = self.own.values().filter(|cell| cell.state == CellState::UpToDate);
        let packed = up_to_date.filter_map(|cell| Some((cell.partition, cell.pack?)));
        let packed: Vec<(Partition, Tid)> = packed.collect();
        let completed = packed.iter().map(|(_, pack)| *pack).min();
        let Some(completed) = completed.filter(|completed| *completed < self.packs.last) else {
            self.packs.order = None;
            return;
        };
        let follows = |order: &Order, pack| (order.after..order.tid).contains(&pack);
        match self.packs.order.as_ref().filter(|order| follows(order, completed)) {
            Some(order) => {
                let cells = packed.into_iter().filter(|(_, pack)| follows(order, *pack));
                let cells = cells.map(|(partition, _)| partition).collect();
                info!(order = %order.tid, pack_tid = %order.pack_tid, ?cells, "pack");
                self.packs.run =
                    Some(Run { cells, min: Some(START), rest: None, done: Vec::new() });
                // The master told about older commits before: they are written first.
                self.ask_write(Vec::new(), Job::BeginPack, cx);
            }
            None => self.ask_pack_order(completed, cx),
        }
    }

    fn ask_pack_order(&mut self, after: Tid, cx: &mut Context<'_>) {
        let Some(connection) = self.search.attached() else { return };
        let packet = Packet::AskPackOrders { min_id: after.next() };
        let asked = Asked::PackOrder { after, epoch: self.epoch };
        self.packs.asking = self.links.request(connection, packet, asked, cx.out).is_ok();
    }

    /// The master answers with the order that follows.
    pub(super) fn pack_order_told(
        &mut self,
        (after, epoch): (Tid, u64),
        packet: Packet,
        cx: &mut Context<'_>,
    ) {
        if epoch != self.epoch {
            return;
        }
        self.packs.asking = false;
        let orders = match packet {
            Packet::AnswerPackOrders { orders } => orders,
            other => {
                warn!(answer = other.name(), "the master does not tell what to pack");
                return;
            }
        };
        let order = orders.into_iter().find(|order| {
            let ids = [order.tid.0, order.pack_tid.0];
            order.approved == Some(true) && order.tid > after && ids.iter().all(|id| *id <= MAX_ID)
        });
        if let Some(order) = order {
            self.packs.order = Some(Order::new(after, order));
            self.maybe_pack(cx);
        }
    }

    /// What the order must not miss is committed.
    pub(super) fn begin_pack(&mut self, cx: &mut Context<'_>) {
        if let Some(order) = &self.packs.order {
            let begin = order.begin();
            self.next_slice(vec![begin], cx);
        }
    }

    /// A slice is committed.
    pub(super) fn packed(
        &mut self,
        partition: Option<Partition>,
        outputs: Vec<JobOutput>,
        cx: &mut Context<'_>,
    ) {
        let (Some(order), Some(run)) = (&self.packs.order, &mut self.packs.run) else {
            return;
        };
        for partition in std::mem::take(&mut run.done) {
            if let Some(cell) = self.own.get_mut(&partition) {
                cell.pack = Some(order.tid);
            }
        }
        if let Some(partition) = partition {
            let packed = outputs.into_iter().find_map(|output| match output {
                JobOutput::Packed { deleted, gone, next } => Some((deleted, gone, next)),
                _ => None,
            });
            let Some((deleted, gone, next)) = packed else {
                warn!(%partition, "the pack stops");
                self.packs.run = None;
                return;
            };
            debug!(%partition, deleted, "packed");
            run.min = next.or(run.rest);
            for oid in gone {
                self.last_serials.remove(&oid);
            }
        }
        self.tell_completed_pack(cx);
        self.next_slice(Vec::new(), cx);
    }

    /// Goes on with the pack: cells that are not UP_TO_DATE any more are left out, those that are
    /// done are recorded.
    fn next_slice(&mut self, mut jobs: Vec<WriteJob>, cx: &mut Context<'_>) {
        let np = self.table.partitions();
        let (Some(order), Some(run)) = (&self.packs.order, &mut self.packs.run) else {
            return;
        };
        let mut packing = None;
        while let Some(&partition) = run.cells.front() {
            let cell = self.own.get(&partition);
            if cell.is_some_and(|cell| cell.state == CellState::UpToDate) {
                let slice = run.min.and_then(|min| order.slice(partition, np, min));
                if let Some((job, rest)) = slice {
                    jobs.push(job);
                    run.rest = rest;
                    packing = Some(partition);
                    break;
                }
                jobs.push(WriteJob::SetCellPack { partition, pack: order.tid });
                run.done.push(partition);
            }
            run.cells.pop_front();
            run.min = Some(START);
        }
        if jobs.is_empty() {
            info!(order = %order.tid, "the pack is over");
            self.packs.run = None;
            self.maybe_pack(cx);
        } else {
            self.ask_write(jobs, Job::Pack(packing), cx);
        }
    }
}
