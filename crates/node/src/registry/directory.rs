//! The nodes as the nodes topic shows them: the last record of each actor, in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use streams::record::{InRecord, TopicPartition};
use xxhash_rust::xxh3::xxh3_64;

use super::record::{NodeRecord, UnreadableRecord};
use super::registered_node::RegisteredNode;
use crate::actor::Actor;

/// Keys of records that cannot be read, of which so many are kept. A warning about a further one
/// would say nothing new.
pub const MAX_UNREADABLE: usize = 1000;

/// The most records that are kept: a program that writes to the topic can make up any number.
const MAX_NODES: usize = 10_000;

/// A change of the directory, which one record of the topic makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NodeUpdate {
    /// A node's record.
    Record(Box<RegisteredNode>),
    /// A record without a value: an operator has removed the node.
    Removal(Actor),
}

impl NodeUpdate {
    /// Reads a record of the topic.
    fn read(record: &InRecord<'_>) -> Result<NodeUpdate, UnreadableRecord> {
        let key = record.record.key.and_then(|key| std::str::from_utf8(key).ok());
        let actor: Option<Actor> = key.and_then(|key| key.parse().ok());
        let actor = actor.ok_or(UnreadableRecord("its key is no NAME.INCARNATION"))?;
        let Some(value) = record.record.value else { return Ok(NodeUpdate::Removal(actor)) };
        let node = RegisteredNode { record: NodeRecord::from_json(value)?, record_ms: record.origin.timestamp_ms };
        if node.record.actor == actor {
            Ok(NodeUpdate::Record(Box::new(node)))
        } else {
            Err(UnreadableRecord("its node_id is not its key"))
        }
    }
}

/// The last record of every node, as far as the topic was read; of more than 10,000 nodes, those
/// with the latest records. Others read it while a follower keeps it current.
#[derive(Debug, Default)]
pub struct NodeDirectory(Mutex<DirectoryState>);

#[derive(Debug, Default)]
struct DirectoryState {
    partitions: BTreeMap<i32, DirectoryPartition>,
    /// Every record of the partitions by its time, its partition and its actor.
    by_time: BTreeSet<(i64, i32, Actor)>,
    /// Hashes of the keys of records that cannot be read: a key may have any size.
    unreadable: BTreeSet<u64>,
}

/// One partition of the topic.
#[derive(Debug, Default)]
struct DirectoryPartition {
    nodes: BTreeMap<Actor, RegisteredNode>,
    /// The offset of the next record to read.
    next_offset: i64,
}

impl DirectoryState {
    /// Takes in a record. Where there are too many, the one with the oldest time goes.
    fn insert(&mut self, partition: i32, node: RegisteredNode) {
        let actor = node.record.actor.clone();
        self.remove(partition, &actor);
        self.by_time.insert((node.record_ms, partition, actor.clone()));
        self.partitions.entry(partition).or_default().nodes.insert(actor, node);
        if self.by_time.len() > MAX_NODES
            && let Some((_, partition, actor)) = self.by_time.pop_first()
            && let Some(partition) = self.partitions.get_mut(&partition)
        {
            partition.nodes.remove(&actor);
        }
    }

    fn remove(&mut self, number: i32, actor: &Actor) {
        let former = self.partitions.get_mut(&number).and_then(|partition| partition.nodes.remove(actor));
        if let Some(node) = former {
            self.by_time.remove(&(node.record_ms, number, node.record.actor));
        }
    }
}

impl NodeDirectory {
    /// The last records of all nodes, by actor.
    #[must_use]
    pub fn nodes(&self) -> Vec<RegisteredNode> {
        let state = self.lock();
        let mut nodes: BTreeMap<&Actor, &RegisteredNode> = BTreeMap::new();
        // An actor's records stand in several partitions where the topic has grown.
        let order = |node: &RegisteredNode| (node.record.published.counter, node.record.heartbeat_ms);
        for (actor, node) in state.partitions.values().flat_map(|partition| &partition.nodes) {
            if nodes.get(actor).is_none_or(|known| order(known) <= order(node)) {
                nodes.insert(actor, node);
            }
        }
        nodes.into_values().cloned().collect()
    }

