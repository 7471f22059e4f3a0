//! Hanging transactions: a transaction that nobody ends keeps consumers that read committed from
//! all records behind it. One that lasts is reported, with what to do about it
//! (`kafka-transactions.sh find-hanging` and `abort`), since only an operator can end it.

use std::time::Duration;

use super::thread::StreamThread;

/// An open transaction that a task cannot read past.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct HangingTransaction {
    /// The first offset of the open transaction.
    pub from: i64,
    /// Since when it stands there.
    pub since: Duration,
    /// Whether it was reported.
    pub is_reported: bool,
}

const TRANSACTION_CHECK_INTERVAL: Duration = Duration::from_secs(5);
/// How long a transaction may stand in the way, in times of
/// [`super::RuntimeConfig::contact_timeout`], which is no less than the transaction timeout. A
/// transaction of ours is over in far less, also when its producer is dead: the broker ends it
/// within its timeout and 10 s.
const PATIENCE: u32 = 6;

/// How often a thread looks whether it is still a member of its group.
const MEMBERSHIP_CHECK_INTERVAL: Duration = Duration::from_secs(1);

impl StreamThread {
    /// Looks, if it is time, how the thread stands in the world: whether the group has it, and
    /// whether its tasks can read on.
    pub(super) fn check_membership_and_transactions(&mut self) {
        let now = self.instance.now();
        if now >= self.last_membership_check + MEMBERSHIP_CHECK_INTERVAL {
            self.last_membership_check = now;
            let is_member = self.membership.metadata().is_ok_and(|group| group.generation >= 0);
            self.metrics().set_out(!is_member);
        }
        self.find_hanging_transactions();
    }

    /// Looks, if it is time, for tasks at the end of what can be read with more behind it.
    fn find_hanging_transactions(&mut self) {
        let now = self.instance.now();
        if now < self.last_transaction_check + TRANSACTION_CHECK_INTERVAL {
            return;
        }
        self.last_transaction_check = now;
        let patience = self.instance.config.contact_timeout * PATIENCE;
        for assigned in self.tasks.iter_mut() {
            let next = assigned.running().map(|task| task.next_offset()).filter(|next| assigned.end == Some(*next));
            let end = self.fetching.end_offset(&assigned.source);
            let (Some(from), Some(end)) = (next, end.filter(|end| next.is_some_and(|next| *end > next))) else {
                if assigned.hanging.take().is_some() {
                    self.instance.metrics().set_hanging_transaction(assigned.id, None);
                }
                continue;
            };
            let known = assigned.hanging.filter(|hanging| hanging.from == from);
            let mut hanging = known.unwrap_or(HangingTransaction { from, since: now, is_reported: false });
            if !hanging.is_reported && now.saturating_sub(hanging.since) >= patience {
                hanging.is_reported = true;
                let topic = &assigned.source.topic;
                let partition = assigned.source.partition;
                let what = format!(
                    "task {} reads nothing behind offset {from} of {topic}-{partition}: a hanging transaction has \
                     been open there for more than {patience:?} [HS1007]",
                    assigned.id
                );
                self.instance.metrics().set_hanging_transaction(assigned.id, Some(what));
                self.instance.metrics().add_hanging_transaction();
                tracing::warn!(
                    code = "HS1007",
                    task = %assigned.id,
                    "{topic}-{partition}: a hanging transaction has been open at offset {from} for {patience:?}, and \
                     the log up to {end} cannot be read before it ends; `kafka-transactions.sh --bootstrap-server \
                     HOST:PORT find-hanging --topic {topic} --partition {partition}` finds it, `abort` ends it \
                     (brokers of Kafka 4.3.0 to 4.4.0 forget to end some when they start again: KAFKA-20734)"
                );
            }
            assigned.hanging = Some(hanging);
        }
    }
}
