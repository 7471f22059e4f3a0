//! Settings of a follower.

use std::time::Duration;

/// Settings of a follower.
#[derive(Clone, Debug)]
pub struct FollowerSettings {
    /// How often it looks for new partitions, for a topic that was made anew, and for its lag.
    pub refresh_interval: Duration,
}

impl Default for FollowerSettings {
    fn default() -> FollowerSettings {
        FollowerSettings { refresh_interval: Duration::from_secs(30) }
    }
}
