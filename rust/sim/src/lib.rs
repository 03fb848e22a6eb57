//! A cluster in one thread: virtual time, faults, and an oracle.
//!
//! One seed decides everything: sizes, timeouts, workload, faults. Nodes are the very cores that
//! real processes run; between them, messages pass as encoded bytes, in pieces, late, or never.
//! [`cluster::run`] simulates one seed, [`world`] is the mechanism, [`oracle`] says what must hold.

pub mod batch;
pub mod bugs;
pub mod cluster;
pub mod host;
pub mod hosts;
pub mod network;
pub mod oracle;
pub mod random;
pub mod scenario;
pub mod schedule;
pub mod trace;
pub mod world;
