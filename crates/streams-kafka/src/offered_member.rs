//! The member of a group that offers the state-aware assignor, as its client's callbacks see it.

use streams::task_assignment::StateOnDisk;

/// A member that offers the state-aware assignor.
#[derive(Debug)]
pub(super) struct OfferedMember {
    /// Its instance's id.
    pub instance: String,
    pub state_on_disk: StateOnDisk,
}
