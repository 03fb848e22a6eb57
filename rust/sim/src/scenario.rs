//! What a seed decides before anything happens: sizes, speeds, workload, faults.

use neo_core::client;
use neo_core::master::{Limits, MasterConfig};
use neo_core::{admin, storage};
use neo_wire::{Address, Text, packet::code};

use crate::host::Kind;
use crate::hosts::client::Workload;
use crate::hosts::storage::DiskProfile;
use crate::network::Profile;
use crate::random::Random;
use crate::schedule::Time;
use crate::world::{FaultKind, Moment, Trigger};

const CLUSTER: &str = "simulated";

/// See the module.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Number of masters.
    pub masters: usize,
    /// Number of storages.
    pub storages: usize,
    /// Number of clients.
    pub clients: usize,
    /// Number of admins; if any, somebody types commands.
    pub admins: usize,
    /// Number of partitions.
    pub partitions: u32,
    /// Copies − 1.
    pub replicas: u32,
    /// The network.
    pub network: Profile,
    /// The disks.
    pub disk: DiskProfile,
    /// Bytes of stores that a storage keeps in memory.
    pub memory_limit: usize,
    /// Bytes of writes that a client has on the way.
    pub write_buffer: usize,
    /// What applications do.
    pub workload: Workload,
    /// Kinds of faults made at random moments.
    pub faults: Vec<FaultKind>,
    /// Time between two of them, at most.
    pub calm: Time,
}

/// Packets at which faults are made: each is a step of the life of a cluster.
pub const STEPS: [(Kind, u16); 34] = [
    (Kind::Master, code::RequestIdentification),
    (Kind::Master, code::AnswerRecovery),
    (Kind::Master, code::AnswerPartitionTable),
    (Kind::Master, code::AnswerLockedTransactions),
    (Kind::Master, code::AnswerLastIDs),
    (Kind::Master, code::NotifyReady),
    (Kind::Master, code::AskBeginTransaction),
    (Kind::Master, code::AskFinishTransaction),
    (Kind::Master, code::AnswerInformationLocked),
    (Kind::Master, code::AbortTransaction),
    (Kind::Master, code::AskFinalTID),
    (Kind::Storage, code::AcceptIdentification),
    (Kind::Storage, code::AskRecovery),
    (Kind::Storage, code::AskPartitionTable),
    (Kind::Storage, code::SendPartitionTable),
    (Kind::Storage, code::NotifyPartitionChanges),
    (Kind::Storage, code::AskLockedTransactions),
    (Kind::Storage, code::AskLastIDs),
    (Kind::Storage, code::StartOperation),
    (Kind::Storage, code::AskStoreObject),
    (Kind::Storage, code::AskCheckCurrentSerial),
    (Kind::Storage, code::AskStoreTransaction),
    (Kind::Storage, code::AskLockInformation),
    (Kind::Storage, code::NotifyUnlockInformation),
    (Kind::Storage, code::AbortTransaction),
    (Kind::Storage, code::AskObject),
    (Kind::Client, code::AcceptIdentification),
    (Kind::Client, code::AnswerLastTransaction),
    (Kind::Client, code::AnswerBeginTransaction),
    (Kind::Client, code::AnswerStoreObject),
    (Kind::Client, code::AnswerStoreTransaction),
    (Kind::Client, code::AnswerTransactionFinished),
    (Kind::Client, code::InvalidateObjects),
    (Kind::Client, code::AnswerObject),
];

/// The faults that a kind of node can have.
#[must_use]
pub fn faults_of(kind: Kind) -> Vec<FaultKind> {
    let mut faults = FaultKind::COMMON.to_vec();
    match kind {
        Kind::Storage => faults.extend(FaultKind::DISK),
        // Nobody connects to a client.
        Kind::Client => faults.retain(|fault| *fault != FaultKind::RefuseConnections),
        _ => {}
    }
    faults
}

/// A duration drawn for a whole simulation.
fn draw(random: &mut Random, choices: &[Time]) -> Time {
    choices[random.index(choices.len())]
}

