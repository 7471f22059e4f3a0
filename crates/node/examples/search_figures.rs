//! Measures searches on a node with many memories: `search_figures MEMORIES DIMENSIONS SEARCHES`.
//!
//! The memories come as the stream publishes them, each with an embedding and some words. Printed
//! are the median and the slowest of the searches, in milliseconds, and the size of the database.

#![allow(clippy::print_stdout, reason = "the figures are its output")]

use std::error::Error;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Instant;

use futures::executor::block_on;
use helixstream_node::ports::SnapshotRecord;
use helixstream_node::search::{Direction, Near, SearchQuery};
use helixstream_node::{Node, NodeSettings};

/// Memories of one transaction.
const BATCH: u64 = 500;
/// Users among whom the memories are divided.
const USERS: u64 = 100;
/// Words that occur.
const WORDS: u64 = 5000;

/// A generator of numbers that look random (SplitMix64).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A vector, in numbers of seven digits as they are usual.
    fn vector(&mut self, dimensions: usize) -> Vec<f64> {
        (0..dimensions).map(|_| (self.next() % 2_000_001) as f64 / 1e6 - 1.0).collect()
    }
}

fn memory(numbers: &mut Numbers, number: u64, dimensions: usize) -> Result<SnapshotRecord, std::fmt::Error> {
    let mut value = String::from("{\"content\":\"");
    for _ in 0..12 {
        write!(value, "w{} ", numbers.next() % WORDS)?;
    }
    value.push_str("\",\"created_at\":\"2026-01-01T00:00:00Z\",\"embedding\":[");
    for (at, x) in numbers.vector(dimensions).iter().enumerate() {
        write!(value, "{}{x}", if at > 0 { "," } else { "" })?;
    }
    write!(
        value,
        "],\"event_ids\":[\"e\"],\"memory_id\":\"m{number:08}\",\"status\":\"active\",\"updated_at\":\"2026-01-01T00:00:00Z\",\
        \"user_id\":\"u{}\",\"vector_clock\":{{\"a\":{}}},\"version\":1}}",
        number % USERS,
        number + 1,
    )?;
    let (offset, memory_id) = (i64::try_from(number).unwrap_or(i64::MAX), format!("m{number:08}"));
    Ok(SnapshotRecord { offset, memory_id, value: value.into_bytes() })
}

/// Times a search so many times, and prints the figures.
fn figures(
    name: &str,
    times: usize,
    mut search: impl FnMut() -> Result<usize, Box<dyn Error>>,
) -> Result<(), Box<dyn Error>> {
    let mut taken = Vec::with_capacity(times);
    let mut hits = 0;
    for _ in 0..times {
        let begun = Instant::now();
        hits = search()?;
        taken.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    taken.sort_by(f64::total_cmp);
    let (median, slowest) = (taken.get(times / 2).copied(), taken.last().copied());
    println!("{name}: median {:.1} ms, slowest {:.1} ms, {hits} hits", median.unwrap_or(0.0), slowest.unwrap_or(0.0));
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<usize> = std::env::args().skip(1).map(|text| text.parse()).collect::<Result<_, _>>()?;
    let [memories, dimensions, times] = arguments[..] else {
        return Err("usage: search_figures MEMORIES DIMENSIONS SEARCHES".into());
    };
    let folder = tempfile::tempdir()?;
    let node = Node::open(NodeSettings::new(folder.path(), "figures".parse()?))?;
    let mut numbers = Numbers(1);
    let begun = Instant::now();
    let mut at = 0;
    while at < memories as u64 {
        let end = (at + BATCH).min(memories as u64);
        let records: Vec<_> = (at..end).map(|n| memory(&mut numbers, n, dimensions)).collect::<Result<_, _>>()?;
        node.journal().apply("snapshots", 0, &records, i64::try_from(end)?)?;
        at = end;
    }
    println!("{memories} memories of {dimensions} dimensions applied in {:.1} s", begun.elapsed().as_secs_f64());
    println!("database: {} MiB", Path::new(folder.path()).join("node.db").metadata()?.len() >> 20);
    let mut near = |text: String, user: Option<&str>| -> Result<usize, Box<dyn Error>> {
        let query =
            SearchQuery { text, users: user.map(|user| [user.to_owned()].into()), limit: 10, ..SearchQuery::default() };
        let direction = Direction::of(&numbers.vector(dimensions)).ok_or("no direction")?;
        Ok(block_on(node.search_near(query, Near { direction, weight: 0.5 }))?.hits.len())
    };
    figures("embedding, all users", times, || near(String::new(), None))?;
    figures("embedding and words, all users", times, || near("w1 w2 w3".to_owned(), None))?;
    figures("embedding, one user of 100", times, || near(String::new(), Some("u7")))?;
    figures("words, all users", times, || {
        let query = SearchQuery { text: "w1 w2 w3".to_owned(), limit: 10, ..SearchQuery::default() };
        Ok(block_on(node.search(query))?.hits.len())
    })?;
    Ok(())
}
