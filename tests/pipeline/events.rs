//! Events in which much collides, spread over many memories: the model's generator with its three
//! memories made many.

use crate::trial::PARTITIONS;
use reference_model::Settings;
use reference_model::generate::{self, Members};
use reference_model::generate_bad::bad_value;
use testkit::Random;
use testkit::Record;

/// Time of the records, 2023-11-14: around the events' own times.
const RECORD_MS: i64 = 1_700_000_000_000;
/// Events remembered, to be sent again.
const MEMORY: usize = 64;

/// An endless stream that is a function of its number and of the seed of this process, which is
/// printed, so that `SEED` replays it. The times at which the servers answer it does not replay.
pub struct Events {
    rng: Random,
    groups: usize,
    sent: Vec<Members>,
}

impl Events {
    /// Memories come in `groups` of three; events merge memories of one group only.
    pub fn new(number: u64, groups: usize) -> Events {
        Events { rng: Random::new(testkit::seed().wrapping_add(number)), groups, sent: Vec::new() }
    }

    /// The next `count` records: redeliveries among them, each in any partition, since what is
    /// about one memory may well come by several.
    pub fn take(&mut self, count: usize) -> Vec<Record> {
        (0..count).map(|_| self.next()).collect()
    }

    /// The next record that the reference takes under these settings.
    pub fn good(&mut self, settings: &Settings) -> Record {
        loop {
            let record = self.next();
            let Record { partition, timestamp_ms, value, .. } = record.clone();
            if reference_model::decode(
                &reference_model::Record { partition, timestamp_ms, value, ..Default::default() },
                settings,
            )
            .is_ok()
            {
                return record;
            }
        }
    }

    fn next(&mut self) -> Record {
        let rng = &mut self.rng;
        let members = if !self.sent.is_empty() && rng.one_in(8) {
            rng.pick(&self.sent)
        } else {
            let mood = rng.below(4);
            let mut members = generate::event(rng, generate::MEMORIES.len(), mood);
            let group = rng.below(self.groups);
            members.iter_mut().for_each(|(name, text)| rename(name, text, group));
            members
        };
        let at = rng.below(MEMORY);
        if at < self.sent.len() {
            self.sent[at] = members.clone();
        } else {
            self.sent.push(members.clone());
        }
        let value = generate::encode(rng, members);
        let key = rng.pick(&[None, Some(b"k".to_vec()), Some(vec![0xff, 0])]);
        let headers = if rng.one_in(4) { vec![("h".to_owned(), Some(b"x\xff".to_vec()))] } else { Vec::new() };
        Record {
            partition: rng.below(PARTITIONS as usize) as i32,
            offset: 0,
            timestamp_ms: RECORD_MS + rng.pick(&[0, 500, 2000, 4000, 3_600_000]),
            key,
            value: Some(value),
            headers,
        }
    }
}

/// Moves the memories that an event names into a group.
fn rename(name: &str, text: &mut String, group: usize) {
    if name == "memory_id" || name == "merged_from" {
        for memory in generate::MEMORIES {
            *text = text.replace(&format!("\"{memory}\""), &format!("\"{memory}{group}\""));
        }
    }
}

/// A record that must be refused.
pub fn bad_record(rng: &mut Random, settings: &Settings) -> Record {
    loop {
        let (value, _) = bad_value(rng, settings);
        let partition = rng.below(PARTITIONS as usize) as i32;
        let key = rng.pick(&[None, Some(b"k".to_vec()), Some(vec![0xff, 0])]);
        let record = reference_model::Record {
            partition,
            timestamp_ms: RECORD_MS,
            key,
            value,
            ..reference_model::Record::default()
        };
        // Some are bad by their record's time alone, which no broker takes.
        if reference_model::decode(&record, settings).is_err() {
            let reference_model::Record { key, value, .. } = record;
            let headers = vec![("h".to_owned(), Some(b"1".to_vec())), ("h".to_owned(), Some(Vec::new()))];
            return Record { partition, offset: 0, timestamp_ms: RECORD_MS, key, value, headers };
        }
    }
}
