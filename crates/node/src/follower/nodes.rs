//! The nodes' own records, which go to the directory in memory.

use std::sync::Arc;

use streams::record::{InRecord, TopicPartition};

use super::feed::{Feed, Sorted};
use crate::kafka::Topics;
use crate::ports::JournalError;
use crate::registry::{NodeDirectory, NodeUpdate};

/// The nodes topic. It is compacted and small, so that each start reads it from its first record.
pub(super) struct NodesFeed {
    pub directory: Arc<NodeDirectory>,
}

impl Feed for NodesFeed {
    type Kept = NodeUpdate;

    const WHAT: &'static str = "records of nodes";

    const AFTER_LOSS: &'static str = "a node whose record was deleted is shown again with its next record";

    const IS_MADE_BY_NODES: bool = true;

    fn topic<'t>(&self, topics: &'t Topics) -> &'t Arc<str> {
        &topics.nodes
    }

    fn position(&self, partition: &TopicPartition) -> Result<Option<i64>, JournalError> {
        Ok(self.directory.position(partition.partition))
    }

    fn sort(&self, record: &InRecord<'_>) -> Sorted<NodeUpdate> {
        self.directory.read(record).map_or(Sorted::Other, Sorted::Kept)
    }

    fn apply(&self, partition: &TopicPartition, updates: &[NodeUpdate], next: i64) -> Result<(), JournalError> {
        self.directory.apply(partition.partition, updates, next);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::time::Duration;

    use streams::error::Error;
    use testkit::{LIMIT, wait_until};

    use super::*;
    use crate::follower::{Follower, FollowerSettings};
    use crate::memory_kafka::{MemoryKafka, Stored};
    use crate::ports::Publication;
    use crate::registry::{NodeRecord, NodeRole, NodeState};

    const NODES: &str = "helixagent.memory.nodes";

    fn node(name: &str) -> NodeRecord {
        NodeRecord {
            actor: format!("{name}.00000000000000000001").parse().unwrap(),
            role: NodeRole::Worker,
            software_version: String::new(),
            capabilities: Vec::new(),
            counter: 1,
            published: Publication { counter: 1, chain: 0 },
            outbox_depth: 0,
            outbox_since_ms: None,
            joined_ms: 1,
            heartbeat_ms: 1,
            state: NodeState::Running,
        }
    }

    fn append(kafka: &MemoryKafka, partition: i32, name: &str, value: Option<Vec<u8>>) {
        let key = Some(node(name).actor.to_string().into_bytes());
        kafka.append(
            &TopicPartition::new(NODES, partition),
            Stored { key, value, timestamp_ms: 1, ..Stored::default() },
        );
    }

    fn start(kafka: &MemoryKafka) -> (Follower, Arc<NodeDirectory>) {
        let settings = FollowerSettings { refresh_interval: Duration::from_millis(10) };
        let directory: Arc<NodeDirectory> = Arc::default();
        (Follower::of_nodes(kafka.clients(), directory.clone(), settings).unwrap(), directory)
    }

    #[track_caller]
    fn wait_for_names(directory: &NodeDirectory, names: &[&str]) {
        let shown = || directory.nodes().iter().map(|node| node.record.actor.name.to_string()).collect::<Vec<_>>();
        wait_until(&format!("{names:?}"), || shown() == names);
    }

    #[test]
    fn the_topic_is_followed_as_soon_as_a_node_has_made_it_and_a_missing_one_is_no_failure() {
        let kafka = MemoryKafka::start();
        kafka.hook("identities", |_| Err(Error::Retry("no broker is there".to_owned())));
        let (running, directory) = start(&kafka);
        wait_until("the outage", || running.status().failures == 1);
        kafka.make_topic(NODES, 2);
        append(&kafka, 0, "a", Some(node("a").to_json()));
        append(&kafka, 1, "b", Some(node("b").to_json()));
        wait_for_names(&directory, &["a", "b"]);
        append(&kafka, 1, "c", Some(b"another format".to_vec()));
        append(&kafka, 1, "b", None);
        append(&kafka, 1, "d", Some(node("d").to_json()));
        wait_for_names(&directory, &["a", "d"]);
        wait_until("the end", || running.status().is_caught_up);
        let status = running.stop(LIMIT);
        assert_eq!((status.failures, status.followed, status.other_records), (1, 4, 1));
        assert_eq!(directory.unreadable(), 1);
    }

    #[test]
    fn each_start_reads_all_and_a_topic_that_is_made_anew_with_fewer_partitions_replaces_all() {
        let kafka = MemoryKafka::start();
        kafka.make_topic(NODES, 2);
        append(&kafka, 0, "a", Some(node("a").to_json()));
        append(&kafka, 1, "b", Some(node("b").to_json()));
        drop(start(&kafka));
        let (running, directory) = start(&kafka);
        wait_for_names(&directory, &["a", "b"]);
        wait_until("the end", || running.status().is_caught_up);
        let (sender, caught_up) = channel();
        let progress = running.progress.clone();
        kafka.hook("open", move |_| {
            sender.send(progress.lock().is_caught_up).unwrap();
            Ok(())
        });
        kafka.make_topic(NODES, 1);
        append(&kafka, 0, "c", Some(node("c").to_json()));
        wait_for_names(&directory, &["c"]);
        assert!(!caught_up.recv().unwrap(), "the new topic is not read yet");
        wait_until("the end of the new topic", || running.status().is_caught_up);
        running.stop(LIMIT);
    }
}
