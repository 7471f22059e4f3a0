//! The reference model: docs/semantics.md, sections 1 to 5, written out as they are defined, over
//! all events of a memory at once. It was written from that page alone, by an author who had not
//! seen the code, and shares no code with it: agreement between both is evidence because they are
//! independent.
//!
//! The model keeps no state and prunes nothing, so tests can compare it with whatever the real code
//! keeps, prunes or caches. It prefers clarity to speed: it recomputes everything from the set of
//! events. It is for tests only, so its generators panic on input that a test has made wrong.
//!
//! | module | purpose |
//! |---|---|
//! | [`mod@event`] | decodes records: good events, and the class of a bad one |
//! | [`order`] | which event came before which, for certain or presumably |
//! | [`read`] | resolves a memory from the set of its events |
//! | [`strategy`] | the strategies of section 4 |
//! | [`outputs`] | records of the output topics |
//! | [`tracked`] | a memory with its open conflicts: what an event's arrival emits |
//! | [`mod@run`] | all outputs of a stream of records |
//! | [`task`] | forgets tombstones by stream time |
//! | [`sync`] | answers sync requests |
//! | [`users`] | makes snapshots of users |
//! | [`json`], [`time`] | a JSON reader and writer, and RFC 3339 times, of its own |
//! | [`generate`], [`generate_event`] | streams of events in which everything collides, and their events |
//! | [`generate_bad`] | records that hold no event |
//! | [`generate_time`] | streams in which time passes |
//! | [`files`] | reads and writes record files, to compare with `replay` |

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a failing test panics")]

pub mod event;
pub mod files;
pub mod generate;
pub mod generate_bad;
pub mod generate_event;
pub mod generate_time;
pub mod json;
pub mod order;
pub mod outputs;
pub mod read;
pub mod run;
pub mod strategy;
pub mod sync;
pub mod task;
pub mod time;
pub mod tracked;
pub mod users;

use json::Json;
use std::collections::BTreeMap;

pub use event::{Bad, Event, decode};
pub use outputs::{DeadLetter, Emitted, Outputs};
pub use read::resolved;
pub use run::run;
pub use task::{LogRecord, Task, log_of};

/// Answer of a custom resolver.
#[derive(Clone, Debug)]
pub enum Decision {
    /// The resolved value.
    Value(Json),
    /// The conflict waits for a person.
    Defer,
    /// The resolver failed: the last write is picked.
    Fail,
}

/// A contender as a custom resolver sees it.
#[derive(Clone, Debug)]
pub struct Contender {
    /// Id of the contender's event.
    pub event_id: String,
    /// The node that wrote it.
    pub node_id: Option<String>,
    /// Its vector clock.
    pub vector_clock: BTreeMap<String, u64>,
    /// Its version.
    pub version: u64,
    /// Its time, in nanoseconds since 1970.
    pub timestamp_ns: i64,
    /// Its importance.
    pub importance: Option<Json>,
    /// The value that it writes.
    pub value: Json,
}

/// The strategies of docs/semantics.md, section 4.
#[derive(Clone, Copy, Debug)]
pub enum Strategy {
    /// The latest write.
    LastWriteWins,
    /// The write of the greatest importance.
    Importance,
    /// The write whose clock has the greatest sum.
    VectorClock,
    /// The join of all values, where the path has one; else the greatest in a fixed order.
    MergeAll,
    /// A function of the test's.
    Custom(fn(path: &str, contenders: &[Contender]) -> Decision),
}

impl Strategy {
    /// The name in topology files and conflict records.
    pub fn name(self) -> &'static str {
        match self {
            Strategy::LastWriteWins => "last_write_wins",
            Strategy::Importance => "importance",
            Strategy::VectorClock => "vector_clock",
            Strategy::MergeAll => "merge_all",
            Strategy::Custom(_) => "custom",
        }
    }
}

/// Which write holds where one deletes a memory and a concurrent one updates it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeletePolicy {
    /// The update.
    UpdateWins,
    /// The delete.
    DeleteWins,
}

/// How a write without a clock is read against one with a clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unclocked {
    /// It came before or after by the time of its event.
    ByTime,
    /// Neither came before the other.
    Concurrent,
}