    /// How many keys have, or had, a record that cannot be read; at most 1000 are counted.
    #[must_use]
    pub fn unreadable(&self) -> usize {
        self.lock().unreadable.len()
    }

    /// Takes in a node that was read by other means than a follower.
    pub fn insert(&self, node: RegisteredNode) {
        self.lock().insert(0, node);
    }

    /// Reads a record. `None` is one that cannot be read: the node is shown by its last record that
    /// could, and of each key there is one warning.
    pub(crate) fn read(&self, record: &InRecord<'_>) -> Option<NodeUpdate> {
        let error = match NodeUpdate::read(record) {
            Ok(update) => return Some(update),
            Err(error) => error,
        };
        let key = xxh3_64(record.record.key.unwrap_or_default());
        let mut state = self.lock();
        if state.unreadable.len() < MAX_UNREADABLE && state.unreadable.insert(key) {
            drop(state);
            let origin = &record.origin;
            tracing::warn!(
                code = "HS8045",
                partition = %TopicPartition::new(origin.topic, origin.partition),
                offset = origin.offset,
                "a record of the nodes topic is left out: {error}; further ones with its key are left out without a warning"
            );
        }
        None
    }

    /// Takes in what records of one partition change, in the order of their offsets.
    pub(crate) fn apply(&self, partition: i32, updates: &[NodeUpdate], next_offset: i64) {
        let mut state = self.lock();
        // The partition is read again from its first record: what it had before counts no more.
        if next_offset == 0 {
            state.partitions.remove(&partition);
            state.by_time.retain(|(_, number, _)| *number != partition);
        }
        for update in updates {
            match update {
                NodeUpdate::Record(node) => state.insert(partition, RegisteredNode::clone(node)),
                NodeUpdate::Removal(actor) => state.remove(partition, actor),
            }
        }
        state.partitions.entry(partition).or_default().next_offset = next_offset;
    }

    /// The offset at which a partition is to be read further; `None` before its first record.
    pub(crate) fn position(&self, partition: i32) -> Option<i64> {
        self.lock().partitions.get(&partition).map(|partition| partition.next_offset)
    }

    fn lock(&self) -> MutexGuard<'_, DirectoryState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::Publication;
    use crate::registry::record::{NodeRole, NodeState};
    use streams::record::{Origin, RecordBatch};

    fn node(actor: &str, published: u64, heartbeat_ms: i64) -> NodeRecord {
        NodeRecord {
            actor: actor.parse().unwrap(),
            role: NodeRole::Primary,
            software_version: "helixstream 0.1.0".to_owned(),
            capabilities: Vec::new(),
            counter: published,
            published: Publication { counter: published, chain: 0 },
            outbox_depth: 0,
            outbox_since_ms: None,
            joined_ms: 1,
            heartbeat_ms,
            state: NodeState::Running,
        }
    }

    /// Reads one record and takes it in; whether it could be read.
    fn take(directory: &NodeDirectory, partition: i32, key: Option<&[u8]>, value: Option<&[u8]>) -> bool {
        let mut batch = RecordBatch::new();
        let origin = Origin { topic: "nodes", partition, offset: 7, timestamp_ms: 50 };
        batch.push(origin, key, value, std::iter::empty());
        let update = directory.read(&batch.get(0).unwrap());
        directory.apply(partition, update.as_slice(), 8);
        update.is_some()
    }

    fn shown(directory: &NodeDirectory) -> Vec<(String, u64)> {
        let nodes = directory.nodes().into_iter();
        nodes.map(|node| (node.record.actor.name.to_string(), node.record.published.counter)).collect()
    }

    const A: &str = "a.00000000000000000001";
    const B: &str = "b.00000000000000000001";

    #[test]
    fn the_last_record_of_each_actor_is_shown_and_one_without_a_value_removes_it() {
        let directory = NodeDirectory::default();
        assert!(take(&directory, 0, Some(A.as_bytes()), Some(&node(A, 2, 10).to_json())));
        assert!(take(&directory, 0, Some(B.as_bytes()), Some(&node(B, 1, 10).to_json())));
        assert!(take(&directory, 0, Some(A.as_bytes()), Some(&node(A, 3, 20).to_json())));
        assert_eq!(shown(&directory), [("a".to_owned(), 3), ("b".to_owned(), 1)]);
        assert_eq!(directory.nodes()[0].record_ms, 50, "the time of the record, not of the heartbeat");
        assert!(take(&directory, 0, Some(B.as_bytes()), None));
        assert_eq!(shown(&directory), [("a".to_owned(), 3)]);
        assert_eq!(directory.position(0), Some(8));
    }

