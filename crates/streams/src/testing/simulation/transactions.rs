//! The coordinator of transactions at work: epochs, decisions, markers, timeouts; and the
//! compaction of changelogs.

use std::collections::BTreeSet;
use std::time::Duration;

use super::broker::{Entry, MarkedPlace, Outcome, Refusal, Transaction};
use super::faults::Fault;
use super::world::{Timer, World};
use crate::record::TopicPartition;

impl World {
    /// A producer takes its transactional id: fences the one before, and ends its transaction. The
    /// new epoch, once that is marked everywhere.
    pub fn init_producer(&mut self, id: &str) -> Result<u64, Refusal> {
        let entry = self.broker.ids.entry(id.to_owned()).or_default();
        let last = entry.transaction;
        match last.map(|number| (number, &self.broker.transactions[&number])) {
            Some((number, transaction)) if transaction.outcome == Outcome::Open => {
                self.fence(id);
                self.end_transaction(number, Outcome::Aborted);
                Err(Refusal::Busy)
            }
            Some((_, transaction)) if transaction.unmarked > 0 => Err(Refusal::Busy),
            _ => Ok(self.fence(id)),
        }
    }

    fn fence(&mut self, id: &str) -> u64 {
        let entry = self.broker.ids.entry(id.to_owned()).or_default();
        entry.epoch += 1;
        let epoch = entry.epoch;
        self.trace(|_| format!("broker: {id} has epoch {epoch}"));
        epoch
    }

    /// EndTxn. A transaction that was never begun at the broker ends at once.
    pub fn end_producer_transaction(
        &mut self,
        id: &str,
        epoch: u64,
        number: Option<u64>,
        outcome: Outcome,
    ) -> Result<(), Refusal> {
        let entry = self.broker.ids.get(id).ok_or(Refusal::Fenced)?;
        if entry.epoch != epoch {
            return Err(Refusal::Fenced);
        }
        let Some(number) = number else { return Ok(()) };
        match self.broker.transactions[&number].outcome {
            Outcome::Open => {
                self.end_transaction(number, outcome);
                Ok(())
            }
            ended if ended == outcome => Ok(()),
            _ => Err(Refusal::WrongState),
        }
    }

    /// Decides a transaction. Markers are on their way from here on.
    fn end_transaction(&mut self, number: u64, outcome: Outcome) {
        let Some(transaction) = self.broker.transactions.get_mut(&number) else { return };
        transaction.outcome = outcome;
        let mut places: Vec<MarkedPlace> = transaction.partitions.iter().cloned().map(MarkedPlace::Partition).collect();
        if !transaction.offsets.is_empty() {
            places.push(MarkedPlace::Offsets);
        }
        transaction.unmarked = places.len();
        let id = transaction.id.clone();
        self.trace(|_| format!("broker: transaction {number} of {id} is {outcome:?}"));
        for place in places {
            let slow = self.strikes(Fault::SlowMarkers, "marker");
            let most = if slow { Duration::from_secs(8) } else { Duration::from_millis(20) };
            let after = self.random_time(most);
            self.set_timer(after, Timer::Mark(number, place));
        }
        self.changed();
    }

    /// A marker is written.
    pub fn mark(&mut self, number: u64, place: MarkedPlace) {
        let away = match &place {
            MarkedPlace::Partition(at) => self.broker.partitions.get(at).map_or(Duration::ZERO, |p| p.away_until),
            MarkedPlace::Offsets => self.broker.group_coordinator_away_until,
        };
        if away > self.now {
            self.set_timer(away - self.now, Timer::Mark(number, place));
            return;
        }
        let Some(transaction) = self.broker.transactions.get_mut(&number) else { return };
        transaction.unmarked -= 1;
        match &place {
            MarkedPlace::Partition(at) => {
                let partition = self.broker.partitions.entry(at.clone()).or_default();
                partition.entries.push(Entry::Marker);
                partition.open.remove(&number);
            }
            MarkedPlace::Offsets => {
                let offsets = std::mem::take(&mut transaction.offsets);
                if transaction.outcome == Outcome::Committed {
                    for (at, committed) in &offsets {
                        let commits = self.broker.commits.entry((at.clone(), committed.offset)).or_default();
                        commits.insert(committed.metadata.clone());
                    }
                    self.broker.committed.extend(offsets);
                }
            }
        }
        self.trace(|_| format!("broker: transaction {number} is marked in {place:?}"));
        self.changed();
    }

    /// Ends transactions that are older than their timeout, and fences their producers.
    pub fn end_old_transactions(&mut self) {
        let limit = self.settings.transaction_timeout;
        let is_old =
            |transaction: &Transaction| transaction.outcome == Outcome::Open && self.now > transaction.began + limit;
        let old = self.broker.transactions.iter().filter(|(_, transaction)| is_old(transaction));
        let old: Vec<(u64, String)> = old.map(|(number, transaction)| (*number, transaction.id.clone())).collect();
        for (number, id) in old {
            self.fence(&id);
            self.end_transaction(number, Outcome::Aborted);
        }
    }

    /// Compacts a random part of a changelog: removes records of keys that have a later committed
    /// record below the last stable offset, and aborted records. Tombstones stay, as they do for
    /// `delete.retention.ms`.
    pub fn compact(&mut self) {
        let compacted = |topic: &str| {
            let config = self.broker.configs.get(topic);
            config.is_some_and(|c| c.iter().any(|(name, value)| name == "cleanup.policy" && value == "compact"))
        };
        let logs: Vec<TopicPartition> =
            self.broker.partitions.keys().filter(|at| compacted(&at.topic)).cloned().collect();
        if logs.is_empty() {
            return;
        }
        let fault = Fault::Compaction;
        let at = logs[self.faults.below(fault, logs.len())].clone();
        let stable = self.broker.partitions[&at].stable_end();
        let upto = self.faults.below(fault, stable.max(0) as usize + 1);
        let mut seen: BTreeSet<Vec<u8>> = BTreeSet::new();
        let aborted: BTreeSet<u64> = self
            .broker
            .transactions
            .iter()
            .filter(|(_, transaction)| transaction.outcome == Outcome::Aborted)
            .map(|(number, _)| *number)
            .collect();
        let Some(partition) = self.broker.partitions.get_mut(&at) else { return };
        partition.compacted_below = partition.compacted_below.max(upto as i64);
        // What follows the part that is cleaned counts too: the cleaner's map has the keys of the
        // dirty part.
        for offset in (0..stable.max(0) as usize).rev() {
            let Entry::Record(record, transaction) = &partition.entries[offset] else { continue };
            let is_aborted = transaction.is_some_and(|number| aborted.contains(&number));
            let key = record.key.clone().unwrap_or_default();
            let is_replaced = is_aborted || (offset < upto && seen.contains(&key));
            if !is_aborted && offset < upto {
                seen.insert(key);
            }
            if is_replaced && offset < upto {
                partition.entries[offset] = Entry::Compacted(record.clone(), *transaction);
            }
        }
        self.trace(|_| format!("broker: {at} is compacted below {upto}"));
    }
}
