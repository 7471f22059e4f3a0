//! Every setting once: its key, where it stands in the file, what it does, how it is checked. The file and `--set` read
//! the same list, so they cannot come to disagree.

use std::collections::BTreeMap;
use std::time::Duration;

use super::problem::nearest;
use super::value::{Raw, show_duration};
use crate::domain::event::Limits;
use crate::domain::settings::{Settings, Strategy};

/// How the engine runs a topology (exactly-once.md, "Settings").
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
    /// How long a transient error is tried again before it stops the task.
    pub task_timeout: Duration,
    /// How long to wait for a broker at start.
    pub broker_timeout: Duration,
    /// Time between purges of the repartition topics.
    pub purge_interval: Duration,
    /// Whether repartition topics are purged below the committed offset.
    pub purge: bool,
    /// Whether members keep their identity over a restart (`group.instance.id`).
    pub static_membership: bool,
    /// Replication factor of topics that we make; 0 is the broker's default.
    pub replication_factor: u64,
}

/// What the mirror keeps, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mirror {
    /// How long events are kept in Postgres at least; `None` is for ever.
    pub retention: Option<Duration>,
    /// Partitions of the log of events are made for so many months ahead.
    pub partitions_ahead: u32,
}

/// All settings that `--set` reaches.
#[derive(Clone, Debug, PartialEq)]
pub struct Values {
    /// What the resolver does.
    pub resolver: Settings,
    /// What is accepted.
    pub limits: Limits,
    /// How the engine runs.
    pub runtime: Runtime,
    /// What the mirror keeps.
    pub mirror: Mirror,
    /// Where each setting that is not at its default was set: `memory.toml:12:3`, `--set`, `HELIXSTREAM_SET`.
    pub origins: BTreeMap<String, String>,
}

impl Default for Values {
    fn default() -> Values {
        Values {
            resolver: Settings::default(),
            limits: Limits::default(),
            runtime: Runtime {
                max_output_bytes: 16 << 20,
                commit_interval: Duration::from_millis(100),
                memory: 128 << 20,
                transaction_timeout: Duration::from_secs(10),
                session_timeout: Duration::from_secs(10),
                task_timeout: Duration::from_secs(300),
                broker_timeout: Duration::from_secs(60),
                purge_interval: Duration::from_secs(30),
                purge: true,
                static_membership: false,
                replication_factor: 0,
            },
            mirror: Mirror { retention: None, partitions_ahead: 3 },
            origins: BTreeMap::new(),
        }
    }
}

/// One setting.
pub struct Spec {
    /// The key, the same in the file and behind `--set`.
    pub key: &'static str,
    /// The file's table that it stands in.
    pub section: &'static str,
    /// An example of its value, as TOML.
    pub example: &'static str,
    set: fn(&mut Values, Raw<'_>) -> Result<(), String>,
}

const STRATEGIES: &str = "last_write_wins, importance, vector_clock, merge_all, custom";
const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);
const GIB: u64 = 1 << 30;

fn size(n: u64) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}

fn time(slot: &mut Duration, raw: Raw<'_>, min: Duration, max: Duration) -> Result<(), String> {
    *slot = raw.duration(min, max)?;
    Ok(())
}

fn retention(raw: Raw<'_>) -> Result<Option<Duration>, String> {
    match raw {
        Raw::Text("off") | Raw::String("off") => Ok(None),
        _ => raw.duration(HOUR * 24, HOUR * 24 * 36_500).map(Some).map_err(|e| format!("{e}; or off, to keep all")),
    }
}

macro_rules! settings {
    ($($section:literal $key:literal $example:literal |$v:ident, $raw:ident| $set:expr;)*) => {
        &[$(Spec {
            key: $key,
            section: $section,
            example: $example,
            set: |$v: &mut Values, $raw: Raw<'_>| -> Result<(), String> { $set; Ok(()) },
        }),*]
    };
}

