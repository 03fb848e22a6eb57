//! Databases of storage nodes (spec storage.md 4-10, 12).
//!
//! A database has one [`Writer`], which owns it and makes batches of jobs durable, each by one
//! commit, and any number of [`Reader`]s, which see what is committed and never wait for the
//! writer where the database can do that. Both are blocking: threads are the business of who uses
//! them ([`WriterThread`] is one way), and the simulator calls them directly.
//!
//! [`sqlite`] is the real one; [`memory`] is its model, with faults for the simulator.

mod error;
pub mod memory;
mod policy;
pub mod sqlite;
mod traits;
mod writer;

pub use error::{Failure, StoreError};
pub use policy::{Batch, Policy, Submission, Ticket};
pub use traits::{Durability, Jobs, Reader, Writer, durability_of};
pub use writer::WriterThread;

pub use neo_core::database;
