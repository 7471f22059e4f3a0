//! A store that forgets, through a processor on the driver: against a naive model, over aborts, and
//! row by row.

use std::collections::BTreeMap;
use std::time::Duration;

use testkit::Random;

use super::*;
use crate::driver::TopologyDriver;
use crate::processor::Processor;
use crate::record::{Headers, InRecord, Origin, Record};
use crate::task::Sizes;
use crate::topology::Topology;

/// Appends each value to what its key has and forwards the whole; an empty value asks, `-` deletes.
struct Texts(Retained);

impl Processor for Texts {
    fn process(&mut self, record: &Record<'_>, ctx: &mut dyn ProcessorContext<'_>) -> Result<()> {
        let key = record.key.unwrap_or_default();
        let value = record.value.unwrap_or_default();
        let mut text = self.0.get(ctx, key)?.unwrap_or_default();
        text.extend_from_slice(value);
        match value {
            b"" => {}
            b"-" => return self.0.delete(ctx, key),
            _ => self.0.put(ctx, key, &text)?,
        }
        ctx.forward(&Record { value: Some(&text), ..*record })
    }

    fn punctuate(&mut self, _boundary_ms: i64, ctx: &mut dyn ProcessorContext<'_>) -> Result<()> {
        self.0.punctuate(ctx)
    }
}

struct Trial {
    driver: TopologyDriver,
    offset: i64,
}

impl Trial {
    fn new(retention_ms: u64) -> Trial {
        let retention = Duration::from_millis(retention_ms);
        let topology = Topology::builder()
            .source("in", "in")
            .process("texts", ["in"], move || Box::new(Texts(Retained::new("kept", Some(retention)))))
            .punctuate("texts", Retained::interval(retention))
            .store("kept", ["texts"])
            .sink("out", "out", ["texts"])
            .build();
        Trial { driver: TopologyDriver::new(&topology.unwrap(), "app", &Sizes::default()), offset: 0 }
    }

    /// The outputs for a record; empty where nothing is stored under its key.
    fn pipe(&mut self, time_ms: i64, key: &str, value: &str) -> String {
        let origin = Origin { topic: "in", partition: 0, offset: self.offset, timestamp_ms: time_ms };
        let key = Some(key.as_bytes());
        let value = Some(value.as_bytes());
        let record = Record { key, value, headers: Headers::NONE, timestamp_ms: time_ms };
        self.driver.pipe(&InRecord { origin, record }).unwrap();
        self.offset += 1;
        let text = |out: InRecord<'_>| String::from_utf8(out.record.value.unwrap().to_vec()).unwrap();
        let found = self.driver.outputs().iter().map(text).last().unwrap_or_default();
        self.driver.clear_outputs();
        found
    }

    /// The store's rows.
    fn rows(&mut self) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let mut rows = BTreeMap::new();
        self.driver.scan_store("kept", |_, key, value| _ = rows.insert(key.to_vec(), value.to_vec())).unwrap();
        rows
    }
}

#[test]
fn a_key_past_its_time_is_gone_at_once_and_a_written_one_stays() {
    let mut trial = Trial::new(1000);
    trial.pipe(0, "a", "x");
    trial.pipe(900, "b", "y");
    assert_eq!(trial.pipe(999, "a", ""), "x", "asking is no write");
    assert_eq!(trial.pipe(1000, "a", ""), "");
    assert_eq!(trial.pipe(1899, "b", "z"), "yz");
    assert_eq!(trial.pipe(1900, "b", ""), "yz", "the last write counts");
    assert_eq!(trial.pipe(1500, "b", ""), "yz", "stream time does not go back");
    assert_eq!(trial.pipe(2898, "a", "new"), "new", "it begins anew");
    assert_eq!(trial.pipe(2899, "b", ""), "");
}

#[test]
fn what_is_forgotten_leaves_no_row() {
    let mut trial = Trial::new(1000);
    for key in ["a", "b", "c"] {
        trial.pipe(10, key, "x");
        trial.pipe(500, key, "y");
    }
    trial.pipe(600, "d", "x");
    trial.pipe(610, "d", "-");
    assert_eq!(trial.rows().len(), 6, "a value and its place in the index for each key");
    // A step of the index (62 ms) after their time.
    trial.pipe(1570, "nobody", "");
    assert_eq!(trial.rows().len(), 0);
}

#[test]
fn a_slice_is_bounded_and_writes_take_away_more_than_they_add() {
    let mut trial = Trial::new(1000);
    for n in 0..2500 {
        trial.pipe(0, &format!("key {n}"), "x");
    }
    assert_eq!(trial.rows().len(), 5000);
    trial.pipe(5000, "nobody", "");
    assert_eq!(trial.rows().len(), 3000, "a punctuation takes its slice");
    for n in 0..100 {
        trial.pipe(5000, &format!("new {n}"), "x");
    }
    assert_eq!(trial.rows().len(), 3000 + 200 - 400);
    trial.pipe(5100, "nobody", "");
    trial.pipe(5200, "nobody", "");
    assert_eq!(trial.rows().len(), 200, "the new ones alone");
}

