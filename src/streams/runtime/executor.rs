//! Where work runs that blocks and so has no place on a stream thread: taking a task, purging.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};

/// A piece of blocking work. Its result goes through a channel of its own.
pub type Job = Box<dyn FnOnce() + Send>;

/// Runs jobs.
pub trait Executor: Send + Sync {
    /// Runs a job, now or later.
    fn run(&self, job: Job);
}

/// Runs each job at once, in the caller's thread: for tests and simulation.
#[derive(Clone, Copy, Debug, Default)]
pub struct Inline;

impl Executor for Inline {
    fn run(&self, job: Job) {
        job();
    }
}

/// A fixed number of threads that take jobs in their order. Dropping it lets them end after the jobs that were handed in.
#[derive(Debug)]
pub struct Workers {
    queue: Mutex<Sender<Job>>,
}

impl Workers {
    /// Starts `count` threads (at least one).
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(count: usize) -> std::io::Result<Workers> {
        let (queue, jobs) = channel::<Job>();
        let jobs = Arc::new(Mutex::new(jobs));
        for number in 0..count.max(1) {
            let jobs = jobs.clone();
            std::thread::Builder::new().name(format!("task-worker-{number}")).spawn(move || work(&jobs))?;
        }
        Ok(Workers { queue: Mutex::new(queue) })
    }
}

fn work(jobs: &Mutex<Receiver<Job>>) {
    loop {
        let next = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        match next {
            Ok(job) => job(),
            Err(_) => return,
        }
    }
}

impl Executor for Workers {
    fn run(&self, job: Job) {
        // The threads hold the other end for as long as they live; a job that nobody can run is dropped, and its channel tells.
        let _ = self.queue.lock().unwrap_or_else(PoisonError::into_inner).send(job);
    }
}
