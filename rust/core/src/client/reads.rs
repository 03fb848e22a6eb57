//! The read loop: whichever readable cell answers (spec client.md 5.2).

use std::collections::VecDeque;

use neo_wire::{ErrorCode, NodeId, Packet};

use super::api::{Answer, ClientError};
use super::{Asked, Caller, Client, Context};

/// A read in progress.
#[derive(Debug)]
pub(super) struct Read {
    caller: Caller,
    key: u64,
    packet: Packet,
    except: Vec<NodeId>,
    cells: VecDeque<NodeId>,
    total: usize,
    failed: usize,
}

/// Names a read in progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ReadId(u64);

/// Turns an Error answer into ours (spec client.md 1.5).
pub(super) fn error_of(code: ErrorCode, message: String) -> ClientError {
    match code {
        ErrorCode::OidNotFound | ErrorCode::TidNotFound => ClientError::NotFound(message),
        ErrorCode::OidDoesNotExist => ClientError::DoesNotExist(message),
        ErrorCode::ReadOnlyAccess => ClientError::ReadOnly(message),
        ErrorCode::UndoPackError => ClientError::UndoPack(message),
        ErrorCode::BackendNotImplemented => ClientError::NotImplemented(message),
        ErrorCode::ProtocolError => ClientError::Storage(format!("protocol error: {message}")),
        _ => ClientError::Storage(message),
    }
}

impl Client {
    /// Starts a read; the table is there.
    pub(super) fn start_read(
        &mut self,
        caller: Caller,
        key: u64,
        packet: Packet,
        except: Vec<NodeId>,
        cx: &mut Context<'_>,
    ) {
        self.next_read += 1;
        let id = ReadId(self.next_read);
        let cells = VecDeque::new();
        let read = Read { caller, key, packet, failed: except.len(), except, cells, total: 0 };
        self.reads.insert(id, read);
        self.restart_read(id, cx);
    }

    /// Looks at the cells again.
    fn restart_read(&mut self, id: ReadId, cx: &mut Context<'_>) {
        let Some(read) = self.reads.get(&id) else {
            return;
        };
        let partition = self.table.partition(read.key);
        let cells = self.readable_cells(partition, cx.now.monotonic_ms);
        let Some(read) = self.reads.get_mut(&id) else {
            return;
        };
        read.total = cells.len();
        read.cells = cells.into_iter().filter(|nid| !read.except.contains(nid)).collect();
        self.next_cell(id, cx);
    }

    fn next_cell(&mut self, id: ReadId, cx: &mut Context<'_>) {
        let Some(read) = self.reads.get_mut(&id) else {
            return;
        };
        if let Some(nid) = read.cells.pop_front() {
            let packet = read.packet.clone();
            self.ask_storage(nid, packet, Asked::Read(id, nid), cx);
        } else if self.table.is_empty() {
            let error = ClientError::MasterLost("the primary master was lost".into());
            self.end_read(id, Err(error), cx);
        } else if read.failed > read.total || !read.except.is_empty() {
            let error = ClientError::Disconnected("no storage available".into());
            self.end_read(id, Err(error), cx);
        } else {
            // Lets a change of the table arrive, and bounds the speed of retries.
            self.ask_master(Packet::Ping {}, Asked::PingForRead(id), cx);
        }
    }

    fn end_read(&mut self, id: ReadId, result: Result<Answer, ClientError>, cx: &mut Context<'_>) {
        let Some(read) = self.reads.remove(&id) else {
            return;
        };
        match read.caller {
            Caller::Application(call) => self.answer(call, result, cx),
            Caller::Recovery(transaction) => self.storage_final_tid(transaction, result, cx),
        }
    }

    /// A storage answered.
    pub(super) fn read_answered(
        &mut self,
        id: ReadId,
        nid: NodeId,
        packet: Packet,
        cx: &mut Context<'_>,
    ) {
        match packet {
            Packet::Error { code: ErrorCode::NonReadableCell, .. } => self.next_cell(id, cx),
            Packet::Error { code, message } => {
                self.end_read(id, Err(error_of(code, message.to_string())), cx);
            }
            packet => self.end_read(id, Ok(Answer::Packet { from: nid, packet }), cx),
        }
    }

    /// The connection was lost, or could not be made.
    pub(super) fn read_lost(&mut self, id: ReadId, cx: &mut Context<'_>) {
        if let Some(read) = self.reads.get_mut(&id) {
            read.failed += 1;
            self.next_cell(id, cx);
        }
    }

    /// The master answered the ping of a read: what it had sent is known.
    pub(super) fn read_synced(&mut self, id: ReadId, cx: &mut Context<'_>) {
        self.restart_read(id, cx);
    }

    /// The master was lost while a read waited for it.
    pub(super) fn read_sync_lost(&mut self, id: ReadId, cx: &mut Context<'_>) {
        let error = ClientError::MasterLost("the primary master was lost".into());
        self.end_read(id, Err(error), cx);
    }

    /// Forgets a read that nobody waits for.
    pub(super) fn cancel_read(&mut self, caller: Caller) {
        self.reads.retain(|_, read| read.caller != caller);
    }
}
