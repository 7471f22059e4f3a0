//! The threads of a running node, as pages and metrics see them.

use std::sync::Arc;

use crate::expiry_timer::{ExpiryTimer, ExpiryTimerStatus};
use crate::follower::{Follower, FollowerStatus, PartitionProgress};
use crate::kafka::Topics;
use crate::publisher::{Publisher, PublisherStatus};
use crate::registry::NodeDirectory;

/// The publisher and the followers of a node, each `None` where it does not run. A copy of the
/// value is the same threads, which end with their last holder at the latest.
#[derive(Clone, Debug, Default)]
pub struct NodeLoops {
    /// The topics.
    pub topics: Topics,
    /// Publishes the events of the node.
    pub publisher: Option<Arc<Publisher>>,
    /// Follows the resolved memories.
    pub follower: Option<Arc<Follower>>,
    /// Follows the dead letters.
    pub dead_letters: Option<Arc<Follower>>,
    /// Follows the records of all nodes, and keeps the directory current.
    pub nodes: Option<Arc<Follower>>,
    /// Deletes memories that expire.
    pub expiry: Option<Arc<ExpiryTimer>>,
    /// The last records of all nodes.
    pub directory: Arc<NodeDirectory>,
}

impl NodeLoops {
    /// The status of the publisher; that of one that has done nothing where none runs.
    #[must_use]
    pub fn publisher_status(&self) -> PublisherStatus {
        self.publisher.as_ref().map(|publisher| publisher.status()).unwrap_or_default()
    }

    /// The status of the follower of resolved memories, likewise.
    #[must_use]
    pub fn follower_status(&self) -> FollowerStatus {
        status_of(self.follower.as_ref())
    }

    /// The status of the follower of dead letters, likewise.
    #[must_use]
    pub fn dead_letters_status(&self) -> FollowerStatus {
        status_of(self.dead_letters.as_ref())
    }

    /// The status of the follower of the nodes' records, likewise.
    #[must_use]
    pub fn nodes_status(&self) -> FollowerStatus {
        status_of(self.nodes.as_ref())
    }

    /// The status of the expiry timer, likewise.
    #[must_use]
    pub fn expiry_status(&self) -> ExpiryTimerStatus {
        self.expiry.as_ref().map(|timer| timer.status()).unwrap_or_default()
    }

    /// All followers that run, each with its name in messages.
    pub fn followers(&self) -> impl Iterator<Item = (&'static str, &Arc<Follower>)> {
        let all = [
            ("follower of resolved memories", &self.follower),
            ("follower of dead letters", &self.dead_letters),
            ("follower of the nodes", &self.nodes),
        ];
        all.into_iter().filter_map(|(name, one)| Some((name, one.as_ref()?)))
    }

    /// How far each partition of the topics of memories and dead letters was read since the start,
    /// by topic and partition.
    #[must_use]
    pub fn progress(&self) -> Vec<(Arc<str>, i32, PartitionProgress)> {
        let topics =
            [(&self.topics.dead_letters, self.dead_letters_status()), (&self.topics.snapshots, self.follower_status())];
        let of_topic = |(topic, status): (&Arc<str>, FollowerStatus)| {
            let topic = topic.clone();
            status.partitions.into_iter().map(move |(partition, progress)| (topic.clone(), partition, progress))
        };
        topics.into_iter().flat_map(of_topic).collect()
    }
}

fn status_of(follower: Option<&Arc<Follower>>) -> FollowerStatus {
    follower.map(|follower| follower.status()).unwrap_or_default()
}
