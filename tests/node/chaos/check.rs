//! The events of a round against what its clients know, and the resolved memories against `replay`.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use testkit::{Broker, records};

use super::GROWING;
use super::client::{End, Written};
use crate::stream::has_type;
use crate::trial::Trial;

/// A published event.
pub(super) struct Event {
    id: String,
    json: Value,
    mark: Option<String>,
}

impl Event {
    fn of(id: String, value: &[u8]) -> Event {
        let json: Value = serde_json::from_slice(value).unwrap();
        // A replacement clears the keys of others.
        let metadata = json["metadata"].as_object().into_iter().flatten();
        let written: Vec<&String> = metadata.filter(|(_, value)| !value.is_null()).map(|(key, _)| key).collect();
        assert!(written.len() < 2, "a client writes one key: {json}");
        Event { id, mark: written.first().map(|key| (*key).clone()), json }
    }

    fn clock(&self) -> BTreeMap<&str, u64> {
        let entries = self.json["vector_clock"].as_object().unwrap().iter();
        entries.map(|(actor, counter)| (actor.as_str(), counter.as_u64().unwrap())).collect()
    }

    /// docs/semantics.md, section 2.
    fn is_before(&self, other: &Event) -> bool {
        let (a, b) = (self.clock(), other.clock());
        let version = |event: &Event| event.json["version"].as_u64().unwrap();
        let is_covered = a.iter().all(|(actor, counter)| b.get(actor).is_some_and(|other| counter <= other));
        a != b && is_covered && version(self) <= version(other)
    }
}

/// The events of the topic: each accepted write is there, with one value; no refused one is, and
/// nothing that no client has asked for.
pub(super) fn events(broker: &Broker, trial: &Trial, written: &[Written]) -> Vec<Event> {
    let mut values: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    let mut counters: BTreeMap<(String, u64), String> = BTreeMap::new();
    for record in records::read_committed(broker, &trial.topic("events")) {
        let (json, value) = (record.value_json(), record.value.unwrap());
        if json["event_type"] == "memory.sync_request" {
            continue;
        }
        let id = json["event_id"].as_str().unwrap().to_owned();
        let actor = json["node_id"].as_str().unwrap().to_owned();
        let counter = json["vector_clock"][&actor].as_u64().unwrap();
        let twin = counters.insert((actor.clone(), counter), id.clone());
        assert!(twin.is_none_or(|twin| twin == id), "{actor} has used counter {counter} for two events");
        let other = values.insert(id.clone(), value.clone());
        assert!(other.is_none_or(|other| other == value), "event {id} has two values");
    }
    let events: Vec<Event> = values.into_iter().map(|(id, value)| Event::of(id, &value)).collect();
    let mut by_mark: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for event in &events {
        event.mark.iter().for_each(|mark| by_mark.entry(mark).or_default().push(&event.id));
    }
    let by_id: BTreeMap<&str, &Event> = events.iter().map(|event| (event.id.as_str(), event)).collect();
    let (mut known, mut unanswered_deletes) = (BTreeSet::new(), 0);
    for write in written {
        let found = write.mark.as_deref().and_then(|mark| by_mark.remove(mark)).unwrap_or_default();
        match (&write.end, &write.mark) {
            (End::Accepted(id), mark) => {
                let event = by_id.get(id.as_str()).unwrap_or_else(|| panic!("an accepted write is missing: {write:?}"));
                assert_eq!((&event.mark, event.json["memory_id"].as_str()), (mark, Some(&*write.memory_id)));
                assert!(mark.is_none() || found == [id], "the write {write:?} is published as {found:?}");
                assert!(known.insert(id.as_str()), "two writes were answered with the event {id}");
            }
            (End::Refused(_), Some(_)) => assert_eq!(found, [""; 0], "the refused write {write:?} is published"),
            (End::Unanswered, Some(_)) => assert!(found.len() < 2, "the write {write:?} is published as {found:?}"),
            (End::Unanswered, None) => unanswered_deletes += 1,
            (End::Refused(_), None) => {}
        }
    }
    assert_eq!(by_mark, BTreeMap::new(), "events that nobody has asked for");
    let parts = parts_of_merges(&events);
    let is_asked_for = |event: &Event| known.contains(event.id.as_str()) || parts.contains(event.id.as_str());
    let others = events.iter().filter(|event| event.mark.is_none() && !is_asked_for(event));
    let others: Vec<&Value> = others.map(|event| &event.json).collect();
    assert!(others.iter().all(|event| event["event_type"] == "memory.deleted"), "{others:?}");
    assert!(others.len() <= unanswered_deletes, "{} deletes nobody has asked for: {others:?}", others.len());
    events
}

