//! Transactional calls that answer "again".

use std::time::Duration;

use super::super::instance::Instance;
use crate::error::{Error, Result};

/// Transactional calls are made again for so long; past the transaction's own timeout the broker
/// has ended it.
const RETRY_LIMIT: Duration = Duration::from_secs(30);

/// Makes a transactional call until it answers something else than "again", up to the task timeout.
/// Each call waits by itself.
///
/// Once the clients of the thread, which were made in `renewal`, are to be renewed, it is not made
/// again: the brokers may not let them in any more. "Again" means the same then as past the
/// deadline: a commit whose outcome is unknown, or a transaction that is aborted by the new
/// producer's first act.
pub(super) fn retried(instance: &Instance, renewal: u64, mut call: impl FnMut() -> Result<()>) -> Result<()> {
    let deadline = instance.now() + instance.config.task_timeout.min(RETRY_LIMIT);
    loop {
        match call() {
            Err(Error::Retry(what)) if instance.now() < deadline && instance.renewals() == renewal => {
                tracing::debug!("a transactional call failed and is retried: {what}")
            }
            other => return other,
        }
    }
}
