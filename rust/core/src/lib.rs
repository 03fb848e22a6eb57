//! Every decision of every NEO node, without I/O.
//!
//! A node is a struct that gets an input and the time and appends outputs: see [`io::Node`].

pub mod admin;
pub mod client;
pub mod ctl;
pub mod database;
pub mod dates;
mod dump;
pub mod io;
pub mod links;
pub mod master;
pub mod nodes;
pub mod pacing;
pub mod partition_table;
pub mod primary_search;
pub mod storage;
pub mod table;
pub mod tid_allocation;
