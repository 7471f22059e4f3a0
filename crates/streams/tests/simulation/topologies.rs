//! Topologies that use what the engine offers: a repartition topic, stores on disk and in memory,
//! standbys, punctuation, dead letters, headers, and processors that need others.

use std::collections::BTreeMap;
use std::time::Duration;

use streams::error::Error;
use streams::processor::{Processor, ProcessorContext, ProcessorError};
use streams::record::{Headers, Record};
use streams::testing::simulation::{Simulation, is_outage};
use streams::topology::{StoreKind, StoreOptions, Topology};

/// Forwards each word of a line with the line's number, keyed by the word. A line with `w8` is a
/// dead letter; one with `w7` needs others.
struct Words;

impl Processor for Words {
    fn process(&mut self, record: &Record<'_>, ctx: &mut dyn ProcessorContext<'_>) -> Result<(), ProcessorError> {
        let line = std::str::from_utf8(record.value.unwrap_or_default()).unwrap_or_default().to_owned();
        if line.contains("w8") {
            return ctx.dead_letter("bad_line", "it has a w8");
        }
        if line.contains("w7") && is_outage() {
            return Err(Error::Retry("nobody answers".to_owned()).into());
        }
        let number = line.split(' ').next().unwrap_or_default();
        for (at, word) in line.split(' ').skip(1).filter(|word| !word.is_empty()).enumerate() {
            let value = format!("{number}.{at}");
            ctx.forward(&Record { key: Some(word.as_bytes()), value: Some(value.as_bytes()), ..*record })?;
        }
        Ok(())
    }
}

/// Counts words, in a store that it writes at each flush only, and keeps the last line of each word
/// in another; an odd count deletes it.
#[derive(Default)]
struct Count {
    kept: BTreeMap<Vec<u8>, u64>,
}

impl Processor for Count {
    fn process(&mut self, record: &Record<'_>, ctx: &mut dyn ProcessorContext<'_>) -> Result<(), ProcessorError> {
        let word = record.key.unwrap_or_default();
        let value = record.value.unwrap_or_default();
        let counted = match self.kept.get(word) {
            Some(count) => *count,
            None => {
                let counts = ctx.store("counts")?;
                let stored = counts.get(word)?;
                stored.map_or(0, |bytes| u64::from_be_bytes(bytes[..].try_into().unwrap_or_default()))
            }
        };
        let count = counted + 1;
        self.kept.insert(word.to_vec(), count);
        let mut last = ctx.store("last")?;
        let before = last.get(word)?.map_or("nothing".to_owned(), |line| line.escape_ascii().to_string());
        if count % 2 == 0 {
            last.put(word, value.to_vec())?
        } else {
            last.delete(word)?
        }
        let text = format!("{} is number {count}, after {before}", value.escape_ascii());
        ctx.forward(&Record { value: Some(text.as_bytes()), headers: Headers::List(&[("h", Some(b"x"))]), ..*record })
    }

    fn flush(&mut self, ctx: &mut dyn ProcessorContext<'_>) -> Result<(), ProcessorError> {
        for (word, count) in std::mem::take(&mut self.kept) {
            ctx.store("counts")?.put(&word, count.to_be_bytes().to_vec())?;
        }
        Ok(())
    }

    fn unflushed_bytes(&self) -> usize {
        self.kept.len() * 20
    }

    fn punctuate(&mut self, boundary_ms: i64, ctx: &mut dyn ProcessorContext<'_>) -> Result<(), ProcessorError> {
        let text = boundary_ms.to_string();
        let key = Some(&b"tick"[..]);
        ctx.forward(&Record { key, value: Some(text.as_bytes()), headers: Headers::NONE, timestamp_ms: boundary_ms })
    }
}

fn words(counts: StoreOptions, last: StoreOptions) -> Topology {
    let topology = Topology::builder()
        .source("lines", "lines")
        .process("words", ["lines"], || Box::new(Words))
        .repartition("by-word", ["words"])
        .process("count", ["by-word"], || Box::<Count>::default())
        .punctuate("count", Duration::from_secs(1))
        .store("counts", ["count"])
        .configure_store("counts", counts)
        .store("last", ["count"])
        .configure_store("last", last)
        .sink("out", "out", ["count"])
        .dead_letters("bad");
    topology.build().unwrap_or_else(|error| panic!("{error}"))
}

/// Two sources in one program: one is counted where it lies, the other is only split up.
fn two_sources() -> Topology {
    let topology = Topology::builder()
        .source("lines", "lines")
        .process("words", ["lines"], || Box::new(Words))
        .sink("words-out", "words-out", ["words"])
        .source("events", "events")
        .process("count", ["events"], || Box::<Count>::default())
        .punctuate("count", Duration::from_secs(2))
        .store("counts", ["count"])
        .store("last", ["count"])
        .sink("out", "out", ["count"])
        .dead_letters("bad");
    topology.build().unwrap_or_else(|error| panic!("{error}"))
}

/// Makes a topology.
type Factory = fn() -> Topology;

/// The topologies by name. A seed takes the one whose place is its remainder.
pub const TOPOLOGIES: [(&str, Factory); 4] = [
    ("words, with standbys", || words(disk(1), disk(1))),
    ("words, without standbys", || words(disk(0), disk(0))),
    ("words, one store in memory", || words(disk(0), StoreOptions { kind: StoreKind::Memory, standby: 0 })),
    ("two sources", two_sources),
];

fn disk(standby: u32) -> StoreOptions {
    StoreOptions { kind: StoreKind::Disk, standby }
}

/// The simulation that a seed belongs to.
pub fn simulation_of(seed: u64) -> Simulation {
    Simulation::new(TOPOLOGIES[(seed % TOPOLOGIES.len() as u64) as usize].1)
}
