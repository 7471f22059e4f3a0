//! The simulated group consumer: both ports of a stream thread.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::broker::{offset, place_of};
use super::client::{Client, FetchPosition, MemberState};
use super::faults::Fault;
use super::world::{Simulated, Timer, World};
use crate::error::{Error, Result};
use crate::offset::Offset;
use crate::ports::{Fetching, GroupEvent, GroupMetadata, Membership, PartitionStart};
use crate::record::{Origin, RecordBatch, TopicPartition};
use crate::runtime::RuntimeConfig;
use crate::topology_digest::client_id_with;

/// Both consumer ports of a stream thread.
#[derive(Clone)]
pub(super) struct SimulatedConsumer {
    sim: Simulated,
    index: usize,
}

impl SimulatedConsumer {
    pub fn new(sim: &Simulated, id: &str, config: &RuntimeConfig) -> SimulatedConsumer {
        let mut world = sim.lock();
        let now = world.now;
        let instance = world.has_static_members.then(|| id.to_owned());
        let client_id = config.digest.as_ref().map_or(id.to_owned(), |digest| client_id_with(id, digest));
        world.clients.push(Client {
            process: sim.process,
            client_id,
            instance_id: config.instance_id.clone(),
            state_on_disk: config.state_on_disk.clone(),
            instance,
            topics: Vec::new(),
            standing: MemberState::Outside,
            member: None,
            generation: -1,
            owned: BTreeSet::new(),
            events: VecDeque::new(),
            unanswered: None,
            positions: BTreeMap::new(),
            is_to_rejoin: false,
            is_leaving: false,
            rejoin: None,
            last_heard: now,
            last_poll: now,
            has_failed: false,
            failed: None,
        });
        let index = world.clients.len() - 1;
        world.set_timer(Duration::ZERO, Timer::Consumer(index));
        SimulatedConsumer { sim: sim.clone(), index }
    }

    /// The client is dropped, without having left its group if it has not.
    pub fn close(&self) {
        self.sim.lock().clients[self.index].standing = MemberState::Left;
    }
}

impl Membership for SimulatedConsumer {
    fn subscribe(&mut self, topics: &[&str]) -> Result<()> {
        self.sim.call("subscribe")?;
        let mut world = self.sim.lock();
        if world.runs_another_topology(self.sim.process) {
            world.fail("an instance with another topology than the group's has joined it");
        }
        let now = world.now;
        let client = &mut world.clients[self.index];
        client.topics = topics.iter().map(|topic| (*topic).to_owned()).collect();
        match &mut client.rejoin {
            // It joins once it has left.
            Some(has_subscribed) => *has_subscribed = true,
            None => client.standing = MemberState::Joins,
        }
        client.last_poll = now;
        Ok(())
    }

    fn event(&mut self) -> Option<GroupEvent> {
        let mut world = self.sim.lock();
        let client = &mut world.clients[self.index];
        if client.unanswered.is_some() {
            world.fail("an event of the group was asked for before the last one was answered");
            return None;
        }
        let event = client.events.pop_front()?;
        client.unanswered = Some(event.clone());
        if let GroupEvent::Assigned(came) = &event {
            client.owned.extend(came.iter().cloned());
        }
        let id = client.client_id.clone();
        world.trace(|_| format!("{id}: {event:?}"));
        Some(event)
    }

    fn refresh(&mut self) -> Result<()> {
        self.sim.call("refresh")
    }

    fn metadata(&mut self) -> Result<GroupMetadata> {
        let world = self.sim.lock();
        let client = &world.clients[self.index];
        let member_id = client.member.clone().unwrap_or_default();
        Ok(GroupMetadata { generation: client.generation, member_id, handle: Arc::new(()) })
    }

    fn leave(&mut self) -> Result<()> {
        self.sim.call("leave")?;
        let mut world = self.sim.lock();
        let client = &mut world.clients[self.index];
        if !client.has_failed {
            client.rejoin = Some(false);
            client.leave();
            let id = client.client_id.clone();
            world.trace(|_| format!("{id}: leaves the group to join it again"));
            world.changed();
        }
        Ok(())
    }

    fn unsubscribe(&mut self) -> Result<()> {
        self.sim.call("unsubscribe")?;
        let mut world = self.sim.lock();
        let client = &mut world.clients[self.index];
        client.rejoin = None;
        if client.has_failed {
            // It has no group to leave any more; its session ends by itself.
            client.standing = MemberState::Left;
        } else {
            client.leave();
        }
        world.changed();
        Ok(())
    }

    fn left(&self) -> bool {
        self.sim.lock().clients[self.index].standing == MemberState::Left
    }
}

impl Fetching for SimulatedConsumer {
    fn assign(&mut self, starts: &[PartitionStart]) -> Result<()> {
        self.sim.call("assign")?;
        let mut world = self.sim.lock();
        let client = &mut world.clients[self.index];
        if let Some(event) = client.unanswered.take()
            && !matches!(event, GroupEvent::Assigned(_))
        {
            world.fail(format!("{event:?} was answered by an assignment"));
            return Ok(());
        }
        for start in starts {
            let start = (start.partition.clone(), place_of(start.offset));
            if !client.owned.contains(&start.0) {
                // Lost meanwhile: the event is on its way.
                continue;
            }
            let position = FetchPosition { next: start.1, is_held: false, told_end: None, known_end: 0 };
            client.positions.insert(start.0, position);
        }
        world.changed();
        Ok(())
    }

