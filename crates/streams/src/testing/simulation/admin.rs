//! The simulated admin client, and the client that reads changelogs.

use std::time::Duration;

use super::broker::{StoredRecord, offset, place_of};
use super::faults::Fault;
use super::world::{Simulated, World};
use crate::error::{Error, Result};
use crate::offset::{Offset, StartOffset};
use crate::ports::{
    Admin, Committed, Deletion, GroupMember, LogRange, NewTopic, RestoreClient, RestoreReader, TopicId, TopicIdentity,
    TopicInfo,
};
use crate::record::{Origin, RecordBatch, TopicPartition};

/// Both clients of an instance.
pub(super) struct SimulatedAdmin(pub Simulated);

/// How long a request is tried.
const REQUEST: Duration = Duration::from_secs(10);

/// The least time between two answers that are false about the end of a log.
const STALE_ENDS_APART: Duration = Duration::from_secs(120);

impl SimulatedAdmin {
    fn request<T>(&self, name: &'static str, mut act: impl FnMut(&mut World) -> Option<T>) -> Result<T> {
        self.0.call(name)?;
        let until = {
            let mut world = self.0.lock();
            if world.strikes(Fault::TransientError, name) {
                return Err(Error::Retry(format!("{name}: broker transport failure")));
            }
            world.now + REQUEST
        };
        let found =
            self.0.wait_for(until, |world| if world.strikes(Fault::RequestLost, name) { None } else { act(world) });
        found.ok_or_else(|| Error::Retry(format!("{name}: timed out")))
    }

    fn ask_group<T>(&self, name: &'static str, mut act: impl FnMut(&mut World) -> Option<T>) -> Result<T> {
        self.request(
            name,
            |world| {
                if world.now < world.broker.group_coordinator_away_until { None } else { act(world) }
            },
        )
    }
}

impl Admin for SimulatedAdmin {
    fn topics(&self, names: &[&str]) -> Result<Vec<Option<TopicInfo>>> {
        self.request("topics", |world| {
            let info = |name: &&str| {
                let count = world.broker.counts.get(*name)?;
                Some(TopicInfo { name: (*name).to_owned(), partitions: *count })
            };
            Some(names.iter().map(info).collect())
        })
    }

    fn identities(&self, names: &[&str]) -> Result<Vec<Option<TopicIdentity>>> {
        self.request("identities", |world| {
            let identity = |name: &&str| {
                let count = world.broker.counts.get(*name)?;
                Some(TopicIdentity { partitions: *count, id: Some(TopicId(1)) })
            };
            Some(names.iter().map(identity).collect())
        })
    }

    fn create_topics(&self, topics: &[NewTopic]) -> Result<()> {
        self.request("create_topics", |world| {
            for topic in topics {
                world.broker.create(&topic.name, topic.partitions, topic.config.clone());
            }
            Some(())
        })
    }

    fn topic_config(&self, topic: &str) -> Result<Vec<(String, String)>> {
        self.request("topic_config", |world| Some(world.broker.configs.get(topic).cloned().unwrap_or_default()))
    }

    fn offset_metadata_limit(&self) -> Result<Option<usize>> {
        self.request("offset_metadata_limit", |_| Some(Some(4096)))
    }

    fn delete_records(&self, below: &[(TopicPartition, Offset)]) -> Result<Deletion> {
        self.request("delete_records", |world| {
            for (at, offset) in below {
                let committed = world.broker.decided_offset(at);
                if *offset > committed {
                    world.fail(format!("{at} is purged below {offset}, and {committed} is committed"));
                }
                if let Some(partition) = world.broker.partitions.get_mut(at) {
                    partition.start = partition.start.max(offset.number());
                }
            }
            Some(Deletion::Done)
        })
    }

    fn committed(&self, partitions: &[TopicPartition]) -> Result<Vec<Option<Committed>>> {
        self.ask_group("committed", |world| {
            if partitions.iter().any(|partition| world.broker.is_unstable(partition)) {
                return None;
            }
            if world.strikes(Fault::NoOffset, "committed") {
                return Some(vec![None; partitions.len()]);
            }
            Some(partitions.iter().map(|partition| world.broker.committed.get(partition).cloned()).collect())
        })
    }

    fn all_committed(&self) -> Result<Vec<(TopicPartition, Committed)>> {
        self.ask_group("all_committed", |world| {
            let all = world.broker.committed.iter();
            Some(all.map(|(partition, committed)| (partition.clone(), committed.clone())).collect())
        })
    }

