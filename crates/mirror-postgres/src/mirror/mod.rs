//! The mirror: copies a log into a sink, each record once, at its own pace.
//!
//! Two threads. The *pump* reads the log into a batch and serves the group; the *writer* keeps one batch at a time and
//! is the only one that waits for the sink, for as long as that is down. So at most two batches are in memory, the group
//! never misses a heartbeat, and nothing here can hold up the stream.
//!
//! A record that cannot be read for want of something else (the schema registry is down) gets no row: its partition rests before
//! it, and is read on from there; the others go on.
//!
//! Once-ness does not rest on the group, nor on who believes to own what: each write carries the checkpoint that it
//! expects (offset and epoch) and is refused as a whole where that is another. A refused writer drops what it has and
//! starts again from the checkpoint as it stands.

mod intake;
mod pace;
mod pump;
mod status;
mod writer;

use std::io;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

pub use status::{Figures, Status};
use streams::ports::log::{LogSink, LogSource, Stop};

/// Sizes and times of a mirror.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// A batch is closed once it holds this many bytes (one record more may fit in), to begin with; it grows while the
    /// sink is quick.
    pub batch_bytes: usize,
    /// What it grows to at most. Two batches are in memory.
    pub largest_batch_bytes: usize,
    /// A batch below that waits this long for more records.
    pub linger: Duration,
    /// First pause after the sink failed; doubled after each further failure.
    pub first_pause: Duration,
    /// Longest pause.
    pub longest_pause: Duration,
    /// How long a stop lets the write under way, and what is already read, come to an end.
    pub grace: Duration,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            batch_bytes: 512 << 10,
            largest_batch_bytes: 4 << 20,
            linger: Duration::from_millis(100),
            first_pause: Duration::from_secs(1),
            longest_pause: Duration::from_secs(30),
            grace: Duration::from_secs(1),
        }
    }
}

/// A running mirror; dropping it stops it.
#[derive(Debug)]
pub struct Mirror {
    asked: Stop,
    status: Arc<Status>,
    threads: Vec<JoinHandle<()>>,
}

impl Mirror {
    /// Starts copying `source` into `sink`. `stop` is the one that the sink was made with: it cuts short whatever call
    /// of the sink outlasts the grace of a stop.
    ///
    /// # Errors
    /// The system's, when it gives us no thread.
    pub fn start<S: LogSink + 'static>(
        source: Box<dyn LogSource>,
        sink: S,
        stop: Stop,
        settings: Settings,
    ) -> io::Result<Mirror> {
        let (jobs, todo) = mpsc::sync_channel(1);
        let (done, results) = mpsc::sync_channel(1);
        let status = Arc::new(Status::default());
        let asked = Stop::default();
        let batches = (sink.batch(), sink.batch());
        let writer = writer::Writer::new(sink, stop.clone(), settings.clone(), Arc::clone(&status));
        let pump = pump::Pump::new(source, batches, settings, Arc::clone(&status));
        let writing = thread::Builder::new().name("mirror-writer".into()).spawn(move || writer.run(&todo, &done))?;
        let watch = asked.clone();
        let pumping = thread::Builder::new().name("mirror-pump".into()).spawn(move || {
            pump.run(&watch, &jobs, &results);
            stop.set();
        })?;
        Ok(Mirror { asked, status, threads: vec![pumping, writing] })
    }

    /// What it has done so far and where it stands.
    pub fn status(&self) -> Arc<Status> {
        Arc::clone(&self.status)
    }

    /// Ends it: what was read is still written if the sink takes it within the grace, else read again next time.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.asked.set();
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!(
                    code = "HS9000",
                    "a thread of the mirror ended by a panic; its rows and offsets are as last committed. Please report this bug"
                );
            }
        }
    }
}

impl Drop for Mirror {
    fn drop(&mut self) {
        self.end();
    }
}