/// Every setting that has a key of its own; `strategy.<path>` comes on top.
pub const SPECS: &[Spec] = settings! {
    "resolver" "strategy" "\"merge_all\"" |v, raw| v.resolver.strategy = raw.choice(STRATEGIES)?;
    "resolver" "delete_policy" "\"update_wins\"" |v, raw| v.resolver.delete_policy = raw.choice("update_wins, delete_wins")?;
    "resolver" "trust_clocks" "false" |v, raw| v.resolver.trust_clocks = raw.boolean()?;
    "resolver" "unclocked" "\"by_time\"" |v, raw| v.resolver.unclocked = raw.choice("by_time, concurrent")?;
    "resolver" "max_clock_skew" "\"2s\"" |v, raw| {
        let skew = raw.duration(Duration::ZERO, HOUR * 24 * 365)?;
        v.resolver.max_clock_skew_ns = u64::try_from(skew.as_nanos()).unwrap_or(u64::MAX);
    };
    "limits" "max_value_bytes" "8388608" |v, raw| v.limits.max_value_bytes = size(raw.bytes(1, GIB)?);
    "limits" "max_clock_entries" "10000" |v, raw| v.limits.max_clock_entries = size(raw.number(1, 1_000_000)?);
    "limits" "max_contenders" "100" |v, raw| v.resolver.max_contenders = size(raw.number(1, 1_000_000)?);
    "limits" "max_output_bytes" "16777216" |v, raw| v.runtime.max_output_bytes = size(raw.bytes(1024, GIB)?);
    "runtime" "commit_interval" "\"100ms\"" |v, raw| {
        time(&mut v.runtime.commit_interval, raw, Duration::from_millis(1), SECOND * 5)?;
    };
    "runtime" "memory" "\"128MiB\"" |v, raw| v.runtime.memory = raw.bytes(64 << 20, 1024 * GIB)?;
    "runtime" "transaction_timeout" "\"10s\"" |v, raw| time(&mut v.runtime.transaction_timeout, raw, SECOND, HOUR)?;
    "runtime" "session_timeout" "\"10s\"" |v, raw| time(&mut v.runtime.session_timeout, raw, SECOND, HOUR)?;
    "runtime" "task_timeout" "\"5m\"" |v, raw| time(&mut v.runtime.task_timeout, raw, SECOND, HOUR * 24)?;
    "runtime" "broker_timeout" "\"60s\"" |v, raw| time(&mut v.runtime.broker_timeout, raw, SECOND, HOUR * 24)?;
    "runtime" "purge_interval" "\"30s\"" |v, raw| time(&mut v.runtime.purge_interval, raw, SECOND, HOUR * 24)?;
    "runtime" "purge" "true" |v, raw| v.runtime.purge = raw.boolean()?;
    "runtime" "static_membership" "false" |v, raw| v.runtime.static_membership = raw.boolean()?;
    "runtime" "replication_factor" "3" |v, raw| v.runtime.replication_factor = raw.number(0, 32_767)?;
    "mirror" "retention" "\"off\"" |v, raw| v.mirror.retention = retention(raw)?;
    "mirror" "partitions_ahead" "3" |v, raw| v.mirror.partitions_ahead = u32::try_from(raw.number(0, 120)?).unwrap_or(0);
};

impl Values {
    /// Sets `key`, which came from `origin`.
    ///
    /// # Errors
    /// What is wrong with the key or the value, and which there are.
    pub fn set(&mut self, key: &str, raw: Raw<'_>, origin: &str) -> Result<(), String> {
        if let Some(path) = key.strip_prefix("strategy.") {
            check_path(path)?;
            let strategy: Strategy = raw.choice(STRATEGIES)?;
            self.resolver.overrides.insert(path.to_owned(), strategy);
        } else {
            // With or without its table before it: mirror.retention, retention.
            let of_table =
                |s: &Spec| key.strip_prefix(s.section).and_then(|rest| rest.strip_prefix('.')) == Some(s.key);
            let spec = SPECS.iter().find(|s| s.key == key || of_table(s)).ok_or_else(|| unknown(key))?;
            (spec.set)(self, raw)?;
            self.origins.insert(spec.key.to_owned(), origin.to_owned());
            return Ok(());
        }
        self.origins.insert(key.to_owned(), origin.to_owned());
        Ok(())
    }

    /// One `KEY=VALUE`, as behind `--set`.
    ///
    /// # Errors
    /// What is wrong with it, with the whole `KEY=VALUE`.
    pub fn set_text(&mut self, assignment: &str, origin: &str) -> Result<(), String> {
        let Some((key, value)) = assignment.split_once('=') else {
            return Err(format!("{origin} `{assignment}`: not of the form KEY=VALUE, like strategy=merge_all"));
        };
        self.set(key.trim(), Raw::Text(value.trim()), origin).map_err(|e| format!("{origin} `{assignment}`: {e}"))
    }

