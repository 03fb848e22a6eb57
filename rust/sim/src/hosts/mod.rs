//! The machines of a cluster: each a core with its glue.

pub mod client;
pub mod simple;
pub mod storage;
