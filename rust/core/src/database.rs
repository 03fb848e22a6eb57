//! The words in which a storage node talks to its database (spec storage.md 4-12).
//!
//! The node emits [`job::WriteJob`]s with a ticket and learns when they are durable, and asks
//! [`query::Query`]s. `neo-store` carries them out, on SQLite or in memory. Nothing here does I/O.

pub mod cells;
pub mod job;
pub mod model;
pub mod query;

pub use cells::{CellRow, TableChange};
pub use job::{Class, JobOutput, JobResult, RecordKey, Refusal, WriteJob};
pub use model::{
    Configuration, DataId, DataStatistics, LastIds, ObjectRevision, Payload, ReplicatedObject,
    ReplicatedTransaction, StoredObject, TransactionInfo, TransactionMetadata, Vote,
};
pub use query::{Answer, LastTids, Loaded, OidsFrom, Query, Revision};