    fn member_ids(&self) -> Result<Vec<String>> {
        self.ask_group("member_ids", |world| {
            Some(world.group.members.values().map(|member| member.client_id.clone()).collect())
        })
    }

    fn group_members(&self) -> Result<Option<Vec<GroupMember>>> {
        self.ask_group("group_members", |world| Some(world.group.described()))
    }

    fn reach_group(&self, _topic: &str) -> Result<()> {
        self.ask_group("reach_group", |_| Some(()))
    }

    fn append(&self, partition: &TopicPartition, key: &[u8], value: Option<&[u8]>) -> Result<()> {
        self.request("append", |world| {
            world.broker.partition(partition).filter(|log| world.now >= log.away_until)?;
            let (key, value) = (Some(key.to_vec()), value.map(<[u8]>::to_vec));
            world.broker.publish(partition, StoredRecord { key, value, headers: Vec::new(), timestamp_ms: 1 });
            world.changed();
            Some(())
        })
    }

    fn end_transaction(&self, transactional_id: &str) -> Result<()> {
        self.request("end_transaction", |world| {
            if world.now < world.broker.transaction_coordinator_away_until {
                return None;
            }
            // A transaction that is being ended is waited for.
            world.init_producer(transactional_id).ok().map(|_epoch| ())
        })
    }

    fn log_range(&self, partition: &TopicPartition) -> Result<LogRange> {
        self.request("log_range", |world| {
            // The runtime believes an answer that is repeated, so a false one is not.
            let may_be_stale = world.last_stale_end.is_none_or(|at| world.now > at + STALE_ENDS_APART);
            let is_stale = may_be_stale && world.strikes(Fault::StaleEnd, "log_range");
            if is_stale {
                world.last_stale_end = Some(world.now);
            }
            let log = world.broker.partition(partition).filter(|log| world.now >= log.away_until)?;
            if is_stale {
                let end = log.start.max(log.end() / 2);
                return Some(LogRange { start: offset(log.start), end: offset(end) });
            }
            Some(LogRange { start: offset(log.start), end: offset(log.end()) })
        })
    }
}

impl RestoreClient for SimulatedAdmin {
    fn open(&self, partition: &TopicPartition, start: StartOffset) -> Result<Box<dyn RestoreReader>> {
        self.0.call("open_changelog")?;
        Ok(Box::new(Reader { sim: self.0.clone(), at: partition.clone(), next: place_of(start) }))
    }
}

struct Reader {
    sim: Simulated,
    at: TopicPartition,
    next: i64,
}

impl RestoreReader for Reader {
    fn poll(&mut self, max_bytes: usize, timeout: Duration, batch: &mut RecordBatch) -> Result<()> {
        self.sim.call("restore")?;
        let until = {
            let mut world = self.sim.lock();
            if world.strikes(Fault::TransientError, "restore") {
                return Err(Error::Retry("restore: broker transport failure".to_owned()));
            }
            world.now + timeout
        };
        let at = self.at.clone();
        let next = self.next;
        let found = self.sim.wait_for(until, |world| world.read_changelog(&at, next, max_bytes, batch));
        if let Some(next) = found {
            self.next = next;
        }
        Ok(())
    }
}

impl World {
    /// Reads a random number of records; the offset of the next one, and `None` where nothing new
    /// is there.
    fn read_changelog(
        &mut self,
        at: &TopicPartition,
        from: i64,
        max_bytes: usize,
        batch: &mut RecordBatch,
    ) -> Option<i64> {
        let most = 1 + self.random.usize(0..60);
        let log = self.broker.partition(at).filter(|log| self.now >= log.away_until)?;
        let stable = log.stable_end();
        let mut next = from.max(log.start);
        while next < stable && batch.len() < most && batch.byte_len() < max_bytes {
            if let Some(record) = self.broker.visible(at, next) {
                let (topic, timestamp_ms) = (&*at.topic, record.timestamp_ms);
                let origin = Origin { topic, partition: at.partition, offset: next, timestamp_ms };
                let headers = record.headers.iter().map(|(name, value)| (name.as_str(), value.as_deref()));
                batch.push(origin, record.key.as_deref(), record.value.as_deref(), headers);
            }
            next += 1;
        }
        if next >= stable {
            batch.push_end(&at.topic, at.partition, offset(next));
        }
        Some(next)
    }
}
