//! A follower: it reads every partition of a topic, read committed, and applies the records to the
//! node's database together with the position that it has reached. One follows the resolved
//! memories, and one the dead letters, among which it looks for events of this node. A third one
//! follows the records of all nodes, which are kept in memory alone.
//!
//! On the topic of resolved memories the header `type` of a record says what it is:
//! `memory.resolved` is applied, and others (users' snapshots) are stepped over. Where a topic was
//! cut above the position, or was made anew, the follower begins at its first record, and asks the
//! stream for all resolved memories by a sync request ([`crate::sync`]), since records are gone
//! that it had not read. New partitions are followed as soon as they are seen. Kafka or the topic
//! may be away: the follower goes on where it was.

mod dead_letters;
mod feed;
mod nodes;
mod partition;
mod record;
mod settings;
mod status;
#[cfg(test)]
mod tests;
mod work;

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

pub use settings::{FollowerSettings, REFRESH_INTERVAL};
pub use status::{FollowerStatus, PartitionProgress};

use crate::kafka::KafkaClients;
use crate::ports::Journal;
use crate::registry::NodeDirectory;
use crate::stop_signal::{DROP_LIMIT, Joined, StopSignal, join_within};
use dead_letters::DeadLetterFeed;
use feed::Feed;
use nodes::NodesFeed;
use record::SnapshotFeed;
use status::SharedProgress;
use work::FollowerLoop;

/// A follower on a thread of its own.
#[derive(Debug)]
pub struct Follower {
    thread: Option<JoinHandle<()>>,
    stop: Arc<StopSignal>,
    progress: Arc<SharedProgress>,
}

impl Follower {
    /// Starts a thread that follows the resolved memories.
    ///
    /// # Errors
    /// The operating system starts no thread.
    pub fn start(
        kafka: KafkaClients,
        journal: Arc<dyn Journal>,
        settings: FollowerSettings,
    ) -> std::io::Result<Follower> {
        Follower::of_feed("node-follower", kafka, settings, Arc::default(), SnapshotFeed { journal })
    }

    /// Starts a thread that follows the dead letters, and marks the events of this node that are
    /// among them as failed.
    ///
    /// # Errors
    /// The operating system starts no thread.
    pub fn of_dead_letters(
        kafka: KafkaClients,
        journal: Arc<dyn Journal>,
        settings: FollowerSettings,
    ) -> std::io::Result<Follower> {
        let progress: Arc<SharedProgress> = Arc::default();
        let (events_topic, of_feed) = (kafka.topics.events.clone(), progress.clone());
        let feed = DeadLetterFeed { journal, events_topic, progress: of_feed };
        Follower::of_feed("node-dead", kafka, settings, progress, feed)
    }

    /// Starts a thread that follows the records of all nodes and keeps a directory of them. Its
    /// reader is to be its own: another one of the same process reads the same partitions.
    ///
    /// # Errors
    /// The operating system starts no thread.
    pub fn of_nodes(
        kafka: KafkaClients,
        directory: Arc<NodeDirectory>,
        settings: FollowerSettings,
    ) -> std::io::Result<Follower> {
        Follower::of_feed("node-registry", kafka, settings, Arc::default(), NodesFeed { directory })
    }

    fn of_feed(
        thread: &str,
        kafka: KafkaClients,
        settings: FollowerSettings,
        progress: Arc<SharedProgress>,
        feed: impl Feed,
    ) -> std::io::Result<Follower> {
        let stop = Arc::new(StopSignal::default());
        let work = FollowerLoop::new(kafka, feed, settings, stop.clone(), progress.clone());
        let thread = std::thread::Builder::new().name(thread.to_owned()).spawn(move || work.run())?;
        Ok(Follower { thread: Some(thread), stop, progress })
    }

    /// Its counters and its state now.
    #[must_use]
    pub fn status(&self) -> FollowerStatus {
        self.progress.lock().clone()
    }

    /// Whether its thread has ended.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Asks it to end, without waiting.
    pub fn request_stop(&self) {
        self.stop.request(Duration::ZERO);
    }

    /// Ends it, and waits for that for at most `limit`. What it is applying is applied to the end.
    /// A call to Kafka that waits for a broker cannot be interrupted: past the limit the thread is
    /// left to end behind it.
    pub fn stop(mut self, limit: Duration) -> FollowerStatus {
        self.join(limit);
        self.status()
    }

    fn join(&mut self, limit: Duration) {
        self.request_stop();
        if self.thread.take().map(|thread| join_within(thread, limit)) == Some(Joined::Panicked) {
            self.progress.lock().last_error = Some("the follower's thread has panicked".to_owned());
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.join(DROP_LIMIT);
    }
}
