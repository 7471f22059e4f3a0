//! A transaction that nobody ends hides all that comes after it from those who read committed. A partition where that lasts is told of, since only an
//! operator can end it.

use std::time::Duration;

use super::thread::StreamThread;

/// What lies ahead of a task and cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hidden {
    /// The first offset of the open transaction.
    pub from: i64,
    /// Since when it stands there.
    pub since: Duration,
    /// Whether it was told.
    pub is_told: bool,
}

const LOOK_EVERY: Duration = Duration::from_secs(5);
/// How long a transaction may stand in the way, in times of [`super::RuntimeConfig::contact_timeout`], which is no less than the transaction timeout. A
/// transaction of ours is over in far less, also when its producer is dead: the broker ends it within its timeout and 10 s.
const PATIENCE: u32 = 6;

/// How often a thread looks whether it is still a member of its group.
const MEMBER_EVERY: Duration = Duration::from_secs(1);

impl StreamThread {
    /// Looks, if it is time, how the thread stands in the world: whether the group has it, and whether its tasks can read on.
    pub(super) fn look_around(&mut self) {
        let now = self.instance.now();
        if now >= self.last_member + MEMBER_EVERY {
            self.last_member = now;
            let is_member = self.membership.metadata().is_ok_and(|group| group.generation >= 0);
            self.metrics().set_out(!is_member);
        }
        self.look_for_hidden();
    }

    /// Looks, if it is time, for tasks at the end of what can be read with more behind it.
    fn look_for_hidden(&mut self) {
        let now = self.instance.now();
        if now < self.last_look + LOOK_EVERY {
            return;
        }
        self.last_look = now;
        let patience = self.instance.config.contact_timeout * PATIENCE;
        for assigned in &mut self.tasks {
            let next = assigned.running().map(|task| task.next_offset()).filter(|next| assigned.end == Some(*next));
            let end = self.fetching.end_offset(&assigned.source);
            let (Some(from), Some(end)) = (next, end.filter(|end| next.is_some_and(|next| *end > next))) else {
                if assigned.hidden.take().is_some() {
                    self.instance.metrics().set_hidden(assigned.id, None);
                }
                continue;
            };
            let known = assigned.hidden.filter(|hidden| hidden.from == from);
            let mut hidden = known.unwrap_or(Hidden { from, since: now, is_told: false });
            if !hidden.is_told && now.saturating_sub(hidden.since) >= patience {
                hidden.is_told = true;
                let (topic, partition) = (&assigned.source.topic, assigned.source.partition);
                let what = format!(
                    "task {} reads nothing behind offset {from} of {topic}-{partition}: a transaction has been open there for more than {patience:?}",
                    assigned.id
                );
                self.instance.metrics().set_hidden(assigned.id, Some(what));
                tracing::warn!(
                    task = %assigned.id,
                    "{topic}-{partition}: a transaction has been open at offset {from} for {patience:?}, and the log up to {end} cannot be read before it ends; \
                     `kafka-transactions.sh --bootstrap-server HOST:PORT find-hanging --topic {topic} --partition {partition}` finds it, `abort` ends it \
                     (brokers of Kafka 4.3.0 to 4.4.0 forget to end some when they start again: KAFKA-20734)"
                );
            }
            assigned.hidden = Some(hidden);
        }
    }
}
