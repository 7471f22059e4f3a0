//! A `[[store]]` of the file: its name and its options.

use std::ops::Range;
use std::time::Duration;

use super::table::{At, Table};
use streams::topology::{StoreKind, StoreOptions};

/// Values of `kind`.
pub const KINDS: &str = "rocksdb, memory";
/// The most standbys: each writes the store as its owner does.
pub const STANDBY_MAX: u64 = 16;
/// The shortest `retention`. A second is what a punctuation may be late without anybody asking why.
pub const RETENTION_MIN: Duration = Duration::from_secs(1);
/// The longest `retention`: a century.
pub const RETENTION_MAX: Duration = Duration::from_secs(36_500 * 86_400);

/// A named store, logged to `<application id>-<name>-changelog`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Store {
    /// Its name.
    pub name: String,
    /// Where the name stands.
    pub span: Range<usize>,
    /// Where it lies.
    pub kind: StoreKind,
    /// So many instances besides a task's owner keep it warm.
    pub standby: u32,
    /// A key that is not written for so much stream time is forgotten; `None`: never.
    pub retention: Option<Duration>,
    /// Where the retention stands, or the name again.
    pub retention_span: Range<usize>,
}

/// Name of a kind in a file.
pub fn kind_name(kind: StoreKind) -> &'static str {
    match kind {
        StoreKind::Disk => "rocksdb",
        StoreKind::Memory => "memory",
    }
}

impl Store {
    /// Reads one; `None` when it has no name.
    pub fn read(t: &Table<'_, '_>) -> Option<Store> {
        let At { value: name, span } = t.text("name")?;
        let is_memory = t.text("kind").is_some_and(|kind| kind.value == kind_name(StoreKind::Memory));
        let retention = t.setting("retention", |raw| raw.duration_or_off(RETENTION_MIN, RETENTION_MAX));
        let standby = t.setting("standby", |raw| raw.number(0, STANDBY_MAX));
        Some(Store {
            standby: standby.and_then(|n| u32::try_from(n.value).ok()).unwrap_or(0),
            name: name.to_owned(),
            kind: if is_memory { StoreKind::Memory } else { StoreKind::Disk },
            retention_span: retention.as_ref().map_or(span.clone(), |r| r.span.clone()),
            retention: retention.and_then(|r| r.value),
            span,
        })
    }

    /// Options of the store for the engine.
    pub fn options(&self) -> StoreOptions {
        StoreOptions { kind: self.kind, standby: self.standby }
    }
}
