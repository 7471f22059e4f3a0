//! The state of a memory, computed from the set of all its events by definition (docs/semantics.md,
//! sections 3 and 4).

use super::event::{Event, clock_json};
use super::json::Json;
use super::order::{before, last_write, last_write_of_events, presumed, presumed_by_skew, presumed_by_time};
use super::strategy::{Pick, Write, pick};
use super::{DeletePolicy, Settings, time};
use std::collections::{BTreeMap, BTreeSet};

/// One event at one memory: its own, or an absorb that points to the memory it was merged into.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The event.
    pub event: Event,
    /// The memory that absorbed this one; `None` for an event of the memory itself.
    pub absorbed_into: Option<String>,
}

impl Entry {
    /// Whether the memory is gone behind this event.
    pub fn is_delete(&self) -> bool {
        self.absorbed_into.is_some() || self.event.event_type == "memory.deleted"
    }

    /// The values that the event writes here, by path.
    pub fn writes(&self) -> BTreeMap<String, Json> {
        let e = &self.event;
        let mut writes = BTreeMap::new();
        let registers = [
            ("user_id", &e.user_id),
            ("session_id", &e.session_id),
            ("content", &e.content),
            ("embedding", &e.embedding),
            ("importance", &e.importance),
            ("tags", &e.tags),
            ("merged_from", &e.merged_from),
        ];
        for (path, value) in registers {
            if let Some(value) = value {
                writes.insert(path.to_owned(), value.clone());
            }
        }
        for (container, members) in
            [("metadata", &e.metadata), ("entities", &e.entities), ("relationships", &e.relationships)]
        {
            let removes = container == "relationships" && e.event_type == "relationship.deleted";
            for (key, value) in members {
                writes.insert(format!("{container}.{key}"), if removes { Json::Null } else { value.clone() });
            }
        }
        if self.absorbed_into.is_some() {
            writes.clear();
        } else if self.is_delete() {
            writes.retain(|path, _| path == "user_id");
        }
        writes
    }
}

/// All that is known of a memory: every event once, in order of arrival.
#[derive(Clone, Debug)]
pub struct Memory {
    /// `memory_id`.
    pub id: String,
    /// Its entries; a position in them names an entry.
    pub entries: Vec<Entry>,
}

/// A contender: its entry's position and its value.
pub type Contending = (usize, Json);

/// A memory, read. Entries are named by their position.
pub struct Reading {
    /// The entries that happened before no other.
    pub frontier: Vec<usize>,
    /// The frontier less what is presumed before the other kind.
    pub left: Vec<usize>,
    /// The contenders, by path.
    pub contenders: BTreeMap<String, Vec<Contending>>,
    /// The pick for every path with a contender; a winner is a position of an entry.
    pub picks: BTreeMap<String, Pick>,
    /// `active`, `deleted` or `merged`.
    pub status: &'static str,
    /// The memory that absorbed this one, where the status is `merged`.
    pub merged_into: Option<String>,
}

/// The resolved memory of `memory_id` from the set of events, canonical; `None` when none of them
/// touches it.
pub fn resolved(memory_id: &str, events: &[Event], settings: &Settings) -> Option<String> {
    let mut memory = Memory { id: memory_id.to_owned(), entries: Vec::new() };
    for event in events {
        if event.own_memory() == Some(memory_id) {
            memory.add(Entry { event: event.clone(), absorbed_into: None });
        }
        if event.absorbed().contains(&memory_id) {
            memory.add(Entry { event: event.clone(), absorbed_into: event.memory_id.clone() });
        }
    }
    memory.resolved(settings).map(|json| json.canonical())
}

impl Memory {
    /// Adds the entry, unless it is a redelivery (then nothing changes, and this says `false`).
    pub fn add(&mut self, entry: Entry) -> bool {
        let known = self.entries.iter().any(|e| e.event.identity == entry.event.identity);
        if !known {
            self.entries.push(entry);
        }
        !known
    }

    /// The event of the entry at a position.
    pub fn event(&self, at: usize) -> &Event {
        &self.entries[at].event
    }

    /// Those of `among` that happened before no other of `among`.
    fn maximal(&self, among: &[usize], settings: &Settings) -> Vec<usize> {
        let beaten = |a: usize| among.iter().any(|b| before(self.event(a), self.event(*b), settings));
        among.iter().copied().filter(|a| !beaten(*a)).collect()
    }

