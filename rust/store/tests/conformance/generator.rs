//! Random operations over few identifiers, so that they meet.

use std::collections::BTreeSet;

use bytes::Bytes;
use neo_core::io::Entropy;
use neo_store::database::{
    DataId, Payload, ReplicatedObject, ReplicatedTransaction, StoredObject, TableChange,
    TransactionInfo, TransactionMetadata, Vote, WriteJob,
};
use neo_wire::{
    CellChange, CellState, Digest, NodeId, Oid, OidList, PackOrder, PackRecord, PackRequest,
    Partition, Ptid, StoredData, Tid, Ttid,
};

pub const PARTITIONS: u32 = 3;
pub const OIDS: u64 = 9;
const OWN: NodeId = NodeId(1);

pub struct Generator {
    pub entropy: Entropy,
    /// Both TTIDs and TIDs come from it.
    pub clock: u64,
    /// Voted and not ended.
    open: Vec<Ttid>,
    /// Numbers that are or were a TTID: no other transaction has them as TID.
    ttids: BTreeSet<u64>,
    /// Names that may be known.
    spilled: Vec<(Ttid, DataId)>,
    last_spilled: u64,
    ptid: u64,
    counts: Vec<u32>,
}

impl Generator {
    pub fn new(seed: u64) -> Self {
        Self {
            entropy: Entropy::new(seed ^ 0x5eed),
            clock: 10,
            open: Vec::new(),
            ttids: BTreeSet::new(),
            spilled: Vec::new(),
            last_spilled: 0,
            ptid: 0,
            counts: vec![0; 27],
        }
    }

    pub fn forget_spilled(&mut self) {
        self.spilled.clear();
        self.last_spilled = 0;
    }

    /// A run in which some kind of job never happened proves little.
    pub fn check_variety(&self) {
        assert!(self.counts.iter().filter(|count| **count == 0).count() <= 4);
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.entropy.below(bound)
    }

    fn one_in(&mut self, bound: u64) -> bool {
        self.below(bound) == 0
    }

    pub fn oid(&mut self) -> Oid {
        Oid(self.below(OIDS))
    }

    /// Of the past, often a recent one.
    pub fn tid(&mut self) -> Tid {
        let age = if self.one_in(2) { 8 } else { self.clock };
        Tid(self.clock - self.entropy.below(age))
    }

    fn foreign_tid(&mut self) -> Tid {
        loop {
            let tid = self.tid();
            if !self.ttids.contains(&tid.0) {
                return tid;
            }
        }
    }

    fn tid_or_zero(&mut self) -> Tid {
        if self.one_in(2) { Tid::ZERO } else { self.tid() }
    }

    fn partition(&mut self) -> Partition {
        Partition(self.entropy.below(u64::from(PARTITIONS)) as u32)
    }

    /// Not given before, in any partition.
    fn new_ttid(&mut self) -> Ttid {
        self.clock += 1 + self.below(3);
        self.ttids.insert(self.clock);
        Ttid(self.clock)
    }

    /// The next one in the same partition.
    fn tid_for(&mut self, ttid: Ttid) -> Tid {
        let count = u64::from(PARTITIONS);
        if self.one_in(6) {
            return ttid.as_tid();
        }
        self.clock += count;
        let tid = Tid(self.clock - (self.clock - ttid.0) % count);
        assert_eq!(tid.partition(PARTITIONS), ttid.partition(PARTITIONS));
        tid
    }

    fn data(&mut self) -> StoredData {
        // Few contents, so that deduplication happens.
        let size = self.below(6) as usize;
        let mut data = vec![b'a' + self.below(3) as u8; size];
        if self.one_in(50) {
            data.resize(70_000, b'x');
        }
        StoredData {
            compression: self.below(2) as u32,
            checksum: Digest::of(&data),
            data: data.into(),
        }
    }

    fn oids(&mut self) -> Vec<Oid> {
        (0..self.below(4)).map(|_| self.oid()).collect()
    }

    fn text(&mut self) -> Bytes {
        Bytes::from_static([&b""[..], b"user", b"\xff\x00"][self.below(3) as usize])
    }

    pub fn jobs(&mut self) -> Vec<WriteJob> {
        if self.ptid == 0 {
            let early = self.vote();
            return vec![WriteJob::SetNodeId(OWN), early, self.table(true)];
        }
        let count = 1 + self.below(3);
        (0..count).map(|_| self.job()).collect()
    }