    fn unassign(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        self.sim.call("unassign")?;
        let mut world = self.sim.lock();
        let client = &mut world.clients[self.index];
        match client.unanswered.take() {
            Some(event @ GroupEvent::Assigned(_)) => {
                world.fail(format!("{event:?} was answered by taking partitions away"));
            }
            Some(GroupEvent::Revoked(gone) | GroupEvent::Lost(gone)) => {
                for partition in gone.iter().chain(partitions) {
                    client.positions.remove(partition);
                    client.owned.remove(partition);
                }
            }
            None => {
                for partition in partitions {
                    if let Some(position) = client.positions.get_mut(partition) {
                        position.is_held = true;
                    }
                }
            }
        }
        world.changed();
        Ok(())
    }

    fn seek(&mut self, starts: &[PartitionStart]) -> Result<()> {
        self.sim.call("seek")?;
        let mut world = self.sim.lock();
        if world.strikes(Fault::TransientError, "seek") {
            return Err(Error::Retry("seek: the partition is being started".to_owned()));
        }
        let client = &mut world.clients[self.index];
        for start in starts {
            if let Some(position) = client.positions.get_mut(&start.partition) {
                position.next = place_of(start.offset);
                position.told_end = None;
                position.is_held = false;
            }
        }
        world.changed();
        Ok(())
    }

    fn pause(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        self.hold(partitions, true)
    }

    fn resume(&mut self, partitions: &[TopicPartition]) -> Result<()> {
        self.hold(partitions, false)
    }

    fn poll(&mut self, max_records: usize, max_bytes: usize, timeout: Duration, batch: &mut RecordBatch) -> Result<()> {
        self.sim.call("poll")?;
        let index = self.index;
        let until = {
            let mut world = self.sim.lock();
            let now = world.now;
            let client = &mut world.clients[index];
            client.last_poll = now;
            if let Some(error) = client.failed.take() {
                return Err(error);
            }
            if client.unanswered.is_some() {
                world.fail("the consumer was polled before an event was answered");
            }
            if world.clients[index].has_failed || world.strikes(Fault::ConsumerFailed, "poll") {
                world.clients[index].has_failed = true;
                return Err(Error::ConsumerLost("another static member has fenced this one".to_owned()));
            }
            if world.strikes(Fault::TransientError, "poll") {
                return Err(Error::Retry("poll: broker transport failure".to_owned()));
            }
            now + timeout
        };
        loop {
            let mut world = self.sim.lock();
            if !world.clients[index].events.is_empty() {
                return Ok(());
            }
            if world.is_connected(self.sim.process) {
                world.fetch(index, max_records, max_bytes, batch);
            }
            let is_over = !batch.is_empty() || !batch.ends().is_empty() || world.now >= until;
            let is_dead = !world.processes[self.sim.process].is_alive;
            drop(world);
            if is_over || is_dead {
                return Ok(());
            }
            self.sim.wait(until);
        }
    }

    fn end_offset(&self, partition: &TopicPartition) -> Option<Offset> {
        let world = self.sim.lock();
        world.clients[self.index].positions.get(partition).map(|position| offset(position.known_end))
    }
}

impl SimulatedConsumer {
    fn hold(&mut self, partitions: &[TopicPartition], is_held: bool) -> Result<()> {
        let mut world = self.sim.lock();
        for partition in partitions {
            if let Some(position) = world.clients[self.index].positions.get_mut(partition) {
                position.is_held = is_held;
            }
        }
        world.changed();
        Ok(())
    }
}

impl World {
    /// Takes records out of the logs: from each partition a random number of those that are there.
    fn fetch(&mut self, index: usize, max_records: usize, max_bytes: usize, batch: &mut RecordBatch) {
        let partitions: Vec<TopicPartition> = self.clients[index].positions.keys().cloned().collect();
        if partitions.is_empty() {
            return;
        }
        let first = self.random.usize(0..partitions.len());
        for at in partitions[first..].iter().chain(&partitions[..first]) {
            let Some(position) = self.clients[index].positions.get(at).filter(|position| !position.is_held) else {
                continue;
            };
            let Some(partition) = self.broker.partition(at).filter(|log| self.now >= log.away_until) else { continue };
            let (stable, end, start) = (partition.stable_end(), partition.end(), partition.start);
            if position.next < start {
                // Out of range: a member that was expelled meanwhile, and does not know it yet. One
                // that is in its right would never come to an end.
                continue;
            }
            let mut next = position.next;
            let most = 1 + self.random.usize(0..40);
            let mut taken = 0;
            while next < stable && taken < most && batch.len() < max_records && batch.byte_len() < max_bytes {
                if let Some(record) = self.broker.visible(at, next) {
                    let (topic, timestamp_ms) = (&*at.topic, record.timestamp_ms);
                    let origin = Origin { topic, partition: at.partition, offset: next, timestamp_ms };
                    let headers = record.headers.iter().map(|(name, value)| (name.as_str(), value.as_deref()));
                    batch.push(origin, record.key.as_deref(), record.value.as_deref(), headers);
                    taken += 1;
                }
                next += 1;
            }
            let Some(position) = self.clients[index].positions.get_mut(at) else { continue };
            position.next = next;
            position.known_end = end;
            if next >= stable && position.told_end != Some(next) {
                position.told_end = Some(next);
                batch.push_end(&at.topic, at.partition, offset(next));
            }
        }
    }
}
