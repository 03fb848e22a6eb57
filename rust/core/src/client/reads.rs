//! The read loop: whichever readable cell answers (spec client.md 5.2).

use std::collections::VecDeque;

use neo_wire::{ErrorCode, NodeId, Packet};

use super::api::{Answer, CallId, ClientError, TransactionKey};
use super::{Asked, Caller, Client, Context};

/// A read in progress.
#[derive(Debug)]
pub(super) struct Read {
    caller: Caller,
    key: u64,
    packet: Packet,
    /// Those that lack something of this transaction are not asked.
    transaction: Option<TransactionKey>,
    except: Vec<NodeId>,
    cells: VecDeque<NodeId>,
    total: usize,
    /// How many of them can be asked.
    eligible: usize,
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
        let read = Read {
            caller,
            key,
            packet,
            transaction: None,
            failed: except.len(),
            except,
            cells: VecDeque::new(),
            total: 0,
            eligible: 0,
        };
        self.begin_read(read, cx);
    }

    /// Starts a read that a transaction needs.
    pub(super) fn transaction_read(
        &mut self,
        call: CallId,
        key: TransactionKey,
        (place, packet): (u64, Packet),
        cx: &mut Context<'_>,
    ) {
        let refusal = match self.transactions.get(&key) {
            None => Some(ClientError::UnknownTransaction),
            Some(transaction) => transaction.error.clone(),
        };
        if let Some(error) = refusal {
            self.answer(call, Err(error), cx);
            return;
        }
        let read = Read {
            caller: Caller::Application(call),
            key: place,
            packet,
            transaction: Some(key),
            failed: 0,
            except: Vec::new(),
            cells: VecDeque::new(),
            total: 0,
            eligible: 0,
        };
        self.begin_read(read, cx);
    }

    fn begin_read(&mut self, read: Read, cx: &mut Context<'_>) {
        self.next_read += 1;
        let id = ReadId(self.next_read);
        self.reads.insert(id, read);
        self.restart_read(id, cx);
    }

    /// Whether a node can be asked: the transaction may lose it while the read goes on.
    fn is_eligible(&self, read: &Read, nid: NodeId) -> bool {
        let transaction = read.transaction.and_then(|key| self.transactions.get(&key));
        !read.except.contains(&nid) && transaction.is_none_or(|t| !t.has_lost(nid))
    }

    /// Looks at the cells again.
    fn restart_read(&mut self, id: ReadId, cx: &mut Context<'_>) {
        let Some(read) = self.reads.get(&id) else {
            return;
        };
        let partition = self.table.partition(read.key);
        let cells = self.readable_cells(partition, cx.now.monotonic_ms);
        let Some(read) = self.reads.get(&id) else { return };
        let total = cells.len();
        let cells: VecDeque<_> =
            cells.into_iter().filter(|nid| self.is_eligible(read, *nid)).collect();
        if let Some(read) = self.reads.get_mut(&id) {
            read.total = total;
            read.eligible = cells.len();
            read.cells = cells;
        }
        self.next_cell(id, cx);
    }

    fn next_cell(&mut self, id: ReadId, cx: &mut Context<'_>) {
        let mut next = None;
        while next.is_none()
            && let Some(nid) = self.reads.get_mut(&id).and_then(|read| read.cells.pop_front())
        {
            next = self.reads.get(&id).filter(|read| self.is_eligible(read, nid)).map(|_| nid);
        }
        let Some(read) = self.reads.get(&id) else {
            return;
        };
        if let Some(nid) = next {
            let packet = read.packet.clone();
            self.ask_storage(nid, packet, Asked::Read(id, nid), cx);
        } else if self.table.is_empty() {
            let error = ClientError::MasterLost("the primary master was lost".into());
            self.end_read(id, Err(error), cx);
        } else if read.failed > read.total || (read.eligible == 0 && read.total > 0) {
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
