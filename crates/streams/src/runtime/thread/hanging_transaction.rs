//! Hanging transactions: a transaction that nobody ends keeps consumers that read committed from
//! all records behind it. One that lasts is reported, with what to do about it
//! (`kafka-transactions.sh find-hanging` and `abort`), since only an operator can end it.

use super::assigned_task::HangingTransaction;
use super::parts::Parts;

/// How long a transaction may stand in the way, in times of
/// [`RuntimeConfig::contact_timeout`](super::super::config::RuntimeConfig), which is no less than
/// the transaction timeout. A transaction of ours is over in far less, also when its producer is
/// dead: the broker ends it within its timeout and 10 s.
const PATIENCE: u32 = 6;

/// Looks for tasks at the end of what can be read with more behind it.
pub(super) fn find_hanging_transactions(parts: &mut Parts) {
    let now = parts.instance.now();
    let patience = parts.instance.config.contact_timeout * PATIENCE;
    let metrics = parts.instance.metrics();
    for assigned in parts.tasks.iter_mut() {
        let id = assigned.id();
        let source = assigned.source().clone();
        let high = parts.consumer.end_offset(&source);
        let known = assigned.hanging();
        let next = assigned.fetched().and_then(|running| running.end_that_is_next());
        let (Some(from), Some(end)) = (next, high.filter(|high| next.is_some_and(|next| *high > next))) else {
            if known.is_some() {
                assigned.set_hanging(None);
                metrics.set_hanging_transaction(id, None);
            }
            continue;
        };
        let known = known.filter(|hanging| hanging.from == from);
        let mut hanging = known.unwrap_or(HangingTransaction { from, since: now, is_reported: false });
        if !hanging.is_reported && now.saturating_sub(hanging.since) >= patience {
            hanging.is_reported = true;
            let (topic, partition) = (&source.topic, source.partition);
            let what = format!(
                "task {id} reads nothing behind offset {from} of {source}: a hanging transaction has been open there for more than {patience:?} [HS1007]"
            );
            metrics.set_hanging_transaction(id, Some(what));
            metrics.add_hanging_transaction();
            tracing::warn!(
                code = "HS1007",
                task = %id,
                "{source}: a hanging transaction has been open at offset {from} for {patience:?}, and the log up to {end} cannot be read before it \
                 ends; `kafka-transactions.sh --bootstrap-server HOST:PORT find-hanging --topic {topic} --partition {partition}` finds it, `abort` \
                 ends it (brokers of Kafka 4.3.0 to 4.4.0 forget to end some when they start again: KAFKA-20734)"
            );
        }
        assigned.set_hanging(Some(hanging));
    }
}
