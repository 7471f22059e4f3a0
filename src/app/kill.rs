//! For crash tests: ends the process with SIGKILL at a named step of `run` or `node`.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::process::{Signal, getpid, kill_process};

use node::steps::{DEPARTURE_STEPS, STEPS};
use streams::runtime::{COMMIT_STEPS, Step, StepObserver};

/// The variable: `<step>` or `<step>:<n>`, the n-th time (from 1) that a thread of the process
/// comes to the step.
const VARIABLE: &str = "HELIXSTREAM_TEST_KILL_AT";

/// Kills the process at the n-th time of a step.
pub struct KillAt {
    step: &'static str,
    left: AtomicU64,
}

impl KillAt {
    /// Value of the variable for `run`; `None` where it is not set.
    ///
    /// # Errors
    /// It names no step, or no number.
    pub fn of_run() -> Result<Option<KillAt>, String> {
        KillAt::from_environment(&COMMIT_STEPS.map(Step::name))
    }

    /// The observer of a node's steps, which does nothing where the variable is not set.
    ///
    /// # Errors
    /// As for [`KillAt::of_run`].
    pub fn of_node() -> Result<fn(&'static str), String> {
        static KILL_AT: OnceLock<Option<KillAt>> = OnceLock::new();
        let kill_at = KillAt::from_environment(&[&STEPS[..], &DEPARTURE_STEPS].concat())?;
        KILL_AT.get_or_init(|| kill_at);
        Ok(|step| KILL_AT.get().into_iter().flatten().for_each(|kill_at| kill_at.reach(step)))
    }

    fn from_environment(steps: &[&'static str]) -> Result<Option<KillAt>, String> {
        let text = std::env::var(VARIABLE).unwrap_or_default();
        if text.is_empty() {
            return Ok(None);
        }
        KillAt::parse_among(&text, steps).map(Some).map_err(|why| format!("{VARIABLE} is {why}"))
    }

    /// Reads `<step>` or `<step>:<n>` with a step of `run`.
    ///
    /// # Errors
    /// As for [`KillAt::of_run`].
    pub fn parse(text: &str) -> Result<KillAt, String> {
        KillAt::parse_among(text, &COMMIT_STEPS.map(Step::name))
    }

    fn parse_among(text: &str, steps: &[&'static str]) -> Result<KillAt, String> {
        let (name, times) = text.split_once(':').unwrap_or((text, "1"));
        let step = steps.iter().find(|step| **step == name);
        match (step, times.parse()) {
            (Some(step), Ok(times)) => Ok(KillAt { step, left: AtomicU64::new(times) }),
            _ => Err(format!("`{text}`, not <step> or <step>:<n> with a step of {}", steps.join(", "))),
        }
    }

    fn reach(&self, step: &str) {
        if step == self.step && self.left.fetch_sub(1, Ordering::Relaxed) == 1 {
            // No system refuses a process its own end; if it did, the test would see that nothing
            // died.
            let _ = kill_process(getpid(), Signal::KILL);
        }
    }
}

impl StepObserver for KillAt {
    fn before(&self, _thread: usize, step: Step) {
        self.reach(step.name());
    }
}
