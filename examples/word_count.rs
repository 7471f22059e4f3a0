//! Word count on the engine, to show that it knows no memories: lines come in, words are re-keyed
//! through a repartition topic and counted in a store.
//!
//! It reads lines from standard input and prints what the topic of counts would get, with no
//! broker.

use std::io::{BufRead, Write};

use helixstream::streams::driver::TopologyDriver;
use helixstream::streams::processor::{Processor, ProcessorContext, ProcessorError};
use helixstream::streams::record::{Headers, InRecord, Origin, Record};
use helixstream::streams::task::Sizes;
use helixstream::streams::topology::{Topology, TopologyError};

/// Splits a line into lower-case words, each a record whose key is the word.
struct Split;

impl Processor for Split {
    fn process(&mut self, record: &Record<'_>, ctx: &mut dyn ProcessorContext<'_>) -> Result<(), ProcessorError> {
        let Ok(line) = std::str::from_utf8(record.value.unwrap_or_default()) else {
            return ctx.dead_letter("not_utf8", "a line is not UTF-8");
        };
        for word in line.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()) {
            let word = word.to_lowercase();
            ctx.forward(&Record { key: Some(word.as_bytes()), value: Some(b""), ..*record })?;
        }
        Ok(())
    }
}

/// Counts the records of each key.
struct Count;

impl Processor for Count {
    fn process(&mut self, record: &Record<'_>, ctx: &mut dyn ProcessorContext<'_>) -> Result<(), ProcessorError> {
        let word = record.key.unwrap_or_default();
        let mut counts = ctx.store("counts")?;
        let old = counts.get(word)?.and_then(|bytes| bytes.as_array::<8>().map(|bytes| u64::from_be_bytes(*bytes)));
        let count = old.unwrap_or(0) + 1;
        counts.put(word, count.to_be_bytes().to_vec())?;
        ctx.forward(&Record { value: Some(count.to_string().as_bytes()), headers: Headers::NONE, ..*record })
    }
}

/// The topology: `lines` to `word-counts`, what is not UTF-8 to `bad-lines`.
///
/// # Errors
/// None, as the engine's tests show.
pub fn word_count() -> Result<Topology, TopologyError> {
    Topology::builder()
        .source("lines", "lines")
        .process("split", ["lines"], || Box::new(Split))
        .repartition("by-word", ["split"])
        .process("count", ["by-word"], || Box::new(Count))
        .store("counts", ["count"])
        .sink("word-counts", "word-counts", ["count"])
        .dead_letters("bad-lines")
        .build()
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut driver = TopologyDriver::new(&word_count()?, "word-count", &Sizes::default());
    let input = std::io::stdin().lock();
    let mut output = std::io::stdout().lock();
    for (offset, line) in input.split(b'\n').enumerate() {
        let origin = Origin { topic: "lines", partition: 0, offset: offset as i64, timestamp_ms: 1 };
        let record = Record { key: None, value: Some(&line?), headers: Headers::NONE, timestamp_ms: 1 };
        driver.pipe(&InRecord { origin, record })?;
        for out in driver.outputs().iter() {
            let text = |bytes: Option<&[u8]>| String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned();
            writeln!(output, "{}\t{}\t{}", out.origin.topic, text(out.record.key), text(out.record.value))?;
        }
        driver.clear_outputs();
    }
    Ok(())
}
