//! The conflicts topic, read to its end: the current row of each conflict is its last record.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};

use super::topics::Topics;
use crate::app::conflict_topics::names;
use memory_operators::settlement::Conflict;
use mirror::ports::LogRecord;
use streams::record::TopicPartition;

/// The status of a record that ends a conflict.
const SUPERSEDED: &str = "superseded";
/// How long one read waits.
const WAIT: Duration = Duration::from_millis(200);
/// How long a log that does not go on is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// State of one conflict according to the topic. Events of one id and time that differ make
/// conflicts of one id: the last of them counts.
#[derive(Clone, Debug)]
pub struct Found {
    /// The record that announces it.
    pub first: String,
    /// Its last record, which may be the same.
    pub last: String,
}

impl Found {
    /// The state after one more record.
    fn after(before: Option<Found>, conflict: &Conflict<'_>, text: &str) -> Found {
        let first = before.filter(|_| conflict.status == SUPERSEDED).map(|found| found.first);
        Found { first: first.unwrap_or_else(|| text.to_owned()), last: text.to_owned() }
    }
}

/// A conflict record.
///
/// # Errors
/// It is none.
pub fn parse(text: &str) -> anyhow::Result<Conflict<'_>> {
    serde_json::from_str(text)
        .map_err(|e| anyhow!("a record on the conflicts topic is not a conflict record: {e} [HS0075]"))
}

/// One conflict.
///
/// # Errors
/// The topic has none of that id, or cannot be read.
pub fn one(topics: &Topics, id: &str) -> anyhow::Result<Found> {
    let mut found: Option<Found> = None;
    let mut take = |conflict: &Conflict<'_>, text: &str| {
        if conflict.conflict_id == id {
            found = Some(Found::after(found.take(), conflict, text));
        }
    };
    each(topics, &mut take)?;
    found.with_context(|| format!("there is no conflict `{id}` on {} [HS0071]", names(&topics.file).join(", ")))
}

/// The current row of each conflict that `keeps` wants, and the record that announced it.
///
/// # Errors
/// The topic cannot be read.
pub fn all(topics: &Topics, keeps: &dyn Fn(&Conflict<'_>) -> bool) -> anyhow::Result<Vec<Found>> {
    // A conflict that is not wanted any more leaves nothing behind, so that memory is that of what
    // is listed.
    let mut found: HashMap<String, Found> = HashMap::new();
    each(topics, &mut |conflict, text| {
        let before = found.remove(&conflict.conflict_id);
        if keeps(conflict) {
            found.insert(conflict.conflict_id.clone(), Found::after(before, conflict, text));
        }
    })?;
    Ok(found.into_values().collect())
}

/// Hands over every committed conflict record, of one memory in their order.
fn each(topics: &Topics, take: &mut dyn FnMut(&Conflict<'_>, &str)) -> anyhow::Result<()> {
    let names = names(&topics.file);
    if names.is_empty() {
        return Err(anyhow!("the topology {} has no sink for conflict records [HS0074]", topics.file.file));
    }
    for topic in names {
        for partition in 0..topics.partitions(&topic)? {
            partition_to_end(topics, &TopicPartition { topic: topic.as_str().into(), partition }, take)?;
        }
    }
    Ok(())
}

fn partition_to_end(
    topics: &Topics,
    partition: &TopicPartition,
    take: &mut dyn FnMut(&Conflict<'_>, &str),
) -> anyhow::Result<()> {
    let (begin, end) = topics.reader.bounds(partition)?;
    if begin >= end {
        return Ok(());
    }
    let mut reader = topics.reader.range(partition, begin)?;
    let mut heard = Instant::now();
    let mut wrong = None;
    loop {
        let mut taken = false;
        let at_end = reader.read(WAIT, &mut |record| {
            taken = true;
            wrong = wrong.take().or(record_of(record, take).err());
        })?;
        if let Some(error) = wrong.take() {
            return Err(error);
        }
        if at_end.is_some() {
            return Ok(());
        }
        if taken {
            heard = Instant::now();
        } else if heard.elapsed() > PATIENCE {
            return Err(anyhow!("Kafka sent no record of {partition} within {} s [HS2502]", PATIENCE.as_secs()));
        }
    }
}

/// Records of another kind may lie on the same topic.
fn record_of(record: &LogRecord<'_>, take: &mut dyn FnMut(&Conflict<'_>, &str)) -> anyhow::Result<()> {
    let is_conflict = record.headers.iter().any(|h| h.name == b"type" && h.value == Some(b"memory.conflict"));
    let Some(value) = record.value.filter(|_| is_conflict) else { return Ok(()) };
    let place = || format!("{} offset {}", record.partition, record.offset);
    let text = std::str::from_utf8(value).with_context(place)?;
    take(&parse(text).with_context(place)?, text);
    Ok(())
}
