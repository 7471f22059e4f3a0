//! Merges in a history: which memories they absorb, and the events that they are.

use std::collections::BTreeMap;

use futures::executor::block_on;
use helixstream_node::shown::EventState;

use super::world::{SeenIds, changed_by, is_before};
use super::{Asked, History, MEMORIES};

impl History {
    /// Lets a write absorb one or two other memories, some with a token of the caller's.
    pub fn ask_to_absorb(&mut self, at: usize, asked: &mut Asked) {
        let others: Vec<&str> = MEMORIES.into_iter().filter(|id| *id != asked.memory_id).collect();
        let count = 1 + self.random.below(others.len());
        for id in &others[..count] {
            let held = if self.random.one_in(2) { self.token(at, id) } else { None };
            if let Some(held) = &held {
                asked.write.absorbed_tokens.insert((*id).to_owned(), held.token.encode());
            }
            let seen = self.seen_of(at, id, held.as_ref(), asked.has_session);
            asked.absorbed.insert((*id).to_owned(), seen);
        }
        let ids: Vec<String> = asked.absorbed.keys().map(|id| format!("{id:?}")).collect();
        let list = format!("[{}]", ids.join(","));
        asked.write.fields = asked.write.fields.clone().with_json("merged_from", list.as_bytes()).unwrap();
    }

    /// Notes the events of a merge but the last one. `ids` are those that the caller had seen of
    /// the memory that absorbs, and of which the last event is to know: the merge is now one of
    /// them.
    pub fn note_parts(
        &mut self,
        at: usize,
        memory_id: &str,
        last_id: &str,
        ids: &mut SeenIds,
        absorbed: &BTreeMap<String, SeenIds>,
    ) {
        let mut seen_by_merge = BTreeMap::from([(memory_id.to_owned(), ids.clone())]);
        for (absorbed_id, seen) in absorbed {
            let mut seen = seen.clone();
            if let Some(delete) = self.new_event_of(at, absorbed_id, last_id) {
                let by_delete = BTreeMap::from([(absorbed_id.clone(), seen.clone())]);
                self.note_written(at, &delete, absorbed_id, last_id, by_delete);
                seen.insert(delete);
            }
            seen_by_merge.insert(absorbed_id.clone(), seen);
        }
        let merge = self.new_event_of(at, memory_id, last_id).expect("a merge has an event that absorbs");
        self.note_written(at, &merge, memory_id, last_id, seen_by_merge);
        self.written.get_mut(&merge).unwrap().is_absorb = true;
        ids.insert(merge);
    }

    /// The event of a memory in a folder that is not noted yet, but for one.
    fn new_event_of(&self, at: usize, memory_id: &str, but_for: &str) -> Option<String> {
        let events = block_on(self.folders[at].node.events_of(memory_id)).unwrap();
        let mut new = events.into_iter().map(|event| event.event_id);
        new.find(|id| id != but_for && !self.written.contains_key(id))
    }

    /// The events that a reader of a folder's node has seen of a memory: also those that absorb it.
    /// One that has failed lies over nothing.
    pub fn seen_ids(&self, at: usize, memory_id: &str) -> SeenIds {
        let folder = &self.folders[at];
        let mut seen = folder.seen_ids(&self.kafka, memory_id);
        for other in MEMORIES.into_iter().filter(|other| *other != memory_id) {
            for event in block_on(folder.node.events_of(other)).unwrap() {
                let written = self.written.get(&event.event_id);
                let absorbs = written.is_some_and(|written| written.is_absorb && written.seen.contains_key(memory_id));
                if absorbs && !matches!(event.state, EventState::Failed(_)) {
                    seen.insert(event.event_id);
                }
            }
        }
        seen
    }

    /// What the event that absorbs says of a memory: it is behind those events that its own entry
    /// covers, all of which its caller had seen.
    pub fn told_by_absorb(&self, event_id: &str, memory_id: &str) -> SeenIds {
        let of = |id: &str| self.kafka.events.iter().find(|one| one.event.event_id == id);
        let Some(absorb) = of(event_id) else { return SeenIds::new() };
        let told = self.all_seen(event_id, memory_id).into_iter().filter(|id| {
            of(id).is_some_and(|one| changed_by(&one.event, memory_id) && is_before(&one.event, &absorb.event))
        });
        // They may have seen events that were lost before they were published.
        self.with_past(memory_id, &told.collect())
    }
}
