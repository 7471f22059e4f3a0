//! The stream threads of `helixstream run`. They block in librdkafka and so are threads of the
//! system. Their number changes while the instance runs, where it asks for that.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};

use super::CommandError;
use super::rotation::once_made;
use super::signals::{LOOK, wait_for};
use streams::error::Error;
use streams::runtime::{Instance, StreamThread, ThreadPorts};
use streams_kafka::consumer::group_consumer;
use streams_kafka::producer::TransactionalProducers;
use streams_kafka::renewal::CurrentSettings;

/// From the signal to the end of all stream threads, at most; the engine leaves its group well
/// within it.
pub const STOP_LIMIT: Duration = Duration::from_secs(9);
/// How long a thread waits before it makes a new consumer in place of one that has failed for good:
/// twice as long each time, up to the second of these. Two processes with one instance id, which
/// must not be, fence each other again and again.
const CONSUMER_WAIT: Duration = Duration::from_secs(1);
const CONSUMER_MAX_WAIT: Duration = Duration::from_secs(60);
/// A consumer that has lived so long was not fenced by such a process.
const CONSUMER_STAYS: Duration = Duration::from_secs(300);
/// The end of a stream thread, with its number.
type ThreadEnd = (usize, anyhow::Result<()>);

/// The stream threads.
pub struct StreamThreads {
    instance: Arc<Instance>,
    kafka: CurrentSettings,
    /// By their numbers.
    handles: BTreeMap<usize, JoinHandle<()>>,
    end: Sender<ThreadEnd>,
    ends: Receiver<ThreadEnd>,
}

impl StreamThreads {
    /// Starts those that the instance asks for.
    ///
    /// # Errors
    /// The operating system refuses a thread.
    pub fn start(instance: &Arc<Instance>, kafka: &CurrentSettings) -> anyhow::Result<StreamThreads> {
        let (end, ends) = channel();
        let (instance, kafka) = (instance.clone(), kafka.clone());
        let mut threads = StreamThreads { instance, kafka, handles: BTreeMap::new(), end, ends };
        threads.start_requested()?;
        Ok(threads)
    }

    fn start_requested(&mut self) -> anyhow::Result<()> {
        while let Some(index) = self.instance.take_requested_thread() {
            let (instance, kafka, end) = (self.instance.clone(), self.kafka.clone(), self.end.clone());
            let body = move || {
                let ended = stream_thread(&instance, &kafka, index);
                // Who listens no more has given up waiting for us.
                let _ = end.send((index, ended));
            };
            let started = thread::Builder::new().name(format!("stream-{index}")).spawn(body);
            self.handles.insert(index, started.map_err(|e| no_thread("a stream thread", &e))?);
        }
        Ok(())
    }

    /// Waits for a signal (`None`) or for a thread that ends by itself: why it did. Starts and ends
    /// threads meanwhile as the instance asks for it.
    ///
    /// An error of `look` ends the wait as well.
    pub fn watch(
        &mut self,
        signalled: &AtomicBool,
        look: &mut dyn FnMut() -> anyhow::Result<()>,
    ) -> Option<CommandError> {
        loop {
            match self.ends.recv_timeout(LOOK) {
                Ok(end) => {
                    if let Err(failure) = self.take_end(end) {
                        return Some(failure);
                    }
                }
                Err(RecvTimeoutError::Disconnected) => return Some(panicked()),
                Err(RecvTimeoutError::Timeout) => {}
            }
            if self.handles.values().any(JoinHandle::is_finished) {
                match self.ends.try_recv().map(|end| self.take_end(end)) {
                    Err(_) => return Some(panicked()),
                    Ok(Err(failure)) => return Some(failure),
                    Ok(Ok(())) => {}
                }
            }
            if signalled.load(Ordering::Relaxed) {
                return None;
            }
            if let Err(failure) = self.start_requested().and_then(|()| look()) {
                return Some(failure.into());
            }
        }
    }

    /// A thread has ended.
    ///
    /// # Errors
    /// It was not asked to.
    fn take_end(&mut self, (index, ended): ThreadEnd) -> Result<(), CommandError> {
        ended?;
        if !self.instance.is_thread_leaving(index) {
            return Err(Error::Bug(format!("stream thread {index} stopped by itself")).into());
        }
        if self.handles.remove(&index).is_some_and(|handle| handle.join().is_err()) {
            return Err(panicked());
        }
        self.instance.thread_ended(index);
        tracing::info!("stream thread {index} has left the group and ended");
        Ok(())
    }

    /// Waits for all threads.
    ///
    /// # Errors
    /// One has failed, or did not end in time.
    pub fn join(self, deadline: Instant) -> Result<(), CommandError> {
        let on_time = self.handles.values().all(|handle| wait_for(handle, deadline));
        let failed = self.ends.try_iter().find_map(|(_, ended)| ended.err());
        if let Some(e) = failed {
            return Err(e.into());
        }
        if !on_time {
            let limit = STOP_LIMIT.as_secs();
            return Err(anyhow!(
                "stream threads did not stop within {limit} s: what was not committed is processed again at the next start [HS1015]"
            )
            .into());
        }
        Ok(())
    }
}

fn panicked() -> CommandError {
    Error::Bug("a stream thread ended by a panic".to_owned()).into()
}

/// The operating system refuses a thread.
pub fn no_thread(which: &str, error: &std::io::Error) -> anyhow::Error {
    anyhow!("the operating system did not start {which}: {error} [HS0008]")
}

/// A stream thread for as long as the instance runs: one after the other, each with clients of its
/// own, where the clients are renewed or a consumer has failed for good.
fn stream_thread(instance: &Arc<Instance>, kafka: &CurrentSettings, index: usize) -> anyhow::Result<()> {
    let name = format!("stream thread {index}");
    let mut wait = CONSUMER_WAIT;
    let mut is_first = true;
    let is_to_run = || !instance.is_stopping() && !instance.is_thread_leaving(index);
    while is_to_run() {
        let renewal = instance.renewals();
        let settings = kafka.get();
        let made = once_made(&name, || !is_to_run(), || group_consumer(&settings, index));
        let Some((membership, fetching)) = made? else { break };
        if !is_first {
            tracing::info!("{name} has new Kafka clients");
        }
        is_first = false;
        let asked = instance.clone();
        let is_outdated = Arc::new(move || asked.renewals() != renewal);
        let ports = ThreadPorts {
            membership: Box::new(membership),
            fetching: Box::new(fetching),
            producers: Box::new(TransactionalProducers::new(&settings, index).replaced_when(is_outdated)),
            renewal,
        };
        let mut thread = StreamThread::new(instance, index, ports);
        let started = Instant::now();
        thread.run().with_context(|| name.clone())?;
        if !thread.has_lost_consumer() {
            continue;
        }
        drop(thread);
        if started.elapsed() > CONSUMER_STAYS {
            wait = CONSUMER_WAIT;
        }
        let next = Instant::now() + wait;
        while Instant::now() < next && is_to_run() {
            thread::sleep(LOOK);
        }
        wait = (wait * 2).min(CONSUMER_MAX_WAIT);
    }
    Ok(())
}
