//! Every setting once: its key, its table in the file, its effect, its check. The file and `--set`
//! read the same list, so they cannot come to disagree.

use std::collections::BTreeMap;
use std::time::Duration;

use super::codes;
pub use super::groups::{Mirror, Runtime, ScriptLimits, Snapshots, TaskAssignor};
use super::key::Takes;
use super::problem::nearest;
use super::value::{Raw, show_duration};
use memory::event::Limits;
use memory::settings::{ResolverSettings, Strategy};

/// All settings that `--set` reaches.
#[derive(Clone, Debug, PartialEq)]
pub struct Values {
    /// Settings of the resolver.
    pub resolver: ResolverSettings,
    /// Limits of accepted events.
    pub limits: Limits,
    /// How the engine runs.
    pub runtime: Runtime,
    /// When user snapshots are emitted.
    pub snapshots: Snapshots,
    /// Settings of the mirror.
    pub mirror: Mirror,
    /// Limits of scripts.
    pub scripts: ScriptLimits,
    /// Which resolver decides, by the key of a strategy that is `custom`, where it is named.
    pub resolvers: BTreeMap<String, String>,
    /// Where each setting that is not at its default was set: `memory.toml:12:3`, `--set`,
    /// `HELIXSTREAM_SET`.
    pub origins: BTreeMap<String, String>,
}

impl Default for Values {
    fn default() -> Values {
        Values {
            resolver: ResolverSettings::default(),
            limits: Limits::default(),
            runtime: Runtime {
                max_output_bytes: 16 << 20,
                commit_interval: Duration::from_millis(100),
                memory: 128 << 20,
                transaction_timeout: Duration::from_secs(10),
                session_timeout: Duration::from_secs(10),
                task_timeout: Duration::from_secs(300),
                broker_timeout: Duration::from_secs(60),
                check_interval: Duration::from_secs(10),
                purge_interval: Duration::from_secs(30),
                purge: true,
                static_membership: false,
                task_assignor: TaskAssignor::Sticky,
                restore_grace: Duration::from_secs(10),
                replication_factor: 0,
            },
            snapshots: Snapshots { interval: Duration::from_secs(60), changes: 0 },
            mirror: Mirror { retention: None, partitions_ahead: 3, nodes_topic: None },
            scripts: ScriptLimits { operations: 50_000, bytes: 1 << 20, items: 10_000, depth: 8 },
            resolvers: BTreeMap::new(),
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
    /// Type of its value.
    pub takes: Takes,
    /// Its description, as an editor shows it.
    pub what: &'static str,
    set: fn(&mut Values, Raw<'_>) -> Result<(), String>,
}

const SECOND: Duration = Duration::from_secs(1);
const FIVE_SECONDS: Duration = Duration::from_secs(5);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);
const CENTURY: Duration = Duration::from_secs(36_500 * 86_400);
const YEAR: Duration = Duration::from_secs(365 * 86_400);
const GIB: u64 = 1 << 30;

fn size(n: u64) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}

// What a setting takes bears the name of the function of `Raw` that reads it: the list below says
// it once for both.
const fn strategy() -> Takes {
    Takes::Strategy
}
const fn choice(known: &'static str) -> Takes {
    Takes::Choice(known)
}
const fn boolean() -> Takes {
    Takes::Boolean
}
const fn number(min: u64, max: u64) -> Takes {
    Takes::Number(min, max)
}
const fn bytes(min: u64, max: u64) -> Takes {
    Takes::Bytes(min, max)
}
const fn duration(min: Duration, max: Duration) -> Takes {
    Takes::Duration(min, max)
}
const fn duration_or_off(min: Duration, max: Duration) -> Takes {
    Takes::DurationOrOff(min, max)
}

const fn topic_or_off() -> Takes {
    Takes::Topic
}

macro_rules! settings {
    ($($section:literal $key:literal $example:literal $takes:ident($($range:expr),*) $what:literal |$v:ident, $found:ident| $set:expr;)*) => {
        &[$(Spec {
            key: $key,
            section: $section,
            example: $example,
            takes: $takes($($range),*),
            what: $what,
            set: |$v: &mut Values, raw: Raw<'_>| -> Result<(), String> {
                let $found = raw.$takes($($range),*)?;
                $set;
                Ok(())
            },
        }),*]
    };
}

