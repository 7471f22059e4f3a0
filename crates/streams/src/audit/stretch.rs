//! The stretch of a task's log that is audited, and the commits at its ends.

use std::collections::BTreeMap;

use crate::error::Result;
use crate::offset::Offset;
use crate::ports::{Admin, Committed};
use crate::record::TopicPartition;
use crate::runtime::batch_limit;
use crate::store::checkpoint::{Checkpoint, StoreCheckpoint, decode_metadata};
use crate::stream_time::StreamTime;
use crate::task::{Plan, Sizes};
use crate::topology::Topology;
use crate::topology_digest::Stamp;

/// The stretch of one task.
///
/// Of the records before `must_from` and from `must_to` on some outputs may stand where nobody
/// looks for them: before the place from which an output topic is read, or behind the one up to
/// which it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// The task's log.
    pub source: TopicPartition,
    /// The first record whose outputs must all be there.
    pub must_from: i64,
    /// The first record behind these.
    pub must_to: i64,
}

impl Stretch {
    /// Whether the outputs of a record must be there.
    pub fn must(&self, offset: i64) -> bool {
        (self.must_from..self.must_to).contains(&offset)
    }
}

/// A commit of a task, and the topology that made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// The state of the task.
    pub checkpoint: Checkpoint,
    /// The topology; `None` where none is told.
    pub stamp: Option<Stamp>,
}

impl Commit {
    /// Reads a committed offset. A task that has committed nothing yet is at the beginning.
    ///
    /// # Errors
    /// The metadata is another program's, or of an unknown version.
    pub fn of(committed: Option<&Committed>, plan: &Plan) -> Result<Commit> {
        let empty = |next_offset: Offset| Checkpoint {
            next_offset: next_offset.into(),
            stream_time: StreamTime::NONE,
            stores: vec![StoreCheckpoint::EMPTY; plan.stores.len()],
        };
        let Some(committed) = committed else { return Ok(Commit { checkpoint: empty(Offset::FIRST), stamp: None }) };
        let found = decode_metadata(committed.offset, &committed.metadata, &plan.store_names())?;
        let checkpoint = found.unwrap_or_else(|| empty(committed.offset));
        Ok(Commit { checkpoint, stamp: Stamp::find(&committed.metadata) })
    }

    /// The next record of the task's log.
    pub fn next_offset(&self) -> Offset {
        self.checkpoint.next_offset.offset().unwrap_or_default()
    }
}

/// The partition counts of all topics of a topology as they are on the brokers, and the record
/// limits of those that it writes, as a stream thread goes by them. Missing topics are left out.
///
/// # Errors
/// The brokers do not answer, or refuse the question.
pub fn sizes(admin: &dyn Admin, topology: &Topology, application_id: &str, max_record_bytes: usize) -> Result<Sizes> {
    let sources = topology.subtopologies().iter().map(|sub| sub.source.full_name(application_id));
    let mut names: Vec<String> = topology.sink_topics().into_iter().map(str::to_owned).collect();
    let external: Vec<String> = topology.source_topics().into_iter().map(str::to_owned).collect();
    names.extend(sources);
    names.sort();
    names.dedup();
    let asked: Vec<&str> = names.iter().map(String::as_str).collect();
    let found = admin.topics(&asked)?;
    let partitions: BTreeMap<String, i32> =
        found.into_iter().flatten().map(|topic| (topic.name, topic.partitions)).collect();
    let mut max_bytes = BTreeMap::new();
    for name in partitions.keys().filter(|name| !external.contains(*name)) {
        let settings = admin.topic_config(name)?.into_iter().collect();
        if let Some((_, limit)) = batch_limit(&settings) {
            max_bytes.insert(name.clone(), limit.min(max_record_bytes));
        }
    }
    Ok(Sizes { partitions, max_bytes, default_max_bytes: max_record_bytes })
}
