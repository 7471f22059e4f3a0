//! The follower: it reads every partition of the topic of resolved memories, read committed, and
//! applies the records to the node's database together with the position that it has reached.
//!
//! The header `type` of a record says what it is: `memory.resolved` is applied, and others (users'
//! snapshots) are stepped over. Where the topic was cut above the position, or was made anew, the
//! follower begins at its first record. New partitions are followed as soon as they are seen. Kafka
//! or the topic may be away: the follower goes on where it was.

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

pub use settings::FollowerSettings;
pub use status::{FollowerStatus, PartitionProgress};

use crate::kafka::KafkaClients;
use crate::ports::Journal;
use crate::stop_signal::StopSignal;
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
    /// Starts the thread.
    ///
    /// # Errors
    /// The operating system starts no thread.
    pub fn start(
        kafka: KafkaClients,
        journal: Arc<dyn Journal>,
        settings: FollowerSettings,
    ) -> std::io::Result<Follower> {
        let (stop, progress) = (Arc::new(StopSignal::default()), Arc::new(SharedProgress::default()));
        let work = FollowerLoop::new(kafka, journal, settings, stop.clone(), progress.clone());
        let thread = std::thread::Builder::new().name("node-follower".to_owned()).spawn(move || work.run())?;
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

    /// Ends it, and waits for that. What it is applying is applied to the end; a call to Kafka that
    /// is under way may last for some seconds.
    pub fn stop(mut self) -> FollowerStatus {
        self.join();
        self.status()
    }

    fn join(&mut self) {
        self.stop.request(Duration::ZERO);
        if let Some(Err(_)) = self.thread.take().map(JoinHandle::join) {
            self.progress.lock().last_error = Some("the follower's thread has panicked".to_owned());
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.join();
    }
}