/// Every setting that has a key of its own; `strategy.<path>` comes on top.
pub const SPECS: &[Spec] = settings! {
    "resolver" "strategy" "\"merge_all\"" strategy()
        "Strategy that resolves the contenders for a field for which `[resolver.strategies]` names no other."
        |v, found| v.resolver.strategy = v.named("strategy", found);
    "resolver" "delete_policy" "\"update_wins\"" choice("update_wins, delete_wins")
        "Winner between a delete and an update that did not see each other."
        |v, found| v.resolver.delete_policy = found;
    "resolver" "trust_clocks" "false" boolean()
        "Whether vector clocks alone decide which event came first; otherwise versions count as well."
        |v, found| v.resolver.trust_clocks = found;
    "resolver" "unclocked" "\"by_time\"" choice("by_time, concurrent")
        "Whether time orders events with and without a clock."
        |v, found| v.resolver.unclocked = found;
    "resolver" "max_clock_skew" "\"2s\"" duration(Duration::ZERO, YEAR)
        "How far apart machine clocks may be; 0s switches the rule off."
        |v, found| v.resolver.max_clock_skew_ns = u64::try_from(found.as_nanos()).unwrap_or(u64::MAX);
    "resolver" "tombstone_retention" "\"off\"" duration_or_off(SECOND, CENTURY)
        "How long a deleted memory is remembered, by stream time after its last event; an older event is dead-lettered as expired. off keeps all."
        |v, found| v.resolver.tombstone_retention_ns = found.map(|d| u64::try_from(d.as_nanos()).unwrap_or(u64::MAX));
    "limits" "max_value_bytes" "8388608" bytes(1, GIB)
        "The largest event; a larger one is dead-lettered."
        |v, found| v.limits.max_value_bytes = size(found);
    "limits" "max_clock_entries" "10000" number(1, 1_000_000)
        "The most entries of an event's vector clock."
        |v, found| v.limits.max_clock_entries = size(found);
    "limits" "max_contenders" "100" number(1, 1_000_000)
        "The most contenders that a conflict record lists."
        |v, found| v.resolver.max_contenders = size(found);
    "limits" "max_output_bytes" "16777216" bytes(1024, GIB)
        "The largest output; a larger one is dead-lettered as output_too_large."
        |v, found| v.runtime.max_output_bytes = size(found);
    "limits" "script_operations" "50000" number(1, 100_000_000)
        "The most steps of a script in one call."
        |v, found| v.scripts.operations = found;
    "limits" "script_bytes" "1048576" bytes(1024, 64 << 20)
        "The largest text that a script receives and that one of its values may hold."
        |v, found| v.scripts.bytes = size(found);
    "limits" "script_items" "10000" number(16, 100_000)
        "The most array items and object members that a script receives and that one of its values may hold."
        |v, found| v.scripts.items = size(found);
    "limits" "script_depth" "8" number(1, 64)
        "The deepest nesting of calls of a script's functions."
        |v, found| v.scripts.depth = size(found);
    "runtime" "commit_interval" "\"100ms\"" duration(Duration::from_millis(1), FIVE_SECONDS)
        "Time between commits; shorter than transaction_timeout."
        |v, found| v.runtime.commit_interval = found;
    "runtime" "memory" "\"128MiB\"" bytes(64 << 20, 1024 * GIB)
        "Caches, write buffers, queues and uncommitted state of the instance as a whole."
        |v, found| v.runtime.memory = found;
    "runtime" "transaction_timeout" "\"10s\"" duration(SECOND, HOUR)
        "Kafka's transaction.timeout.ms."
        |v, found| v.runtime.transaction_timeout = found;
    "runtime" "session_timeout" "\"10s\"" duration(SECOND, HOUR)
        "Kafka's session.timeout.ms."
        |v, found| v.runtime.session_timeout = found;
    "runtime" "task_timeout" "\"5m\"" duration(SECOND, DAY)
        "Time for which a task retries after a transient error before it stops."
        |v, found| v.runtime.task_timeout = found;
    "runtime" "broker_timeout" "\"60s\"" duration(SECOND, DAY)
        "Time to wait for a broker at start."
        |v, found| v.runtime.broker_timeout = found;
    "runtime" "check_interval" "\"10s\"" duration(SECOND, DAY)
        "Interval at which a running instance checks whether its sources have grown or were recreated, and whether \
         the application's topology was changed."
        |v, found| v.runtime.check_interval = found;
    "runtime" "purge_interval" "\"30s\"" duration(SECOND, DAY)
        "Time between purges of the repartition topics."
        |v, found| v.runtime.purge_interval = found;
    "runtime" "purge" "true" boolean()
        "Whether repartition topics are purged below the committed offset."
        |v, found| v.runtime.purge = found;
    "runtime" "static_membership" "false" boolean()
        "Whether members keep their identity over a restart (group.instance.id)."
        |v, found| v.runtime.static_membership = found;
    "runtime" "task_assignor" "\"sticky\"" choice("state_aware, sticky")
        "How the group assigns tasks: state_aware prefers instances that have a task's state on disk, and is used once \
         all members of the group offer it; sticky knows nothing of state."
        |v, found| v.runtime.task_assignor = found;
    "runtime" "restore_grace" "\"10s\"" duration(Duration::ZERO, HOUR)
        "With task_assignor = state_aware: for how long after its start an instance does not restore tasks whose state \
         it has not on its disk, since an instance that has it may be about to join."
        |v, found| v.runtime.restore_grace = found;
    "runtime" "replication_factor" "3" number(0, 32_767)
        "Replication factor of the topics that are created; 0 is the broker's default."
        |v, found| v.runtime.replication_factor = found;
    "snapshots" "snapshot_interval" "\"1m\"" duration(Duration::from_millis(1), YEAR)
        "Interval of stream time; at its end a snapshot of each user that has changed in it is emitted."
        |v, found| v.snapshots.interval = found;
    "snapshots" "snapshot_changes" "0" number(0, 1_000_000_000)
        "Number of changes of a user since its last snapshot after which another snapshot is emitted at once; 0: \
         only at the end of an interval."
        |v, found| v.snapshots.changes = found;
    "mirror" "retention" "\"off\"" duration_or_off(DAY, CENTURY)
        "Least time for which Postgres keeps events; whole months are dropped. off keeps all."
        |v, found| v.mirror.retention = found;
    "mirror" "partitions_ahead" "3" number(0, 120)
        "Months for which partitions of memory_events are created ahead."
        |v, found| v.mirror.partitions_ahead = u32::try_from(found).unwrap_or(0);
    "mirror" "nodes_topic" "\"helixagent.memory.nodes\"" topic_or_off()
        "Topic of the nodes' own records, which is mirrored as soon as it exists; off, the default, mirrors none."
        |v, found| v.mirror.nodes_topic = found;
};