    /// Reads the state (sections 3 and 4).
    pub fn read(&self, settings: &Settings) -> Reading {
        let all: Vec<usize> = (0..self.entries.len()).collect();
        let frontier = self.maximal(&all, settings);
        let left = self.left_of(&frontier, settings);
        let deletes: Vec<usize> = all.iter().copied().filter(|i| self.entries[*i].is_delete()).collect();
        let kept_deletes = self.maximal(&deletes, settings);

        let mut writes: BTreeMap<String, Vec<Contending>> = BTreeMap::new();
        for at in all {
            for (path, value) in self.entries[at].writes() {
                writes.entry(path).or_default().push((at, value));
            }
        }
        let mut contenders = BTreeMap::new();
        for (path, writes) in writes {
            let left = self.contenders_of(&path, writes, &kept_deletes, settings);
            if !left.is_empty() {
                contenders.insert(path, left);
            }
        }
        let picks = self.picks(&contenders, settings);
        let (status, merged_into) = self.status_of(&left, settings);
        Reading { frontier, left, contenders, picks, status, merged_into }
    }

    fn left_of(&self, frontier: &[usize], settings: &Settings) -> Vec<usize> {
        let is_delete = |i: usize| self.entries[i].is_delete();
        let beaten = |a: usize| {
            let others = frontier.iter().filter(|b| is_delete(**b) != is_delete(a));
            others.clone().any(|b| presumed(self.event(a), self.event(*b), settings))
        };
        frontier.iter().copied().filter(|a| !beaten(*a)).collect()
    }

    fn status_of(&self, left: &[usize], settings: &Settings) -> (&'static str, Option<String>) {
        let any_delete = left.iter().any(|i| self.entries[*i].is_delete());
        let any_update = left.iter().any(|i| !self.entries[*i].is_delete());
        let active = match settings.delete_policy {
            _ if left.is_empty() => false,
            DeletePolicy::UpdateWins => any_update,
            DeletePolicy::DeleteWins => !any_delete,
        };
        if active {
            return ("active", None);
        }
        let absorbs = left.iter().filter_map(|i| {
            let target = self.entries[*i].absorbed_into.as_ref()?;
            Some((self.event(*i), target))
        });
        match absorbs.max_by(|a, b| last_write_of_events(a.0, b.0).then_with(|| a.1.cmp(b.1))) {
            Some((_, target)) => ("merged", Some(target.clone())),
            None => ("deleted", None),
        }
    }

    /// The contenders of a path, of all writes to it.
    fn contenders_of(
        &self,
        path: &str,
        writes: Vec<Contending>,
        kept_deletes: &[usize],
        settings: &Settings,
    ) -> Vec<Contending> {
        let positions: Vec<usize> = writes.iter().map(|w| w.0).collect();
        let mut live = self.maximal(&positions, settings);
        if path != "user_id" {
            let all_deletes: Vec<usize> = (0..self.entries.len()).filter(|i| self.entries[*i].is_delete()).collect();
            live.retain(|w| !all_deletes.iter().any(|d| before(self.event(*w), self.event(*d), settings)));
            live.retain(|w| !kept_deletes.iter().any(|d| presumed(self.event(*w), self.event(*d), settings)));
        }
        for kind in [presumed_by_skew, presumed_by_time] {
            let among = live.clone();
            live.retain(|w| !among.iter().any(|other| kind(self.event(*w), self.event(*other), settings)));
        }
        writes.into_iter().filter(|w| live.contains(&w.0)).collect()
    }

    fn picks(&self, contenders: &BTreeMap<String, Vec<Contending>>, settings: &Settings) -> BTreeMap<String, Pick> {
        let mut picks = BTreeMap::new();
        for (path, contending) in contenders.iter().filter(|(path, _)| *path != "embedding") {
            picks.insert(path.clone(), self.pick_among(path, contending, in_conflict(contending), settings));
        }
        if let Some(contending) = contenders.get("embedding") {
            let content = picks.get("content");
            let belonging: Vec<Contending> =
                contending.iter().filter(|w| self.belongs(w.0, content, settings)).cloned().collect();
            let pick = if belonging.is_empty() {
                Pick { value: Json::Null, winners: Vec::new(), deferred: false, made: false }
            } else {
                self.pick_among("embedding", &belonging, in_conflict(contending), settings)
            };
            picks.insert("embedding".to_owned(), pick);
        }
        picks
    }

    fn pick_among(&self, path: &str, contending: &[Contending], conflict: bool, settings: &Settings) -> Pick {
        let writes: Vec<Write> = contending.iter().map(|(at, value)| (self.event(*at), value)).collect();
        let mut pick = pick(settings.strategy_of(path), path, &writes, conflict);
        pick.winners = pick.winners.iter().map(|i| contending[*i].0).collect();
        pick
    }

