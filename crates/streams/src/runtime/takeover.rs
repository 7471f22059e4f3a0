//! Taking tasks over from stream threads that died: their open transactions are ended at once.
//!
//! A thread that is killed leaves its transaction open. Until that is ended, nobody who reads
//! committed gets past its first record in any partition that it wrote to: neither the restoration
//! of its tasks, nor the tasks that read its repartition topics, nor the consumers of its outputs.
//! The brokers end it when its timeout is over, which they look for every 10 s
//! (`transaction.abort.timed.out.transaction.cleanup.interval.ms`). But the initialisation of a
//! producer with the same transactional id ends it at once (KIP-98), whoever does that.
//!
//! So whoever is assigned a task looks which thread owned it, as the metadata of its last commit
//! says ([`TaskOwner`]), and whether that thread is a member of the group. Where it is none, its
//! transaction is ended. A thread that only stood still for so long, and is alive, is fenced by
//! that: it has lost its tasks before, could not have committed, and makes a new producer. All of
//! this is for the sake of time: where it fails, the brokers end the transaction.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::config::transactional_id;
use super::instance::Instance;
use crate::error::{Error, Result};
use crate::record::TopicPartition;
use crate::store::checkpoint::TaskOwner;
use crate::topology_digest::split_client_id;

/// How long it waits before it asks once more after a failure: the coordinator may have died
/// together with the owner.
const RETRY: Duration = Duration::from_millis(500);

/// Ends the open transactions of dead threads that owned the tasks of these partitions, which were
/// just assigned to `thread`. Does so in the background, and tries for as long as a transaction may
/// stay open by itself.
pub(super) fn end_transactions_of_dead_owners(instance: &Arc<Instance>, thread: usize, assigned: &[TopicPartition]) {
    if assigned.is_empty() {
        return;
    }
    let (working, assigned) = (instance.clone(), assigned.to_vec());
    instance.ports.executor.run_at_once(Box::new(move || {
        let until = working.now() + working.config.contact_timeout;
        let mut ended = BTreeSet::new();
        while let Err(error) = end_transactions(&working, thread, &assigned, &mut ended) {
            if error.is_fatal() || working.is_stopping() || working.now() >= until {
                tracing::warn!(
                    code = "HS1047",
                    thread,
                    "transactions of stream threads that died could not be ended, so the tasks that were taken over from them wait until the \
                     brokers end these transactions, after transaction_timeout and up to 10 s more; nothing is lost: {error}"
                );
                return;
            }
            working.ports.clock.sleep(RETRY);
        }
    }));
}

fn end_transactions(
    instance: &Instance,
    thread: usize,
    assigned: &[TopicPartition],
    ended: &mut BTreeSet<String>,
) -> Result<()> {
    let admin = &instance.ports.admin;
    let committed = admin.all_committed()?;
    let taken = committed.iter().filter(|(partition, _)| assigned.contains(partition));
    let owners = taken.filter_map(|(_, committed)| TaskOwner::find(&committed.metadata));
    let is_other = |owner: &TaskOwner<'_>| {
        // A thread of this very instance ends the transaction of its predecessor when it starts.
        owner.instance_id != instance.config.instance_id
            || (owner.thread != thread && !instance.has_thread(owner.thread))
    };
    let id_of =
        |owner: TaskOwner<'_>| transactional_id(&instance.config.application_id, owner.instance_id, owner.thread);
    let mut owners: BTreeSet<String> = owners.filter(is_other).map(id_of).collect();
    owners.retain(|id| !ended.contains(id));
    if owners.is_empty() {
        return Ok(());
    }
    // A member's client id is its transactional id, perhaps with a digest of the topology.
    let members = admin.member_ids()?;
    members.iter().for_each(|member| _ = owners.remove(split_client_id(member).0));
    for id in owners {
        match admin.end_transaction(&id) {
            // Somebody else has taken the id since, which ended the transaction as well.
            Ok(()) | Err(Error::Fenced(_)) => {}
            Err(error) => return Err(error),
        }
        tracing::info!(
            thread,
            "the transaction that stream thread `{id}` may have left open is ended: its tasks were taken over, and it is no member of the group"
        );
        ended.insert(id);
    }
    Ok(())
}
