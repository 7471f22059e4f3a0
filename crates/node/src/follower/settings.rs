//! Settings of a follower.

use std::time::Duration;

/// How often a follower looks for the ends of its partitions where no setting says otherwise.
pub const REFRESH_INTERVAL: Duration = Duration::from_secs(30);

/// Settings of a follower.
#[derive(Clone, Debug)]
pub struct FollowerSettings {
    /// How often it looks for new partitions, for a topic that was made anew, and for its lag.
    pub refresh_interval: Duration,
}

impl Default for FollowerSettings {
    fn default() -> FollowerSettings {
        FollowerSettings { refresh_interval: REFRESH_INTERVAL }
    }
}
