//! Changes under a running instance, for which its first thread checks at intervals: the topology
//! that the group agrees on, and the topics that it reads.

use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::time::Duration;

use super::super::backoff::Reminder;
use super::super::instance::Instance;
use super::parts::Parts;
use crate::error::{Error, Result};

/// The checks of the source topics by a thread.
#[derive(Default)]
pub(super) struct SourceTopicsCheck {
    /// Result of the check that is under way in another thread: whether a source has grown.
    under_way: Option<Receiver<Result<bool>>>,
    /// When the next one is due.
    next: Duration,
    /// A source has grown, and the consumer has not looked at it since.
    has_grown: bool,
    /// Since when no look has come to its end.
    failing_since: Option<Duration>,
    /// When that was last logged.
    reminder: Reminder,
}

impl SourceTopicsCheck {
    /// Begins a look when it is time or the group has changed, and takes in what came of the last
    /// one. Waits for nothing, unless a source has grown.
    ///
    /// # Errors
    /// [`Error::Fatal`] where this instance must not go on.
    pub fn look(&mut self, parts: &mut Parts) -> Result<()> {
        if parts.thread != 0 {
            return Ok(());
        }
        let instance = &parts.instance;
        let now = instance.now();
        let Some(under_way) = &self.under_way else {
            let is_due = now >= self.next;
            if is_due || instance.agreement.is_to_be_asked(now) {
                self.begin(instance, is_due);
            }
            if is_due {
                self.next = now + instance.config.check_interval;
            }
            return Ok(());
        };
        let found = match under_way.try_recv() {
            Err(TryRecvError::Empty) => return Ok(()),
            Err(TryRecvError::Disconnected) => Err(Error::Retry("the look ended without an answer".to_owned())),
            Ok(found) => found,
        };
        self.under_way = None;
        match found.and_then(|has_grown| self.refresh(parts, has_grown)) {
            Err(error) if error.is_fatal() => Err(error),
            Err(error) => {
                self.failed(&parts.instance, now, &error);
                Ok(())
            }
            Ok(()) => {
                self.failing_since = None;
                Ok(())
            }
        }
    }

    /// A coordinator that loads or moves is in order and is asked again; only a failure that lasts
    /// is for somebody to act on.
    fn failed(&mut self, instance: &Instance, now: Duration, error: &Error) {
        tracing::debug!("could not check the membership and the source topics: {error}");
        let since = *self.failing_since.get_or_insert(now);
        let lasted = now.saturating_sub(since);
        // While Kafka is away, the watch has said so.
        let is_explained = instance.metrics().explains_failures();
        if lasted > instance.config.contact_timeout && !is_explained && self.reminder.is_due(now) {
            tracing::warn!(
                code = "HS1006",
                "for {} s: the group `{}` and the topics that are read could not be described ({error}); this is retried, and until it \
                 succeeds no new task is started, and growth of a topic is not noticed",
                lasted.as_secs(),
                instance.config.application_id
            );
        }
    }

    /// Has the consumer look at its topics where one has grown; at the next look again if that
    /// fails.
    fn refresh(&mut self, parts: &mut Parts, has_grown: bool) -> Result<()> {
        self.has_grown |= has_grown;
        if self.has_grown {
            parts.consumer.refresh_topics()?;
            self.has_grown = false;
        }
        Ok(())
    }

    fn begin(&mut self, instance: &std::sync::Arc<Instance>, is_due: bool) {
        let (send, answer) = channel();
        self.under_way = Some(answer);
        let asking = instance.clone();
        instance.ports.executor.run_at_once(Box::new(move || {
            // The thread may have ended meanwhile.
            let _ = send.send(check_group_and_topics(&asking, is_due));
        }));
    }
}

fn check_group_and_topics(instance: &Instance, is_due: bool) -> Result<bool> {
    let admin = &*instance.ports.admin;
    let clock = &*instance.ports.clock;
    match is_due {
        true => instance.agreement.check(admin)?,
        false => instance.agreement.ensure(admin, clock)?,
    }
    if !is_due {
        return Ok(false);
    }
    let recreations = instance.sources.recreations();
    let has_grown = instance.sources.check(admin, &instance.plans);
    if instance.sources.recreations() != recreations {
        // A client of before reads nothing of the new topic (librdkafka 2.12.1).
        instance.renew_clients();
    }
    has_grown
}

#[cfg(test)]
impl SourceTopicsCheck {
    /// Whether a warning was logged that looks fail.
    pub fn has_warned(&self) -> bool {
        let mut reminder = self.reminder;
        !reminder.is_due(Duration::ZERO)
    }
}
