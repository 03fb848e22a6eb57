use neo_wire::{Address, NodeId, Text};

/// Settings of a master (spec master.md 2.1).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MasterConfig {
    /// Name of the cluster.
    pub cluster: Text,
    /// Where it listens: also what tells it from other masters.
    pub address: Address,
    /// Known masters, the dynamic list included; its own address may be there or not.
    pub masters: Vec<Address>,
    /// Forced identifier.
    pub nid: Option<NodeId>,
    /// Number of storages with which a new database is created without an operator; 0 for never.
    pub autostart: u32,
    /// Number of partitions of a new database.
    pub partitions: u32,
    /// The operator chose it, hence is told if the database has another one.
    pub partitions_chosen: bool,
    /// Number of replicas of a new database.
    pub replicas: u32,
    /// For how long something is waited for.
    pub limits: Limits,
}

impl MasterConfig {
    /// Everything but names by default.
    #[must_use]
    pub fn new(cluster: Text, address: Address) -> Self {
        Self {
            cluster,
            address,
            masters: Vec::new(),
            nid: None,
            autostart: 0,
            partitions: 100,
            partitions_chosen: false,
            replicas: 0,
            limits: Limits::default(),
        }
    }
}

/// Bounds of waits where only liveness is at stake (spec master.md 23.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// How long a storage may take to start operation, while no transaction can begin (9.1).
    pub starting_ms: u64,
    /// How long clients may keep transactions open when the cluster stops (17).
    pub stopping_ms: u64,
    /// How long transactions being finished may last when the process is asked to stop.
    pub exit_ms: u64,
    /// How long a peer may take to show that it is alive, when another claims to be it (4.5).
    pub probe_ms: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { starting_ms: 60_000, stopping_ms: 60_000, exit_ms: 5000, probe_ms: 5000 }
    }
}
