//! Restoration: the stores of a task are opened and brought to the checkpoint of its last commit.
//! It blocks, so it runs as a job (Kafka Streams has its state updater for this). Standbys open
//! their stores and follow changelogs by the same means.

mod changelog_follower;
mod offset_out_of_range;
mod restore;
mod restore_store;
mod stops;
mod stores;
mod task_restoration;

pub(super) use changelog_follower::{ChangelogFollower, RestoreProgress, checksum_of, offset_behind};
pub(super) use restore::restoration_job;
pub(super) use stores::{Holder, check_position, find_store_position, open_stores};
pub(super) use task_restoration::{
    PendingRestoration, RestorationOutcome, RestorationResult, RestoredTask, TaskRestoration,
};
