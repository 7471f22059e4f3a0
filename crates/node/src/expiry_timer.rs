//! The thread that deletes memories at their time ([`crate::expiry`]).

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use futures::executor::block_on;

use crate::expiry::{ExpiryTerms, NodePresence};
use crate::follower::Follower;
use crate::node::Node;
use crate::ports::JournalError;
use crate::publisher::Publisher;
use crate::registry::NodeDirectory;
use crate::settings::system_clock;
use crate::stop_signal::{DROP_LIMIT, StopSignal, join_within};

/// The time between two looks for memories that expire.
const LOOK: Duration = Duration::from_secs(5);

/// The threads of the node that a timer looks at, and the directory of all nodes.
#[derive(Clone, Debug)]
pub struct ExpiryTimerSettings {
    /// It publishes, or nothing expires.
    pub publisher: Arc<Publisher>,
    /// It has read all resolved memories, or nothing expires.
    pub follower: Arc<Follower>,
    /// It has read all records of nodes, or nothing expires.
    pub nodes: Arc<Follower>,
    /// The records of all nodes.
    pub directory: Arc<NodeDirectory>,
}

/// Counters of a timer since its start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExpiryTimerStatus {
    /// Memories that it has deleted.
    pub deleted: u64,
    /// The last failure; `None` after it has looked again.
    pub last_error: Option<String>,
}

/// A timer on a thread of its own.
#[derive(Debug)]
pub struct ExpiryTimer {
    thread: Option<JoinHandle<()>>,
    stop: Arc<StopSignal>,
    status: Arc<Mutex<ExpiryTimerStatus>>,
}

impl ExpiryTimer {
    /// Starts the thread.
    ///
    /// # Errors
    /// The operating system starts no thread.
    pub fn start(node: Node, settings: ExpiryTimerSettings) -> std::io::Result<ExpiryTimer> {
        let (stop, status) = (Arc::new(StopSignal::default()), Arc::<Mutex<ExpiryTimerStatus>>::default());
        let work = TimerLoop { node, settings, stop: stop.clone(), status: status.clone() };
        let thread = std::thread::Builder::new().name("node-expiry".to_owned()).spawn(move || work.run())?;
        Ok(ExpiryTimer { thread: Some(thread), stop, status })
    }

    /// Its counters now.
    #[must_use]
    pub fn status(&self) -> ExpiryTimerStatus {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
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
}

impl Drop for ExpiryTimer {
    fn drop(&mut self) {
        self.request_stop();
        self.thread.take().map(|thread| join_within(thread, DROP_LIMIT));
    }
}

/// The timer on its thread.
struct TimerLoop {
    node: Node,
    settings: ExpiryTimerSettings,
    stop: Arc<StopSignal>,
    status: Arc<Mutex<ExpiryTimerStatus>>,
}

impl TimerLoop {
    fn run(self) {
        let mut presence = NodePresence::default();
        while !self.stop.is_requested() {
            let looked = match self.terms(&mut presence) {
                Some(terms) => block_on(self.node.expire(&terms)),
                None => Ok(0),
            };
            let mut status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
            match looked {
                Ok(deleted) => {
                    status.deleted += deleted;
                    status.last_error = None;
                }
                Err(JournalError::Stopped) => return,
                Err(error) => {
                    status.last_error = Some(error.to_string());
                    if matches!(error, JournalError::Fatal(_)) {
                        return;
                    }
                }
            }
            drop(status);
            self.stop.wait(LOOK);
        }
    }

    /// The terms now; `None` while the node may lack an extension that others have.
    fn terms(&self, presence: &mut NodePresence) -> Option<ExpiryTerms> {
        let publisher = self.settings.publisher.status();
        let (nodes, follower) = (self.settings.nodes.status(), self.settings.follower.status());
        let is_current = publisher.is_connected && nodes.is_caught_up && follower.is_caught_up && follower.lag() == 0;
        // The presence of nodes is observed all the time that their records are read.
        let own = publisher.actor?;
        let terms =
            presence.terms(&own, &self.settings.directory.nodes(), publisher.heartbeat_ms.unwrap_or(0), system_clock());
        is_current.then_some(terms)
    }
}
