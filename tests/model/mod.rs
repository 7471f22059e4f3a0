//! The naive reference: docs/semantics.md, sections 1 to 5, written out as they are defined, over
//! all events of a memory at once. It keeps no state and prunes nothing, so whatever the real code
//! keeps, prunes or caches can be held against it. It shares no code with the crate. Clarity before
//! speed: everything is recomputed from the set of events.
//!
//! `task` forgets tombstones by stream time, `sync` answers sync requests, `users` makes snapshots of users.
//! `generate` makes streams in which everything collides, `generate_time` such in which time passes; `files` reads and writes record files, to compare with `replay`.

// Each test that says `mod model;` uses a part of it only.
#![allow(dead_code, unused_imports)]

pub mod event;
pub mod files;
pub mod generate;
pub mod generate_bad;
pub mod generate_time;
pub mod json;
pub mod order;
pub mod read;
pub mod run;
pub mod strategy;
pub mod sync;
pub mod task;
pub mod time;
pub mod users;

use json::Json;
use std::collections::BTreeMap;

pub use event::{Bad, Event, decode};
pub use read::resolved;
pub use run::{DeadLetter, Emitted, Outputs, run};
pub use task::{LogRecord, Task, log_of};

/// What a custom resolver says.
#[derive(Clone, Debug)]
pub enum Decision {
    Value(Json),
    Defer,
    Fail,
}

/// A contender as a custom resolver sees it.
#[derive(Clone, Debug)]
pub struct Contender {
    pub event_id: String,
    pub node_id: Option<String>,
    pub vector_clock: BTreeMap<String, u64>,
    pub version: u64,
    pub timestamp_ns: i64,
    pub importance: Option<Json>,
    pub value: Json,
}

/// The strategies of docs/semantics.md, section 4.
#[derive(Clone, Copy, Debug)]
pub enum Strategy {
    LastWriteWins,
    Importance,
    VectorClock,
    MergeAll,
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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeletePolicy {
    UpdateWins,
    DeleteWins,
}

/// How a write without a clock is read against one with a clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unclocked {
    ByTime,
    Concurrent,
}

/// The resolver's settings, with the defaults of docs/semantics.md.
#[derive(Clone, Debug)]
pub struct Settings {
    pub strategy: Strategy,
    /// By path (`content`, `metadata.lang`, `entities.e1`) or container (`metadata`); the exact path beats the container.
    pub overrides: BTreeMap<String, Strategy>,
    pub delete_policy: DeletePolicy,
    pub trust_clocks: bool,
    pub unclocked: Unclocked,
    /// 0 switches the second kind of presumption off.
    pub max_clock_skew_ns: u64,
    pub max_clock_entries: usize,
    pub max_value_bytes: usize,
    pub max_contenders: usize,
    /// How long after its last event a memory that is not active is forgotten, by stream time; `None` is never.
    pub tombstone_retention_ms: Option<i64>,
    pub application_id: String,
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

    /// These settings as `--set` pairs of the command line (the limits and the strategies included).
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
    pub topic: String,
    pub partition: i32,
    pub offset: i64,
    pub timestamp_ms: i64,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(String, Vec<u8>)>,
}