/// The events of merges besides the last one of each, which has the mark of its client: the one
/// that absorbs has the counter before, and the deletes of what it absorbs have those before that
/// one.
fn parts_of_merges(events: &[Event]) -> BTreeSet<&str> {
    let place = |event: &Event| {
        let actor = event.json["node_id"].as_str().unwrap();
        let node = actor.splitn(3, '.').take(2).collect::<Vec<_>>().join(".");
        (node, event.json["vector_clock"][actor].as_u64().unwrap())
    };
    let by_place: BTreeMap<(String, u64), &Event> = events.iter().map(|event| (place(event), event)).collect();
    let mut parts = BTreeSet::new();
    for merge in events.iter().filter(|event| event.json["event_type"] == "memory.merged") {
        let (node, counter) = place(merge);
        let last = by_place.get(&(node.clone(), counter + 1)).filter(|last| last.mark.is_some());
        let of_last = last.map(|last| (&last.json["event_type"], &last.json["memory_id"]));
        assert_eq!(of_last, Some((&"memory.updated".into(), &merge.json["memory_id"])), "a part: {}", merge.json);
        parts.insert(merge.id.as_str());
        let mut absorbed: BTreeSet<&str> =
            merge.json["merged_from"].as_array().unwrap().iter().map(|id| id.as_str().unwrap()).collect();
        let before = (1..counter).rev().map_while(|counter| by_place.get(&(node.clone(), counter)));
        let deletes = before.take_while(|event| {
            event.json["event_type"] == "memory.deleted" && absorbed.remove(event.json["memory_id"].as_str().unwrap())
        });
        parts.extend(deletes.map(|event| event.id.as_str()));
    }
    parts
}

/// The last record of each memory on the topic of resolved memories is what `replay` makes.
pub(super) fn snapshots(broker: &Broker, trial: &Trial, expected: &BTreeMap<String, Vec<u8>>) {
    let records = records::read_committed(broker, &trial.topic("snapshots")).into_iter();
    let resolved = records.filter(|record| has_type(record, b"memory.resolved"));
    let last: BTreeMap<String, Vec<u8>> = resolved.map(|record| (record.key_text(), record.value.unwrap())).collect();
    assert_eq!(&last, expected);
}

/// A write with a token to a growing memory happened after exactly the writes whose marks its
/// client had seen, and those that were seen by their writers: it swallows nothing else, and
/// contends with none of them.
pub(super) fn causality(events: &[Event], written: &[Written]) {
    let growing = |event: &&Event| GROWING.contains(&event.json["memory_id"].as_str().unwrap());
    let marked = |event| (mark_of(event), event);
    let by_mark: BTreeMap<&str, &Event> = events.iter().filter(growing).map(marked).collect();
    let seen = written.iter().filter_map(|write| Some((write.mark.as_deref()?, write.seen.as_ref()?)));
    let seen: BTreeMap<&str, &BTreeSet<String>> = seen.collect();
    for write in written {
        let (End::Accepted(_), Some(mark), Some(_)) = (&write.end, write.mark.as_deref(), &write.seen) else {
            continue;
        };
        let later = by_mark[mark];
        let mut past = BTreeSet::new();
        let mut open = vec![mark];
        while let Some(mark) = open.pop() {
            let direct: Vec<&str> = match seen.get(mark) {
                Some(marks) => marks.iter().map(String::as_str).collect(),
                // The node has assumed what this one had seen.
                None => by_mark.values().filter(|one| one.is_before(by_mark[mark])).map(|one| mark_of(one)).collect(),
            };
            open.extend(direct.into_iter().filter(|mark| past.insert(*mark)));
        }
        for (mark, earlier) in &by_mark {
            let is_other = earlier.id != later.id && earlier.json["memory_id"] == later.json["memory_id"];
            assert!(
                !is_other || earlier.is_before(later) == past.contains(mark),
                "the client of {} had {}seen {}",
                later.json,
                if past.contains(mark) { "" } else { "not " },
                earlier.json
            );
        }
    }
}

/// The mark of an event to a growing memory.
fn mark_of(event: &Event) -> &str {
    event.mark.as_deref().expect("growing memories are patched alone")
}

/// Numbers for a person.
pub(super) fn figures(events: &[Event], written: &[Written]) -> String {
    let count = |is: fn(&End) -> bool| written.iter().filter(|write| is(&write.end)).count();
    let accepted = count(|end| matches!(end, End::Accepted(_)));
    let with_token = written.iter().filter(|write| write.seen.is_some()).count();
    assert!(accepted > 0 && with_token > 0, "nothing was checked");
    format!(
        "{accepted} writes accepted, {} refused, {} unanswered, {with_token} with a token to a growing memory; {} events",
        count(|end| matches!(end, End::Refused(_))),
        count(|end| *end == End::Unanswered),
        events.len()
    )
}