    fn job(&mut self) -> WriteJob {
        let mut kind = self.below(64) as usize;
        if kind >= self.counts.len() {
            // What happens all the time in a cluster.
            kind = [0, 1, 2, 3, 4][kind % 5];
        }
        if kind >= 20 && !self.one_in(3) {
            kind = 1;
        }
        self.counts[kind] += 1;
        match kind {
            0..=2 => self.vote(),
            3 => self.lock(),
            4 => self.unlock(),
            5 => WriteJob::Abort { ttid: self.end() },
            6 => {
                let ttid = self.end();
                let tid = self.tid_for(ttid);
                WriteJob::Validate { ttid, tid }
            }
            7 => self.spill(),
            8 => WriteJob::ReleaseSpilled(vec![DataId(self.entropy.below(self.last_spilled + 2))]),
            9 => self.add_transactions(),
            10 | 11 => self.add_objects(),
            12 => WriteJob::DeleteTransactions {
                partition: self.partition(),
                tids: vec![self.tid(), self.tid()],
            },
            13 => WriteJob::DeleteObjects {
                partition: self.partition(),
                records: (0..6).map(|_| (self.tid(), self.oid())).collect(),
            },
            14 => WriteJob::PackObjects {
                partition: self.partition(),
                pack_tid: self.tid(),
                min: (self.oid(), self.tid_or_zero()),
                limit: self.below(5) as u32,
            },
            15 => {
                let mut oids = self.oids();
                oids.sort_unstable();
                WriteJob::PackList {
                    partition: self.partition(),
                    pack_tid: self.tid(),
                    oids,
                    min: (Oid(self.below(2)), self.tid_or_zero()),
                    limit: self.below(5) as u32,
                }
            }
            16 => WriteJob::SignPacks {
                approved: vec![self.tid()],
                rejected: (0..8).map(|_| self.tid()).collect(),
            },
            17 => self.table(false),
            18 => WriteJob::SetCellTid { partition: self.partition(), tid: self.tid() },
            19 => WriteJob::SetCellPack { partition: self.partition(), pack: self.tid() },
            20 => WriteJob::DiscardUnfinished(vec![self.partition()]),
            21 => WriteJob::DropUnfinished,
            22 => WriteJob::DropPartition {
                partition: self.partition(),
                limit: self.below(20) as u32,
            },
            23 if self.one_in(2) => WriteJob::DecideTruncation(self.tid()),
            23 => WriteJob::Truncate,
            24 => self.setting(),
            25 => WriteJob::BeginPack(PackOrder {
                tid: self.tid(),
                approved: Some(true),
                partial: self.one_in(2),
                oids: self.one_in(2).then(|| OidList::List(self.oids())),
                pack_tid: self.tid(),
            }),
            _ => WriteJob::PruneOrphans {
                min: DataId(self.below(5)),
                limit: self.below(5) as u32,
                dry_run: self.one_in(2),
            },
        }
    }

    fn setting(&mut self) -> WriteJob {
        match self.below(4) {
            0 => WriteJob::SetName(["a", "é"][self.below(2) as usize].to_owned()),
            1 => WriteJob::SetNodeId(NodeId(1 + self.below(2) as i32)),
            2 => WriteJob::SetBackupTid(Some(self.tid())),
            _ => WriteJob::SetBackupTid(None),
        }
    }

    fn table(&mut self, full: bool) -> WriteJob {
        self.ptid += 1;
        let full = full || self.one_in(3);
        let mut cells = Vec::new();
        if full {
            for partition in 0..PARTITIONS {
                for nid in [1, 2] {
                    cells.push((partition, nid));
                }
            }
        } else {
            cells.push((self.partition().0, 1));
            cells.push((self.partition().0, 2));
        }
        let states = [
            CellState::UpToDate,
            CellState::OutOfDate,
            CellState::Feeding,
            CellState::Corrupted,
            CellState::Discarded,
        ];
        let cells = cells
            .into_iter()
            .map(|(partition, nid)| CellChange {
                partition: Partition(partition),
                nid: NodeId(nid),
                // The last partition is always there: their number must not change.
                state: if partition + 1 == PARTITIONS {
                    states[self.below(4) as usize]
                } else {
                    states[self.below(5) as usize]
                },
            })
            .collect();
        WriteJob::ChangeTable(TableChange {
            ptid: Ptid(self.ptid),
            replicas: self.below(2) as u32,
            cells,
            full,
            last_pack: self.tid(),
        })
    }