/// Why a setting is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The code of the kind, one of [`codes`].
    pub code: &'static str,
    /// The problem with the key or the value, and the valid ones.
    pub message: String,
}

/// Settings that do not go together, or not with this program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misfit {
    /// The code of the kind, one of [`codes`].
    pub code: &'static str,
    /// The setting's key.
    pub key: String,
    /// The problem.
    pub message: String,
    /// The remedy.
    pub fix: String,
}

impl Spec {
    /// Whether the example is the default as well.
    pub fn is_default(&self) -> bool {
        let mut values = Values::default();
        (self.set)(&mut values, Raw::Text(self.example.trim_matches('"'))).is_ok() && values == Values::default()
    }
}

impl Values {
    /// Sets `key`, which came from `origin`.
    ///
    /// # Errors
    /// The problem with the key or the value, and the valid ones.
    pub fn set(&mut self, key: &str, raw: Raw<'_>, origin: &str) -> Result<(), Refusal> {
        let invalid = |message| Refusal { code: codes::INVALID_VALUE, message };
        if let Some(path) = key.strip_prefix("strategy.") {
            check_path(path).map_err(|message| Refusal { code: codes::INVALID_FIELD_PATH, message })?;
            let strategy = raw.strategy().map(|found| self.named(key, found)).map_err(invalid)?;
            self.resolver.overrides.insert(path.to_owned(), strategy);
        } else {
            // With or without its table before it: mirror.retention, retention.
            let of_table =
                |s: &Spec| key.strip_prefix(s.section).and_then(|rest| rest.strip_prefix('.')) == Some(s.key);
            let spec = SPECS.iter().find(|s| s.key == key || of_table(s));
            let spec = spec.ok_or_else(|| Refusal { code: codes::UNKNOWN_KEY, message: unknown(key) })?;
            (spec.set)(self, raw).map_err(invalid)?;
            self.origins.insert(spec.key.to_owned(), origin.to_owned());
            return Ok(());
        }
        self.origins.insert(key.to_owned(), origin.to_owned());
        Ok(())
    }