    #[test]
    fn in_a_topic_that_has_grown_the_record_counts_that_says_more_was_published() {
        let directory = NodeDirectory::default();
        for (partition, published) in [(0, 2), (2, 5), (1, 4)] {
            take(&directory, partition, Some(A.as_bytes()), Some(&node(A, published, 10).to_json()));
        }
        assert_eq!(shown(&directory), [("a".to_owned(), 5)]);
    }

    #[test]
    fn a_partition_that_is_read_anew_forgets_what_it_had() {
        let directory = NodeDirectory::default();
        take(&directory, 0, Some(A.as_bytes()), Some(&node(A, 1, 10).to_json()));
        take(&directory, 1, Some(B.as_bytes()), Some(&node(B, 1, 10).to_json()));
        directory.apply(0, &[], 0);
        assert_eq!(shown(&directory), [("b".to_owned(), 1)]);
    }

    #[test]
    fn records_that_cannot_be_read_are_left_out_and_counted_once() {
        let directory = NodeDirectory::default();
        take(&directory, 0, Some(A.as_bytes()), Some(&node(A, 1, 10).to_json()));
        let other_version = String::from_utf8(node(A, 9, 20).to_json()).unwrap();
        let other_version = other_version.replace(r#""schema_version":1"#, r#""schema_version":2"#);
        let long = [node(A, 9, 20).to_json(), vec![b' '; 1 << 20]].concat();
        let good = node(B, 9, 20).to_json();
        for (key, value) in [
            // Of another version, too large, forged, and no records of nodes at all.
            (Some(A.as_bytes()), Some(other_version.as_bytes())),
            (Some(A.as_bytes()), Some(&long[..])),
            (Some(A.as_bytes()), Some(&good[..])),
            (Some(B.as_bytes()), Some(b"\xff\0")),
            (Some(b"\xff"), Some(&good[..])),
            (Some(b"key"), None),
            (None, Some(&good[..])),
            (None, None),
        ] {
            assert!(!take(&directory, 0, key, value), "{key:?}");
        }
        assert_eq!(shown(&directory), [("a".to_owned(), 1)], "by its last record that can be read");
        assert_eq!(directory.unreadable(), 5, "A, B, 0xff, key, and none");
    }

    #[test]
    fn the_nodes_do_not_fill_the_memory_and_those_with_the_oldest_records_go_first() {
        let directory = NodeDirectory::default();
        let add = |partition: i32, n: usize, record_ms: i64| {
            let record = node(&format!("n{n}.00000000000000000001"), 1, 10);
            let update = NodeUpdate::Record(Box::new(RegisteredNode { record, record_ms }));
            directory.apply(partition, &[update], 1);
        };
        (0..MAX_NODES).for_each(|n| add(0, n, 1000 + i64::try_from(n).unwrap()));
        // The first one is seen again; then the second one is the oldest.
        add(0, 0, 100_000);
        add(1, MAX_NODES, 90_000);
        let names: Vec<String> = shown(&directory).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names.len(), MAX_NODES);
        let has = |name: &str| names.iter().any(|other| other == name);
        assert!(has("n0") && !has("n1") && has("n2") && has(&format!("n{MAX_NODES}")));
        // What is read anew or removed leaves room.
        directory.apply(0, &[], 0);
        (0..MAX_NODES - 1).for_each(|n| add(0, n, 5));
        assert_eq!(directory.nodes().len(), MAX_NODES);
    }

    #[test]
    fn the_keys_of_unreadable_records_do_not_fill_the_memory() {
        let directory = NodeDirectory::default();
        (0..MAX_UNREADABLE + 5).for_each(|n| _ = take(&directory, 0, Some(n.to_string().as_bytes()), Some(b"x")));
        assert_eq!(directory.unreadable(), MAX_UNREADABLE);
    }
}
