//! The control log: a compacted topic of one partition, in which the instances of an application
//! keep what is paused. The key of a record is a part of the topology and its value how it is held,
//! so the last record of a key counts, and one without a value ends the hold.

use std::sync::Arc;
use std::time::Duration;

use super::holds::Hold;
use super::task_scope::TaskScope;
use crate::error::{Error, Result};
use crate::offset::{Offset, StartOffset};
use crate::ports::{Admin, Clock, NewTopic, RestoreClient};
use crate::record::{RecordBatch, TopicPartition};

/// How long a look may take to come to the end of the log.
const READ_LIMIT: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(500);
/// Bytes that a poll takes at most, about.
const POLL_BYTES: usize = 1 << 20;

/// A change of a hold, as a record of the log says it.
pub(super) type HoldChange = (TaskScope, Option<Hold>);

/// The control log of an application.
pub(super) struct ControlLog {
    partition: TopicPartition,
    replication: Option<i32>,
}

impl ControlLog {
    /// That of an application.
    pub fn new(application_id: &str, replication: Option<i32>) -> ControlLog {
        ControlLog { partition: TopicPartition::new(format!("{application_id}-control"), 0), replication }
    }

    /// Whether it was made: nothing was ever paused before.
    ///
    /// # Errors
    /// No broker answers.
    pub fn exists(&self, admin: &dyn Admin) -> Result<bool> {
        Ok(matches!(admin.identities(&[&self.partition.topic])?[..], [Some(_)]))
    }

    /// Makes it, unless it is there.
    ///
    /// # Errors
    /// As of the broker: the right to create it is missing, say.
    pub fn ensure(&self, admin: &dyn Admin) -> Result<()> {
        if self.exists(admin)? {
            return Ok(());
        }
        let config = [
            ("cleanup.policy", "compact"),
            ("message.timestamp.type", "CreateTime"),
            ("min.cleanable.dirty.ratio", "0.2"),
            ("retention.ms", "-1"),
        ];
        let config = config.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let (name, replication) = (self.partition.topic.to_string(), self.replication);
        admin.create_topics(&[NewTopic { name, partitions: 1, replication, config }])
    }

    /// Appends changes, one after the other.
    ///
    /// # Errors
    /// As of the broker. Those before may be in the log.
    pub fn append(&self, admin: &dyn Admin, changes: &[HoldChange]) -> Result<()> {
        changes.iter().try_for_each(|(scope, hold)| {
            let value = hold.map(encode_hold);
            admin.append(&self.partition, encode_scope(scope).as_bytes(), value.as_deref().map(str::as_bytes))
        })
    }

    /// Reads on to the end as it is now; the changes, and the offset to go on from.
    ///
    /// # Errors
    /// The log cannot be read now, or has a record that is not of this form.
    pub fn read(
        &self,
        client: &dyn RestoreClient,
        clock: &dyn Clock,
        from: StartOffset,
    ) -> Result<(Vec<HoldChange>, Offset)> {
        let mut reader = client.open(&self.partition, from)?;
        let deadline = clock.monotonic() + READ_LIMIT;
        let (mut changes, mut batch) = (Vec::new(), RecordBatch::new());
        loop {
            batch.clear();
            reader.poll(POLL_BYTES, POLL, &mut batch)?;
            for record in batch.iter() {
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                let (key, value) = (text(record.record.key.unwrap_or_default()), record.record.value.map(text));
                changes.push(decode(&key, value.as_deref()).ok_or_else(|| {
                    Error::Fatal(format!(
                        "the record at offset {} of {} is no pause that this version can read (key `{key}`, value `{}`) [HS1037]",
                        record.origin.offset,
                        self.partition,
                        value.unwrap_or_default()
                    ))
                })?);
            }
            if let Some(end) = batch.ends().last() {
                return Ok((changes, end.offset));
            }
            if clock.monotonic() > deadline {
                return Err(Error::Retry(format!(
                    "{} was not read to its end within {} s [HS1038]",
                    self.partition,
                    READ_LIMIT.as_secs()
                )));
            }
        }
    }
}

fn encode_scope(scope: &TaskScope) -> String {
    match scope {
        TaskScope::Topology => "topology".to_owned(),
        TaskScope::Topic(topic) => format!("topic {topic}"),
        TaskScope::Partition(source) => format!("partition {} {}", source.topic, source.partition),
    }
}

/// The first word is the version.
fn encode_hold(hold: Hold) -> String {
    match hold {
        Hold::Paused => "1 paused".to_owned(),
        Hold::PausedAt(offset) => format!("1 paused-at {offset}"),
        Hold::Draining(drain) => format!("1 draining {drain}"),
        Hold::DrainTo { drain, offset } => format!("1 drain-to {drain} {offset}"),
    }
}

fn decode(key: &str, value: Option<&str>) -> Option<HoldChange> {
    let words: Vec<&str> = key.split(' ').collect();
    let scope = match words[..] {
        ["topology"] => TaskScope::Topology,
        ["topic", topic] => TaskScope::Topic(Arc::from(topic)),
        ["partition", topic, partition] => TaskScope::Partition(TopicPartition::new(topic, partition.parse().ok()?)),
        _ => return None,
    };
    let Some(value) = value else { return Some((scope, None)) };
    let words: Vec<&str> = value.split(' ').collect();
    let hold = match words[..] {
        ["1", "paused"] => Hold::Paused,
        ["1", "paused-at", offset] => Hold::PausedAt(Offset::new(offset.parse().ok()?)?),
        ["1", "draining", drain] => Hold::Draining(drain.parse().ok()?),
        ["1", "drain-to", drain, offset] => {
            Hold::DrainTo { drain: drain.parse().ok()?, offset: Offset::new(offset.parse().ok()?)? }
        }
        _ => return None,
    };
    Some((scope, Some(hold)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_says_what_was_written_and_another_version_is_refused() {
        let part = TaskScope::Partition(TopicPartition::new("app-by-word-repartition", 12));
        for scope in [TaskScope::Topology, TaskScope::Topic("in".into()), part] {
            let offset = Offset::new(7).unwrap();
            for hold in [Hold::Paused, Hold::PausedAt(offset), Hold::Draining(3), Hold::DrainTo { drain: 3, offset }] {
                let found = decode(&encode_scope(&scope), Some(&encode_hold(hold)));
                assert_eq!(found, Some((scope.clone(), Some(hold))));
            }
            assert_eq!(decode(&encode_scope(&scope), None), Some((scope, None)));
        }
        for (key, value) in
            [("topology", "2 paused"), ("topology", ""), ("", "1 paused"), ("partition in x", "1 paused")]
        {
            assert_eq!(decode(key, Some(value)), None, "{key} {value}");
        }
    }
}
