//! The history of a memory: the resolved states that this node has applied, and its own events,
//! with what is known of their causal order.
//!
//! A node sees resolved memories and its own events, and no events of other nodes. Of these it
//! knows the ids of the frontier: the events that nothing has superseded. So the order of other
//! nodes' events follows from two states alone ([`ResolvedState::json`], `superseded`), and that of
//! own events from their clocks.

use std::cmp::Ordering;

use json::{Document, Value};
use memory::clock::{Clock, compare};

use crate::ports::JournalError;
use crate::shown::{EventState, OwnEvent};

/// A resolved state of a memory that this node has applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvedState {
    /// Its place among the states of this memory, from 1.
    pub number: u64,
    /// Whether the node had no resolved state of the memory before.
    pub is_first: bool,
    /// The memory's user in this state.
    pub user_id: Option<String>,
    /// The memory's user in the state before.
    pub old_user_id: Option<String>,
    /// The state as canonical JSON: its members without the values of its fields, and those fields
    /// that differ from the state before, with their values where these are short.
    pub json: Vec<u8>,
}

/// An own event in the history of a memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventInHistory {
    /// The event.
    pub event: OwnEvent,
    /// The ids of the own events that it supersedes directly, as their clocks say.
    pub supersedes: Vec<String>,
    /// The last state of which its writer had seen everything.
    pub seen_state: Option<u64>,
    /// The first state that lists it in its frontier.
    pub in_state: Option<u64>,
}

/// The history of a memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemoryHistory {
    /// All states that are kept, the oldest first.
    pub states: Vec<ResolvedState>,
    /// The last own events, the oldest first.
    pub events: Vec<EventInHistory>,
    /// Whether these are all own events that the database still has.
    pub has_all_events: bool,
}

/// Clock and version of a state or an event.
struct CausalStamp {
    clock: Clock,
    version: u64,
}

impl CausalStamp {
    /// The stamp of an object with `vector_clock` and `version`; `None` where its clock was too
    /// long to be kept, or it has none.
    fn of(root: Value<'_>) -> Option<CausalStamp> {
        let number = |value: Value<'_>| value.number_text()?.parse::<u64>().ok();
        let entries = root.get("vector_clock")?.members().map(|(name, n)| Some((name.to_owned(), number(n)?)));
        let clock = Clock::from_entries(entries.collect::<Option<Vec<_>>>()?);
        Some(CausalStamp { clock, version: root.get("version").and_then(number)? })
    }

    /// Whether this one happened before another one, by clock and version: so it did under every
    /// setting of the stream.
    fn is_before(&self, other: &CausalStamp) -> bool {
        fn entries(stamp: &CausalStamp) -> impl Iterator<Item = (&str, u64)> {
            stamp.clock.entries().iter().map(|(name, n)| (name.as_str(), *n))
        }
        self.version <= other.version && compare(entries(self), entries(other)) == Some(Ordering::Less)
    }
}

/// A state as events are compared with it.
struct StateInGraph {
    number: u64,
    stamp: Option<CausalStamp>,
    event_ids: Vec<String>,
}

fn parsed(json: &[u8]) -> Result<Document<'_>, JournalError> {
    json::parse(json).map_err(|error| {
        JournalError::Fatal(format!("a row of the history in the node's database is not JSON: {error} [HS8003]"))
    })
}

/// Finds the places of own events, the oldest first, among each other and among states.
///
/// # Errors
/// [`JournalError::Fatal`]: a row of the database is no JSON.
pub(crate) fn place_events(
    events: Vec<OwnEvent>,
    states: &[ResolvedState],
) -> Result<Vec<EventInHistory>, JournalError> {
    let mut graph = Vec::with_capacity(states.len());
    for state in states {
        let document = parsed(&state.json)?;
        let root = document.root();
        let ids = root.get("event_ids").into_iter().flat_map(Value::items);
        let event_ids = ids.filter_map(|id| id.as_str().map(str::to_owned)).collect();
        graph.push(StateInGraph { number: state.number, stamp: CausalStamp::of(root), event_ids });
    }
    let mut placed: Vec<(EventInHistory, Option<CausalStamp>)> = Vec::with_capacity(events.len());
    for event in events {
        // One that has failed has changed nothing, so it has no place in the order.
        let stamp = match event.state {
            EventState::Failed(_) => None,
            EventState::Pending | EventState::Published => CausalStamp::of(parsed(&event.value)?.root()),
        };
        let supersedes = stamp.as_ref().map_or_else(Vec::new, |stamp| superseded(stamp, &placed));
        let has_seen = |state: &&StateInGraph| {
            state.stamp.as_ref().zip(stamp.as_ref()).is_some_and(|(before, after)| before.is_before(after))
        };
        let seen_state = graph.iter().rev().find(has_seen).map(|state| state.number);
        let in_state = graph.iter().find(|state| state.event_ids.contains(&event.event_id));
        let in_state = in_state.map(|state| state.number);
        placed.push((EventInHistory { event, supersedes, seen_state, in_state }, stamp));
    }
    Ok(placed.into_iter().map(|(event, _)| event).collect())
}

/// The ids of the events that one with this stamp supersedes directly.
fn superseded(stamp: &CausalStamp, earlier: &[(EventInHistory, Option<CausalStamp>)]) -> Vec<String> {
    let mut direct: Vec<(&str, &CausalStamp)> = Vec::new();
    for (other, before) in earlier.iter().rev() {
        let Some(before) = before.as_ref().filter(|before| before.is_before(stamp)) else { continue };
        if direct.iter().all(|(_, nearer)| !before.is_before(nearer)) {
            direct.push((&other.event.event_id, before));
        }
    }
    direct.into_iter().map(|(id, _)| id.to_owned()).collect()
}
