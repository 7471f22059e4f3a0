//! The mirror: copies a log into a sink, each record once, at its own pace. It knows neither Kafka
//! nor SQL: a log is anything that implements [`LogSource`], a sink anything that implements
//! [`LogSink`].
//!
//! | module | purpose |
//! |---|---|
//! | `main_loop` | the main loop: polls the log, fills a batch, hands it to the writer, handles the result |
//! | `writer` | calls the sink, one call at a time, until it answers; runs its maintenance between two calls |
//! | `intake` | the state of each assigned partition, and the batch that is being filled |
//! | `backoff` | the waits between retries |
//! | `pace` | the size of a batch, which follows the time that the sink takes for one |
//! | `settings` | sizes and times |
//! | `status` | counters that any thread may read |
//! | [`ports`] | both ends of the mirror, as traits over plain values |
//! | [`digest`] | checksums of records, to find out whether two copies of a log are the same |
//!
//! A mirror has two threads. The main loop reads the log into a batch and serves the consumer
//! group. The writer keeps one batch at a time and is the only one that waits for the sink, for as
//! long as that is down. So at most two batches are in memory, the group never misses a heartbeat,
//! and nothing here can hold up the stream.
//!
//! Some records cannot be read for want of something else, for example because the schema registry
//! is down. Such a record gets no row: the mirror pauses its partition before it and continues
//! there later, while the other partitions go on.
//!
//! Exactly-once does not depend on the group, nor on any belief about ownership: each write carries
//! the checkpoint that it expects (offset and epoch) and is refused as a whole where the sink has
//! another. A refused writer drops its batch and starts again from the checkpoint that the sink
//! has.

mod backoff;
pub mod digest;
mod intake;
mod main_loop;
mod pace;
pub mod ports;
mod settings;
mod status;
#[cfg(test)]
mod tests;
mod writer;

use std::io;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use main_loop::MainLoop;
use ports::{LogSink, LogSource, Stop};
pub use settings::MirrorSettings;
pub use status::{Figures, MirrorStatus};
use writer::SinkWriter;

/// A running mirror; dropping it stops it.
#[derive(Debug)]
pub struct Mirror {
    asked: Stop,
    status: Arc<MirrorStatus>,
    threads: Vec<JoinHandle<()>>,
}

impl Mirror {
    /// Starts copying `source` into `sink`. `stop` is the one that the sink was made with: it cuts
    /// short whatever call of the sink outlasts the grace of a stop.
    ///
    /// # Errors
    /// The error of the system when it provides no thread.
    pub fn start<S: LogSink + 'static>(
        source: Box<dyn LogSource>,
        sink: S,
        stop: Stop,
        settings: MirrorSettings,
    ) -> io::Result<Mirror> {
        let (jobs, todo) = mpsc::sync_channel(1);
        let (done, results) = mpsc::sync_channel(1);
        let status = Arc::new(MirrorStatus::default());
        let asked = Stop::default();
        let batches = (sink.batch(), sink.batch());
        let writer = SinkWriter::new(sink, stop.clone(), settings.clone(), Arc::clone(&status));
        let main_loop = MainLoop::new(source, batches, settings, Arc::clone(&status));
        let writing = thread::Builder::new().name("mirror-writer".into()).spawn(move || writer.run(&todo, &done))?;
        let watch = asked.clone();
        let reading = thread::Builder::new().name("mirror-loop".into()).spawn(move || {
            main_loop.run(&watch, &jobs, &results);
            stop.set();
        })?;
        Ok(Mirror { asked, status, threads: vec![reading, writing] })
    }

    /// Counters of its work and its position.
    pub fn status(&self) -> Arc<MirrorStatus> {
        Arc::clone(&self.status)
    }

    /// Ends it: what was read is still written if the sink takes it within the grace, else read
    /// again next time.
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
