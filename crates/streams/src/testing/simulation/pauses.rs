//! Pauses in a simulation: a process pauses or resumes a part of the topology now and then. When
//! the faults have ended, nothing that is paused may move, in whatever instance; then all goes on.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::broker::StoredRecord;
use super::faults::Fault;
use super::process_state::ProcessId;
use super::world::World;
use crate::offset::Offset;
use crate::record::TopicPartition;
use crate::runtime::TaskScope;

/// How often an instance looks what is paused.
pub(super) const CONTROL_INTERVAL: Duration = Duration::from_secs(1);
/// After the last fault all instances have found out within this time what is paused.
pub(super) const QUIET: Duration = Duration::from_secs(60);

impl World {
    /// The log that keeps what is paused.
    pub fn control_log(&self) -> TopicPartition {
        TopicPartition::new(format!("{}-control", self.slot_config.application_id), 0)
    }

    /// Has a process pause a part of the topology, or resume all of it.
    pub fn strike_pause(&mut self, process: ProcessId) {
        let fault = Fault::Paused;
        let read: BTreeSet<TopicPartition> =
            self.group.members.values().flat_map(|member| member.assigned.iter().cloned()).collect();
        let (kind, chosen) = (self.faults.below(fault, 8), self.faults.below(fault, read.len()));
        let (Some(instance), Some(source)) = (self.processes[process].instance.clone(), read.into_iter().nth(chosen))
        else {
            return;
        };
        let scope = match kind {
            0 | 1 => TaskScope::Partition(source),
            2 => TaskScope::Topic(source.topic),
            _ => TaskScope::Topology,
        };
        self.trace(|_| {
            format!(
                "process {process} is asked for {}: {scope}",
                ["a pause", "a drain", "an end"][kind.saturating_sub(2) / 2]
            )
        });
        let work = move || {
            // Refused or not written: the log says what holds.
            let _ = match kind {
                0..4 => instance.pause(&scope),
                4..6 => instance.drain(&scope),
                _ => instance.resume(&scope),
            };
        };
        self.spawns.push((process, "pause".to_owned(), Box::new(work)));
    }

    /// The keys of the control log by which tasks are paused, at once or when they are drained.
    fn held(&self) -> BTreeSet<Vec<u8>> {
        let mut last = BTreeMap::new();
        for (_, record) in self.broker.committed_records(&self.control_log()) {
            let pauses = record.value.as_ref().is_some_and(|value| !value.starts_with(b"1 drain-to"));
            last.insert(record.key.clone().unwrap_or_default(), pauses);
        }
        last.into_iter().filter(|(_, is_held)| *is_held).map(|(key, _)| key).collect()
    }

    /// The committed offset of each partition that is paused.
    pub fn paused_offsets(&self) -> BTreeMap<TopicPartition, Offset> {
        let held = self.held();
        let is_held = |source: &TopicPartition| {
            let keys = [
                "topology".to_owned(),
                format!("topic {}", source.topic),
                format!("partition {} {}", source.topic, source.partition),
            ];
            keys.iter().any(|key| held.contains(key.as_bytes()))
        };
        let paused = self.broker.committed.iter().filter(|(source, _)| is_held(source));
        paused.map(|(source, committed)| (source.clone(), committed.offset)).collect()
    }

    /// Ends every pause, as an outside program would.
    pub fn resume_all(&mut self) {
        for key in self.held() {
            let record = StoredRecord { key: Some(key), value: None, headers: Vec::new(), timestamp_ms: 1 };
            let log = self.control_log();
            self.broker.publish(&log, record);
        }
        self.trace(|_| "every pause ends".to_owned());
        self.changed();
    }
}
