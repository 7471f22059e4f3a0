//! Topologies that use what the engine offers: a repartition topic, stores on disk and in memory,
//! standbys, punctuation, dead letters, headers, and processors that need others.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::time::Duration;

use streams::error::Error;
use streams::processor::{Processor, ProcessorContext, ProcessorError};
use streams::record::{Headers, Origin, Record};
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

/// Sends each word of a line as a record of its own, in background work, one a slice. What is left
/// of the lines lies in the store, in their order; a word is a dead letter or needs others as in
/// [`Words`].
#[derive(Default)]
struct Slowly {
    has_lines_left: bool,
}

/// A row of the store: a line's offset, and what is left of it.
type LeftLine = (Vec<u8>, Vec<u8>);

/// What is left of a line: how many words were sent, the line's time, and the line.
fn left_of(sent: u8, timestamp_ms: i64, line: &[u8]) -> Vec<u8> {
    [&[sent], &timestamp_ms.to_be_bytes()[..], line].concat()
}

impl Slowly {
    /// The first line that is not all sent, with its offset.
    fn first(ctx: &mut dyn ProcessorContext<'_>) -> Result<Option<LeftLine>, ProcessorError> {
        let mut first = None;
        ctx.store("lines-left")?.scan(b"", |offset, left| {
            first = Some((offset.to_vec(), left.to_vec()));
            ControlFlow::Break(())
        })?;
        Ok(first)
    }
}

impl Processor for Slowly {
    fn init(&mut self, ctx: &mut dyn ProcessorContext<'_>) -> Result<(), ProcessorError> {
        self.has_lines_left = Slowly::first(ctx)?.is_some();
        Ok(())
    }

    fn process(&mut self, record: &Record<'_>, ctx: &mut dyn ProcessorContext<'_>) -> Result<(), ProcessorError> {
        let offset = ctx.source().map_or(0, |source| source.origin.offset);
        let left = left_of(0, record.timestamp_ms, record.value.unwrap_or_default());
        ctx.store("lines-left")?.put(&offset.to_be_bytes(), left)?;
        self.has_lines_left = true;
        ctx.forward(record)
    }

    fn has_background_work(&self) -> bool {
        self.has_lines_left
    }

    fn background_step(&mut self, ctx: &mut dyn ProcessorContext<'_>) -> Result<(), ProcessorError> {
        let Some((key, left)) = Slowly::first(ctx)? else {
            self.has_lines_left = false;
            return Ok(());
        };
        let parts = left.split_first().and_then(|(sent, rest)| Some((*sent, rest.split_first_chunk()?)));
        let Some((sent, (time, line))) = parts else {
            return Err(ProcessorError::Failed("the row of a line cannot be read".to_owned()));
        };
        let (timestamp_ms, line) = (i64::from_be_bytes(*time), std::str::from_utf8(line).unwrap_or_default());
        let mut words = line.split(' ').filter(|word| !word.is_empty());
        let number = words.next().unwrap_or_default();
        let Some(word) = words.nth(usize::from(sent)) else {
            return ctx.store("lines-left")?.delete(&key);
        };
        if word == "w7" && is_outage() {
            return Err(Error::Retry("nobody answers".to_owned()).into());
        }
        let offset = i64::from_be_bytes(key[..].try_into().unwrap_or_default());
        ctx.set_origin(Origin { topic: "lines", partition: ctx.task().partition, offset, timestamp_ms });
        let value = format!("{number}, word {sent}");
        let (key_of_word, value) = (Some(word.as_bytes()), Some(value.as_bytes()));
        let record = Record { key: key_of_word, value, headers: Headers::NONE, timestamp_ms };
        ctx.store("lines-left")?.put(&key, left_of(sent + 1, timestamp_ms, line.as_bytes()))?;
        if word == "w8" { ctx.dead_letter_of("bad_word", "it is w8", &record) } else { ctx.forward(&record) }
    }
}

/// A source whose lines are taken apart in background work.
fn background() -> Topology {
    let topology = Topology::builder()
        .source("lines", "lines")
        .process("slowly", ["lines"], || Box::<Slowly>::default())
        .store("lines-left", ["slowly"])
        .configure_store("lines-left", disk(1))
        .sink("out", "out", ["slowly"])
        .dead_letters("bad");
    topology.build().unwrap_or_else(|error| panic!("{error}"))
}

/// Makes a topology.
type Factory = fn() -> Topology;

/// The topologies by name. A seed takes the one whose place is its remainder.
pub const TOPOLOGIES: [(&str, Factory); 5] = [
    ("words, with standbys", || words(disk(1), disk(1))),
    ("words, without standbys", || words(disk(0), disk(0))),
    ("words, one store in memory", || words(disk(0), StoreOptions { kind: StoreKind::Memory, standby: 0 })),
    ("two sources", two_sources),
    ("background work", background),
];

fn disk(standby: u32) -> StoreOptions {
    StoreOptions { kind: StoreKind::Disk, standby }
}

/// The simulation that a seed belongs to.
pub fn simulation_of(seed: u64) -> Simulation {
    Simulation::new(TOPOLOGIES[(seed % TOPOLOGIES.len() as u64) as usize].1)
}