    fn spill(&mut self) -> WriteJob {
        let ttid = match self.open.last() {
            Some(ttid) if self.entropy.below(2) == 0 => *ttid,
            _ => self.new_ttid(),
        };
        self.last_spilled += 1;
        self.spilled.push((ttid, DataId(self.last_spilled)));
        WriteJob::Spill { ttid, oid: self.oid(), data: self.data() }
    }

    fn vote(&mut self) -> WriteJob {
        let spilled = self.entropy.choose(&self.spilled).copied();
        let ttid = match spilled {
            Some((ttid, _)) if self.one_in(3) => ttid,
            // A second vote.
            _ if self.one_in(10) && !self.open.is_empty() => self.open[0],
            _ => self.new_ttid(),
        };
        let mut oids = self.oids();
        oids.sort_unstable();
        oids.dedup();
        if self.one_in(60) {
            oids.push(Oid(1 << 63));
        }
        let objects: Vec<_> = oids
            .into_iter()
            .map(|oid| StoredObject {
                oid,
                payload: match self.below(6) {
                    0 => Payload::Nothing,
                    1 => spilled.map_or(Payload::Nothing, |(_, name)| Payload::Spilled(name)),
                    _ => Payload::Data(self.data()),
                },
                value_tid: self.one_in(3).then(|| self.tid()),
                value_required: self.one_in(3),
            })
            .collect();
        let transaction = (!self.one_in(3)).then(|| TransactionMetadata {
            user: self.text(),
            description: self.text(),
            extension: self.text(),
            oids: objects.iter().rev().map(|object| object.oid).collect(),
            pack: self.one_in(4).then(|| PackRequest {
                oids: self.one_in(2).then(|| self.oids()),
                pack_tid: self.tid(),
            }),
        });
        self.open.push(ttid);
        WriteJob::Vote(Vote { ttid, objects, transaction })
    }

    /// One that is not ended, or anything.
    fn end(&mut self) -> Ttid {
        let count = self.open.len() as u64;
        let ttid = if count == 0 || self.one_in(10) {
            self.tid().as_ttid()
        } else {
            let place = self.below(count) as usize;
            self.open.swap_remove(place)
        };
        // It does not come back.
        self.open.retain(|open| *open != ttid);
        self.spilled.retain(|(owner, _)| *owner != ttid);
        ttid
    }

    fn lock(&mut self) -> WriteJob {
        let ttid = match self.entropy.choose(&self.open) {
            Some(ttid) => *ttid,
            None => Ttid(self.clock),
        };
        WriteJob::Lock { ttid, tid: self.tid_for(ttid), approve_pack: self.one_in(2) }
    }

    fn unlock(&mut self) -> WriteJob {
        let ttid = self.end();
        let tid = if self.one_in(6) {
            // Replicated already, maybe.
            let tid = self.foreign_tid().0;
            let tid = Tid(tid - (tid + u64::from(PARTITIONS) - ttid.0 % 3) % 3);
            if self.ttids.contains(&tid.0) { ttid.as_tid() } else { tid }
        } else {
            self.tid_for(ttid)
        };
        WriteJob::Unlock { ttid, tid }
    }

    fn add_transactions(&mut self) -> WriteJob {
        let rows = (0..3).map(|_| {
            let tid = self.foreign_tid();
            ReplicatedTransaction {
                transaction: TransactionInfo {
                    tid,
                    ttid: tid.as_ttid(),
                    packed: self.one_in(2),
                    user: self.text(),
                    description: self.text(),
                    extension: self.text(),
                    oids: self.oids(),
                },
                pack: self.one_in(3).then(|| PackRecord {
                    approved: [None, Some(true), Some(false)][self.below(3) as usize],
                    partial: true,
                    oids: Some(OidList::Concatenated(self.oids())),
                    pack_tid: self.tid(),
                }),
            }
        });
        WriteJob::AddTransactions(rows.collect())
    }

    fn add_objects(&mut self) -> WriteJob {
        let rows = (0..3).map(|_| ReplicatedObject {
            oid: self.oid(),
            tid: self.tid(),
            data: (!self.one_in(5)).then(|| self.data()),
            value_tid: self.one_in(3).then(|| self.tid()),
        });
        WriteJob::AddObjects(rows.collect())
    }
}
