//! Errors of databases: each is one sentence for the operator.

/// Why a database can not be opened, or can not be used any more.
///
/// An error of a commit is final: nothing was answered, the writer refuses everything from then
/// on, and the node must stop (spec storage.md 1, fail-stop).
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process has it.
    #[error("database is locked")]
    Locked,
    /// The text that designates the database.
    #[error("invalid database: {0}")]
    Designation(String),
    /// It holds something else than a NEO database. It was left as it is.
    #[error("{0} is not a NEO database: it was left untouched")]
    Foreign(String),
    /// It needs something that this implementation does not have. It was left as it is.
    #[error("{0}")]
    Unsupported(String),
    /// Written by a newer version.
    #[error("The database can not be downgraded.")]
    TooNew,
    /// Too old to keep its unfinished transactions.
    #[error(
        "The database can not be upgraded because you have unfinished transactions. \
         Use an older version of NEO to verify them."
    )]
    UnfinishedBeforeUpgrade,
    /// It belongs to another cluster.
    #[error(
        "name '{expected}' does not match with the database: '{found}': check --cluster and \
         --database"
    )]
    OtherCluster {
        /// Recorded name.
        found: String,
        /// Name asked for.
        expected: String,
    },
    /// What it holds breaks the rules of the specification.
    #[error("the database is inconsistent: {0}")]
    Inconsistent(String),
    /// A read or a write failed.
    #[error("{what} failed: {failure}")]
    Failed {
        /// What was being done.
        what: &'static str,
        /// How it failed.
        failure: Failure,
    },
    /// A previous write failed, nothing is written any more.
    #[error("the database was given up after an error: {0}")]
    GivenUp(String),
    /// All tables were dropped.
    #[error("the database was erased")]
    Erased,
}

/// How an operation on a database failed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Failure {
    /// No space left.
    #[error("the disk is full")]
    DiskFull,
    /// A page can not be what was written.
    #[error("the database is corrupted ({0})")]
    Corrupted(String),
    /// The system could not read or write.
    #[error("input/output error ({0})")]
    Io(String),
    /// Somebody else keeps the database busy.
    #[error("another program keeps the database busy ({0})")]
    Busy(String),
    /// Anything else.
    #[error("{0}")]
    Other(String),
}
