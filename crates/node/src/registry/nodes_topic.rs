//! Reads the nodes topic, and makes it where it is missing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use streams::error::{Error, Result};
use streams::ports::NewTopic;
use streams::record::{InRecord, TopicPartition};

use super::directory::NodeDirectory;
use super::record::{NodeRecord, UnreadableRecord};
use super::registered_node::RegisteredNode;
use crate::actor::Actor;
use crate::kafka::KafkaClients;

/// Partitions of the topic where this program makes it.
const PARTITIONS: i32 = 3;

/// Records of all nodes, as they were read: those that can be read, and the keys of the others.
#[derive(Debug, Default)]
pub(crate) struct Registered {
    /// Each with the partition of its last record.
    nodes: BTreeMap<Actor, (i32, RegisteredNode)>,
    unreadable: BTreeMap<Vec<u8>, UnreadableRecord>,
}

impl Registered {
    /// The last record of an actor, if there is one.
    ///
    /// # Errors
    /// [`Error::Retry`] where its record cannot be read: without it nobody knows what the actor has
    /// published.
    pub fn of(&self, actor: &Actor) -> Result<Option<&RegisteredNode>> {
        match self.unreadable.get(actor.to_string().as_bytes()) {
            Some(error) => Err(Error::Retry(format!(
                "the record of this node, with the key {actor}, cannot be read: {error}; a newer version of helixstream or another program \
                 has written it: run the newer version, or publish a record with this key and no value on the nodes topic [HS8027]"
            ))),
            None => Ok(self.nodes.get(actor).map(|(_, node)| node)),
        }
    }

    /// The actors that have the name of this one, which is one of them or not: the incarnations of
    /// one folder, of its copies, and of folders that were lost.
    pub fn incarnations(&self, actor: &Actor) -> impl Iterator<Item = Actor> {
        let readable = self.nodes.keys().cloned();
        let keys = self.unreadable.keys().filter_map(|key| std::str::from_utf8(key).ok()?.parse::<Actor>().ok());
        let all: BTreeSet<Actor> = readable.chain(keys).filter(|other| other.name == actor.name).collect();
        all.into_iter()
    }

    /// Takes in one record. The last one of a partition counts, whatever the clocks of their
    /// writers say. Of the records of an actor that stand in several partitions, since the topic
    /// has grown, the one that says that the actor was replaced is the later one, or else the one
    /// that says more was published.
    fn add(&mut self, record: &InRecord<'_>) {
        let (Some(key), value) = (record.record.key, record.record.value) else { return };
        let Some(value) = value else {
            self.unreadable.remove(key);
            if let Some(actor) = std::str::from_utf8(key).ok().and_then(|key| key.parse::<Actor>().ok()) {
                self.nodes.remove(&actor);
            }
            return;
        };
        let read = NodeRecord::from_json(value);
        let is_key = |record: &NodeRecord| record.actor.to_string().as_bytes() == key;
        match read {
            Ok(read) if is_key(&read) => {
                self.unreadable.remove(key);
                let order = |record: &NodeRecord| (record.is_replaced(), record.published.counter, record.heartbeat_ms);
                let (partition, record_ms) = (record.origin.partition, record.origin.timestamp_ms);
                let is_later = self.nodes.get(&read.actor).is_none_or(|(known_partition, known)| {
                    *known_partition == partition || order(&known.record) <= order(&read)
                });
                if is_later {
                    self.nodes.insert(read.actor.clone(), (partition, RegisteredNode { record: read, record_ms }));
                }
            }
            Ok(_) => {
                tracing::debug!("a record of the nodes topic has another key than the actor that it names");
            }
            Err(error) => {
                self.unreadable.insert(key.to_vec(), error);
            }
        }
    }
}

/// The nodes topic.
#[derive(Debug)]
pub struct NodesTopic {
    kafka: KafkaClients,
    /// The reader has each partition open at most once.
    reading: Mutex<()>,
}

impl NodesTopic {
    /// The topic of this Kafka.
    #[must_use]
    pub fn new(kafka: KafkaClients) -> NodesTopic {
        NodesTopic { kafka, reading: Mutex::new(()) }
    }

    /// The last records of all nodes that can be read, by actor. Waits at most `limit` for the
    /// next record.
    ///
    /// # Errors
    /// By remedy; where the topic does not exist there are no nodes.
    pub fn read_nodes(&self, limit: Duration) -> Result<Vec<RegisteredNode>> {
        Ok(self.read_directory(limit)?.nodes())
    }

    /// As [`NodesTopic::read_nodes`], with the number of keys whose records cannot be read.
    ///
    /// # Errors
    /// By remedy; where the topic does not exist there are no nodes.
    pub fn read_directory(&self, limit: Duration) -> Result<NodeDirectory> {
        let directory = NodeDirectory::default();
        self.read_all(limit, &|| true, |record| {
            if let Some(update) = directory.read(record) {
                directory.apply(record.origin.partition, &[update], record.origin.offset + 1);
            }
        })?;
        Ok(directory)
    }

    /// The state of the topic for a publisher: it also knows whose record cannot be read.
    pub(crate) fn read(&self, limit: Duration, goes_on: &dyn Fn() -> bool) -> Result<Registered> {
        let mut registered = Registered::default();
        self.read_all(limit, goes_on, |record| registered.add(record))?;
        Ok(registered)
    }

    fn read_all(&self, limit: Duration, goes_on: &dyn Fn() -> bool, mut each: impl FnMut(&InRecord<'_>)) -> Result<()> {
        let _reading = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        let topic = &self.kafka.topics.nodes;
        let partitions = self.kafka.identity(topic)?.map_or(0, |identity| identity.partitions);
        for partition in 0..partitions {
            let partition = TopicPartition::new(topic.clone(), partition);
            self.kafka.read_to_end(&partition, limit, goes_on, |record| {
                each(record);
                Ok(())
            })?;
        }
        Ok(())
    }

    /// Makes the topic where it is missing, and returns the number of its partitions.
    ///
    /// # Errors
    /// By remedy.
    pub(crate) fn ensure(&self, replication: Option<i32>) -> Result<i32> {
        let topic = &self.kafka.topics.nodes;
        if let Some(identity) = self.kafka.identity(topic)? {
            return Ok(identity.partitions);
        }
        let config = [
            ("cleanup.policy", "compact".to_owned()),
            // A heartbeat every ten seconds of each node: small segments are compacted soon.
            ("segment.bytes", (16 << 20).to_string()),
            ("min.cleanable.dirty.ratio", "0.2".to_owned()),
            ("message.timestamp.type", "CreateTime".to_owned()),
            // The clock of a node's machine may be ahead of the broker's.
            ("message.timestamp.after.max.ms", i64::MAX.to_string()),
        ];
        let config = config.map(|(name, value)| (name.to_owned(), value)).to_vec();
        let new = NewTopic { name: topic.to_string(), partitions: PARTITIONS, replication, config };
        self.kafka.admin.create_topics(&[new])?;
        match self.kafka.identity(topic)? {
            Some(identity) => Ok(identity.partitions),
            None => Err(Error::Retry(format!("topic {topic} was created, but the brokers do not know it yet"))),
        }
    }
}
