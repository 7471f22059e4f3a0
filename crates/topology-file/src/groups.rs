//! Settings in groups, as their users take them: the engine, the mirror, user snapshots, scripts.

use std::str::FromStr;
use std::time::Duration;

use memory::settings::UnknownValue;

/// How the engine runs a topology (docs/exactly-once.md, "Settings").
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Runtime {
    /// Bytes of an output record; a larger one is dead-lettered as `output_too_large`.
    pub max_output_bytes: usize,
    /// Time between commits.
    pub commit_interval: Duration,
    /// Bytes for caches, write buffers, queues and uncommitted state, of the instance as a whole.
    pub memory: u64,
    /// Kafka's `transaction.timeout.ms`.
    pub transaction_timeout: Duration,
    /// Kafka's `session.timeout.ms`.
    pub session_timeout: Duration,
    /// Time for which a task retries after a transient error before it stops.
    pub task_timeout: Duration,
    /// How long to wait for a broker at start.
    pub broker_timeout: Duration,
    /// How often a running instance looks whether its sources or the application's topology have
    /// changed.
    pub check_interval: Duration,
    /// Time between purges of the repartition topics.
    pub purge_interval: Duration,
    /// Whether repartition topics are purged below the committed offset.
    pub purge: bool,
    /// Whether members keep their identity over a restart (`group.instance.id`).
    pub static_membership: bool,
    /// How the group decides who gets which task.
    pub task_assignor: TaskAssignor,
    /// For how long after its start an instance waits for others that may have the state of its
    /// tasks on disk, where tasks are assigned by that.
    pub restore_grace: Duration,
    /// Replication factor of topics that we make; 0 is the broker's default.
    pub replication_factor: u64,
}

/// How the group decides who gets which task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskAssignor {
    /// By whose disk the state is on, where all members offer that; else as
    /// [`TaskAssignor::Sticky`].
    StateAware,
    /// Kafka's `cooperative-sticky`, which knows nothing of state.
    Sticky,
}

impl TaskAssignor {
    /// All of them, as a file names them.
    pub const NAMES: &str = "state_aware, sticky";
}

impl FromStr for TaskAssignor {
    type Err = UnknownValue;

    fn from_str(text: &str) -> Result<TaskAssignor, UnknownValue> {
        match text {
            "state_aware" => Ok(TaskAssignor::StateAware),
            "sticky" => Ok(TaskAssignor::Sticky),
            _ => Err(UnknownValue { found: text.to_owned(), known: TaskAssignor::NAMES }),
        }
    }
}

/// Settings of the mirror.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirror {
    /// How long events are kept in Postgres at least; `None` is for ever.
    pub retention: Option<Duration>,
    /// Partitions of the log of events are made for so many months ahead.
    pub partitions_ahead: u32,
    /// The topic of the nodes' own records, which is mirrored where it exists; `None`: none is.
    pub nodes_topic: Option<String>,
}

/// When the snapshots of users are emitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Snapshots {
    /// The interval of stream time, at whose end each user that has changed in it is emitted.
    pub interval: Duration,
    /// A user that has changed so often since its last snapshot has one at once; 0: never so.
    pub changes: u64,
}

/// Limits of one call of a user's script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScriptLimits {
    /// Steps of the engine: each expression and statement counts.
    pub operations: u64,
    /// Bytes of text: of what it is given, and of each value that it makes.
    pub bytes: usize,
    /// Items of arrays and members of objects: of what it is given, and of each value that it
    /// makes.
    pub items: usize,
    /// Calls of its functions within each other.
    pub depth: usize,
}
