//! Runs work that blocks and so has no place on a stream thread: restoration, purging.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A piece of blocking work. Its result goes through a channel of its own.
pub type Job = Box<dyn FnOnce() + Send>;

/// Runs jobs.
pub trait Executor: Send + Sync {
    /// Runs a job, now or later.
    fn run(&self, job: Job);

    /// Runs a job that only asks and waits, and so need not stand behind work.
    fn run_at_once(&self, job: Job) {
        self.run(job);
    }

    /// Called by a job that [`Executor::run`] runs: makes a call that waits for somebody else
    /// (another's transaction to end, say), and lets another job have its place meanwhile.
    fn wait(&self, call: &mut dyn FnMut()) {
        call();
    }
}

/// Runs each job at once, in the caller's thread: for tests and simulation.
#[derive(Clone, Copy, Debug, Default)]
pub struct Inline;

impl Executor for Inline {
    fn run(&self, job: Job) {
        job();
    }
}

/// So many jobs at a time, in their order; those that wait are not counted. Dropping it lets the
/// threads end after the jobs that were handed in.
pub struct Workers {
    pool: Arc<Pool>,
}

struct Pool {
    state: Mutex<State>,
    changed: Condvar,
    /// Jobs that work at a time.
    places: usize,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    /// Jobs that need no place.
    at_once: VecDeque<Job>,
    working: usize,
    /// Jobs that wait for somebody else, or need no place.
    waiting: usize,
    /// Threads that wait for a job.
    idle: usize,
    closed: bool,
}

impl Workers {
    /// Starts `count` threads (at least one). More come and go while jobs wait.
    ///
    /// # Errors
    /// The system provides no thread.
    pub fn start(count: usize) -> std::io::Result<Workers> {
        let places = count.max(1);
        let pool = Arc::new(Pool { state: Mutex::default(), changed: Condvar::new(), places });
        let workers = Workers { pool };
        (0..places).try_for_each(|_| workers.pool.clone().spawn())?;
        Ok(workers)
    }

    /// Waits until no job works any more, at most so long; for those that wait for somebody else
    /// not longer than a second.
    ///
    /// For the end of a process: a database that a thread of ours still closes while the process
    /// takes its libraries down ends in an abort.
    pub fn finish(&self, limit: Duration) {
        let is_working = |state: &mut State| state.working + state.jobs.len() > 0;
        let state = self.pool.lock();
        let busy = |state: &mut State| state.waiting > 0 || is_working(state);
        let waited = self.pool.changed.wait_timeout_while(state, limit.min(FOR_OTHERS), busy);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        drop(self.pool.changed.wait_timeout_while(state, limit, is_working));
    }
}

/// How long jobs that wait for somebody else are waited for at the end.
const FOR_OTHERS: Duration = Duration::from_secs(1);

/// A place at work, given back also when the job panics.
struct BusyThread<'p>(&'p Pool);

impl Drop for BusyThread<'_> {
    fn drop(&mut self) {
        self.0.lock().working -= 1;
        self.0.changed.notify_all();
    }
}

/// A thread of the pool. One that a job's panic ends leaves its work to another.
struct Thread<'p>(&'p Arc<Pool>);

impl Drop for Thread<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let state = self.0.lock();
            self.0.ensure_thread(&state);
        }
    }
}

/// A place that was lent out; taken back when this is dropped, also by a panic, since the job's own
/// guard counts on it.
struct Lent<'p>(&'p Pool);

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        while state.working >= self.0.places {
            state = self.0.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.working += 1;
        state.waiting -= 1;
    }
}

/// A job that needs no place, also when it panics.
struct Apart<'p>(&'p Pool);

impl Drop for Apart<'_> {
    fn drop(&mut self) {
        self.0.lock().waiting -= 1;
        self.0.changed.notify_all();
    }
}

impl Pool {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn spawn(self: Arc<Pool>) -> std::io::Result<()> {
        std::thread::Builder::new().name("task-worker".to_owned()).spawn(move || self.work()).map(drop)
    }

    /// One more thread where there is a job that could run and nobody to run it. Where the system
    /// provides none the job waits for one of ours.
    fn ensure_thread(self: &Arc<Pool>, state: &State) {
        let could_run = state.at_once.len() + state.jobs.len().min(self.places.saturating_sub(state.working));
        if state.idle < could_run
            && let Err(error) = self.clone().spawn()
        {
            tracing::warn!(
                code = "HS0008",
                "the operating system started no worker thread, so the restoration of a task waits for one that runs already: {error}"
            );
        }
        self.changed.notify_all();
    }