    /// The strategy that a key is set to; a resolver that it names is kept beside it.
    fn named(&mut self, key: &str, (strategy, resolver): (Strategy, Option<&str>)) -> Strategy {
        match resolver {
            Some(name) => self.resolvers.insert(key.to_owned(), name.to_owned()),
            None => self.resolvers.remove(key),
        };
        strategy
    }

    /// The keys of strategies that are `custom`.
    pub fn custom_keys(&self) -> Vec<String> {
        let whole = (self.resolver.strategy == Strategy::Custom).then(|| "strategy".to_owned());
        let fields = self.resolver.overrides.iter().filter(|(_, s)| **s == Strategy::Custom);
        whole.into_iter().chain(fields.map(|(path, _)| format!("strategy.{path}"))).collect()
    }

    /// Which of the resolvers `known` decides for the key of a strategy that is `custom`.
    ///
    /// # Errors
    /// A description of the problem and its remedy.
    pub fn resolver_of(&self, key: &str, known: &[&str]) -> Result<String, (String, String)> {
        let names = || known.join(", ");
        let other = "or choose one of last_write_wins, importance, vector_clock, merge_all";
        match (self.resolvers.get(key), known) {
            (Some(name), _) if known.contains(&name.as_str()) => Ok(name.clone()),
            (None, [only]) => Ok((*only).to_owned()),
            (_, []) => Err((
                format!(
                    "`{key}` is `custom`, but the topology file has no [[script]] and this program has no custom resolver registered"
                ),
                format!(
                    "add a [[script]], build a program with a custom resolver (examples/custom_resolver.rs), {other}"
                ),
            )),
            (Some(name), _) => {
                let hint = nearest(name, known.iter().copied());
                let hint = hint.map_or(String::new(), |k| format!("did you mean `custom:{k}`? "));
                Err((
                    format!("`{key}` is `custom:{name}`, but there is no custom resolver `{name}`"),
                    format!("{hint}the custom resolvers are: {}", names()),
                ))
            }
            (None, _) => Err((
                format!("`{key}` is `custom`, and there are several custom resolvers"),
                format!("write `custom:<name>` with one of these names: {}", names()),
            )),
        }
    }

