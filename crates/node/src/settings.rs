//! The settings of a node, and why one cannot be opened.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use memory::event::Limits;
use memory::settings::ResolverSettings;

use crate::actor::NodeName;
use crate::ports::JournalError;

/// Which memories of the snapshots topic a node keeps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Subscription {
    /// Those of all users, and those without a user.
    #[default]
    All,
    /// Those of these users, those of these sessions, and those to which this node itself has
    /// written.
    Selected {
        /// The users.
        users: BTreeSet<String>,
        /// The sessions, whoever their user is.
        sessions: BTreeSet<String>,
    },
}

impl Subscription {
    /// Whether a memory with this user and this session is kept that the node has not written.
    /// `is_known` says whether the node has it already.
    pub(crate) fn keeps(&self, user: Option<&str>, session: Option<&str>, is_active: bool, is_known: bool) -> bool {
        let Subscription::Selected { users, sessions } = self else { return true };
        let has_user = user.is_some_and(|user| users.contains(user));
        let has_session = session.is_some_and(|session| sessions.contains(session));
        // A memory that is not active says no session, and one whose user was cleared says no user:
        // the node goes on with one that it has.
        let says_too_little =
            (user.is_none() && (session.is_none() || sessions.is_empty())) || (!is_active && !sessions.is_empty());
        has_user || has_session || (is_known && says_too_little)
    }
}

/// The answer to a write whose caller has not seen a write of this same node to the memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StaleWrites {
    /// It is refused with the memory as it is now ([`crate::write::Refusal::Stale`]).
    #[default]
    Refuse,
    /// It is accepted as a write of another actor that has seen what the caller has, and no more
    /// ([`crate::actor`]). Where both have written the same field, the memory is in conflict. A
    /// merge is refused all the same where the token of a memory that it absorbs is stale.
    Concurrent,
}

/// The settings of a node.
#[derive(Clone, Debug)]
pub struct NodeSettings {
    /// The folder of its database, which is created where it is missing. One process at a time may
    /// use it.
    pub folder: PathBuf,
    /// The name that the operator has chosen.
    pub name: NodeName,
    /// The memories that it keeps.
    pub subscription: Subscription,
    /// The answer to stale writes.
    pub stale_writes: StaleWrites,
    /// The limits by which the stream accepts events.
    pub limits: Limits,
    /// The settings by which the stream resolves memories; the node's own events that are not
    /// resolved yet lie over a memory by the same rules.
    pub resolver: ResolverSettings,
    /// How many changes of memories the database keeps for readers that were away: in one half of
    /// them the last ones, in the other one a share of older ones for each user.
    pub kept_changes: u64,
    /// How many bytes of them it keeps, in the same way.
    pub kept_change_bytes: u64,
    /// The most bytes that a memory may have after a write, as canonical JSON: the largest record
    /// of a resolved memory, less [`RECORD_REST`].
    pub max_memory_bytes: usize,
    /// How many resolved states of a memory its history keeps; with 0 there are no histories.
    pub kept_states: u64,
    /// How many bytes of them it keeps, and at least the last one.
    pub kept_state_bytes: u64,
    /// How many bytes the histories of all memories keep.
    pub kept_history_bytes: u64,
    /// The wall clock, in nanoseconds since 1970.
    pub wall_clock: fn() -> u64,
    /// Called at each of [`STEPS`](crate::steps::STEPS) of the database, by tests that kill the
    /// process there.
    pub observe_step: fn(&'static str),
}

/// Bytes of the record of a resolved memory that are left for its key, its headers, and what events
/// of other nodes add to its clock.
pub const RECORD_REST: usize = 64 << 10;

impl NodeSettings {
    /// The settings of a node that keeps all memories, with the defaults of the stream.
    #[must_use]
    pub fn new(folder: impl Into<PathBuf>, name: NodeName) -> NodeSettings {
        NodeSettings {
            folder: folder.into(),
            name,
            subscription: Subscription::default(),
            stale_writes: StaleWrites::default(),
            limits: Limits::default(),
            resolver: ResolverSettings::default(),
            kept_changes: 100_000,
            kept_change_bytes: 64 << 20,
            max_memory_bytes: (16 << 20) - RECORD_REST,
            kept_states: 100,
            kept_state_bytes: 256 << 10,
            kept_history_bytes: 256 << 20,
            wall_clock: system_clock,
            observe_step: |_| {},
        }
    }
}

/// The clock of this machine, in nanoseconds since 1970; at most what an event can carry.
#[must_use]
pub fn system_clock() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX).min(json::rfc3339::MAX_NANOS)
}

/// Why a node cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The folder cannot be created, read or locked.
    #[error("cannot create, read or lock the folder {folder} of the node: {source} [HS8008]")]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// Another process uses the folder.
    #[error("another process uses the folder {0} of the node; stop it, or use another folder [HS8001]")]
    InUse(PathBuf),
    /// The folder belongs to a node with another name.
    #[error(
        "the folder {folder} belongs to the node {found:?}, and the settings name {wanted:?}; use that name, or another folder [HS8002]"
    )]
    OtherName {
        /// The folder.
        folder: PathBuf,
        /// The name in its database.
        found: String,
        /// The name in the settings.
        wanted: String,
    },
    /// The database cannot be opened: it is damaged, a newer version of this program has written
    /// it, or the disk fails.
    #[error(transparent)]
    Database(#[from] JournalError),
}
