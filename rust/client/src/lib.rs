//! Blocking NEO client library: the core's client with sockets and threads.
//!
//! There is no runtime. The core sits behind one mutex; a calling thread enters it, writes to
//! sockets itself, and while it waits it reads them too, for everybody (see [`wait`]). One plain
//! thread reads when nobody waits, another one publishes what other clients commit. A cache hit
//! touches neither: records have a lock of their own.

pub mod application;
mod background;
mod engine;
pub mod error;
mod fetch;
mod history;
mod iteration;
mod load;
mod pipeline;
mod prefetch;
pub mod records;
mod socket;
mod sync;
mod undo;
mod wait;

pub use application::{Application, Options, Publisher};
pub use error::Error;
pub use fetch::Fetched;
pub use history::Information;
pub use iteration::{Revision, Transaction, Transactions};
pub use load::Record;
pub use neo_core::client::api::{Conflict, Content, Metadata, TransactionKey, Write};
pub use pipeline::{Past, Started};
pub use undo::UndoSerial;
pub use wait::Interrupted;
