//! What is asked after each step.

use neo_store::database::{DataId, Query, Revision};
use neo_wire::{Oid, Partition, Tid, Ttid};

use crate::generator::{Generator, OIDS, PARTITIONS};

/// Some random questions, or all that make sense.
pub fn questions(generator: &mut Generator, all: bool, statistics: bool) -> Vec<Query> {
    let mut queries = vec![
        Query::Configuration,
        Query::Table,
        Query::Unfinished,
        random(generator),
        random(generator),
        random(generator),
    ];
    if statistics {
        queries.push(Query::DataStatistics);
    }
    if !all {
        return queries;
    }
    queries.extend((0..400).map(|_| random(generator)));
    let partitions: Vec<_> = (0..PARTITIONS).map(Partition).collect();
    queries.extend((0..OIDS).map(|oid| Query::Revisions(Oid(oid))));
    for partition in partitions {
        queries.push(Query::RecordsFrom {
            partition,
            min_tid: Tid::ZERO,
            min_oid: Oid::ZERO,
            max_tid: Tid::INVALID,
            length: u64::MAX,
        });
        queries.push(Query::TidsFrom {
            partition,
            min: Tid::ZERO,
            max: Tid::INVALID,
            length: u64::MAX,
        });
    }
    queries
}

fn tid(generator: &mut Generator) -> Tid {
    match generator.below(20) {
        0 => Tid::ZERO,
        1 => Tid::MAX,
        2 => Tid::INVALID,
        3 => Tid(1 << 63),
        _ => generator.tid(),
    }
}

fn oid(generator: &mut Generator) -> Oid {
    match generator.below(20) {
        0 => Oid(OIDS + 1),
        1 => Oid(1 << 63),
        2 => Oid::INVALID,
        _ => generator.oid(),
    }
}

fn length(generator: &mut Generator) -> u64 {
    [0, 1, 2, 5, u64::MAX][generator.below(5) as usize]
}

fn partitions(generator: &mut Generator) -> Vec<Partition> {
    let chosen = generator.below(1 << PARTITIONS);
    (0..PARTITIONS).filter(|partition| chosen & (1 << partition) != 0).map(Partition).collect()
}

fn random(generator: &mut Generator) -> Query {
    let partition = Partition(generator.below(u64::from(PARTITIONS) + 1) as u32);
    match generator.below(18) {
        0 => Query::LastIds(partitions(generator)),
        1 => Query::LastTids(partition),
        2 => Query::FinalTid(Ttid(tid(generator).0)),
        3 => Query::LastSerial(oid(generator)),
        4 => Query::HasRecord { oid: oid(generator), tid: tid(generator) },
        5 => Query::Spilled(DataId(generator.below(6))),
        6 => Query::Transaction(tid(generator)),
        7 => Query::History {
            oid: oid(generator),
            offset: generator.below(4),
            length: length(generator),
        },
        8 => Query::Tids {
            partitions: partitions(generator),
            offset: generator.below(4),
            length: length(generator),
        },
        9 => Query::TidsFrom {
            partition,
            min: tid(generator),
            max: tid(generator),
            length: length(generator),
        },
        10 => Query::OidsFrom {
            partition,
            min_oid: oid(generator),
            length: length(generator),
            tid: tid(generator),
        },
        11 => Query::RecordsFrom {
            partition,
            min_tid: tid(generator),
            min_oid: oid(generator),
            max_tid: tid(generator),
            length: length(generator),
        },
        12 => Query::PackOrders { min: tid(generator), partitions: partitions(generator) },
        13 => Query::PackTid(oid(generator)),
        kind => Query::Load {
            oid: oid(generator),
            revision: match kind {
                14 => Revision::Last,
                15 => Revision::At(tid(generator)),
                _ => Revision::Before(tid(generator)),
            },
        },
    }
}