    /// Checks what one setting alone cannot show.
    ///
    /// # Errors
    /// What does not go together, where it was set, and what to do.
    pub fn check(&self, custom_registered: bool) -> Result<(), String> {
        let r = &self.resolver;
        if r.uses_custom() && !custom_registered {
            let key = if r.strategy == Strategy::Custom {
                "strategy".to_owned()
            } else {
                let path = r.overrides.iter().find(|(_, s)| **s == Strategy::Custom).map_or("", |(p, _)| p);
                format!("strategy.{path}")
            };
            let origin = self.origins.get(&key).map_or("the default", String::as_str);
            return Err(format!(
                "{origin}: `{key}` is `custom`, but no custom resolver is registered in this program; choose one of \
                 last_write_wins, importance, vector_clock, merge_all, or build a program that has one (examples/custom_resolver.rs)"
            ));
        }
        let (commit, transaction) = (self.runtime.commit_interval, self.runtime.transaction_timeout);
        if commit >= transaction {
            return Err(format!(
                "{}: `commit_interval` ({}) must be shorter than `transaction_timeout` ({}): a transaction lives from one commit to the next",
                self.origins
                    .get("commit_interval")
                    .or(self.origins.get("transaction_timeout"))
                    .map_or("settings", String::as_str),
                show_duration(commit),
                show_duration(transaction),
            ));
        }
        Ok(())
    }
}

/// The message of an unknown key: the nearest, then all.
fn unknown(key: &str) -> String {
    let keys = || SPECS.iter().map(|s| s.key);
    let hint = nearest(key, keys()).map_or(";".to_owned(), |k| format!("; did you mean `{k}`?"));
    let known: Vec<&str> = keys().collect();
    format!("unknown setting `{key}`{hint} known settings: {}, strategy.<path>", known.join(", "))
}

/// Whether `path` is a field path of semantics.md, section 3, or the container of some.
///
/// # Errors
/// Names the paths there are.
pub fn check_path(path: &str) -> Result<(), String> {
    const PLAIN: [&str; 7] = ["content", "embedding", "importance", "session_id", "user_id", "tags", "merged_from"];
    const CONTAINERS: [&str; 3] = ["metadata", "entities", "relationships"];
    let known = match path.split_once('.') {
        None => PLAIN.contains(&path) || CONTAINERS.contains(&path),
        Some((container, key)) => CONTAINERS.contains(&container) && !key.is_empty(),
    };
    if known {
        return Ok(());
    }
    let hint =
        nearest(path, PLAIN.into_iter().chain(CONTAINERS)).map_or(";".to_owned(), |k| format!("; did you mean `{k}`?"));
    Err(format!(
        "`{path}` is no field path{hint} paths: {}, metadata.<key>, entities.<id>, relationships.<id>, or a container whole: {}",
        PLAIN.join(", "),
        CONTAINERS.join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_is_its_example_or_a_setting_of_its_own() {
        let mut v = Values::default();
        for spec in SPECS.iter().filter(|s| s.key != "replication_factor") {
            let text = spec.example.trim_matches('"');
            assert_eq!(v.set(spec.key, Raw::Text(text), "test"), Ok(()), "{}", spec.key);
        }
        v.origins.clear();
        assert_eq!(v, Values::default());
    }

    #[test]
    fn an_unknown_setting_lists_those_known() {
        let e = Values::default().set_text("delete_polic=delete_wins", "--set").err();
        let e = e.as_deref().unwrap_or_default();
        assert!(e.contains("did you mean `delete_policy`?"), "{e}");
        assert!(SPECS.iter().all(|s| e.contains(s.key)), "{e}");
    }

    #[test]
    fn retention_is_off_or_at_least_a_day() {
        let mut v = Values::default();
        v.set_text("mirror.retention=90d", "--set").unwrap();
        assert_eq!(v.mirror.retention, Some(HOUR * 24 * 90));
        assert_eq!(v.origins.get("retention").map(String::as_str), Some("--set"));
        v.set_text("retention=off", "--set").unwrap();
        assert_eq!(v.mirror.retention, None);
        let e = v.set_text("retention=23h", "--set").unwrap_err();
        assert!(e.contains("not a duration from 1d to 36500d") && e.contains("or off"), "{e}");
        assert!(v.set_text("runtime.retention=90d", "--set").is_err());
    }

    #[test]
    fn paths_are_those_of_the_semantics() {
        for good in ["content", "metadata", "metadata.a.b", "entities.e1", "relationships.~"] {
            assert_eq!(check_path(good), Ok(()));
        }
        for bad in ["contents", "metadata.", "", "content.x", "version", "embedding.0"] {
            assert!(check_path(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn custom_needs_a_resolver() {
        let mut v = Values::default();
        v.set_text("strategy.metadata.lang=custom", "--set").unwrap();
        let e = v.check(false).unwrap_err();
        assert!(e.starts_with("--set: `strategy.metadata.lang` is `custom`"), "{e}");
        assert_eq!(v.check(true), Ok(()));
    }
}