/// The resolver's settings, with the defaults of docs/semantics.md.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The strategy where none is overridden.
    pub strategy: Strategy,
    /// By path (`content`, `metadata.lang`, `entities.e1`) or container (`metadata`); the exact
    /// path beats the container.
    pub overrides: BTreeMap<String, Strategy>,
    /// Which write holds where one deletes and a concurrent one updates.
    pub delete_policy: DeletePolicy,
    /// Whether *happened before* goes by clocks alone, whatever the versions say.
    pub trust_clocks: bool,
    /// How a write without a clock is read.
    pub unclocked: Unclocked,
    /// 0 switches the second kind of presumption off.
    pub max_clock_skew_ns: u64,
    /// Greatest number of entries in a clock; an event with more is refused.
    pub max_clock_entries: usize,
    /// Greatest size of a record's value in bytes; a larger record is refused.
    pub max_value_bytes: usize,
    /// Greatest number of contenders in a conflict record.
    pub max_contenders: usize,
    /// How long after its last event a memory that is not active is forgotten, by stream time;
    /// `None` is never.
    pub tombstone_retention_ms: Option<i64>,
    /// The application id.
    pub application_id: String,
    /// The topic of the events.
    pub events_topic: String,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            strategy: Strategy::MergeAll,
            overrides: BTreeMap::new(),
            delete_policy: DeletePolicy::UpdateWins,
            trust_clocks: false,
            unclocked: Unclocked::ByTime,
            max_clock_skew_ns: 2_000_000_000,
            max_clock_entries: 10_000,
            max_value_bytes: 8 * 1024 * 1024,
            max_contenders: 100,
            tombstone_retention_ms: None,
            application_id: "helixagent-memory".to_owned(),
            events_topic: "helixagent.memory.events".to_owned(),
        }
    }
}

impl Settings {
    /// The strategy of a path: its own override, else its container's, else the topology's.
    pub fn strategy_of(&self, path: &str) -> Strategy {
        let container = path.split_once('.').map(|(container, _)| container);
        let by_container = || container.and_then(|c| self.overrides.get(c));
        self.overrides.get(path).or_else(by_container).copied().unwrap_or(self.strategy)
    }

    /// These settings as `--set` pairs of the command line (the limits and the strategies
    /// included).
    pub fn as_set_pairs(&self) -> Vec<String> {
        let mut pairs = vec![format!("strategy={}", self.strategy.name())];
        pairs.extend(self.overrides.iter().map(|(path, strategy)| format!("strategy.{path}={}", strategy.name())));
        let delete_policy = match self.delete_policy {
            DeletePolicy::UpdateWins => "update_wins",
            DeletePolicy::DeleteWins => "delete_wins",
        };
        let unclocked = match self.unclocked {
            Unclocked::ByTime => "by_time",
            Unclocked::Concurrent => "concurrent",
        };
        pairs.push(format!("delete_policy={delete_policy}"));
        pairs.push(format!("trust_clocks={}", self.trust_clocks));
        pairs.push(format!("unclocked={unclocked}"));
        pairs.push(format!("max_clock_skew={}s", self.max_clock_skew_ns / 1_000_000_000));
        pairs.push(format!("max_clock_entries={}", self.max_clock_entries));
        pairs.push(format!("max_value_bytes={}", self.max_value_bytes));
        pairs.push(format!("max_contenders={}", self.max_contenders));
        pairs.extend(self.tombstone_retention_ms.map(|ms| format!("tombstone_retention={ms}ms")));
        pairs
    }
}

/// A record of the events topic.
#[derive(Clone, Debug, Default)]
pub struct Record {
    /// Topic.
    pub topic: String,
    /// Partition.
    pub partition: i32,
    /// Offset.
    pub offset: i64,
    /// Timestamp, in milliseconds since 1970.
    pub timestamp_ms: i64,
    /// Key; `None` is null.
    pub key: Option<Vec<u8>>,
    /// Value; `None` is null.
    pub value: Option<Vec<u8>>,
    /// Headers, in their order.
    pub headers: Vec<(String, Vec<u8>)>,
}