/// A record: its time, key and value.
type Input = (i64, String, &'static str);

fn inputs(seed: u64) -> Vec<Input> {
    let mut dice = Random::new(seed);
    let mut time = 0_i64;
    let one = |_| {
        time += dice.below(120) as i64 - 20;
        let value = ["x", "y", "", "-", "zz"][dice.below(5)];
        (time.max(0), format!("k{}", dice.below(12)), value)
    };
    (0..400).map(one).collect()
}

#[test]
fn it_answers_as_a_naive_model_does() {
    for seed in testkit::seeds(40) {
        let mut trial = Trial::new(300);
        let mut now = 0;
        let retention = 300;
        let mut model: BTreeMap<String, (i64, String)> = BTreeMap::new();
        for (time, key, value) in inputs(seed) {
            now = now.max(time);
            model.retain(|_, (written, _)| now - *written < retention);
            let mut expected = model.get(&key).map_or(String::new(), |(_, text)| text.clone());
            expected.push_str(value);
            match value {
                "" => {}
                "-" => {
                    model.remove(&key);
                    expected.clear();
                }
                _ => _ = model.insert(key.clone(), (now, expected.clone())),
            }
            assert_eq!(trial.pipe(time, &key, value), expected, "seed {seed}, {time} {key} {value:?}");
        }
        trial.pipe(now + 10_000, "nobody", "");
        assert_eq!(trial.rows().len(), 0, "seed {seed}");
    }
}

#[test]
fn aborts_and_commits_leave_no_trace_in_the_rows() {
    for seed in testkit::seeds(20) {
        let mut plain = Trial::new(300);
        let mut broken = Trial::new(300);
        let mut dice = Random::new(!seed);
        let all = inputs(seed);
        let mut committed = 0;
        for (time, key, value) in &all {
            plain.pipe(*time, key, value);
        }
        let mut at = 0;
        while at < all.len() {
            let (time, key, value) = &all[at];
            broken.pipe(*time, key, value);
            at += 1;
            match dice.below(20) {
                0 => {
                    broken.driver.commit().unwrap();
                    committed = at;
                }
                1 => {
                    broken.driver.abort();
                    at = committed;
                }
                _ => {}
            }
        }
        assert_eq!(plain.rows(), broken.rows(), "seed {seed}");
    }
}

/// Texts whose retention changes while it runs, as a restart with another file would have it.
struct Changing(Vec<Retained>);

impl Processor for Changing {
    fn process(&mut self, record: &Record<'_>, ctx: &mut dyn ProcessorContext<'_>) -> Result<()> {
        let key = record.key.unwrap_or_default();
        let value = record.value.unwrap_or_default();
        let which = usize::from(value.first().copied().unwrap_or(b'0') - b'0');
        // A start of its own each time: nothing is known of the index.
        self.0[which].cursor = vec![TIMES];
        self.0[which].put(ctx, key, value)
    }
}

#[test]
fn another_retention_holds_for_what_was_written_under_it_or_before() {
    let retentions = [None, Some(1000), Some(100), Some(16_000)].map(|ms: Option<u64>| ms.map(Duration::from_millis));
    let make = move || -> Box<dyn Processor> {
        Box::new(Changing(retentions.iter().map(|retention| Retained::new("kept", *retention)).collect()))
    };
    let topology = Topology::builder().source("in", "in").process("texts", ["in"], make).store("kept", ["texts"]);
    let driver = TopologyDriver::new(&topology.build().unwrap(), "app", &Sizes::default());
    let mut trial = Trial { driver, offset: 0 };
    let mut dice = Random::new(testkit::seed());
    for time in 0..2000 {
        let which = ["0", "1", "2", "3"][dice.below(4)];
        trial.pipe(time * 3, &format!("k{}", dice.below(30)), which);
        let rows = trial.rows();
        let indexed = rows.iter().filter(|(key, _)| key[0] == VALUES).filter_map(|(key, bytes)| {
            let row = Row::decode(bytes).unwrap();
            (row.indexed_ms != NOT_INDEXED).then(|| time_key(row.indexed_ms, &key[1..]))
        });
        let mut indexed: Vec<Vec<u8>> = indexed.collect();
        indexed.sort();
        let index: Vec<Vec<u8>> = rows.keys().filter(|key| key[0] == TIMES).cloned().collect();
        assert_eq!(indexed, index, "the index has what the rows say, at {time}");
    }
    // Under the shortest one all that is indexed goes: what the plain store wrote last stays.
    for n in 0..60 {
        trial.pipe(30_000, &format!("late {n}"), "2");
    }
    let left = trial.rows().into_iter().filter(|(key, _)| key[0] == VALUES && key[1] == b'k');
    assert!(left.into_iter().all(|(_, bytes)| Row::decode(&bytes).unwrap().indexed_ms == NOT_INDEXED));
}

#[test]
fn a_row_of_an_unknown_version_stops_the_task() {
    assert!(Row::decode(&encode(1, 2, b"")).is_some());
    let mut bytes = encode(1, 2, b"value");
    bytes[0] = 9;
    assert!(Row::decode(&bytes).is_none() && Row::decode(&bytes[..10]).is_none());
}
