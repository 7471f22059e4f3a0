//! For crash tests: ends the process with SIGKILL at a named step of a commit.

use std::sync::atomic::{AtomicU64, Ordering};

use rustix::process::{Signal, getpid, kill_process};

use streams::runtime::{COMMIT_STEPS, Step, StepObserver};

/// The variable: `<step>` or `<step>:<n>`, the n-th time (from 1) that a thread of the process
/// comes to the step.
const VARIABLE: &str = "HELIXSTREAM_TEST_KILL_AT";

/// Kills the process at the n-th time of a step.
pub struct KillAt {
    step: Step,
    left: AtomicU64,
}

impl KillAt {
    /// Value of the variable; `None` where it is not set.
    ///
    /// # Errors
    /// As for [`KillAt::parse`].
    pub fn from_environment() -> Result<Option<KillAt>, String> {
        let text = std::env::var(VARIABLE).unwrap_or_default();
        if text.is_empty() {
            return Ok(None);
        }
        KillAt::parse(&text).map(Some).map_err(|why| format!("{VARIABLE} is {why}"))
    }

    /// Reads `<step>` or `<step>:<n>`.
    ///
    /// # Errors
    /// It names no step, or no number.
    pub fn parse(text: &str) -> Result<KillAt, String> {
        let (name, times) = text.split_once(':').unwrap_or((text, "1"));
        let step = COMMIT_STEPS.into_iter().find(|step| step.name() == name);
        match (step, times.parse()) {
            (Some(step), Ok(times)) => Ok(KillAt { step, left: AtomicU64::new(times) }),
            _ => {
                let names: Vec<&str> = COMMIT_STEPS.iter().map(|step| step.name()).collect();
                Err(format!("`{text}`, not <step> or <step>:<n> with a step of {}", names.join(", ")))
            }
        }
    }
}

impl StepObserver for KillAt {
    fn before(&self, _thread: usize, step: Step) {
        if step == self.step && self.left.fetch_sub(1, Ordering::Relaxed) == 1 {
            // No system refuses a process its own end; if it did, the test would see that nothing
            // died.
            let _ = kill_process(getpid(), Signal::KILL);
        }
    }
}
