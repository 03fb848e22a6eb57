//! Bugs that are made on purpose, to see that they are found.
//!
//! They are in the simulator's own parts (disks, wires, the application's side of a client), so
//! that no line of a node knows about them.

/// Which bug is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Bugs {
    /// None.
    #[default]
    None,
    /// A storage says that a vote or a lock is durable before it is.
    EarlyDurable,
    /// The lock of a transaction is never made durable.
    LostLock,
    /// A storage lets an object be read before its new revision is visible.
    EarlyUnlock,
    /// A client makes a TID visible before its cache forgets what it invalidates.
    LateInvalidation,
    /// Invalidations do not reach one of the clients.
    LostInvalidation,
    /// A storage finds the revision before the last one when it looks for a conflict.
    StaleSerial,
    /// The end of a transaction does not reach one of the storages.
    LostUnlock,
    /// An undo does not remember which revision it goes back to.
    ForgottenOrigin,
    /// The last transaction of a list is left out.
    ShortList,
    /// A pack removes what is newer than its TID too.
    GreedyPack,
}

impl Bugs {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::EarlyDurable,
        Self::LostLock,
        Self::EarlyUnlock,
        Self::LateInvalidation,
        Self::LostInvalidation,
        Self::StaleSerial,
        Self::LostUnlock,
        Self::ForgottenOrigin,
        Self::ShortList,
        Self::GreedyPack,
    ];

    /// Its name on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::EarlyDurable => "early-durable",
            Self::LostLock => "lost-lock",
            Self::EarlyUnlock => "early-unlock",
            Self::LateInvalidation => "late-invalidation",
            Self::LostInvalidation => "lost-invalidation",
            Self::StaleSerial => "stale-serial",
            Self::LostUnlock => "lost-unlock",
            Self::ForgottenOrigin => "forgotten-origin",
            Self::ShortList => "short-list",
            Self::GreedyPack => "greedy-pack",
        }
    }

    /// The one of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let mut all = std::iter::once(Self::None).chain(Self::ALL);
        all.find(|bug| bug.name() == name)
    }
}
