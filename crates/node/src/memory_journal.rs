//! A journal in memory, whose copy is a copy of a node's folder.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use crate::actor::{Actor, Incarnation};
use crate::ports::{
    Agreement, DeadLetter, Identity, Journal, JournalError, OutboxEvent, Publication, PublishedEvent, SnapshotRecord,
    SyncRequest, chain_digest,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum JournalEventState {
    Pending,
    Published,
    Failed,
}

#[derive(Clone)]
struct State {
    identity: Identity,
    /// Each with its id, under the present actor.
    events: Vec<(String, OutboxEvent, JournalEventState)>,
    positions: BTreeMap<(String, i32), i64>,
    applied: Vec<(i32, SnapshotRecord)>,
    letters: Vec<(i32, DeadLetter)>,
    /// Sync requests that wait.
    requests: Vec<SyncRequest>,
    /// Those that were marked as failed.
    dropped: Vec<String>,
    unavailable: usize,
    /// Events that a copy has published, by their ids.
    elsewhere: BTreeMap<String, PublishedEvent>,
}

/// The journal; a clone of the `Arc` is the same one.
pub(crate) struct MemoryJournal(Mutex<State>);

impl MemoryJournal {
    pub fn new(seed: u128) -> Arc<MemoryJournal> {
        let actor = actor(seed);
        let identity = Identity { actor, counter: 0, published: 0, chain: 0 };
        let (events, positions, applied, letters) = (Vec::new(), BTreeMap::new(), Vec::new(), Vec::new());
        let (requests, dropped) = (Vec::new(), Vec::new());
        let elsewhere = BTreeMap::new();
        let state =
            State { identity, events, positions, applied, letters, requests, dropped, unavailable: 0, elsewhere };
        Arc::new(MemoryJournal(Mutex::new(state)))
    }

    /// As a copy of the folder is.
    pub fn copy(&self) -> Arc<MemoryJournal> {
        Arc::new(MemoryJournal(Mutex::new(self.lock().clone())))
    }

    pub fn write(&self, event_id: &str) {
        self.write_at(event_id, 1);
    }

    /// An event of this time, in milliseconds since 1970.
    pub fn write_at(&self, event_id: &str, timestamp_ms: i64) {
        let mut state = self.lock();
        state.identity.counter += 1;
        let mut event = event(&state.identity.actor, state.identity.counter, event_id);
        event.timestamp_ms = timestamp_ms;
        state.events.push((event_id.to_owned(), event, JournalEventState::Pending));
    }

    /// A sync request with this id, whose value is `sync ID`.
    pub fn request(&self, event_id: &str) {
        let value = format!("sync {event_id}").into_bytes();
        self.lock().requests.push(SyncRequest { event_id: event_id.to_owned(), value, timestamp_ms: 1 });
    }

    /// The sync requests that wait.
    pub fn requests(&self) -> Vec<String> {
        self.lock().requests.iter().map(|request| request.event_id.clone()).collect()
    }

    /// The sync requests that were marked as failed.
    pub fn dropped(&self) -> Vec<String> {
        self.lock().dropped.clone()
    }

    pub fn states(&self) -> Vec<(String, JournalEventState)> {
        self.lock().events.iter().map(|(id, _, state)| (id.clone(), *state)).collect()
    }

    pub fn applied(&self) -> Vec<(i32, SnapshotRecord)> {
        self.lock().applied.clone()
    }

    /// The dead letters that it was handed.
    pub fn letters(&self) -> Vec<(i32, DeadLetter)> {
        self.lock().letters.clone()
    }

    /// The next so many changes fail.
    pub fn fail(&self, times: usize) {
        self.lock().unavailable = times;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    fn change(&self) -> Result<MutexGuard<'_, State>, JournalError> {
        let mut state = self.lock();
        if state.unavailable > 0 {
            state.unavailable -= 1;
            return Err(JournalError::Unavailable("the disk is full".to_owned()));
        }
        Ok(state)
    }
}

fn actor(seed: u128) -> Actor {
    Actor { name: "agent".parse().unwrap(), incarnation: Incarnation::from_random_bits(seed) }
}

/// The members of an event that the publisher looks at.
fn event(actor: &Actor, counter: u64, event_id: &str) -> OutboxEvent {
    let value = format!(r#"{{"event_id":"{event_id}","node_id":"{actor}","vector_clock":{{"{actor}":{counter}}}}}"#);
    let value = value.into_bytes();
    OutboxEvent { counter, memory_id: format!("m{}", event_id.len() % 3), part_of: None, value, timestamp_ms: 1 }
}

impl State {
    /// The publication where all events up to `counter` that have not failed are published.
    fn publication(&self, counter: u64) -> Publication {
        let after = |(_, event, state): &&(String, OutboxEvent, JournalEventState)| {
            *state == JournalEventState::Pending && event.counter > self.identity.published && event.counter <= counter
        };
        let chain = self
            .events
            .iter()
            .filter(after)
            .fold(self.identity.chain, |chain, (_, event, _)| chain_digest(chain, &event.value));
        Publication { counter, chain }
    }

    fn publish(&mut self, counter: u64) -> Publication {
        let publication = self.publication(counter);
        (self.identity.published, self.identity.chain) = (counter, publication.chain);
        for (_, event, state) in &mut self.events {
            if event.counter <= counter && *state == JournalEventState::Pending {
                *state = JournalEventState::Published;
            }
        }
        publication
    }
}

impl Journal for MemoryJournal {
    fn identity(&self) -> Result<Identity, JournalError> {
        Ok(self.lock().identity.clone())
    }

    fn unpublished(&self, max_records: usize, max_bytes: usize) -> Result<Vec<OutboxEvent>, JournalError> {
        let (state, mut bytes) = (self.lock(), 0);
        let pending = state.events.iter().filter(|(.., state)| *state == JournalEventState::Pending);
        let fits = |event: &OutboxEvent| {
            bytes += event.value.len();
            bytes == event.value.len() || bytes <= max_bytes
        };
        Ok(pending.map(|(_, event, _)| event.clone()).take(max_records).take_while(fits).collect())
    }

    fn wait_for_unpublished(&self, timeout: Duration) -> Result<bool, JournalError> {
        std::thread::sleep(timeout.min(Duration::from_millis(5)));
        Ok(!self.unpublished(1, 1)?.is_empty() || !self.unsent_requests()?.is_empty())
    }

    fn reconcile(&self, published: Publication) -> Result<Agreement, JournalError> {
        let mut state = self.change()?;
        if published.counter > state.identity.counter || state.publication(published.counter) != published {
            return Ok(Agreement::Differs);
        }
        state.publish(published.counter);
        Ok(Agreement::Agrees)
    }

    fn mark_published(&self, counter: u64) -> Result<Publication, JournalError> {
        Ok(self.change()?.publish(counter))
    }

    fn mark_failed(&self, counter: u64, _reason: &str) -> Result<(), JournalError> {
        let mut state = self.change()?;
        let found = state.events.iter_mut().find(|(_, event, _)| event.counter == counter);
        found.unwrap().2 = JournalEventState::Failed;
        Ok(())
    }

    fn waiting_ids(&self, after: u64, max_events: usize) -> Result<Vec<(u64, String)>, JournalError> {
        let state = self.lock();
        let waiting = state.events.iter().filter(|(.., state)| *state == JournalEventState::Pending);
        let behind = waiting.filter(|(_, event, _)| event.counter > after);
        Ok(behind.map(|(id, event, _)| (event.counter, id.clone())).take(max_events).collect())
    }

    fn note_published_elsewhere(&self, events: &[PublishedEvent]) -> Result<(), JournalError> {
        let noted = events.iter().map(|event| (event.event_id.clone(), event.clone()));
        self.change()?.elsewhere.extend(noted);
        Ok(())
    }

    fn begin_incarnation(&self, incarnation: &Incarnation, _reason: &str) -> Result<Identity, JournalError> {
        let mut state = self.change()?;
        let actor = Actor { name: state.identity.actor.name.clone(), incarnation: incarnation.clone() };
        let mut counter = 0;
        let State { events, elsewhere, .. } = &mut *state;
        for (id, _, state) in events.iter_mut() {
            if *state == JournalEventState::Pending && elsewhere.contains_key(id) {
                *state = JournalEventState::Published;
            }
        }
        elsewhere.clear();
        for (id, old, _) in events.iter_mut().filter(|(.., state)| *state == JournalEventState::Pending) {
            counter += 1;
            *old = event(&actor, counter, id);
        }
        // Decided events have no place among the counters of the new actor.
        for (_, event, _) in events.iter_mut().filter(|(.., state)| *state != JournalEventState::Pending) {
            event.counter = 0;
        }
        state.identity = Identity { actor, counter, published: 0, chain: 0 };
        Ok(state.identity.clone())
    }

    fn unsent_requests(&self) -> Result<Vec<SyncRequest>, JournalError> {
        Ok(self.lock().requests.clone())
    }

    fn mark_requests_sent(&self, event_ids: &[String]) -> Result<(), JournalError> {
        self.change()?.requests.retain(|request| !event_ids.contains(&request.event_id));
        Ok(())
    }

    fn mark_request_failed(&self, event_id: &str, _reason: &str) -> Result<(), JournalError> {
        let mut state = self.change()?;
        state.requests.retain(|request| request.event_id != *event_id);
        state.dropped.push(event_id.to_owned());
        Ok(())
    }

    fn outbox_depth(&self) -> Result<(u64, Option<i64>), JournalError> {
        let depth = self.lock().events.iter().filter(|(.., state)| *state == JournalEventState::Pending).count();
        Ok((depth as u64, (depth > 0).then_some(1)))
    }

    fn position(&self, topic: &str, partition: i32) -> Result<Option<i64>, JournalError> {
        Ok(self.lock().positions.get(&(topic.to_owned(), partition)).copied())
    }

    fn apply(
        &self,
        topic: &str,
        partition: i32,
        records: &[SnapshotRecord],
        next_offset: i64,
    ) -> Result<(), JournalError> {
        let mut state = self.change()?;
        let position = state.positions.insert((topic.to_owned(), partition), next_offset);
        let new = records.iter().filter(|record| position.is_none_or(|position| record.offset >= position));
        state.applied.extend(new.map(|record| (partition, record.clone())));
        Ok(())
    }

    fn begin_again(&self, topic: &str, partition: i32, start: i64) -> Result<(), JournalError> {
        self.change()?.positions.insert((topic.to_owned(), partition), start);
        self.request(&format!("{topic}/{partition} {start}"));
        Ok(())
    }

    /// Every dead letter is an event of this node.
    fn fail_dead_letters(
        &self,
        topic: &str,
        partition: i32,
        letters: &[DeadLetter],
        next_offset: i64,
    ) -> Result<u64, JournalError> {
        let mut state = self.change()?;
        state.positions.insert((topic.to_owned(), partition), next_offset);
        state.letters.extend(letters.iter().map(|letter| (partition, letter.clone())));
        Ok(letters.len() as u64)
    }
}
