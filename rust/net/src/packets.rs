//! Where packets are seen on their way, for the log (spec tools.md 11).
//!
//! [`observe`] sets, once, who sees the packets of this process. Each [`Link`](crate::Link) that
//! was told its [`Tap`] then shows what it sends and receives. Nobody else has to know who the peer
//! is: the packets of identification tell.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use neo_wire::{NodeId, Packet};
use tracing::info;

/// A packet on its way.
#[derive(Debug)]
pub struct Passage<'a> {
    /// Which node of this process, as [`Observer::node`] numbered it.
    pub node: u32,
    /// NID and address of the peer: `S1 (127.0.0.1:20000)`.
    pub peer: &'a Arc<str>,
    /// Whether it was sent; else it was received.
    pub sent: bool,
    /// Absent only in an Error that answers nothing.
    pub msg_id: Option<u32>,
    /// What passes.
    pub packet: &'a Packet,
}

/// Who sees packets. It is called by the threads that send and receive, and must be quick.
pub trait Observer: Send + Sync + 'static {
    /// A number for a node of this process, whose name may have changed.
    fn node(&self, cluster: Option<&str>, nid: Option<NodeId>) -> u32;

    /// A packet passes.
    fn packet(&self, passage: Passage<'_>);
}

static OBSERVER: OnceLock<Box<dyn Observer>> = OnceLock::new();

/// From now on, packets of new connections are shown to `observer`. Only the first one is taken.
pub fn observe(observer: Box<dyn Observer>) {
    // Another one is somebody else's choice.
    let _ = OBSERVER.set(observer);
}

/// A node of this process, as the log names it.
#[derive(Debug, Default)]
pub struct Identity {
    number: AtomicU32,
    cluster: Option<String>,
    nid: Mutex<Option<NodeId>>,
}

impl Identity {
    /// A node of this cluster, which has no NID yet.
    #[must_use]
    pub fn new(cluster: &str) -> Arc<Self> {
        let cluster = Some(cluster.to_owned());
        let identity = Self { cluster, ..Self::default() };
        identity.register(None);
        Arc::new(identity)
    }

    fn register(&self, nid: Option<NodeId>) {
        if let Some(observer) = OBSERVER.get() {
            let number = observer.node(self.cluster.as_deref(), nid);
            self.number.store(number, Ordering::Relaxed);
        }
    }

    /// Takes a NID; not one of another kind, which only is a role in another cluster.
    fn set_nid(&self, new: Option<NodeId>) {
        let Some(new) = new else { return };
        {
            let mut nid = self.nid.lock().unwrap_or_else(PoisonError::into_inner);
            let other = nid.is_some_and(|nid| nid == new || nid.node_type() != new.node_type());
            if other {
                return;
            }
            *nid = Some(new);
            self.register(Some(new));
        }
        info!("Node ID: {new}");
    }
}

/// What one connection shows.
pub struct Tap {
    observer: &'static dyn Observer,
    node: Arc<Identity>,
    address: String,
    peer: Arc<str>,
    /// What the peer says to be, until it is accepted.
    claimed: Option<NodeId>,
}

impl std::fmt::Debug for Tap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tap({})", self.peer)
    }
}

impl Tap {
    /// For a connection of `node` with a peer at `address`; none if nobody looks.
    #[must_use]
    pub fn new(node: &Arc<Identity>, address: String) -> Option<Box<Self>> {
        let observer = OBSERVER.get()?;
        let mut tap = Self {
            observer: observer.as_ref(),
            node: node.clone(),
            peer: "".into(),
            address,
            claimed: None,
        };
        tap.set_peer(None);
        Some(Box::new(tap))
    }

    fn set_peer(&mut self, nid: Option<NodeId>) {
        self.peer = match nid {
            Some(nid) => format!("{nid} ({})", self.address).into(),
            None => format!("None ({})", self.address).into(),
        };
    }

    fn show(&self, sent: bool, msg_id: Option<u32>, packet: &Packet) {
        let node = self.node.number.load(Ordering::Relaxed);
        self.observer.packet(Passage { node, peer: &self.peer, sent, msg_id, packet });
    }

    /// A packet is queued.
    pub fn sent(&mut self, msg_id: u32, packet: &Packet) {
        match packet {
            Packet::RequestIdentification { nid, .. } => self.node.set_nid(*nid),
            Packet::AcceptIdentification { nid, your_nid, .. } => {
                self.node.set_nid(*nid);
                self.set_peer(your_nid.or(self.claimed));
            }
            _ => {}
        }
        self.show(true, Some(msg_id), packet);
    }

    /// A packet is about to be handled.
    pub fn received(&mut self, msg_id: Option<u32>, packet: &Packet) {
        match packet {
            Packet::RequestIdentification { nid, .. } => self.claimed = *nid,
            Packet::AcceptIdentification { nid, your_nid, .. } => {
                self.node.set_nid(*your_nid);
                self.set_peer(*nid);
            }
            _ => {}
        }
        self.show(false, msg_id, packet);
    }
}
