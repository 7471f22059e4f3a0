//! Tasks of a stream thread that are paused, and those that go on.

use super::parts::Parts;
use crate::record::TaskId;

/// Has another thread look what is paused, when it is time.
pub(super) fn look_at_pauses(parts: &Parts) {
    let instance = &parts.instance;
    if instance.pauses.is_look_due(instance.now()) {
        let looking = instance.clone();
        // The health check tells of looks that fail for long.
        instance.ports.executor.run_at_once(Box::new(move || _ = looking.pauses.look(&looking.pause_ports())));
    }
}

/// The tasks that are to be paused (true) or to go on. It is decided once, before what is open is
/// committed: a task that is paused with uncommitted work would leave its outputs in a transaction
/// without its offset.
pub(super) struct PauseChanges(Vec<(TaskId, bool)>);

impl PauseChanges {
    /// Those that are due.
    pub fn due(parts: &Parts) -> PauseChanges {
        let pauses = &parts.instance.pauses;
        let changes = parts.tasks.iter().map(|assigned| {
            let is_to_pause = pauses.is_paused(assigned.source(), assigned.committed());
            (is_to_pause != assigned.is_paused()).then_some((assigned.id(), is_to_pause))
        });
        PauseChanges(changes.flatten().collect())
    }

    /// Whether what is open is to be committed before: a task is paused.
    pub fn need_a_commit(&self) -> bool {
        self.0.iter().any(|(_, is_paused)| *is_paused)
    }

    /// Applies them, after that commit.
    pub fn apply(self, parts: &mut Parts) {
        for (task, is_paused) in self.0 {
            let Some(assigned) = parts.tasks.find_mut(task) else { continue };
            assigned.set_paused(is_paused);
            assigned.report(&parts.instance.metrics(), parts.thread, None);
            match is_paused {
                true => tracing::info!(%task, "the task is paused"),
                false => tracing::info!(%task, "the task goes on"),
            }
        }
    }
}