impl Scenario {
    /// What this seed decides.
    #[must_use]
    pub fn draw(random: &mut Random) -> Self {
        let storages = random.between(1, 4) as usize;
        let replicas = random.below(2.min(storages as u64)) as u32;
        let latency = draw(random, &[Time(50), Time(200), Time::ms(2)]);
        let commit = draw(random, &[Time(100), Time::ms(1), Time::ms(10)]);
        let objects = [2, 4, 10, 40][random.index(4)];
        let partitions = [1, 2, 3, 12][random.index(4)];
        let faults = FaultKind::COMMON.into_iter().chain(FaultKind::DISK);
        let faults = faults.filter(|_| random.one_in(2)).collect();
        Self {
            masters: [1, 1, 2, 3][random.index(4)],
            storages,
            clients: random.between(1, 3) as usize,
            admins: random.index(2),
            partitions,
            replicas,
            network: Profile {
                min: Time(latency.0 / 4),
                max: latency,
                tail_one_in: [20, 200, 5_000][random.index(3)],
                tail: draw(random, &[Time::ms(5), Time::ms(100), Time::s(2)]),
                cut_one_in: random.between(2, 20),
            },
            disk: DiskProfile {
                commit_min: Time(commit.0 / 4),
                commit_max: commit,
                read_max: draw(random, &[Time(20), Time(500), Time::ms(5)]),
                inline_reads: random.one_in(2),
            },
            memory_limit: [200, 10_000, 1 << 20][random.index(3)],
            write_buffer: [0, 100, 1 << 20][random.index(3)],
            workload: Workload {
                objects,
                threads: random.between(1, 3) as usize,
                think_max: draw(random, &[Time(100), Time::ms(2), Time::ms(20)]),
                publish_max: draw(random, &[Time(10), Time::ms(1), Time::ms(20)]),
                resolve_max: draw(random, &[Time(10), Time::ms(1), Time::ms(20)]),
                padding: [0, 50, 1_000][random.index(3)],
                cache: [0, 500, 1 << 20][random.index(3)],
                partitions,
                imports: random.one_in(6),
                packs: random.one_in(3),
            },
            faults,
            calm: draw(random, &[Time::ms(50), Time::ms(500), Time::s(5)]),
        }
    }

    /// A fault that waits for a packet.
    #[must_use]
    pub fn trigger(random: &mut Random) -> Trigger {
        let (of, code) = STEPS[random.index(STEPS.len())];
        let faults = faults_of(of);
        let kind = faults[random.index(faults.len())];
        let fatal = matches!(kind, FaultKind::Kill | FaultKind::PowerCut);
        let moment = match random.below(3) {
            0 => Moment::Before,
            1 if fatal => Moment::Between(random.index(4)),
            _ => Moment::After,
        };
        let skip = random.scale(Time(200)).0 as u32 / 10;
        Trigger { of, code, skip, moment, kind }
    }

    /// Where the nth machine of a kind listens.
    #[must_use]
    pub fn address(kind: Kind, n: usize) -> Address {
        let host = [10, 0, kind as u8, n as u8].map(|byte: u8| byte.to_string()).join(".");
        Address { host: host.into(), port: 24_000 }
    }

    fn master_addresses(&self) -> Vec<Address> {
        (0..self.masters).map(|n| Self::address(Kind::Master, n)).collect()
    }

    /// Settings of the nth master.
    #[must_use]
    pub fn master(&self, n: usize) -> MasterConfig {
        MasterConfig {
            masters: self.master_addresses(),
            autostart: self.storages as u32,
            partitions: self.partitions,
            replicas: self.replicas,
            limits: Limits::default(),
            ..MasterConfig::new(Text::from(CLUSTER), Self::address(Kind::Master, n))
        }
    }

    /// Settings of the nth storage.
    #[must_use]
    pub fn storage(&self, n: usize) -> storage::Config {
        storage::Config {
            cluster: CLUSTER.into(),
            masters: self.master_addresses(),
            address: Self::address(Kind::Storage, n),
            device_path: vec![n.to_string().into()],
            nid: None,
            disable_pack: false,
            memory_limit: self.memory_limit,
        }
    }

    /// Settings of clients.
    #[must_use]
    pub fn client(&self) -> client::Config {
        client::Config {
            cluster: CLUSTER.into(),
            masters: self.master_addresses(),
            read_only: false,
            write_buffer: self.write_buffer,
            max_reconnections: None,
        }
    }

    /// Settings of the nth admin.
    #[must_use]
    pub fn admin(&self, n: usize) -> admin::Config {
        admin::Config {
            cluster: CLUSTER.into(),
            address: Some(Self::address(Kind::Admin, n)),
            nid: None,
            masters: self.master_addresses(),
            backups: Vec::new(),
            max_lag_s: 0.0,
        }
    }
}