    fn work(self: Arc<Pool>) {
        let _thread = Thread(&self);
        let mut state = self.lock();
        loop {
            if let Some(job) = state.at_once.pop_front() {
                state.waiting += 1;
                drop(state);
                let apart = Apart(&self);
                job();
                drop(apart);
            } else if state.working < self.places
                && let Some(job) = state.jobs.pop_front()
            {
                state.working += 1;
                drop(state);
                let place = BusyThread(&self);
                job();
                drop(place);
            } else if state.idle >= self.places || (state.closed && state.jobs.is_empty()) {
                return;
            } else {
                state.idle += 1;
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                state.idle -= 1;
                continue;
            }
            state = self.lock();
        }
    }
}

impl Executor for Workers {
    fn run(&self, job: Job) {
        let mut state = self.pool.lock();
        state.jobs.push_back(job);
        self.pool.ensure_thread(&state);
    }

    fn run_at_once(&self, job: Job) {
        let mut state = self.pool.lock();
        state.at_once.push_back(job);
        self.pool.ensure_thread(&state);
    }

    fn wait(&self, call: &mut dyn FnMut()) {
        let mut state = self.pool.lock();
        state.working -= 1;
        state.waiting += 1;
        self.pool.ensure_thread(&state);
        drop(state);
        let _lent = Lent(&self.pool);
        call();
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.pool.lock().closed = true;
        self.pool.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Receiver, Sender, channel};

    const MINUTE: Duration = Duration::from_secs(60);

    /// A job that tells its number when it begins and ends when it is told.
    fn job(number: usize, begun: &Sender<usize>) -> (Job, Sender<()>) {
        let (begun, (end, ended)) = (begun.clone(), channel::<()>());
        let job = move || {
            begun.send(number).unwrap();
            // The end of the sender is an end as well.
            let _ = ended.recv();
        };
        (Box::new(job), end)
    }

    fn next(begun: &Receiver<usize>) -> usize {
        begun.recv_timeout(MINUTE).unwrap()
    }

    #[test]
    fn so_many_jobs_work_at_a_time_and_in_their_order() {
        let (workers, (begun, begins)) = (Workers::start(2).unwrap(), channel());
        let ends: Vec<Sender<()>> = (0..4)
            .map(|number| {
                let (job, end) = job(number, &begun);
                workers.run(job);
                end
            })
            .collect();
        let mut first = [next(&begins), next(&begins)];
        first.sort_unstable();
        assert_eq!(first, [0, 1]);
        let (urgent, _end) = job(9, &begun);
        workers.run_at_once(urgent);
        assert_eq!(next(&begins), 9, "what only waits does not stand behind work, and takes no place");
        for (number, end) in ends.into_iter().enumerate().take(2) {
            drop(end);
            assert_eq!(next(&begins), number + 2);
        }
    }

    #[test]
    fn a_job_that_waits_lends_its_place_and_takes_it_back() {
        let (workers, (begun, begins)) = (Arc::new(Workers::start(1).unwrap()), channel());
        let ((go_on, may_go_on), (done, is_done)) = (channel::<()>(), channel());
        let lender = workers.clone();
        workers.run(Box::new(move || {
            lender.wait(&mut || may_go_on.recv().unwrap());
            done.send(lender.pool.lock().working).unwrap();
        }));
        let (second, end) = job(2, &begun);
        workers.run(second);
        assert_eq!(next(&begins), 2, "it has the place of the one that waits");
        go_on.send(()).unwrap();
        end.send(()).unwrap();
        assert_eq!(is_done.recv_timeout(MINUTE).unwrap(), 1, "never more than there are places");
    }

    #[test]
    fn a_job_that_panics_leaves_its_place_to_the_next() {
        let (workers, (begun, begins)) = (Arc::new(Workers::start(1).unwrap()), channel());
        let lender = workers.clone();
        workers.run(Box::new(|| panic!("as asked")));
        workers.run(Box::new(move || lender.wait(&mut || panic!("as asked, while it waits"))));
        let (next_job, end) = job(3, &begun);
        workers.run(next_job);
        assert_eq!(next(&begins), 3);
        drop(end);
        workers.finish(MINUTE);
        let state = workers.pool.lock();
        assert_eq!((state.working, state.waiting, state.jobs.len()), (0, 0, 0));
    }

    #[test]
    fn the_end_waits_for_work_and_not_for_ever() {
        let (workers, (begun, begins)) = (Workers::start(1).unwrap(), channel());
        let (work, _end) = job(1, &begun);
        workers.run(work);
        assert_eq!(next(&begins), 1);
        workers.finish(Duration::from_millis(1));
        assert_eq!(workers.pool.lock().working, 1, "it was given up");
    }
}
