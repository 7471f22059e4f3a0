//! The input of a simulation: records that an outside program appends to the source topics.

use std::time::Duration;

use fastrand::Rng;

use super::broker::StoredRecord;
use super::world::{Timer, World};
use crate::record::TopicPartition;
use crate::task::partition_for;

/// Makes record number `n` of the input of a source topic from random numbers.
pub type RecordFactory = dyn Fn(&mut Rng, usize, &str) -> StoredRecord + Send + Sync;

/// The input.
pub(super) struct Input {
    pub make: Box<RecordFactory>,
    pub topics: Vec<String>,
}

impl Input {
    /// Publishes some records, and sets the time of the next ones.
    pub fn publish(&self, world: &mut World) {
        let left = world.settings.records.saturating_sub(world.published);
        if left == 0 {
            return;
        }
        let burst = 1 + if world.input_random.bool() { 0 } else { world.input_random.usize(0..8) };
        for _ in 0..burst.min(left) {
            let topic = &self.topics[world.input_random.usize(0..self.topics.len())];
            let record = (self.make)(&mut world.input_random, world.published, topic);
            world.published += 1;
            let partitions = world.broker.counts.get(topic).copied().unwrap_or(1);
            let any = world.input_random.i32(0..partitions);
            let partition = partition_for(record.key.as_deref(), any, partitions);
            world.broker.publish(&TopicPartition::new(topic.as_str(), partition), record);
        }
        let mean = world.settings.fault_time.mul_f64(0.9) / (world.settings.records as u32).max(1);
        let most = u64::try_from((mean * 6).as_micros()).unwrap_or(u64::MAX);
        let after = Duration::from_micros(world.input_random.u64(0..=most));
        world.set_timer(after, Timer::Input);
        world.changed();
    }
}

/// Words under few keys: each value names its record, so that no two are the same.
pub(super) fn words(random: &mut Rng, n: usize, _topic: &str) -> StoredRecord {
    let key = format!("key-{}", random.usize(0..12));
    let words: Vec<String> = (0..random.usize(0..4)).map(|_| format!("w{}", random.usize(0..9))).collect();
    StoredRecord {
        key: Some(key.into_bytes()),
        value: Some(format!("r{n} {}", words.join(" ")).into_bytes()),
        headers: Vec::new(),
        timestamp_ms: 1 + random.i64(0..400) + 50 * n as i64,
    }
}