    /// Whether an embedding written by the event at `at` belongs to the content that is resolved.
    fn belongs(&self, at: usize, content: Option<&Pick>, settings: &Settings) -> bool {
        let embedding = self.event(at);
        match (&embedding.content, content) {
            (Some(carried), Some(pick)) => carried.canonical() == pick.value.canonical(),
            (Some(carried), None) => matches!(carried, Json::Null),
            (None, None) => true,
            (None, Some(pick)) if pick.made => false,
            // Winners that tie in all of last-write order have one value and one id: any of them
            // will do.
            (None, Some(pick)) => pick.winners.iter().any(|winner| {
                let winner = self.event(*winner);
                before(winner, embedding, settings) || presumed(winner, embedding, settings)
            }),
        }
    }

    /// The resolved memory (docs/semantics.md, section 5, "Resolved memory").
    pub fn resolved(&self, settings: &Settings) -> Option<Json> {
        if self.entries.is_empty() {
            return None;
        }
        let reading = self.read(settings);
        let mut out = self.resolved_header(&reading);
        if reading.status == "active" {
            self.add_active_fields(&reading, &mut out);
        }
        Some(Json::Obj(out))
    }

    fn resolved_header(&self, reading: &Reading) -> BTreeMap<String, Json> {
        let events = || self.entries.iter().map(|e| &e.event);
        let mut clock: BTreeMap<String, u64> = BTreeMap::new();
        for (node, count) in events().flat_map(|e| &e.clock) {
            let joined = clock.entry(node.clone()).or_default();
            *joined = (*joined).max(*count);
        }
        let created = events().map(|e| e.timestamp_ns).min().unwrap_or_default();
        let updated = events().map(|e| e.timestamp_ns).max().unwrap_or_default();
        let version = events().map(|e| e.version).max().unwrap_or_default();
        let ids: BTreeSet<&str> = reading.frontier.iter().map(|i| self.event(*i).event_id.as_str()).collect();
        let mut out = BTreeMap::new();
        let mut put = |name: &str, value: Json| _ = out.insert(name.to_owned(), value);
        put("memory_id", Json::str(&self.id));
        put("status", Json::str(reading.status));
        put("created_at", Json::Str(time::format(created)));
        put("updated_at", Json::Str(time::format(updated)));
        put("version", Json::Int(version.into()));
        put("vector_clock", clock_json(&clock));
        put("event_ids", Json::Arr(ids.into_iter().map(Json::str).collect()));
        if let Some(target) = &reading.merged_into {
            put("merged_into", Json::str(target));
        }
        if let Some(user) = reading.user_id() {
            put("user_id", user);
        }
        out
    }

    fn add_active_fields(&self, reading: &Reading, out: &mut BTreeMap<String, Json>) {
        let mut metadata = BTreeMap::new();
        let mut lists: BTreeMap<&str, Vec<Json>> = BTreeMap::new();
        for (path, pick) in reading.picks.iter().filter(|(_, pick)| !matches!(pick.value, Json::Null)) {
            match path.split_once('.') {
                Some(("metadata", key)) => _ = metadata.insert(key.to_owned(), pick.value.clone()),
                // Paths come sorted, so ids do.
                Some((container, _)) => lists.entry(container).or_default().push(pick.value.clone()),
                None => _ = out.insert(path.clone(), pick.value.clone()),
            }
        }
        if !metadata.is_empty() {
            out.insert("metadata".to_owned(), Json::Obj(metadata));
        }
        for (container, members) in lists {
            out.insert(container.to_owned(), Json::Arr(members));
        }
        let conflicted = reading.contenders.iter().filter(|(_, contending)| in_conflict(contending));
        let paths = conflicted.map(|(path, _)| Json::str(path)).collect();
        out.insert("conflicted_fields".to_owned(), Json::Arr(paths));
    }

    /// Contenders by last-write order, least first.
    pub fn sorted(&self, contending: &[Contending]) -> Vec<Contending> {
        let mut sorted = contending.to_vec();
        sorted.sort_by(|a, b| last_write((self.event(a.0), &a.1), (self.event(b.0), &b.1)));
        sorted
    }
}

impl Reading {
    /// The resolved `user_id`, unless null or absent.
    pub fn user_id(&self) -> Option<Json> {
        self.picks.get("user_id").map(|pick| pick.value.clone()).filter(|v| !matches!(v, Json::Null))
    }
}

/// Two or more contenders with different values.
pub fn in_conflict(contending: &[Contending]) -> bool {
    contending.iter().map(|w| w.1.canonical()).collect::<BTreeSet<_>>().len() >= 2
}
