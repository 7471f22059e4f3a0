//! The files of a simulated machine: what was written, what of it is synced, what is left of it
//! after the end of a process or a loss of power.

use std::collections::BTreeMap;
use std::time::Duration;

use super::process_state::ProcessId;
use crate::record::TaskId;

/// Content of one store: the position lies under the empty key.
pub(super) type Content = BTreeMap<Vec<u8>, Vec<u8>>;

/// One change of one store.
pub(super) type FileChange = (String, Vec<u8>, Option<Vec<u8>>);

/// The key of an entry that no topology writes.
pub(super) const STRANGE_KEY: &[u8] = b"a key of another store";

/// The files of one task.
#[derive(Clone, Debug, Default)]
pub(super) struct TaskFiles {
    /// The content that survives the loss of power.
    pub synced: BTreeMap<String, Content>,
    /// Batches of the write-ahead log since, in order; each is lost or kept as a whole, and none is
    /// kept behind one that is lost.
    pub logged: Vec<Vec<FileChange>>,
    /// Batches of a bulk load, which are in no log, by store.
    pub unlogged: BTreeMap<String, Vec<Vec<FileChange>>>,
    /// All of it together, as a process sees it.
    pub content: BTreeMap<String, Content>,
    pub is_bulk_load: bool,
    pub opened_by: Option<ProcessId>,
    pub written_at: Duration,
    /// Stores in which a stored bit has flipped.
    pub damaged: Option<String>,
    /// A fault has changed them, so there is a reason to build them anew.
    pub is_suspect: bool,
}

/// The disk of a machine.
#[derive(Debug, Default)]
pub(super) struct Machine {
    pub tasks: BTreeMap<TaskId, TaskFiles>,
    /// Writes fail before.
    pub full_until: Duration,
}

pub(super) fn apply(content: &mut BTreeMap<String, Content>, changes: &[FileChange]) {
    for (store, key, value) in changes {
        let store = content.entry(store.clone()).or_default();
        match value {
            Some(value) => store.insert(key.clone(), value.clone()),
            None => store.remove(key),
        };
    }
}

impl TaskFiles {
    pub fn sync(&mut self) {
        self.synced = self.content.clone();
        self.logged.clear();
        self.unlogged.clear();
    }

    /// Leaves what survives the end of a process (all of the log), or a loss of power (some of it).
    /// `keep` says how many of so many are kept.
    pub fn survive(&mut self, has_power: bool, mut keep: impl FnMut(usize) -> usize) {
        let mut content = std::mem::take(&mut self.synced);
        let logged = if has_power { self.logged.len() } else { keep(self.logged.len()) };
        self.logged.truncate(logged);
        for batch in &self.logged {
            apply(&mut content, batch);
        }
        // Without a log each store has some first part of its batches.
        for batches in self.unlogged.values() {
            for batch in &batches[..keep(batches.len())] {
                apply(&mut content, batch);
            }
        }
        self.content = content;
        self.is_bulk_load = false;
        self.opened_by = None;
        self.sync();
    }
}