    /// One `KEY=VALUE`, as behind `--set`.
    ///
    /// # Errors
    /// A description of the problem, with the whole `KEY=VALUE`.
    pub fn set_text(&mut self, assignment: &str, origin: &str) -> Result<(), String> {
        let Some((key, value)) = assignment.split_once('=') else {
            return Err(format!(
                "{origin} `{assignment}`: the setting is not of the form KEY=VALUE; write for example strategy=merge_all [HS0003]"
            ));
        };
        self.set(key.trim(), Raw::Text(value.trim()), origin)
            .map_err(|e| format!("{origin} `{assignment}`: {} [{}]", e.message, e.code))
    }

    /// Checks rules between several settings; `resolvers` are the custom resolvers that there are.
    pub fn misfits(&self, resolvers: &[&str]) -> Vec<Misfit> {
        let mut found = Vec::new();
        for key in self.custom_keys() {
            if let Err((message, fix)) = self.resolver_of(&key, resolvers) {
                found.push(Misfit { code: codes::NO_CUSTOM_RESOLVER, key, message, fix });
            }
        }
        let commit = self.runtime.commit_interval;
        let transaction = self.runtime.transaction_timeout;
        if commit >= transaction {
            let keys = ["commit_interval", "transaction_timeout"];
            let key = keys.into_iter().find(|key| self.origins.contains_key(*key)).unwrap_or(keys[0]);
            let commit = show_duration(commit);
            let transaction = show_duration(transaction);
            found.push(Misfit {
                code: codes::COMMIT_INTERVAL_TOO_LONG,
                key: key.to_owned(),
                message: format!(
                    "`commit_interval` ({commit}) must be shorter than `transaction_timeout` ({transaction}): \
                     a transaction stays open from one commit to the next"
                ),
                fix: "lower `commit_interval`, or raise `transaction_timeout`".to_owned(),
            });
        }
        found
    }

    /// Checks what one setting alone cannot show.
    ///
    /// # Errors
    /// The settings that contradict each other, their places, and the remedy.
    pub fn check(&self, resolvers: &[&str]) -> Result<(), String> {
        let show = |m: &Misfit| {
            let origin = self.origins.get(&m.key).map_or("the default", String::as_str);
            format!("{origin}: {}; {} [{}]", m.message, m.fix, m.code)
        };
        let found: Vec<String> = self.misfits(resolvers).iter().map(show).collect();
        if found.is_empty() { Ok(()) } else { Err(found.join("\n")) }
    }
}

/// The message of an unknown key: the nearest, then all.
fn unknown(key: &str) -> String {
    let keys = || SPECS.iter().map(|s| s.key);
    let hint = nearest(key, keys()).map_or(";".to_owned(), |k| format!("; did you mean `{k}`?"));
    let known: Vec<&str> = keys().collect();
    format!("unknown setting `{key}`{hint} the settings are: {}, strategy.<path>", known.join(", "))
}

/// Fields that a strategy may be named for.
pub const PLAIN: [&str; 7] = ["content", "embedding", "importance", "session_id", "user_id", "tags", "merged_from"];
/// Fields that hold others, each by its key; a strategy may be named for one of them or for all.
pub const CONTAINERS: [&str; 3] = ["metadata", "entities", "relationships"];

/// Whether `path` is a field path of docs/semantics.md, section 3, or the container of some.
///
/// # Errors
/// Names the paths there are.
pub fn check_path(path: &str) -> Result<(), String> {
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
        "`{path}` is not the path of a field{hint} the paths are: {}, metadata.<key>, entities.<id>, relationships.<id>, or a container as a whole: {}",
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
        for spec in SPECS.iter().filter(|s| !["replication_factor", "nodes_topic"].contains(&s.key)) {
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
        let e = v.check(&[]).unwrap_err();
        assert!(e.starts_with("--set: `strategy.metadata.lang` is `custom`"), "{e}");
        assert_eq!(v.check(&["mine"]), Ok(()));
    }
}
