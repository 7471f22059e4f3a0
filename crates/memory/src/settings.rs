//! Settings of resolution in a topology (docs/semantics.md, sections 2 to 5): strategies, delete
//! policy, how far clocks are trusted.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// How the winner among concurrent writes of a field is picked (docs/semantics.md, section 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// Greatest in last-write order.
    LastWriteWins,
    /// Greatest importance of the event, then last-write order.
    Importance,
    /// Trusts no wall clock: greatest sum of clock entries without `~`, then version, node, event
    /// id, value.
    VectorClock,
    /// Joins by field: longest content, union of tags, greatest confidence or strength, and so on.
    MergeAll,
    /// The [`crate::strategy::CustomResolver`] that is set for the field.
    Custom,
}

/// Policy for a delete that is concurrent with an update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeletePolicy {
    /// The memory is active iff an event that is no delete is left on reading.
    UpdateWins,
    /// The memory is active iff no delete is left on reading.
    DeleteWins,
}

/// How an event without a clock stands to one with a clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unclocked {
    /// The earlier timestamp is presumed to come first when the state is read.
    ByTime,
    /// They are concurrent.
    Concurrent,
}

/// The resolver's settings of one topology.
#[derive(Clone, Debug, PartialEq)]
pub struct ResolverSettings {
    /// The strategy of every field that has no override.
    pub strategy: Strategy,
    /// Strategy by field path (`content`, `metadata.lang`), or by container (`metadata`,
    /// `entities`, `relationships`) for all its keys.
    pub overrides: BTreeMap<String, Strategy>,
    /// Delete against concurrent update.
    pub delete_policy: DeletePolicy,
    /// Drops the version condition of "happened before".
    pub trust_clocks: bool,
    /// Whether time orders events with and without a clock on reading.
    pub unclocked: Unclocked,
    /// Machine clocks that differ by at most this many nanoseconds explain a version that
    /// contradicts the clocks; 0 switches it off.
    pub max_clock_skew_ns: u64,
    /// How many contenders of a field a conflict record lists.
    pub max_contenders: usize,
    /// Application id: `resolved_by` of a conflict record.
    pub application_id: String,
    /// How long a memory is remembered that is not active, in nanoseconds of stream time after its
    /// last event; `None` is for ever.
    pub tombstone_retention_ns: Option<u64>,
}

impl Default for ResolverSettings {
    fn default() -> ResolverSettings {
        ResolverSettings {
            strategy: Strategy::MergeAll,
            overrides: BTreeMap::new(),
            delete_policy: DeletePolicy::UpdateWins,
            trust_clocks: false,
            unclocked: Unclocked::ByTime,
            max_clock_skew_ns: 2_000_000_000,
            max_contenders: 100,
            application_id: "helixstream".to_owned(),
            tombstone_retention_ns: None,
        }
    }
}

impl ResolverSettings {
    /// The strategy of a field path: its own override, else that of its container, else the
    /// topology's.
    pub fn strategy_of(&self, path: &str) -> Strategy {
        self.override_of(path).map_or(self.strategy, |(_, strategy)| strategy)
    }

    /// The override that holds for a field path, and the path or container that it is set for.
    pub fn override_of<'p>(&self, path: &'p str) -> Option<(&'p str, Strategy)> {
        if self.overrides.is_empty() {
            return None;
        }
        let container = path.split_once('.').map_or(path, |(head, _)| head);
        [path, container].into_iter().find_map(|place| Some((place, *self.overrides.get(place)?)))
    }

    /// Tombstone retention in whole milliseconds, as stream time is measured.
    pub fn tombstone_retention_ms(&self) -> Option<i64> {
        self.tombstone_retention_ns.map(|ns| i64::try_from(ns / 1_000_000).unwrap_or(i64::MAX))
    }

    /// Whether any field is resolved by the custom resolver.
    pub fn uses_custom(&self) -> bool {
        self.strategy == Strategy::Custom || self.overrides.values().any(|s| *s == Strategy::Custom)
    }
}

/// A setting's value that is none of those known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{found}` is not one of {known}")]
pub struct UnknownValue {
    /// The value that was refused.
    pub found: String,
    /// The values that exist.
    pub known: &'static str,
}

/// Text forms, as topology files, flags and conflict records have them.
macro_rules! named {
    ($type:ident, $known:literal, $($name:literal => $variant:ident),+) => {
        impl $type {
            /// The name used in topology files and in records.
            pub fn as_str(self) -> &'static str {
                match self { $($type::$variant => $name),+ }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl FromStr for $type {
            type Err = UnknownValue;

            fn from_str(s: &str) -> Result<Self, UnknownValue> {
                match s {
                    $($name => Ok($type::$variant),)+
                    _ => Err(UnknownValue { found: s.to_owned(), known: $known }),
                }
            }
        }
    };
}

named!(Strategy, "last_write_wins, importance, vector_clock, merge_all, custom",
    "last_write_wins" => LastWriteWins, "importance" => Importance, "vector_clock" => VectorClock, "merge_all" => MergeAll, "custom" => Custom);
named!(DeletePolicy, "update_wins, delete_wins", "update_wins" => UpdateWins, "delete_wins" => DeleteWins);
named!(Unclocked, "by_time, concurrent", "by_time" => ByTime, "concurrent" => Concurrent);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exact_override_beats_its_container() {
        let mut s = ResolverSettings { strategy: Strategy::Importance, ..ResolverSettings::default() };
        s.overrides.insert("metadata".into(), Strategy::VectorClock);
        s.overrides.insert("metadata.a.b".into(), Strategy::LastWriteWins);
        assert_eq!(s.strategy_of("content"), Strategy::Importance);
        assert_eq!(s.strategy_of("metadata.x"), Strategy::VectorClock);
        assert_eq!(s.strategy_of("metadata.a.b"), Strategy::LastWriteWins);
    }

    #[test]
    fn names_round_trip() {
        for s in ["last_write_wins", "importance", "vector_clock", "merge_all", "custom"] {
            assert_eq!(s.parse::<Strategy>().map(Strategy::as_str), Ok(s));
        }
        assert_eq!("merge-all".parse::<Strategy>().map_err(|e| e.found), Err("merge-all".to_owned()));
    }
}
