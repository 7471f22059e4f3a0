//! A key of a topology file and a table of keys, as the lists of [`super::keys`], [`super::kafka`]
//! and [`super::setting`] describe them.

use std::time::Duration;

/// Type of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// Any string.
    Text,
    /// A string that no message shows: a secret, or a URL that may hold one.
    Secret,
    /// The path of a file or folder. A relative one starts at the folder of the topology file.
    Path,
    /// A string that internal topics and metrics are named after.
    Name,
    /// The name of a topic, by Kafka's rule.
    Topic,
    /// Something like an application id: up to so many letters, digits, `.`, `_` and `-`.
    Id(usize),
    /// One of the operators that the program has registered.
    Operator,
    /// Names of stores: a list, or one alone.
    Stores,
    /// Nodes that records are taken from, or outputs of nodes: a list, or one alone.
    Inputs,
    /// An expression over a record.
    Expression,
    /// A table of expressions by the paths of fields.
    Expressions,
    /// Paths of fields: a list, or one alone.
    Fields,
    /// A list of [`super::keys::BRANCH`].
    Branches,
    /// A whole number from 1 to this.
    Count(u32),
    /// One of these, separated by `, `.
    Choice(&'static str),
    /// A strategy: one of [`super::value::STRATEGIES`], or `custom:` and a resolver's name.
    Strategy,
    /// `true` or `false`.
    Boolean,
    /// A whole number.
    Number(u64, u64),
    /// A size: a whole number, or a string like `8MiB`.
    Bytes(u64, u64),
    /// A time with its unit, like `2s`.
    Duration(Duration, Duration),
    /// The same, or `off`.
    DurationOrOff(Duration, Duration),
}

/// A key of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// Its name.
    pub name: &'static str,
    /// Type of its value.
    pub takes: Takes,
    /// A value of it, as TOML.
    pub example: &'static str,
    /// Whether it must be there.
    pub needed: bool,
    /// Its description, as an editor shows it.
    pub what: &'static str,
}

/// A table whose keys are known; the tables of settings have theirs in [`super::setting::SPECS`].
#[derive(Debug, PartialEq, Eq)]
pub struct Section {
    /// Its name.
    pub name: &'static str,
    /// Whether there may be several: `[[name]]`.
    pub is_list: bool,
    /// Its description, as an editor shows it.
    pub what: &'static str,
    /// Its keys.
    pub keys: &'static [Key],
}

/// A key that must be there.
pub(super) const fn needed(name: &'static str, takes: Takes, example: &'static str, what: &'static str) -> Key {
    Key { name, takes, example, needed: true, what }
}

/// A key that may be left out.
pub(super) const fn optional(name: &'static str, takes: Takes, example: &'static str, what: &'static str) -> Key {
    Key { name, takes, example, needed: false, what }
}

/// The names of keys.
pub(super) fn names(keys: &[Key]) -> Vec<&'static str> {
    keys.iter().map(|key| key.name).collect()
}
