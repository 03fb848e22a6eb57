//! Recorded connections played again: our core gets what the peers of a node sent, and what it
//! sends is compared with what the recorded node had sent (spec protocol.md 15).
//!
//! [`stream`] reads recordings, [`mapping`] translates the identifiers and times that our core
//! chooses itself, [`player`] plays. Each other module is about one kind of node; a difference
//! is either listed there with its reason, or makes the test fail.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test fails by panicking

mod admin;
mod anything;
mod client;
mod ctl;
mod mapping;
mod master;
mod player;
mod storage;
mod stream;
